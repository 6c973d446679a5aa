"""The official SDKs, pointed directly at the scripted upstream, read its answers: so what is sent through the gateway
to this fake, and read back by these SDKs, means something."""

from __future__ import annotations

import asyncio

import anthropic
import openai
import pytest
from pydantic import BaseModel

from headgate.testing import Call, ScriptedUpstream, Turn, Usage, Vendor, faults
from headgate.testing import vendor_anthropic as a
from headgate.testing import vendor_openai as o
from headgate.testing import vendor_responses as r
from headgate.testing.vendor import SENTENCE

USER = [{"role": "user", "content": "How high is the water?"}]
PICTURE = "data:image/png;base64,iVBORw0KGgo="
GAUGE = {"type": "object", "properties": {"place": {"type": "string"}, "days": {"type": "integer"}}}
TOOLS = [
    {"type": "function", "function": {"name": "read_gauge", "parameters": GAUGE}},
    {"type": "function", "function": {"name": "open_gate", "parameters": GAUGE}},
]


class Level(BaseModel):
    place: str
    metres: float


@pytest.fixture
def up():
    with ScriptedUpstream(otherwise=Vendor(keys=["sk-test"])) as upstream:
        yield upstream
    assert upstream.malformed == []


@pytest.fixture
def oa(up):
    with openai.OpenAI(base_url=up.base_url, api_key="sk-test", max_retries=0) as client:
        yield client


@pytest.fixture
def an(up):
    with anthropic.Anthropic(base_url=up.origin, api_key="sk-test", max_retries=0) as client:
        yield client


class TestChat:
    def test_a_text_has_usage_ids_and_headers(self, up, oa):
        raw = oa.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=USER)
        answer = raw.parse()
        assert answer.choices[0].message.content == SENTENCE
        assert answer.choices[0].finish_reason == "stop"
        assert answer.id.startswith("chatcmpl-") and answer.usage.total_tokens > answer.usage.prompt_tokens > 0
        assert answer.usage.prompt_tokens_details.cached_tokens == 0
        assert raw.headers["x-request-id"].startswith("req_") and raw.headers["x-ratelimit-remaining-tokens"]
        [request] = up.requests
        assert (request.method, request.path) == ("POST", "/v1/chat/completions")
        assert request.header("authorization") == "Bearer sk-test"
        assert request.json()["messages"] == USER
        up.run(up.over(request))  # the upstream's own thread may note the end after the client has it
        assert not request.aborted and request.finished_s >= request.received_s

    def test_a_stream_is_the_same_text_and_ends_with_its_usage_when_asked(self, oa):
        options = {"include_usage": True}
        chunks = list(
            oa.chat.completions.create(model="gpt-4o-mini", messages=USER, stream=True, stream_options=options)
        )
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == SENTENCE
        assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == 9
        assert [c.usage for c in chunks[:-1]] == [None] * (len(chunks) - 1)
        assert chunks[-2].choices[0].finish_reason == "stop"

    def test_a_stream_has_no_usage_unless_asked(self, oa):
        chunks = list(oa.chat.completions.create(model="gpt-4o-mini", messages=USER, stream=True))
        assert all(chunk.usage is None and chunk.choices for chunk in chunks)

    def test_parallel_tool_calls_come_whole_and_in_pieces(self, oa):
        answer = oa.chat.completions.create(model="gpt-4o-mini", messages=USER, tools=TOOLS)
        calls = answer.choices[0].message.tool_calls
        assert [call.function.name for call in calls] == ["read_gauge", "open_gate"]
        assert answer.choices[0].finish_reason == "tool_calls" and answer.choices[0].message.content is None
        with oa.chat.completions.stream(model="gpt-4o-mini", messages=USER, tools=TOOLS) as stream:
            streamed = stream.get_final_completion().choices[0].message.tool_calls
        assert [c.function.arguments for c in streamed] == [c.function.arguments for c in calls]
        assert all(call.id.startswith("call_") for call in streamed)

    def test_serial_tools_and_results_of_tools_are_respected(self, oa):
        one = oa.chat.completions.create(model="m", messages=USER, tools=TOOLS, parallel_tool_calls=False)
        [call] = one.choices[0].message.tool_calls
        messages = [
            *USER,
            one.choices[0].message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": "3 m"},
        ]
        assert oa.chat.completions.create(model="m", messages=messages, tools=TOOLS).choices[0].message.content

    def test_several_choices_stream_in_turns(self, oa):
        with oa.chat.completions.stream(model="gpt-4o-mini", messages=USER, n=3) as stream:
            indexes = [event.chunk.choices[0].index for event in stream if event.type == "chunk"]
            final = stream.get_final_completion()
        assert indexes[:6] == [0, 1, 2, 0, 1, 2]
        assert [choice.message.content for choice in final.choices] == [SENTENCE] * 3

    def test_structured_output_fits_its_schema(self, oa):
        answer = oa.chat.completions.parse(model="gpt-4o-mini", messages=USER, response_format=Level)
        assert answer.choices[0].message.parsed == Level(place="a word", metres=1.5)

    def test_images_are_accepted(self, up, oa):
        content = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": PICTURE}}]
        oa.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": content}])
        assert up.requests[0].json()["messages"][0]["content"][1]["image_url"]["url"] == PICTURE

    def test_refusal_logprobs_and_reasoning_are_streamed(self, up, oa):
        up.then(o.chat_stream(Turn(refusal="I will not.")), o.chat_stream(Turn("Yes."), logprobs=True))
        with oa.chat.completions.stream(model="m", messages=USER) as stream:
            assert stream.get_final_completion().choices[0].message.refusal == "I will not."
        with oa.chat.completions.stream(model="m", messages=USER, logprobs=True) as stream:
            probs = stream.get_final_completion().choices[0].logprobs
        assert [entry.token for entry in probs.content] == ["Yes."]
        up.then(o.chat_stream(Turn("So.", reasoning="Let me think.")))
        chunks = list(oa.chat.completions.create(model="m", messages=USER, stream=True))
        thought = [c.choices[0].delta.model_extra.get("reasoning_content") or "" for c in chunks if c.choices]
        assert "".join(thought) == "Let me think."

    def test_the_limit_of_tokens_cuts_the_answer(self, oa):
        answer = oa.chat.completions.create(model="m", messages=USER, max_completion_tokens=2)
        assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("Water finds", "length")
        assert answer.usage.completion_tokens == 2

    def test_usage_shows_the_cache(self, up, oa):
        up.then(o.chat_answer(Turn("x"), usage=Usage(input=10, output=5, cached=90, reasoning=3)))
        usage = oa.chat.completions.create(model="m", messages=USER).usage
        assert (usage.prompt_tokens, usage.prompt_tokens_details.cached_tokens) == (100, 90)
        assert usage.completion_tokens_details.reasoning_tokens == 3


class TestOtherOpenAI:
    def test_completions(self, oa):
        answer = oa.completions.create(model="m", prompt="The river", n=2)
        assert [choice.text for choice in answer.choices] == [SENTENCE] * 2 and answer.id.startswith("cmpl-")
        chunks = list(oa.completions.create(model="m", prompt="The river", stream=True))
        assert "".join(chunk.choices[0].text for chunk in chunks) == SENTENCE
        assert chunks[-1].choices[0].finish_reason == "stop"

    def test_embeddings_are_the_same_as_numbers_and_as_base64(self, up, oa):
        numbers = oa.embeddings.create(model="m", input=["a", "b"], encoding_format="float")
        packed = oa.embeddings.create(model="m", input=["a", "b"])  # this SDK asks for base64 by itself
        assert up.requests[1].json()["encoding_format"] == "base64"
        for left, right in zip(numbers.data, packed.data, strict=True):
            assert left.embedding == pytest.approx(list(right.embedding), rel=1e-6)
        assert len(numbers.data) == 2 and numbers.usage.prompt_tokens > 0

    def test_models(self, oa):
        assert [model.id for model in oa.models.list()] == list(Vendor().models)
        assert oa.models.retrieve("gpt-4.1").id == "gpt-4.1"
        with pytest.raises(openai.NotFoundError):
            oa.models.retrieve("gpt-none")

    @pytest.mark.parametrize(
        ("status", "error"),
        [
            (400, openai.BadRequestError),
            (401, openai.AuthenticationError),
            (403, openai.PermissionDeniedError),
            (404, openai.NotFoundError),
            (422, openai.UnprocessableEntityError),
            (429, openai.RateLimitError),
            (500, openai.InternalServerError),
            (529, openai.InternalServerError),
        ],
    )
    def test_errors_have_the_vendors_shape(self, up, oa, status, error):
        up.then(o.error_answer(status, retry_after_s=2))
        with pytest.raises(error) as caught:
            oa.chat.completions.create(model="m", messages=USER)
        assert caught.value.status_code == status and caught.value.type == o.ERRORS[status][0]
        assert caught.value.response.headers["retry-after"] == "2"

    def test_a_wrong_key_or_a_missing_field_is_refused(self, up, oa):
        with pytest.raises(openai.AuthenticationError):
            oa.with_options(api_key="sk-other").models.list()
        with pytest.raises(openai.BadRequestError, match="messages"):
            oa.post("/chat/completions", body={"model": "m"}, cast_to=object)


class TestResponses:
    def test_text_whole_and_streamed(self, oa):
        whole = oa.responses.create(model="gpt-4.1", input="How high?", instructions="Be brief.")
        assert whole.output_text == SENTENCE and whole.status == "completed" and whole.instructions == "Be brief."
        events = list(oa.responses.create(model="gpt-4.1", input="How high?", stream=True))
        assert [event.sequence_number for event in events] == list(range(len(events)))
        kinds = [event.type.removeprefix("response.") for event in events if "delta" not in event.type]
        assert kinds == [
            *("created", "in_progress", "output_item.added", "content_part.added"),
            *("output_text.done", "content_part.done", "output_item.done", "completed"),
        ]
        assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == SENTENCE
        assert events[-1].response.output_text == SENTENCE and events[-1].response.usage.total_tokens > 0

    def test_tools_reasoning_and_refusals_accumulate(self, up, oa):
        turn = Turn("Done.", calls=[Call("read_gauge", {"place": "weir"})], reasoning="First look.")
        up.then(r.responses_stream(turn), r.responses_stream(Turn(refusal="No.")))
        with oa.responses.stream(model="gpt-4.1", input="x") as stream:
            kinds = [item.type for item in stream.get_final_response().output]
        assert kinds == ["reasoning", "message", "function_call"]
        with oa.responses.stream(model="gpt-4.1", input="x") as stream:
            assert stream.get_final_response().output[0].content[0].refusal == "No."

    def test_structured_output_and_tools(self, oa):
        assert oa.responses.parse(model="gpt-4.1", input="x", text_format=Level).output_parsed.metres == 1.5
        tool = {"type": "function", "name": "read_gauge", "parameters": GAUGE, "strict": False}
        [call] = oa.responses.create(model="gpt-4.1", input="x", tools=[tool]).output
        assert (call.type, call.name) == ("function_call", "read_gauge") and call.call_id.startswith("call_")

    @pytest.mark.parametrize("status", ["incomplete", "failed"])
    def test_other_ends(self, up, oa, status):
        up.then(r.responses_stream(Turn("Cut"), status=status))
        last = list(oa.responses.create(model="gpt-4.1", input="x", stream=True))[-1]
        assert last.type == f"response.{status}" and last.response.status == status


class TestMessages:
    def test_text_has_usage_and_headers(self, up, an):
        raw = an.messages.with_raw_response.create(model="claude-haiku-4-5", max_tokens=99, messages=USER)
        message = raw.parse()
        assert message.content[0].text == SENTENCE and message.stop_reason == "end_turn"
        assert message.id.startswith("msg_") and message.usage.output_tokens == 9
        assert raw.headers["request-id"].startswith("req_")
        assert raw.headers["anthropic-ratelimit-input-tokens-limit"] == "400000"
        sent = up.requests[0]
        assert sent.header("anthropic-version") and sent.header("authorization") == "Bearer sk-test"

    def test_the_stream_accumulates_to_the_same(self, an):
        with an.messages.stream(model="claude-haiku-4-5", max_tokens=99, messages=USER) as stream:
            assert "".join(stream.text_stream) == SENTENCE
            final = stream.get_final_message()
        assert final.stop_reason == "end_turn" and final.usage.output_tokens == 9

    def test_tools_and_images(self, an):
        image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
        tools = [{"name": name, "input_schema": GAUGE} for name in ("read_gauge", "open_gate")]
        asked = {
            "model": "claude-haiku-4-5",
            "max_tokens": 99,
            "messages": [{"role": "user", "content": [image, {"type": "text", "text": "?"}]}],
            "tools": tools,
        }
        whole = an.messages.create(**asked)
        with an.messages.stream(**asked) as stream:
            streamed = stream.get_final_message()
        for message in (whole, streamed):
            assert [(block.type, block.name) for block in message.content] == [
                ("tool_use", "read_gauge"),
                ("tool_use", "open_gate"),
            ]
            assert message.content[0].input == {"place": "a word", "days": 3}
            assert message.stop_reason == "tool_use" and message.content[0].id.startswith("toolu_")

    def test_thinking_carries_its_signature(self, an):
        thinking = {"type": "enabled", "budget_tokens": 1024}
        with an.messages.stream(model="claude-haiku-4-5", max_tokens=2048, messages=USER, thinking=thinking) as stream:
            first, second = stream.get_final_message().content
        assert (first.type, second.type) == ("thinking", "text") and first.thinking and first.signature

    def test_pings_first_and_the_cache_in_usage(self, up, an):
        usage = Usage(input=10, output=5, cached=700, cache_write=50)
        up.then(a.messages_stream(Turn("Hi."), usage=usage, ping_first=True))
        with an.messages.stream(model="m", max_tokens=9, messages=USER) as stream:
            final = stream.get_final_message()
        assert final.usage.cache_read_input_tokens == 700 and final.usage.cache_creation_input_tokens == 50
        assert final.usage.input_tokens == 10

    def test_structured_output(self, up, an):
        config = {"format": {"type": "json_schema", "schema": Level.model_json_schema()}}
        message = an.messages.create(model="m", max_tokens=99, messages=USER, output_config=config)
        assert Level.model_validate_json(message.content[0].text).place == "a word"

    def test_count_tokens_and_models(self, an):
        assert an.messages.count_tokens(model="m", messages=USER).input_tokens > 5
        assert [model.id for model in an.models.list()] == list(Vendor().models)
        assert an.models.retrieve("claude-haiku-4-5").type == "model"

    @pytest.mark.parametrize("status", sorted(a.ERRORS))
    def test_errors_have_the_vendors_shape(self, up, an, status):
        up.then(a.error_answer(status))
        with pytest.raises(anthropic.APIStatusError) as caught:
            an.messages.create(model="m", max_tokens=9, messages=USER)
        assert caught.value.status_code == status
        assert caught.value.body["error"]["type"] == a.ERRORS[status][0]

    @pytest.mark.parametrize("header", [("x-api-key", "sk-test"), ("authorization", "Bearer sk-test")])
    def test_a_key_counts_in_either_header(self, up, an, header):
        name, value = header
        headers = {"Authorization": anthropic.Omit(), name: value}
        assert an.messages.count_tokens(model="m", messages=USER, extra_headers=headers).input_tokens
        assert up.requests[0].header(name) == value

    def test_an_error_event_reaches_the_client(self, up, an):
        up.then(faults.error_after(a.messages_stream(Turn("One two three.")), 4, a.error_event()))
        with (
            pytest.raises(anthropic.APIStatusError, match="overloaded"),
            an.messages.stream(model="m", max_tokens=9, messages=USER) as stream,
        ):
            stream.until_done()


class TestScripts:
    def test_a_list_is_used_up_and_a_callable_decides(self, up, oa):
        up.then(o.chat_answer(Turn("first")), lambda request: o.chat_answer(Turn(request.json()["model"])))
        said = [oa.chat.completions.create(model=f"m{n}", messages=USER).choices[0].message.content for n in range(3)]
        assert said == ["first", "m1", SENTENCE]
        assert [request.nth for request in up.requests] == [0, 1, 2] and up.accepted == 1

    def test_a_stalled_stream_goes_on_when_the_test_says_so(self, up, oa):
        event = asyncio.Event()
        up.then(faults.stall(o.chat_stream(Turn("One two.")), 2, event))
        stream = iter(oa.chat.completions.create(model="m", messages=USER, stream=True))
        next(stream)
        assert next(stream).choices[0].delta.content == "One"
        up.call(event.set)
        assert next(stream).choices[0].delta.content == " two."

    def test_a_client_that_leaves_is_noticed(self, up, oa):
        up.then(faults.stall(o.chat_stream(Turn("One two.")), 2))
        stream = oa.chat.completions.create(model="m", messages=USER, stream=True)
        next(iter(stream))
        stream.close()
        up.run(up.over(up.requests[0]))
        assert up.requests[0].aborted and up.requests[0].finished_s is None

    def test_what_a_script_raises_is_raised_where_the_upstream_ends(self):
        with pytest.raises(ZeroDivisionError), ScriptedUpstream(lambda request: 1 // 0) as up:
            client = openai.OpenAI(base_url=up.base_url, api_key="k", max_retries=0)
            with client, pytest.raises(openai.APIConnectionError):
                client.models.list()
