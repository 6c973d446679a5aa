"""The official anthropic SDK through headgate to an upstream that speaks its dialect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import anthropic
import pytest
from pydantic import BaseModel

from gateway.running import PROVIDER_KEY, provider
from headgate.relay.record import Outcome
from headgate.testing import ScriptedUpstream, Turn, Usage, Vendor, faults
from headgate.testing import vendor_anthropic as a
from headgate.testing.vendor import SENTENCE

USER = [{"role": "user", "content": "How high is the water?"}]
GAUGE = {"type": "object", "properties": {"place": {"type": "string"}, "days": {"type": "integer"}}}
TOOLS = [{"name": name, "input_schema": GAUGE} for name in ("read_gauge", "open_gate")]
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
ASK = {"model": "claude-haiku-4-5", "max_tokens": 99, "messages": USER}
MODELS = ["claude-haiku-4-5", "m"]


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
    return gateway(provider(up, kind="anthropic", models=MODELS, dialects=None))


@pytest.fixture
def an(running) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=running.origin, api_key="sk-client", max_retries=0) as client:
        yield client


@pytest.fixture
async def aan(running) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=running.origin, api_key="sk-client", max_retries=0) as client:
        yield client


class TestMessages:
    def test_a_whole_answer_has_its_headers(self, an, up, running):
        raw = an.messages.with_raw_response.create(**ASK)
        message = raw.parse()
        assert message.content[0].text == SENTENCE and message.usage.output_tokens == 9
        assert raw.headers["x-headgate-target"] == "up/claude-haiku-4-5"
        assert message._request_id == raw.headers["request-id"]
        [request] = up.requests
        assert request.header("x-api-key") == PROVIDER_KEY and request.header("authorization") is None
        assert "Anthropic/Python" in request.header("user-agent") and request.header("anthropic-version")
        assert running.record().usage.output_tokens == 9

    def test_the_helper_for_streams_gives_the_same_message(self, an, running):
        with an.messages.stream(**ASK) as stream:
            assert "".join(stream.text_stream) == SENTENCE
            final = stream.get_final_message()
        assert (final.stop_reason, final.usage.output_tokens) == ("end_turn", 9)
        assert running.record().usage.output_tokens == 9

    def test_bare_events_come_in_the_vendors_order(self, an):
        kinds = [event.type for event in an.messages.create(**ASK, stream=True)]
        assert kinds[:2] == ["message_start", "content_block_start"] and kinds[-1] == "message_stop"

    def test_tools_and_images_whole_and_streamed(self, an, up):
        content = [IMAGE, {"type": "text", "text": "?"}]
        asked = {**ASK, "messages": [{"role": "user", "content": content}], "tools": TOOLS}
        whole = an.messages.create(**asked)
        with an.messages.stream(**asked) as stream:
            streamed = stream.get_final_message()
        for message in (whole, streamed):
            assert [(block.type, block.name) for block in message.content] == [
                ("tool_use", "read_gauge"),
                ("tool_use", "open_gate"),
            ]
            assert message.content[0].input == {"place": "a word", "days": 3} and message.stop_reason == "tool_use"
        assert up.requests[0].json()["messages"][0]["content"] == content

    def test_the_result_of_a_tool_is_answered(self, an):
        said = an.messages.create(**ASK, tools=TOOLS[:1])
        result = {"type": "tool_result", "tool_use_id": said.content[0].id, "content": "3 m"}
        messages = [*USER, {"role": "assistant", "content": said.content}, {"role": "user", "content": [result]}]
        assert an.messages.create(**{**ASK, "messages": messages}, tools=TOOLS[:1]).content[0].text == SENTENCE

    def test_thinking_keeps_its_signature(self, an):
        thinking = {"type": "enabled", "budget_tokens": 1024}
        with an.messages.stream(**{**ASK, "max_tokens": 2048}, thinking=thinking) as stream:
            thought, text = stream.get_final_message().content
        assert (thought.type, text.type) == ("thinking", "text") and thought.thinking and thought.signature

    def test_structured_output(self, an):
        config = {"format": {"type": "json_schema", "schema": Level.model_json_schema()}}
        message = an.messages.create(**ASK, output_config=config)
        assert Level.model_validate_json(message.content[0].text).place == "a word"

    def test_the_cache_in_usage_and_a_ping_first(self, an, up, running):
        up.then(a.messages_stream(Turn("Hi."), usage=Usage(10, 5, cached=700, cache_write=50), ping_first=True))
        with an.messages.stream(**ASK) as stream:
            usage = stream.get_final_message().usage
        assert (usage.cache_read_input_tokens, usage.cache_creation_input_tokens, usage.input_tokens) == (700, 50, 10)
        assert running.record().usage.cached_input_tokens == 700

    def test_betas_cross(self, an, up):
        an.beta.messages.create(**ASK, betas=["some-beta-2025-01-01"])
        assert up.requests[0].header("anthropic-beta") == "some-beta-2025-01-01"

    def test_count_tokens(self, an, up):
        assert an.messages.count_tokens(model="m", messages=USER).input_tokens > 5
        up.then(a.error_answer(404))
        assert an.messages.count_tokens(model="m", messages=USER).input_tokens > 1

    def test_models(self, an):
        assert [model.id for model in an.models.list()] == [f"up/{name}" for name in MODELS]
        assert an.models.retrieve("up/m").type == "model"
        with pytest.raises(anthropic.NotFoundError):
            an.models.retrieve("none")


class TestErrors:
    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
    @pytest.mark.parametrize("status", sorted(a.ERRORS))
    def test_an_upstreams_error_raises_the_right_exception(self, an, up, status, stream):
        up.then(a.error_answer(status, retry_after_s=2))
        expected = {
            400: anthropic.BadRequestError,
            401: anthropic.InternalServerError,
            403: anthropic.InternalServerError,
            404: anthropic.NotFoundError,
            429: anthropic.RateLimitError,
        }.get(status, anthropic.APIStatusError)
        with pytest.raises(expected) as caught:
            an.messages.create(**ASK, stream=stream)
        error = caught.value.body["error"]
        assert error["source"] == "up"
        if status in (401, 403):
            assert caught.value.status_code == 502 and error["type"] == "api_error" and "api_key" in error["message"]
        else:
            assert (caught.value.status_code, error["type"], error["message"]) == (status, *a.ERRORS[status])
            assert caught.value.response.headers["retry-after"] == "2"

    def test_a_model_that_is_not_there(self, an):
        with pytest.raises(anthropic.NotFoundError, match="nothing here serves the model 'claude-none'") as caught:
            an.messages.create(**{**ASK, "model": "claude-none"})
        assert caught.value.body["error"]["type"] == "not_found_error"
        assert caught.value.body["request_id"] == caught.value.response.headers["x-headgate-request-id"]

    @pytest.mark.parametrize("how", ["api_key", "auth_token"])
    def test_a_key_counts_in_either_header(self, gateway, up, client_key, how):
        secret = client_key("alice")
        running = gateway(provider(up, kind="anthropic", models=MODELS), auth="keys")
        with anthropic.Anthropic(base_url=running.origin, **{how: secret}, max_retries=0) as client:
            assert client.messages.create(**ASK).content[0].text == SENTENCE
        with anthropic.Anthropic(base_url=running.origin, **{how: "hg-wrong"}, max_retries=0) as client:
            with pytest.raises(anthropic.AuthenticationError, match="not known here") as caught:
                client.messages.create(**ASK)
            assert caught.value.body["error"]["type"] == "authentication_error"

    def test_a_stream_that_breaks_raises_in_the_middle(self, an, up, running):
        up.then(faults.cut(a.messages_stream(Turn("One two three.")), 5))
        said = []
        with pytest.raises(anthropic.APIError, match="in the middle"), an.messages.stream(**ASK) as stream:
            said += stream.text_stream
        assert said == [] or "".join(said).startswith("One")
        assert running.record().outcome is Outcome.BROKEN

    def test_an_overload_in_a_stream_raises_with_its_words(self, an, up):
        up.then(faults.error_after(a.messages_stream(Turn("One two three.")), 5, a.error_event()))
        with pytest.raises(anthropic.APIError, match="overloaded"), an.messages.stream(**ASK) as stream:
            stream.until_done()


class TestAsync:
    async def test_whole_and_streamed(self, aan):
        assert (await aan.messages.create(**ASK)).content[0].text == SENTENCE
        async with aan.messages.stream(**ASK, tools=TOOLS) as stream:
            final = await stream.get_final_message()
        assert [block.name for block in final.content] == ["read_gauge", "open_gate"]

    async def test_fifty_streams_at_once(self, aan, running):
        async def one() -> str:
            async with aan.messages.stream(**ASK) as stream:
                return await stream.get_final_text()

        assert await asyncio.gather(*(one() for _ in range(50))) == [SENTENCE] * 50
        assert {record.outcome for record in running.records(50)} == {Outcome.COMPLETED}

    async def test_counts_models_and_errors(self, aan, up):
        assert (await aan.messages.count_tokens(model="m", messages=USER)).input_tokens > 5
        assert [model.id async for model in aan.models.list()] == [f"up/{name}" for name in MODELS]
        up.then(a.error_answer(529))
        with pytest.raises(anthropic.APIStatusError, match="overloaded"):
            await aan.messages.create(**ASK)
