"""Each official SDK, with its own strict parsing, against an upstream of every dialect: the scripted model answers, and
calls tools, in the upstream's words; the program sees its own vendor's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import anthropic
import openai
import pytest
from pydantic import BaseModel

from gateway.running import PROVIDER_KEY, provider
from headgate.relay.record import Outcome
from headgate.testing import ScriptedUpstream, Turn, Usage, Vendor, faults
from headgate.testing import vendor_anthropic as a
from headgate.testing import vendor_openai as o
from headgate.testing import vendor_responses as r
from headgate.testing.turns import Call
from headgate.testing.vendor import SENTENCE, say

MODEL = "claude-haiku-4-5"
QUESTION = "How high is the water?"
USER: list[Any] = [{"role": "user", "content": QUESTION}]
GAUGE = {
    "type": "object",
    "properties": {"place": {"type": "string"}},
    "required": ["place"],
    "additionalProperties": False,
}
PNG = "iVBORw0KGgo="
SPOKEN = ["openai.chat", "openai.responses", "anthropic.messages"]


class Level(BaseModel):
    place: str
    metres: float


def results_in(body: dict[str, Any]) -> list[str]:
    """The results of tools that the upstream was sent, in any dialect."""
    found = []
    items = body.get("messages") or body.get("input") or []
    for item in items if isinstance(items, list) else []:
        if item.get("role") == "tool":
            found.append(item["content"])
        elif item.get("type") == "function_call_output":
            found.append(item["output"])
        elif isinstance(item.get("content"), list):
            found += [block["content"] for block in item["content"] if block.get("type") == "tool_result"]
    return [one if isinstance(one, str) else "".join(part["text"] for part in one) for one in found]


def loop(body: dict[str, Any]) -> Turn:
    """A model that first reads two gauges at once, then opens a gate, then answers with what it was told."""
    results = results_in(body)
    if not body.get("tools"):
        return Turn(LONG) if "Tell me all." in json.dumps(body) else say(body)
    if not results:
        return Turn("I look.", calls=[Call("read_gauge", {"place": place}) for place in ("weir", "mill")])
    if len(results) == 2:
        return Turn(calls=[Call("open_gate", {"place": "weir"})])
    return Turn("Heard: " + ", ".join(results))


@pytest.fixture(params=SPOKEN)
def spoken(request) -> str:
    return request.param


@pytest.fixture
def up() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(otherwise=Vendor(keys=[PROVIDER_KEY], turn=loop)) as upstream:
        yield upstream
    assert upstream.malformed == []


@pytest.fixture
def running(gateway, up, spoken):
    kind = "anthropic" if spoken == "anthropic.messages" else "openai"
    return gateway(provider(up, kind=kind, models=[MODEL], dialects=[spoken]))


@pytest.fixture
def oa(running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=running.base_url, api_key="sk-client", max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


@pytest.fixture
def an(running) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(
        base_url=running.origin, api_key="sk-client", max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


def run_tool(name: str, arguments: dict[str, Any]) -> str:
    return f"{name} {arguments['place']}"


LONG = "Water finds its level. " * 20
HEARD = "Heard: read_gauge weir, read_gauge mill, open_gate weir"


# --- whole answers, and streams ----------------------------------------------------------------------------------


def test_chat_whole_and_streamed(oa, running):
    raw = oa.chat.completions.with_raw_response.create(model=MODEL, messages=USER, max_tokens=99)
    whole = raw.parse()
    assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == (SENTENCE, "stop")
    assert raw.headers["x-headgate-target"] == f"up/{MODEL}" and "x-headgate-dropped" not in raw.headers
    options = {"include_usage": True}
    with oa.chat.completions.stream(model=MODEL, messages=USER, max_tokens=99, stream_options=options) as stream:
        final = stream.get_final_completion()
    assert (final.choices[0].message.content, final.choices[0].finish_reason) == (SENTENCE, "stop")
    first, second = running.records(2)
    assert whole.usage.completion_tokens == first.usage.output_tokens == 9
    assert final.usage.completion_tokens == second.usage.output_tokens == 9
    assert whole.usage.prompt_tokens == first.usage.input_tokens > 0


def test_the_usage_chunk_of_chat_is_only_for_who_asked(oa):
    chunks = list(oa.chat.completions.create(model=MODEL, messages=USER, stream=True))
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == SENTENCE


def test_responses_whole_and_streamed(oa, running):
    whole = oa.responses.create(model=MODEL, input=QUESTION, instructions="Be brief.", max_output_tokens=99)
    assert (whole.output_text, whole.status, whole.instructions) == (SENTENCE, "completed", "Be brief.")
    with oa.responses.stream(model=MODEL, input=QUESTION, max_output_tokens=99) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert (final.output_text, final.status) == (SENTENCE, "completed")
    assert [event.sequence_number for event in events] == list(range(len(events)))
    first, second = running.records(2)
    assert whole.usage.output_tokens == first.usage.output_tokens == 9
    assert final.usage.output_tokens == second.usage.output_tokens == 9


def test_messages_whole_and_streamed(an, running):
    whole = an.messages.create(model=MODEL, max_tokens=99, messages=USER, system="Be brief.")
    assert (whole.content[0].text, whole.stop_reason) == (SENTENCE, "end_turn")
    with an.messages.stream(model=MODEL, max_tokens=99, messages=USER) as stream:
        assert "".join(stream.text_stream) == SENTENCE
        final = stream.get_final_message()
    assert (final.content[0].text, final.stop_reason) == (SENTENCE, "end_turn")
    first, second = running.records(2)
    assert whole.usage.output_tokens == first.usage.output_tokens == 9
    assert final.usage.output_tokens == second.usage.output_tokens == 9
    assert final.usage.input_tokens == second.usage.input_tokens > 0


def test_an_answer_that_its_limit_cut_says_so(oa, an):
    ask: list[Any] = [{"role": "user", "content": "Tell me all."}]
    chat = oa.chat.completions.create(model=MODEL, messages=ask, max_tokens=16)
    assert chat.choices[0].finish_reason == "length"
    response = oa.responses.create(model=MODEL, input="Tell me all.", max_output_tokens=16)
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    with oa.responses.stream(model=MODEL, input="Tell me all.", max_output_tokens=16) as stream:
        assert list(stream)[-1].type == "response.incomplete"
    message = an.messages.create(model=MODEL, max_tokens=16, messages=ask)
    assert message.stop_reason == "max_tokens"


# --- tools -------------------------------------------------------------------------------------------------------

CHAT_TOOLS: list[Any] = [
    {"type": "function", "function": {"name": name, "parameters": GAUGE}} for name in ("read_gauge", "open_gate")
]
RESPONSES_TOOLS: list[Any] = [
    {"type": "function", "name": name, "parameters": GAUGE, "strict": True} for name in ("read_gauge", "open_gate")
]
MESSAGES_TOOLS: list[Any] = [{"name": name, "input_schema": GAUGE} for name in ("read_gauge", "open_gate")]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_loop_of_tools_in_chat(oa, stream, running):
    messages: list[Any] = list(USER)
    calls = 0
    while True:
        asked = {"model": MODEL, "messages": messages, "tools": CHAT_TOOLS, "max_tokens": 500}
        if stream:
            with oa.chat.completions.stream(**asked) as events:
                choice = events.get_final_completion().choices[0]
        else:
            choice = oa.chat.completions.create(**asked).choices[0]
        if not choice.message.tool_calls:
            break
        assert choice.finish_reason == "tool_calls"
        messages.append(choice.message.model_dump(exclude_none=True, exclude={"parsed"}))
        for call in messages[-1]["tool_calls"]:
            call["function"].pop("parsed_arguments", None)
        for call in choice.message.tool_calls:
            calls += 1
            result = run_tool(call.function.name, json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    assert (choice.message.content, calls) == (HEARD, 3)
    assert {record.outcome for record in running.records(3)} == {Outcome.COMPLETED}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_loop_of_tools_in_responses(oa, stream):
    items: list[Any] = list(USER)
    calls = 0
    while True:
        asked = {"model": MODEL, "input": items, "tools": RESPONSES_TOOLS, "store": False}
        if stream:
            with oa.responses.stream(**asked) as events:
                response = events.get_final_response()
        else:
            response = oa.responses.create(**asked)
        made = [item for item in response.output if item.type == "function_call"]
        if not made:
            break
        items += [item.model_dump(exclude_none=True, exclude={"parsed_arguments", "content"}) for item in made]
        for call in made:
            calls += 1
            result = run_tool(call.name, json.loads(call.arguments))
            items.append({"type": "function_call_output", "call_id": call.call_id, "output": result})
    assert (response.output_text, calls) == (HEARD, 3)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_loop_of_tools_in_messages(an, stream):
    messages: list[Any] = list(USER)
    calls = 0
    while True:
        asked = {"model": MODEL, "messages": messages, "tools": MESSAGES_TOOLS, "max_tokens": 500}
        if stream:
            with an.messages.stream(**asked) as events:
                message = events.get_final_message()
        else:
            message = an.messages.create(**asked)
        made = [block for block in message.content if block.type == "tool_use"]
        if not made:
            break
        assert message.stop_reason == "tool_use"
        messages.append(message.to_param())
        calls += len(made)
        results = [
            {"type": "tool_result", "tool_use_id": one.id, "content": run_tool(one.name, dict(one.input))}
            for one in made
        ]
        messages.append({"role": "user", "content": results})
    assert (message.content[0].text, calls) == (HEARD, 3)


# --- pictures, forms ---------------------------------------------------------------------------------------------


def test_a_picture_arrives_in_the_upstreams_words(oa, an, up, spoken):
    url = f"data:image/png;base64,{PNG}"
    text = {"type": "text", "text": "What is this?"}
    oa.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": [text, {"type": "image_url", "image_url": {"url": url}}]}]
    )
    part = {"type": "input_image", "image_url": url, "detail": "auto"}
    oa.responses.create(
        model=MODEL, input=[{"role": "user", "content": [{"type": "input_text", "text": "What is this?"}, part]}]
    )
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    an.messages.create(
        model=MODEL, max_tokens=9, messages=[{"role": "user", "content": [text, {"type": "image", "source": source}]}]
    )
    for request in up.requests:
        body = request.json()
        [message] = [item for item in body.get("messages") or body["input"] if item.get("role") == "user"]
        said, shown = message["content"]
        assert said["text"] == "What is this?"
        if spoken == "openai.chat":
            assert shown["image_url"]["url"] == url
        elif spoken == "openai.responses":
            assert shown["image_url"] == url
        else:
            assert shown["source"] == source


def test_an_answer_in_a_form(oa, an):
    expected = Level(place="a word", metres=1.5)
    chat = oa.chat.completions.parse(model=MODEL, messages=USER, response_format=Level)
    assert chat.choices[0].message.parsed == expected
    assert oa.responses.parse(model=MODEL, input=QUESTION, text_format=Level).output_parsed == expected
    with oa.responses.stream(model=MODEL, input=QUESTION, text_format=Level) as stream:
        assert stream.get_final_response().output_parsed == expected
    message = an.messages.parse(model=MODEL, max_tokens=99, messages=USER, output_format=Level)
    assert message.parsed_output == expected


# --- reasoning ---------------------------------------------------------------------------------------------------

THOUGHT = "The question first, then the answer."
SIGNATURE = "c2lnbmF0dXJlLW9mLWEtZmFrZQ=="
ENCRYPTED = "gAAAAABmYWtl"


def encrypted(value: Any) -> Any:
    """An answer whose reasoning holds what the vendor would need to take it back."""
    if isinstance(value, list):
        return [encrypted(part) for part in value]
    if not isinstance(value, dict):
        return value
    made = {name: encrypted(part) for name, part in value.items()}
    return {**made, "encrypted_content": ENCRYPTED} if made.get("type") == "reasoning" else made


def encrypted_event(event: Any) -> bytes:
    name, data = event.decode().rstrip().split("\ndata: ")
    return f"{name}\ndata: {json.dumps(encrypted(json.loads(data)))}\n\n".encode()


def thoughts_in(body: dict[str, Any], spoken: str) -> Any:
    """What was thought in the turn before the last, as the upstream is shown it again."""
    if spoken == "openai.responses":
        [item] = [item for item in body["input"] if item.get("type") == "reasoning"]
        assert body["input"].index(item) == 1 and item["id"].startswith("rs_")
        return [item["summary"], item["encrypted_content"]]
    turn = body["messages"][1]
    return turn["content"][0] if spoken == "anthropic.messages" else turn["reasoning_content"]


#: In each dialect: as its vendor wrote it.
THOUGHTS: dict[str, Any] = {
    "openai.chat": THOUGHT,
    "openai.responses": [[{"type": "summary_text", "text": THOUGHT}], ENCRYPTED],
    "anthropic.messages": {"type": "thinking", "thinking": THOUGHT, "signature": SIGNATURE},
}


@pytest.fixture
def thinking(up, spoken) -> None:
    """Two answers of a model that thinks aloud, whole and streamed."""
    turn = Turn("It is high.", reasoning=THOUGHT)
    whole, streamed = r.responses_answer(turn), r.responses_stream(turn)
    made = {
        "openai.chat": (o.chat_answer(turn), o.chat_stream(turn, usage=Usage())),
        "openai.responses": (
            replace(whole, body=encrypted(json.loads(whole.payload()))),
            replace(streamed, events=[encrypted_event(event) for event in streamed.events]),
        ),
        "anthropic.messages": (a.messages_answer(turn), a.messages_stream(turn)),
    }
    up.then(*made[spoken])


def test_thinking_is_shown_in_messages_and_goes_back(an, up, thinking, spoken):
    asked = {"model": MODEL, "max_tokens": 5000, "thinking": {"type": "enabled", "budget_tokens": 2000}}
    whole = an.messages.create(messages=USER, **asked)
    with an.messages.stream(messages=USER, **asked) as stream:
        final = stream.get_final_message()
    for message in (whole, final):
        assert [block.type for block in message.content] == ["thinking", "text"]
        assert message.content[0].thinking == THOUGHT and message.content[0].signature
    an.messages.create(messages=[*USER, final.to_param(), *USER], **asked)
    assert thoughts_in(up.requests[-1].json(), spoken) == THOUGHTS[spoken]


def test_reasoning_is_shown_in_responses_and_goes_back(oa, up, thinking, spoken):
    asked = {"model": MODEL, "include": ["reasoning.encrypted_content"], "reasoning": {"effort": "low"}}
    whole = oa.responses.create(input=USER, **asked)
    with oa.responses.stream(input=USER, **asked) as stream:
        final = stream.get_final_response()
    for response in (whole, final):
        assert [item.type for item in response.output] == ["reasoning", "message"]
        assert response.output[0].summary[0].text == THOUGHT
    again = [item.model_dump(exclude_none=True, exclude={"parsed"}) for item in final.output]
    for part in again[1]["content"]:
        part.pop("parsed", None)
    oa.responses.create(input=[*USER, *again, *USER], **asked)
    assert thoughts_in(up.requests[-1].json(), spoken) == THOUGHTS[spoken]


def test_reasoning_is_shown_in_chat_and_goes_back(oa, up, thinking, spoken):
    asked: dict[str, Any] = {"model": MODEL, "reasoning_effort": "low", "max_completion_tokens": 9000}
    whole = oa.chat.completions.create(messages=USER, **asked)
    assert whole.choices[0].message.reasoning_content == THOUGHT
    chunks = list(oa.chat.completions.create(messages=USER, stream=True, **asked))
    pieces = [getattr(chunk.choices[0].delta, "reasoning_content", None) or "" for chunk in chunks]
    assert "".join(pieces) == THOUGHT
    again = whole.choices[0].message.model_dump(exclude_none=True)
    oa.chat.completions.create(messages=[*USER, again, *USER], **asked)
    assert thoughts_in(up.requests[-1].json(), spoken) == THOUGHTS[spoken]


def test_reasoning_goes_back_from_the_helper_for_streams_too(oa, up, spoken):
    if spoken == "openai.chat":
        pytest.skip("passes untouched")
    turn = Turn("It is high.", reasoning=THOUGHT)
    up.then({"openai.responses": r.responses_stream(turn), "anthropic.messages": a.messages_stream(turn)}[spoken])
    asked: dict[str, Any] = {"model": MODEL, "reasoning_effort": "low", "max_completion_tokens": 9000}
    with oa.chat.completions.stream(messages=USER, **asked) as stream:
        message = stream.get_final_completion().choices[0].message
    again = message.model_dump(exclude_none=True, exclude={"parsed"})
    formats = {entry.get("format") for entry in again["reasoning_details"]}
    assert formats <= {"anthropic-claude-v1", "openai-responses-v1"}
    oa.chat.completions.create(messages=[*USER, again, *USER], **asked)
    if spoken == "anthropic.messages":
        block = up.requests[-1].json()["messages"][1]["content"][0]
        assert block == {"type": "thinking", "thinking": THOUGHT, "signature": SIGNATURE}


# --- what goes wrong ---------------------------------------------------------------------------------------------


@pytest.fixture
def failing(up, spoken):
    """Makes the next answers fail with this status, in the upstream's words."""

    def fail(status: int, times: int, **advice: float) -> None:
        make = a.error_answer if spoken == "anthropic.messages" else o.error_answer
        up.then(*[make(status, "The vendor says no.", **advice) for _ in range(times)])

    return fail


def test_the_upstreams_refusal_has_the_clients_words_and_its_advice(oa, an, failing, spoken):
    failing(429, 3, retry_after_s=7)
    with pytest.raises(openai.RateLimitError) as chat:
        oa.chat.completions.create(model=MODEL, messages=USER)
    with pytest.raises(openai.RateLimitError) as response:
        oa.responses.create(model=MODEL, input=QUESTION)
    with pytest.raises(anthropic.RateLimitError) as message:
        an.messages.create(model=MODEL, max_tokens=9, messages=USER)
    if spoken == "anthropic.messages":
        assert chat.value.type == response.value.type == chat.value.code == "rate_limit_error"
    assert message.value.body["error"]["type"] == "rate_limit_error"
    for error in (chat, response, message):
        assert error.value.response.headers["retry-after"] == "7"
        assert "The vendor says no." in str(error.value)


def test_a_stream_that_breaks_after_content_ends_with_an_error(oa, an, up, spoken):
    streams = {
        "openai.chat": o.chat_stream(Turn("One two three four."), usage=Usage()),
        "openai.responses": r.responses_stream(Turn("One two three four.")),
        "anthropic.messages": a.messages_stream(Turn("One two three four.")),
    }
    after = {"openai.chat": 4, "openai.responses": 6, "anthropic.messages": 5}
    broken = faults.cut(streams[spoken], after=after[spoken])
    up.then(broken, broken, broken)
    with pytest.raises(openai.APIError):
        list(oa.chat.completions.create(model=MODEL, messages=USER, stream=True))
    with pytest.raises(openai.APIError):
        list(oa.responses.create(model=MODEL, input=QUESTION, stream=True))
    with pytest.raises(anthropic.APIError):
        list(an.messages.create(model=MODEL, max_tokens=9, messages=USER, stream=True))
