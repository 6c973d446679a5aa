"""The official openai SDK through headgate to an upstream that speaks its dialects: what it reads is what was said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import openai
import pytest
from pydantic import BaseModel

from gateway.running import PROVIDER_KEY, provider
from headgate.relay.record import Outcome
from headgate.testing import Call, ScriptedUpstream, Turn, Vendor, faults
from headgate.testing import vendor_openai as o
from headgate.testing import vendor_responses as r
from headgate.testing.vendor import SENTENCE

USER = [{"role": "user", "content": "How high is the water?"}]
PICTURE = "data:image/png;base64,iVBORw0KGgo="
GAUGE = {"type": "object", "properties": {"place": {"type": "string"}, "days": {"type": "integer"}}}
TOOLS = [{"type": "function", "function": {"name": name, "parameters": GAUGE}} for name in ("read_gauge", "open_gate")]
MODELS = ["gpt-4o-mini", "gpt-4.1", "m"]


class Level(BaseModel):
    place: str
    metres: float


@pytest.fixture
def up() -> Iterator[ScriptedUpstream]:
    """Answers nobody who does not have the provider's key."""
    with ScriptedUpstream(otherwise=Vendor(keys=[PROVIDER_KEY])) as upstream:
        yield upstream
    assert upstream.malformed == []


@pytest.fixture
def running(gateway, up):
    return gateway(provider(up, models=MODELS))


@pytest.fixture
def oa(running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=running.base_url, api_key="sk-client", max_retries=0) as client:
        yield client


@pytest.fixture
async def aoa(running) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=running.base_url, api_key="sk-client", max_retries=0) as client:
        yield client


class TestChat:
    def test_a_whole_answer_has_its_headers(self, oa, up, running):
        raw = oa.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=USER)
        answer = raw.parse()
        assert answer.choices[0].message.content == SENTENCE and answer.usage.completion_tokens == 9
        assert raw.headers["x-headgate-target"] == "up/gpt-4o-mini"
        assert answer._request_id == raw.headers["x-request-id"]
        [request] = up.requests
        assert request.header("authorization") == f"Bearer {PROVIDER_KEY}"
        assert "OpenAI/Python" in request.header("user-agent")
        assert running.record().usage.output_tokens == 9

    def test_a_stream_is_the_same_text(self, oa, running):
        chunks = list(oa.chat.completions.create(model="gpt-4o-mini", messages=USER, stream=True))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == SENTENCE
        assert all(chunk.usage is None for chunk in chunks)
        assert running.record().usage.output_tokens == 9

    def test_a_stream_ends_with_its_usage_when_asked(self, oa):
        options = {"include_usage": True}
        chunks = list(oa.chat.completions.create(model="m", messages=USER, stream=True, stream_options=options))
        assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == 9

    def test_parallel_tool_calls_come_whole_and_in_pieces(self, oa):
        answer = oa.chat.completions.create(model="m", messages=USER, tools=TOOLS)
        calls = answer.choices[0].message.tool_calls
        assert [call.function.name for call in calls] == ["read_gauge", "open_gate"]
        with oa.chat.completions.stream(model="m", messages=USER, tools=TOOLS) as stream:
            streamed = stream.get_final_completion().choices[0].message.tool_calls
        assert [call.function.arguments for call in streamed] == [call.function.arguments for call in calls]
        one = oa.chat.completions.create(model="m", messages=USER, tools=TOOLS, parallel_tool_calls=False)
        assert len(one.choices[0].message.tool_calls) == 1

    def test_the_result_of_a_tool_is_answered(self, oa):
        said = oa.chat.completions.create(model="m", messages=USER, tools=TOOLS, parallel_tool_calls=False)
        [call] = said.choices[0].message.tool_calls
        result = {"role": "tool", "tool_call_id": call.id, "content": "3 m"}
        messages = [*USER, said.choices[0].message.model_dump(exclude_none=True), result]
        assert oa.chat.completions.create(model="m", messages=messages, tools=TOOLS).choices[0].message.content

    def test_structured_output_is_parsed(self, oa):
        answer = oa.chat.completions.parse(model="m", messages=USER, response_format=Level)
        assert answer.choices[0].message.parsed == Level(place="a word", metres=1.5)
        with oa.chat.completions.stream(model="m", messages=USER, response_format=Level) as stream:
            assert stream.get_final_completion().choices[0].message.parsed == Level(place="a word", metres=1.5)

    def test_images_arrive(self, oa, up):
        content = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": PICTURE}}]
        oa.chat.completions.create(model="m", messages=[{"role": "user", "content": content}])
        assert up.requests[0].json()["messages"][0]["content"] == content

    def test_choices_reasoning_refusals_and_logprobs_arrive(self, oa, up):
        with oa.chat.completions.stream(model="m", messages=USER, n=3) as stream:
            final = stream.get_final_completion()
        assert [choice.message.content for choice in final.choices] == [SENTENCE] * 3
        up.then(o.chat_stream(Turn(refusal="I will not.")), o.chat_stream(Turn("Yes."), logprobs=True))
        with oa.chat.completions.stream(model="m", messages=USER) as stream:
            assert stream.get_final_completion().choices[0].message.refusal == "I will not."
        with oa.chat.completions.stream(model="m", messages=USER, logprobs=True) as stream:
            assert stream.get_final_completion().choices[0].logprobs.content[0].token == "Yes."
        up.then(o.chat_stream(Turn("So.", reasoning="Let me think.")))
        chunks = list(oa.chat.completions.create(model="m", messages=USER, stream=True))
        thoughts = [c.choices[0].delta.model_extra.get("reasoning_content") or "" for c in chunks if c.choices]
        assert "".join(thoughts) == "Let me think."


class TestOtherInterfaces:
    def test_completions(self, oa):
        answer = oa.completions.create(model="m", prompt=["The river", "The lake"], n=2)
        assert [choice.text for choice in answer.choices] == [SENTENCE] * 4
        chunks = list(oa.completions.create(model="m", prompt="The river", stream=True))
        assert "".join(chunk.choices[0].text for chunk in chunks) == SENTENCE
        assert chunks[-1].choices[0].finish_reason == "stop"

    def test_embeddings_are_the_same_as_numbers_and_as_base64(self, oa, up):
        numbers = oa.embeddings.create(model="m", input=["a", "b"], encoding_format="float")
        packed = oa.embeddings.create(model="m", input=["a", "b"])
        assert up.requests[1].json()["encoding_format"] == "base64"
        for left, right in zip(numbers.data, packed.data, strict=True):
            assert left.embedding == pytest.approx(list(right.embedding), rel=1e-6)
        assert len(oa.embeddings.create(model="m", input="a", dimensions=3).data[0].embedding) == 3

    def test_models(self, oa):
        assert [model.id for model in oa.models.list()] == [f"up/{name}" for name in MODELS]
        assert oa.models.retrieve("up/gpt-4.1").id == "up/gpt-4.1"
        with pytest.raises(openai.NotFoundError, match="there is no model 'gpt-none' here"):
            oa.models.retrieve("gpt-none")


class TestResponses:
    def test_text_whole_and_streamed(self, oa):
        whole = oa.responses.create(model="gpt-4.1", input="How high?", instructions="Be brief.")
        assert whole.output_text == SENTENCE and whole.status == "completed" and whole.instructions == "Be brief."
        events = list(oa.responses.create(model="gpt-4.1", input="How high?", stream=True))
        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert events[0].type == "response.created" and events[-1].response.output_text == SENTENCE

    def test_the_helper_for_streams_accumulates_all_kinds_of_output(self, oa, up):
        turn = Turn("Done.", calls=[Call("read_gauge", {"place": "weir"})], reasoning="First look.")
        up.then(r.responses_stream(turn))
        with oa.responses.stream(model="gpt-4.1", input="x") as stream:
            kinds = [item.type for item in stream.get_final_response().output]
        assert kinds == ["reasoning", "message", "function_call"]

    def test_structured_output_tools_and_images(self, oa, up):
        assert oa.responses.parse(model="gpt-4.1", input="x", text_format=Level).output_parsed.metres == 1.5
        tools = [{"type": "function", "name": n, "parameters": GAUGE, "strict": False} for n in ("one", "two")]
        calls = oa.responses.create(model="gpt-4.1", input="x", tools=tools).output
        assert [(call.type, call.name) for call in calls] == [("function_call", "one"), ("function_call", "two")]
        content = [{"type": "input_image", "image_url": PICTURE, "detail": "auto"}]
        oa.responses.create(model="gpt-4.1", input=[{"role": "user", "content": content}])
        assert up.requests[-1].json()["input"][0]["content"] == content

    def test_an_incomplete_response_is_an_answer(self, oa, up):
        up.then(r.responses_stream(Turn("Cut"), status="incomplete"))
        last = list(oa.responses.create(model="gpt-4.1", input="x", stream=True))[-1]
        assert last.type == "response.incomplete" and last.response.incomplete_details.reason == "max_output_tokens"


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "error", "becomes"),
        [
            (400, openai.BadRequestError, 400),
            (401, openai.InternalServerError, 502),
            (403, openai.InternalServerError, 502),
            (404, openai.NotFoundError, 404),
            (413, openai.APIStatusError, 413),
            (422, openai.UnprocessableEntityError, 422),
            (429, openai.RateLimitError, 429),
            (500, openai.InternalServerError, 500),
            (503, openai.InternalServerError, 503),
            (529, openai.InternalServerError, 529),
        ],
    )
    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
    def test_an_upstreams_error_raises_the_right_exception(self, oa, up, status, error, becomes, stream):
        up.then(o.error_answer(status, retry_after_s=2))
        with pytest.raises(error) as caught:
            oa.chat.completions.create(model="m", messages=USER, stream=stream)
        assert (caught.value.status_code, caught.value.body["source"]) == (becomes, "up")
        if becomes == status:
            kind, code, message = o.ERRORS[status]
            assert (caught.value.type, caught.value.code, caught.value.body["message"]) == (kind, code, message)
            assert caught.value.response.headers["retry-after"] == "2"
        else:
            assert caught.value.code == "upstream_credentials" and "api_key" in caught.value.message
            assert "sk-te**wxyz" not in caught.value.message

    def test_a_model_that_is_not_there(self, oa):
        with pytest.raises(openai.NotFoundError, match="nothing here serves the model 'gpt-5'") as caught:
            oa.chat.completions.create(model="gpt-5", messages=USER)
        assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
        assert caught.value.body["source"] == "headgate"

    def test_a_wrong_key_and_a_right_one(self, gateway, up, client_key):
        secret = client_key("alice", rpm=1)
        running = gateway(provider(up, models=MODELS), auth="keys")
        with openai.OpenAI(base_url=running.base_url, api_key="hg-wrong", max_retries=0) as client:
            with pytest.raises(openai.AuthenticationError, match="not known here"):
                client.chat.completions.create(model="m", messages=USER)
            with pytest.raises(openai.AuthenticationError):
                client.models.list()
            right = client.with_options(api_key=secret)
            assert right.chat.completions.create(model="m", messages=USER).choices
            with pytest.raises(openai.RateLimitError, match="1 requests in a minute") as caught:
                right.chat.completions.create(model="m", messages=USER)
        assert 1 <= int(caught.value.response.headers["retry-after"]) <= 61
        assert all("hg-" not in str(request.headers) for request in up.requests)

    def test_the_sdks_own_retry_obeys_the_time_to_wait(self, running, up):
        up.then(o.error_answer(429, retry_after_s=0.05), o.chat_answer(Turn("At last.")))
        with openai.OpenAI(base_url=running.base_url, api_key="k", max_retries=2) as client:
            answer = client.chat.completions.create(model="m", messages=USER)
        assert answer.choices[0].message.content == "At last."

    def test_a_stream_that_breaks_raises_in_the_middle(self, oa, up, running):
        up.then(faults.cut(o.chat_stream(Turn("One two three.")), 3))
        said = []
        with pytest.raises(openai.APIError, match="provider up closed the connection in the middle"):
            for chunk in oa.chat.completions.create(model="m", messages=USER, stream=True):
                said.append(chunk.choices[0].delta.content or "")
        assert "".join(said) == "One two" and running.record().outcome is Outcome.BROKEN

    def test_a_response_that_breaks_raises_in_the_middle(self, oa, up):
        up.then(faults.cut(r.responses_stream(Turn("One two three.")), 6))
        with pytest.raises(openai.APIError, match="in the middle"):
            list(oa.responses.create(model="gpt-4.1", input="x", stream=True))

    def test_an_upstreams_error_in_a_stream_raises_with_its_words(self, oa, up):
        up.then(faults.error_after(o.chat_stream(Turn("One two three.")), 3))
        with pytest.raises(openai.APIError, match="broke in the middle"):
            list(oa.chat.completions.create(model="m", messages=USER, stream=True))


class TestAsync:
    async def test_chat_whole_and_streamed(self, aoa):
        answer = await aoa.chat.completions.create(model="m", messages=USER)
        stream = await aoa.chat.completions.create(model="m", messages=USER, stream=True)
        assert "".join([c.choices[0].delta.content or "" async for c in stream]) == SENTENCE
        assert answer.choices[0].message.content == SENTENCE

    async def test_fifty_streams_at_once(self, aoa, running):
        async def one(number: int) -> str:
            stream = await aoa.chat.completions.create(model="m", messages=USER, stream=True, seed=number)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        assert await asyncio.gather(*map(one, range(50))) == [SENTENCE] * 50
        assert {record.outcome for record in running.records(50)} == {Outcome.COMPLETED}

    async def test_the_rest(self, aoa):
        parsed = await aoa.chat.completions.parse(model="m", messages=USER, response_format=Level)
        assert parsed.choices[0].message.parsed.metres == 1.5
        assert (await aoa.embeddings.create(model="m", input="x")).data[0].embedding
        assert (await aoa.completions.create(model="m", prompt="x")).choices[0].text == SENTENCE
        assert (await aoa.responses.create(model="m", input="x")).output_text == SENTENCE
        assert [model.id async for model in aoa.models.list()] == [f"up/{name}" for name in MODELS]
        async with aoa.responses.stream(model="m", input="x") as stream:
            assert (await stream.get_final_response()).output_text == SENTENCE
        async with aoa.chat.completions.stream(model="m", messages=USER, tools=TOOLS) as stream:
            assert len((await stream.get_final_completion()).choices[0].message.tool_calls) == 2

    async def test_errors(self, aoa, up):
        up.then(o.error_answer(429, retry_after_s=1), faults.cut(o.chat_stream(Turn("One two three.")), 3))
        with pytest.raises(openai.RateLimitError):
            await aoa.chat.completions.create(model="m", messages=USER)
        with pytest.raises(openai.APIError, match="in the middle"):
            async for _ in await aoa.chat.completions.create(model="m", messages=USER, stream=True):
                pass
        with pytest.raises(openai.NotFoundError):
            await aoa.embeddings.create(model="none", input="x")

    async def test_a_stream_that_is_closed_early_is_closed_upstream(self, aoa, up, running):
        up.then(faults.stall(o.chat_stream(Turn("One two three.")), 3))
        stream = await aoa.chat.completions.create(model="m", messages=USER, stream=True)
        assert (await anext(aiter(stream))).choices
        await stream.close()
        await asyncio.to_thread(up.run, up.over(up.requests[0]))
        assert up.requests[0].aborted
        assert (await asyncio.to_thread(running.record)).outcome is Outcome.CLIENT_GONE
