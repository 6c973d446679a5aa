"""The official SDKs, with their own strict parsing, through headgate to a real llama.cpp engine. It is asked in chat;
messages and responses are translated. Its weights are random, so what it says means nothing, and only what must hold
for any model is checked."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anthropic
import openai
import pytest
from pydantic import BaseModel

from gateway.running import RunningGateway
from headgate.relay.record import Outcome

pytestmark = pytest.mark.real

USER = [{"role": "user", "content": "How high is the water?"}]
MODEL = "local/headgate-demo"
STRICT: dict[str, Any] = {"_strict_response_validation": True}
GAUGE = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}


class Answer(BaseModel):
    yes: bool


@pytest.fixture(scope="module")
def running(demo_engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    local = {"name": "local", "kind": "llamacpp", "base_url": demo_engine}
    gateway = RunningGateway({"providers": [local]}, tmp_path_factory.mktemp("gateway")).start()
    yield gateway
    gateway.stop()
    assert gateway.defects == []
    assert gateway.errors_logged() == []


@pytest.fixture(autouse=True)
def _only_this_test(running: RunningGateway) -> None:
    running.forget()


@pytest.fixture
def oa(running: RunningGateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=running.base_url, api_key="none", max_retries=0, **STRICT) as client:
        yield client


@pytest.fixture
def lenient(running: RunningGateway) -> Iterator[openai.OpenAI]:
    """For what the engine answers itself: its completions and embeddings leave out fields of OpenAI's."""
    with openai.OpenAI(base_url=running.base_url, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def an(running: RunningGateway) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=running.origin, api_key="none", max_retries=0, **STRICT) as client:
        yield client


@pytest.fixture
async def aoa(running: RunningGateway) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=running.base_url, api_key="none", max_retries=0, **STRICT) as client:
        yield client


def test_models(oa, an):
    assert [model.id for model in oa.models.list()] == [MODEL]
    assert [model.id for model in an.models.list()] == [MODEL]


def test_chat_whole_and_streamed(oa, running):
    whole = oa.chat.completions.create(model=MODEL, messages=USER, max_tokens=16)
    assert whole.choices[0].message.content and whole.choices[0].finish_reason in ("length", "stop")
    chunks = list(oa.chat.completions.create(model="headgate-demo", messages=USER, max_tokens=16, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert all(chunk.choices for chunk in chunks), "the usage chunk is not for who did not ask for it"
    first, second = running.records(2)
    assert whole.usage.completion_tokens == first.usage.output_tokens == 16
    assert second.usage.output_tokens == 16 and second.attempts[0].first_token_s > 0


async def test_chat_async(aoa):
    stream = await aoa.chat.completions.create(
        model=MODEL, messages=USER, max_tokens=8, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].usage.completion_tokens == 8


def test_completions_whole_and_streamed(lenient, running):
    assert lenient.completions.create(model=MODEL, prompt="The river", max_tokens=8).choices[0].text
    chunks = list(lenient.completions.create(model=MODEL, prompt="The river", max_tokens=8, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)
    assert [record.usage.output_tokens for record in running.records(2)] == [8, 8]


def test_embeddings_as_numbers_and_as_base64(lenient):
    numbers = lenient.embeddings.create(model=MODEL, input=["a river", "a lake"], encoding_format="float")
    packed = lenient.embeddings.create(model=MODEL, input=["a river", "a lake"])
    assert len(numbers.data) == 2 and numbers.usage.prompt_tokens > 0
    for left, right in zip(numbers.data, packed.data, strict=True):
        assert left.embedding == pytest.approx(list(right.embedding), rel=1e-3, abs=1e-5)


def test_responses_whole_and_streamed(oa, running):
    whole = oa.responses.create(model=MODEL, input="How high?", max_output_tokens=16)
    assert whole.output and whole.usage.output_tokens > 0
    events = list(oa.responses.create(model=MODEL, input="How high?", max_output_tokens=16, stream=True))
    assert events[-1].type in ("response.completed", "response.incomplete")
    assert any(event.type.endswith(".delta") for event in events)
    assert {record.outcome for record in running.records(2)} == {Outcome.COMPLETED}


def test_a_tool_is_called_when_it_must_be(oa):
    tool = {"type": "function", "function": {"name": "read_gauge", "parameters": GAUGE}}
    asked = {"model": MODEL, "messages": USER, "tools": [tool], "tool_choice": "required", "max_tokens": 200}
    [call] = oa.chat.completions.create(**asked).choices[0].message.tool_calls[:1]
    assert call.function.name == "read_gauge"
    with oa.chat.completions.stream(**asked) as stream:
        [call] = stream.get_final_completion().choices[0].message.tool_calls[:1]
    assert call.function.name == "read_gauge"


def test_structured_output_fits_its_schema(oa):
    parsed = oa.chat.completions.parse(model=MODEL, messages=USER, response_format=Answer, max_tokens=200)
    assert isinstance(parsed.choices[0].message.parsed, Answer)
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": Answer.model_json_schema()}}
    stream = oa.chat.completions.create(model=MODEL, messages=USER, response_format=form, max_tokens=200, stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert isinstance(json.loads(text)["yes"], bool)


def test_messages_whole_and_streamed(an, running):
    whole = an.messages.create(model=MODEL, max_tokens=16, messages=USER)
    assert whole.content[0].text and whole.stop_reason in ("max_tokens", "end_turn")
    with an.messages.stream(model=MODEL, max_tokens=16, messages=USER, system="Be brief.") as stream:
        final = stream.get_final_message()
    assert final.content[0].text and final.usage.output_tokens == 16
    assert [record.usage.output_tokens for record in running.records(2)] == [16, 16]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_loop_of_tools_in_messages(an, running, stream):
    messages: list[Any] = list(USER)
    tools = [{"name": "read_gauge", "description": "Reads a gauge.", "input_schema": GAUGE}]
    for turn in range(3):
        choice = {"type": "any" if turn < 2 else "none"}
        asked = {"model": MODEL, "max_tokens": 400, "messages": messages, "tools": tools, "tool_choice": choice}
        if stream:
            with an.messages.stream(**asked) as events:
                message = events.get_final_message()
        else:
            message = an.messages.create(**asked)
        calls = [block for block in message.content if block.type == "tool_use"]
        if turn == 2:
            assert not calls and message.content
            break
        assert message.stop_reason == "tool_use" and {call.name for call in calls} == {"read_gauge"}
        assert all(isinstance(call.input["place"], str) for call in calls)
        results = [{"type": "tool_result", "tool_use_id": call.id, "content": "1.20 m"} for call in calls]
        messages += [message.to_param(), {"role": "user", "content": results}]
    assert {record.attempts[0].translated_to for record in running.records(3)} == {"openai.chat"}


def test_a_tool_and_a_form_in_responses(oa):
    tool = {"type": "function", "name": "read_gauge", "parameters": GAUGE, "strict": False}
    asked = {"model": MODEL, "input": "How high?", "tools": [tool], "tool_choice": "required", "max_output_tokens": 400}
    with oa.responses.stream(**asked) as stream:
        streamed = stream.get_final_response()
    for response in (oa.responses.create(**asked), streamed):
        calls = [item for item in response.output if item.type == "function_call"]
        assert calls and isinstance(json.loads(calls[0].arguments)["place"], str)
    outputs = [{"type": "function_call_output", "call_id": call.call_id, "output": "1.20 m"} for call in calls]
    again = [call.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for call in calls]
    items: list[Any] = [*USER, *again, *outputs]
    assert oa.responses.create(model=MODEL, input=items, max_output_tokens=16).output
    assert isinstance(
        oa.responses.parse(model=MODEL, input="?", text_format=Answer, max_output_tokens=400).output_parsed, Answer
    )


def test_tokens_are_counted(an):
    few = an.messages.count_tokens(model=MODEL, messages=USER).input_tokens
    more = an.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": "water " * 100}]).input_tokens
    assert 0 < few < more


def test_what_the_engine_refuses_is_told_in_its_words(oa, an):
    long = [{"role": "user", "content": "water " * 100_000}]
    with pytest.raises(openai.BadRequestError, match="context") as caught:
        oa.chat.completions.create(model=MODEL, messages=long)
    assert caught.value.body["source"] == "local"
    with pytest.raises(anthropic.BadRequestError, match="context"):
        an.messages.create(model=MODEL, max_tokens=9, messages=long)
    with pytest.raises(openai.APIStatusError) as refused:
        image = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]
        oa.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": image}])
    assert refused.value.body["source"] == "local"


def test_a_client_that_leaves_frees_the_engine(oa, running):
    for _ in range(8):  # twice as many as the engine has slots
        stream = oa.chat.completions.create(model=MODEL, messages=USER, max_tokens=4000, stream=True)
        next(iter(stream))
        stream.close()
    assert oa.chat.completions.create(model=MODEL, messages=USER, max_tokens=1).choices
    outcomes = [record.outcome for record in running.records(9)]
    assert outcomes.count(Outcome.CLIENT_GONE) == 8
