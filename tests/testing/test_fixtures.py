"""The golden wire files are what the vendors' own SDKs read: streamed and whole, each pair says the same."""

from __future__ import annotations

from pathlib import Path

import anthropic
import openai
import pytest

from headgate.testing import Answer, ScriptedUpstream, Stream

FIXTURES = Path(__file__).parents[1] / "wire" / "fixtures"
USER = [{"role": "user", "content": "?"}]


def pairs(dialect: str) -> list[str]:
    names = sorted(path.stem for path in (FIXTURES / dialect).glob("*.sse") if not path.stem.startswith("error_"))
    assert names and all((FIXTURES / dialect / f"{name}.json").exists() for name in names)
    return names


def streamed(path: str) -> Stream:
    return Stream([(FIXTURES / f"{path}.sse").read_bytes()])


def whole(path: str) -> Answer:
    return Answer(body=(FIXTURES / f"{path}.json").read_bytes())


@pytest.fixture(scope="module")
def up():
    with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def oa(up):
    with openai.OpenAI(base_url=up.base_url, api_key="sk-test", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def an(up):
    with anthropic.Anthropic(base_url=up.origin, api_key="sk-test", max_retries=0) as client:
        yield client


@pytest.mark.parametrize("name", pairs("openai.chat"))
def test_chat(up, oa, name):
    up.then(whole(f"openai.chat/{name}"), streamed(f"openai.chat/{name}"))
    expected = oa.chat.completions.create(model="m", messages=USER)
    said: dict[int, dict[str, str]] = {}
    for chunk in oa.chat.completions.create(model="m", messages=USER, stream=True):
        for choice in chunk.choices:
            row = said.setdefault(choice.index, {})
            delta = choice.delta.model_dump(exclude_none=True)
            for key in ("content", "refusal", "reasoning_content"):
                row[key] = row.get(key, "") + delta.get(key, "")
            for call in delta.get("tool_calls", []):
                key = f"call {call['index']}"
                row[key] = row.get(key, "") + (call.get("id") or "") + (call["function"].get("name") or "")
                row[key] += call["function"].get("arguments") or ""
            row["finish"] = choice.finish_reason or row.get("finish", "")
    for choice in expected.choices:
        row = said[choice.index]
        assert row["finish"] == choice.finish_reason
        assert row["content"] == (choice.message.content or "")
        assert row["refusal"] == (choice.message.refusal or "")
        assert row["reasoning_content"] == (choice.message.model_extra.get("reasoning_content") or "")
        for index, call in enumerate(choice.message.tool_calls or []):
            assert row[f"call {index}"] == call.id + call.function.name + call.function.arguments


@pytest.mark.parametrize("name", pairs("openai.completions"))
def test_completions(up, oa, name):
    up.then(whole(f"openai.completions/{name}"), streamed(f"openai.completions/{name}"))
    expected = oa.completions.create(model="m", prompt="?")
    said: dict[int, str] = {}
    for chunk in oa.completions.create(model="m", prompt="?", stream=True):
        for choice in chunk.choices:
            said[choice.index] = said.get(choice.index, "") + choice.text + (choice.finish_reason or "")
    assert said == {choice.index: choice.text + choice.finish_reason for choice in expected.choices}


@pytest.mark.parametrize("name", pairs("openai.responses"))
def test_responses(up, oa, name):
    up.then(whole(f"openai.responses/{name}"), streamed(f"openai.responses/{name}"))
    expected = oa.responses.create(model="m", input="?")
    events = list(oa.responses.create(model="m", input="?", stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].response == expected
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert deltas == expected.output_text


@pytest.mark.parametrize("name", pairs("anthropic.messages"))
def test_messages(up, an, name):
    up.then(whole(f"anthropic.messages/{name}"), streamed(f"anthropic.messages/{name}"))
    expected = an.messages.create(model="m", max_tokens=9, messages=USER)
    with an.messages.stream(model="m", max_tokens=9, messages=USER) as stream:
        final = stream.get_final_message()
    keys = {"content", "stop_reason", "stop_sequence", "usage", "id"}
    assert final.model_dump(include=keys, exclude_none=True) == expected.model_dump(include=keys, exclude_none=True)


def test_embeddings_are_the_same_in_both_encodings(up, oa):
    up.then(whole("openai.embeddings/float"), whole("openai.embeddings/base64"))
    numbers = oa.embeddings.create(model="m", input=["a", "b"], encoding_format="float")
    packed = oa.embeddings.create(model="m", input=["a", "b"])
    assert [list(row.embedding) for row in packed.data] == [row.embedding for row in numbers.data]


@pytest.mark.parametrize("name", ["error_mid", "error_first"])
def test_message_errors_are_read_as_errors(up, an, name):
    up.then(streamed(f"anthropic.messages/{name}"))
    with (
        pytest.raises(anthropic.APIStatusError, match="Every mill"),
        an.messages.stream(model="m", max_tokens=9, messages=USER) as stream,
    ):
        stream.until_done()
