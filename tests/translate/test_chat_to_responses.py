"""A chat client on an upstream that speaks responses: what each field becomes, and the answer's way back.

The golden cases hold whole examples; here are the rules: the vendor's own types, every row of the table, any stream of
valid events however little the server says in it, and any JSON at any place.
"""

from __future__ import annotations

import copy
from collections import Counter
from contextlib import suppress
from itertools import zip_longest
from typing import Any, NamedTuple

import orjson
import pytest
from cases import GOLDEN, NOW_S, about, holds, translate, translation
from hypothesis import example, given, settings
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from openai.types.responses.response_create_params import (
    ResponseCreateParamsNonStreaming,
    ResponseCreateParamsStreaming,
)
from pydantic import TypeAdapter

from headgate.wire.dialect import Dialect
from headgate.wire.translate import chat_to_responses
from headgate.wire.translate.asked import Asked
from headgate.wire.translate.fields import CHAT_TO_RESPONSES, Fate
from headgate.wire.translate.reasoning import ANTHROPIC, EFFORTS, OPENAI, seal
from headgate.wire.translate.shape import Malformed, Refusal
from headgate.wire.translate.upstream import Upstream, describe

Json = dict[str, Any]

VENDOR = "https://api.openai.com/v1"
LOCAL = "http://127.0.0.1:8080/v1"
HELLO: list[Json] = [{"role": "user", "content": "Hello"}]
CASES = sorted(path.parent for path in (GOLDEN / "chat_to_responses").glob("*/request.json"))
#: What the vendor's own types of a stream leave out: chat streams of tools with free input.
UNTYPED = {"custom_tools"}


def up(model: str = "gpt-4.1", base_url: str = VENDOR) -> Upstream:
    return describe(f"up/{model}", model, Dialect.RESPONSES, base_url)


def sent(model: str = "gpt-4.1", base_url: str = VENDOR, **fields: Any) -> tuple[Json, list[str]]:
    dropped: list[str] = []
    body = chat_to_responses.request({"model": model, "messages": HELLO, **fields}, up(model, base_url), dropped)
    return body, dropped


def refused(model: str = "gpt-4.1", base_url: str = VENDOR, **fields: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        sent(model, base_url, **fields)
    return caught.value


def asked(**fields: Any) -> Asked:
    return Asked({"model": "m", "messages": HELLO, **fields}, {}, up("m", LOCAL), NOW_S)


def chunks_of(raw: str) -> list[Json]:
    return [orjson.loads(line[6:]) for line in raw.splitlines() if line.startswith("data: {")]


# --- the vendor's types ---------------------------------------------------------------------------------------------


def _eager(value: Any) -> Any:
    """Iterables of the vendor's request types are checked as they are read."""
    if isinstance(value, dict):
        return {key: _eager(part) for key, part in value.items()}
    if isinstance(value, str | int | float | None):
        return value
    return [_eager(part) for part in value]


_WHOLE, _STREAMED = TypeAdapter(ResponseCreateParamsNonStreaming), TypeAdapter(ResponseCreateParamsStreaming)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_sent_is_what_the_vendor_documents_and_nothing_else(case):
    body = orjson.loads((case / "sent.json").read_bytes()).get("body")
    if body is not None:
        adapter = _STREAMED if body.get("stream") else _WHOLE
        assert _eager(adapter.validate_python(body)) == body


@pytest.mark.parametrize("case", [c for c in CASES if (c / "answer.upstream.json").exists()], ids=lambda c: c.name)
def test_an_answer_is_a_chat_completion_to_the_vendors_own_types(case):
    Response.model_validate_json((case / "answer.upstream.json").read_bytes(), strict=True)
    ChatCompletion.model_validate_json((case / "answer.client.json").read_bytes(), strict=True)


@pytest.mark.parametrize("case", [c for c in CASES if (c / "stream.upstream.sse").exists()], ids=lambda c: c.name)
def test_a_stream_adds_up_to_the_answer_in_the_vendors_own_library(case):
    if not case.name.startswith("server_"):
        upstream: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
        for event in chunks_of((case / "stream.upstream.sse").read_text()):
            upstream.validate_json(orjson.dumps(event), strict=True)
    if case.name in UNTYPED:
        return
    state: Any = ChatCompletionStreamState()
    for chunk in chunks_of((case / "stream.client.sse").read_text()):
        state.handle_chunk(ChatCompletionChunk.model_validate_json(orjson.dumps(chunk), strict=True))
    streamed = state.current_completion_snapshot.choices[0]
    whole = case / "answer.client.json"
    if whole.exists() and case.name != "citations":
        answer = ChatCompletion.model_validate_json(whole.read_bytes()).choices[0]
        assert (streamed.message.content or None, streamed.message.refusal, streamed.finish_reason) == (
            answer.message.content or None,
            answer.message.refusal,
            answer.finish_reason,
        )
        assert [call.function.arguments for call in streamed.message.tool_calls or ()] == [
            call.function.arguments for call in answer.message.tool_calls or () if call.type == "function"
        ]


# --- the table ------------------------------------------------------------------------------------------------------


def _said(**extra: Any) -> Json:
    return {"messages": [*HELLO, {"role": "assistant", "content": "Hi", **extra}, *HELLO]}


def _part(part: Json) -> Json:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "Look"}, part]}]}


def _called(call: Json, **extra: Any) -> Json:
    return _said(tool_calls=[{"id": "call_1", **call, **extra}])


_CALL = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
_TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
_DETAIL = {"type": "reasoning.encrypted", "data": "gAAA", "id": "rs_1", "format": OPENAI, "index": 0}

#: One request for every row of the table.
EXAMPLES: dict[str, Json] = {
    "model": {},
    "messages": {},
    "messages[].content[]:text": _part({"type": "text", "text": "here"}),
    "messages[].content[]:image_url": _part({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}),
    "messages[].content[]:file": _part({"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBE"}}),
    "messages[].content[].file.file_id": _part({"type": "file", "file": {"file_id": "file-1"}}),
    "messages[].content[]:refusal": _said(content=[{"type": "refusal", "refusal": "No."}]),
    "messages[].content[]:input_audio": _part({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}),
    "messages[].content[].cache_control": _part({"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}),
    "messages[].content[].prompt_cache_breakpoint": _part(
        {"type": "text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}}
    ),
    "messages[].cache_control": _said(cache_control={"type": "ephemeral"}),
    "messages[].annotations": _said(annotations=[{"type": "url_citation", "url_citation": {}}]),
    "messages[].parsed": _said(parsed={"a": 1}),
    "messages[].provider_specific_fields": _said(provider_specific_fields={"a": 1}),
    "messages[].name": {"messages": [{"role": "user", "name": "ada", "content": "Hello"}]},
    "messages[].refusal": _said(refusal="No."),
    "messages[].reasoning_content": {"model": "gpt-5", **_said(reasoning_content="So.", reasoning_details=[_DETAIL])},
    "messages[].reasoning": {"model": "gpt-5", **_said(reasoning="So.", reasoning_details=[_DETAIL])},
    "messages[].reasoning_details": {"model": "gpt-5", **_said(reasoning_details=[_DETAIL])},
    "messages[].tool_calls": _called(_CALL),
    "messages[].tool_calls[]:custom": _called({"type": "custom", "custom": {"name": "f", "input": "x"}}),
    "messages[].tool_calls[].index": _called(_CALL, index=1),
    "messages[].tool_calls[].extra_content": _called(_CALL, extra_content={"google": {}}),
    "messages[].tool_calls[].function.parsed_arguments": _called(
        {"type": "function", "function": {"name": "f", "arguments": "{}", "parsed_arguments": {}}}
    ),
    "messages[].function_call": _said(function_call={"name": "f", "arguments": "{}"}),
    "messages[]:function": {"messages": [{"role": "function", "name": "f", "content": "1"}]},
    "messages[].audio": _said(audio={"id": "audio_1"}),
    "max_tokens": {"max_tokens": 100},
    "max_completion_tokens": {"max_completion_tokens": 100},
    "stream": {"stream": True},
    "stream_options": {"stream": True, "stream_options": {"include_usage": True}},
    "stream_options.include_obfuscation": {"stream": True, "stream_options": {"include_obfuscation": False}},
    "stream_options.continuous_usage_stats": {"stream_options": {"continuous_usage_stats": True}},
    "temperature": {"temperature": 0.5},
    "top_p": {"top_p": 0.5},
    "logprobs": {"logprobs": True},
    "top_logprobs": {"logprobs": True, "top_logprobs": 3},
    "tools": {"tools": [_TOOL]},
    "tools[].cache_control": {"tools": [{**_TOOL, "cache_control": {"type": "ephemeral"}}]},
    "tools[]:custom": {"tools": [{"type": "custom", "custom": {"name": "f"}}]},
    "tool_choice": {"tools": [_TOOL], "tool_choice": "auto"},
    "tool_choice:allowed_tools": {
        "tools": [_TOOL],
        "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [_TOOL]}},
    },
    "tool_choice:custom": {"tools": [_TOOL], "tool_choice": {"type": "custom", "custom": {"name": "f"}}},
    "parallel_tool_calls": {"tools": [_TOOL], "parallel_tool_calls": False},
    "response_format": {"response_format": {"type": "json_object"}},
    "verbosity": {"verbosity": "low"},
    "reasoning_effort": {"model": "gpt-5", "reasoning_effort": "low"},
    "metadata": {"metadata": {"a": "b"}},
    "user": {"user": "u"},
    "safety_identifier": {"safety_identifier": "s"},
    "service_tier": {"service_tier": "flex"},
    "prompt_cache_key": {"prompt_cache_key": "k"},
    "prompt_cache_options": {"prompt_cache_options": {"mode": "explicit"}},
    "prompt_cache_retention": {"prompt_cache_retention": "24h"},
    "moderation": {"moderation": {"model": "omni-moderation-latest"}},
    "n": {"n": 2},
    "stop": {"stop": "\n"},
    "logit_bias": {"logit_bias": {"5": 1}},
    "functions": {"functions": [{"name": "f"}]},
    "function_call": {"function_call": "auto"},
    "modalities": {"modalities": ["text", "audio"]},
    "audio": {"audio": {"voice": "ash", "format": "wav"}},
    "web_search_options": {"web_search_options": {}},
    "seed": {"seed": 1},
    "frequency_penalty": {"frequency_penalty": 1},
    "presence_penalty": {"presence_penalty": 0.5},
    "top_k": {"top_k": 40},
    "prediction": {"prediction": {"type": "content", "content": "Hi"}},
    "store": {"store": True},
    "thinking": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
    **{
        name: {name: 1.1}
        for name in ("min_p", "typical_p", "repetition_penalty", "repeat_penalty", "tfs_z", "mirostat", "top_a")
    },
}


_CALL_ITEM = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
_THOUGHT_ITEM = {"type": "reasoning", "id": "rs_1", "encrypted_content": "gAAA"}


def _shown(**part: Any) -> Json:
    return {"input": [{"role": "user", "content": [part]}]}


#: For every row that is carried, what must be in the body that is made of its example.
BECOMES: dict[str, Json] = {
    "model": {"model": "gpt-4.1"},
    "messages": {"input": HELLO},
    "messages[].content[]:text": _shown(type="input_text", text="here"),
    "messages[].content[]:image_url": _shown(type="input_image", image_url="https://example.com/a.png", detail="auto"),
    "messages[].content[]:file": _shown(type="input_file", file_data="data:application/pdf;base64,JVBE"),
    "messages[].content[].file.file_id": _shown(type="input_file", file_id="file-1"),
    "messages[].content[]:refusal": {"input": [{"role": "assistant", "content": "No."}]},
    "messages[].content[].prompt_cache_breakpoint": _shown(text="a", prompt_cache_breakpoint={"mode": "explicit"}),
    "messages[].refusal": {"input": [{"role": "assistant", "content": "HiNo."}]},
    "messages[].reasoning_content": {"input": [_THOUGHT_ITEM]},
    "messages[].reasoning": {"input": [_THOUGHT_ITEM]},
    "messages[].reasoning_details": {"input": [_THOUGHT_ITEM]},
    "messages[].tool_calls": {"input": [_CALL_ITEM]},
    "messages[].tool_calls[]:custom": {
        "input": [{"type": "custom_tool_call", "call_id": "call_1", "name": "f", "input": "x"}]
    },
    "max_tokens": {"max_output_tokens": 100},
    "max_completion_tokens": {"max_output_tokens": 100},
    "stream": {"stream": True},
    "stream_options": {"stream": True},
    "stream_options.include_obfuscation": {"stream_options": {"include_obfuscation": False}},
    "temperature": {"temperature": 0.5},
    "top_p": {"top_p": 0.5},
    "logprobs": {"include": ["message.output_text.logprobs"]},
    "top_logprobs": {"top_logprobs": 3},
    "tools": {"tools": [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}]},
    "tools[]:custom": {"tools": [{"type": "custom", "name": "f"}]},
    "tool_choice": {"tool_choice": "auto"},
    "tool_choice:allowed_tools": {
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]}
    },
    "tool_choice:custom": {"tool_choice": {"type": "custom", "name": "f"}},
    "parallel_tool_calls": {"parallel_tool_calls": False},
    "response_format": {"text": {"format": {"type": "json_object"}}},
    "verbosity": {"text": {"verbosity": "low"}},
    "reasoning_effort": {"reasoning": {"effort": "low"}, "include": ["reasoning.encrypted_content"]},
    **{
        name: EXAMPLES[name]
        for name in (
            *("metadata", "user", "safety_identifier", "service_tier", "moderation"),
            *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
        )
    },
}


def test_every_carried_row_says_what_it_becomes():
    assert BECOMES.keys() == {name for name, row in CHAT_TO_RESPONSES.items() if row.fate is Fate.CARRIED}


def test_every_row_of_the_table_has_an_example():
    assert EXAMPLES.keys() == CHAT_TO_RESPONSES.keys()


@pytest.mark.parametrize("name", CHAT_TO_RESPONSES)
def test_a_row_of_the_table_is_true(name):
    row = CHAT_TO_RESPONSES[name]
    if row.fate is Fate.REFUSED:
        refusal = refused(**EXAMPLES[name])
        assert refusal.valid and row.note in refusal.why
        leaf = "role" if name == "messages[]:function" else name.partition(":")[0].rpartition(".")[2].strip("[]")
        assert leaf in refusal.field
        return
    body, dropped = sent(**EXAMPLES[name])
    assert holds(body, BECOMES.get(name, {}))
    assert dropped == ([name] if row.fate is Fate.DROPPED else [])


@pytest.mark.parametrize(
    ("name", "idle"),
    [(name, idle) for name, row in CHAT_TO_RESPONSES.items() if name.isidentifier() for idle in (None, *row.idle)],
)
def test_a_value_that_asks_for_nothing_passes_in_silence(name, idle):
    if name in ("model", "messages"):
        return
    assert sent(**{name: idle}) == sent()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"best_of": 2}, "best_of"),
        ({"extra_body": {}}, "extra_body"),
        (_said(prefix=True), "messages[1].prefix"),
        ({"messages": [{"role": "user", "content": "Hi", "tool_calls": [_CALL]}]}, "messages[0].tool_calls"),
        (_part({"type": "video_url", "video_url": {"url": "x"}}), "messages[0].content[1].type"),
        (_part({"type": "refusal", "refusal": "No."}), "messages[0].content[1].type"),
        (_part({"type": "text", "text": "a", "citations": [1]}), "messages[0].content[1].citations"),
        (_said(content=[{"type": "image_url", "image_url": {"url": "x"}}]), "messages[1].content[0].type"),
        (_called({"type": "mcp", "mcp": {}}), "messages[1].tool_calls[0].type"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "function": {"name": "f", "cached": True}}]}, "tools[0].function.cached"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}, "once": True}}, "tool_choice.once"),
        (_said(prefix=False), "messages[1].prefix"),
        (_said(tool_call_id="c"), "messages[1].tool_call_id"),
        ({"messages": [{"role": "user", "content": "Hi", "refusal": "No."}]}, "messages[0].refusal"),
        (_called(_CALL, made_up=1), "messages[1].tool_calls[0].made_up"),
        (
            _called({"type": "function", "function": {"name": "f", "arguments": "{}", "made_up": 1}}),
            "messages[1].tool_calls[0].function.made_up",
        ),
        (
            _called({"type": "custom", "custom": {"name": "f", "input": "", "made_up": 1}}),
            "messages[1].tool_calls[0].custom.made_up",
        ),
        (
            _part({"type": "file", "file": {"file_data": "x", "made_up": 1}}),
            "messages[0].content[1].file.made_up",
        ),
        (_said(content=[{"type": "refusal", "refusal": "x", "text": "y"}]), "messages[1].content[0].text"),
        ({"tools": [{**_TOOL, "made_up": 1}]}, "tools[0].made_up"),
        (
            {"tools": [{"type": "custom", "custom": {"name": "f", "format": {"type": "text", "made_up": 1}}}]},
            "tools[0].custom.format.made_up",
        ),
        (
            {"tools": [{"type": "custom", "custom": {"name": "f", "format": {"type": "ebnf"}}}]},
            "tools[0].custom.format.type",
        ),
        (
            {"tool_choice": {"type": "function", "function": {"name": "f", "made_up": 1}}},
            "tool_choice.function.made_up",
        ),
        (
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "auto", "tools": [{**_TOOL, "made_up": 1}]},
                }
            },
            "tool_choice.allowed_tools.tools[0].made_up",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {}, "made_up": 1}}},
            "response_format.json_schema.made_up",
        ),
        ({"response_format": {"type": "json_object", "json_schema": {}}}, "response_format.json_schema"),
        (
            _called({"type": "function", "function": {"name": "f", "arguments": "[1]"}}),
            "messages[1].tool_calls[0].function.arguments",
        ),
        ({"stream_options": {"every": 5}}, "stream_options.every"),
        ({"response_format": {"type": "text", "style": "x"}}, "response_format.style"),
        (
            _part({"type": "image_url", "image_url": {"url": "x", "format": "y"}}),
            "messages[0].content[1].image_url.format",
        ),
        ({"tool_choice": {"type": "mcp", "server_label": "s"}}, "tool_choice.type"),
        ({"response_format": {"type": "grammar", "grammar": "x"}}, "response_format.type"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
            "response_format.json_schema.schema",
        ),
    ],
)
def test_what_the_table_does_not_name_is_refused(fields, field):
    refusal = refused(**fields)
    assert (refusal.field, refusal.valid) == (field, True) and "up/gpt-4.1" in refusal.why


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [5]}, "messages"),
        ({"messages": [{"role": "ghost", "content": ""}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages"),
        ({"messages": [{"role": "user", "content": []}]}, "messages"),
        ({"messages": [{"role": "user", "content": {}}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "tool", "content": "1"}]}, "messages[0].tool_call_id"),
        (_said(tool_calls=[{"type": "function", "function": {}}]), "messages[1].tool_calls[0].id"),
        (_said(reasoning_details="x"), "messages[1].reasoning_details"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"max_completion_tokens": True}, "max_completion_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"stream": 1}, "stream"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"tools": [{"type": "function", "function": {"name": "f", "strict": 1}}]}, "tools[0].function.strict"),
        ({"tool_choice": "any"}, "tool_choice"),
        ({"reasoning_effort": "extreme"}, "reasoning_effort"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
            "response_format.json_schema.name",
        ),
    ],
)
def test_what_chat_itself_does_not_allow_is_the_clients_fault(fields, field):
    refusal = refused(**fields)
    assert (refusal.field, refusal.valid) == (field, False)


# --- requests -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked_for", "limit"), [(1, 16), (15, 16), (16, 16), (4000, 4000)])
def test_the_output_limit_is_raised_to_the_least_that_is_taken_and_then_named(asked_for, limit):
    body, dropped = sent(max_completion_tokens=asked_for)
    assert body["max_output_tokens"] == limit
    assert dropped == (["max_completion_tokens"] if limit != asked_for else [])


def test_the_newer_name_of_the_limit_counts():
    assert sent(max_tokens=50, max_completion_tokens=60)[0]["max_output_tokens"] == 60


def test_nothing_is_ever_stored():
    assert sent()[0]["store"] is False
    assert sent(store=True)[0]["store"] is False


def test_a_reasoning_model_is_sent_no_sampling_and_asked_for_reasoning_that_can_be_sent_back():
    body, dropped = sent("gpt-5", temperature=1, top_p=0.5)
    assert body["include"] == ["reasoning.encrypted_content"] and not body.keys() & {"temperature", "top_p"}
    assert dropped == ["top_p"]


@pytest.mark.parametrize("effort", EFFORTS)
def test_every_effort_passes(effort):
    body, dropped = sent("qwen3", LOCAL, reasoning_effort=effort)
    assert body["reasoning"] == {"effort": effort} and not dropped
    assert body["include"] == ["reasoning.encrypted_content"]


def test_an_upstream_that_knows_no_effort_is_asked_for_none():
    upstream, dropped = Upstream("up/m", "m", Dialect.RESPONSES), []
    assert "reasoning" not in chat_to_responses.request(
        {"messages": HELLO, "reasoning_effort": "low"}, upstream, dropped
    )
    assert dropped == ["reasoning_effort"]


@pytest.mark.parametrize(("strict", "becomes"), [(None, False), (False, False), (True, True)])
def test_strictness_of_a_tool_is_always_said_since_the_defaults_differ(strict, becomes):
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": strict}}
    assert sent(tools=[tool])[0]["tools"][0]["strict"] is becomes


def test_padding_against_eavesdroppers_ends_at_headgate():
    assert sent(stream=True, stream_options={"include_obfuscation": False})[0]["stream_options"] == {
        "include_obfuscation": False
    }
    body, dropped = sent(stream=True, stream_options={"include_obfuscation": True})
    assert "stream_options" not in body and dropped == ["stream_options.include_obfuscation"]
    assert "stream_options" not in sent(stream_options={"include_obfuscation": False})[0]


def test_a_call_and_its_result_keep_one_id_however_long_it_was():
    long = "x" * 64
    body, _ = sent(
        messages=[
            *HELLO,
            {"role": "assistant", "tool_calls": [{"id": long, **_CALL}]},
            {"role": "tool", "tool_call_id": long, "content": None},
        ]
    )
    call, result = body["input"][1:]
    assert call["call_id"] == result["call_id"] and len(call["call_id"]) <= 40
    assert result["output"] == ""


def test_a_result_of_a_custom_tool_is_of_its_own_type():
    custom = {"id": "c1", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}}
    turn = {"role": "assistant", "content": "", "tool_calls": [custom, {"id": "c2", **_CALL}]}
    results = [{"role": "tool", "tool_call_id": name, "content": "1"} for name in ("c2", "c1")]
    body, _ = sent(messages=[*HELLO, turn, *results])
    assert [item["type"] for item in body["input"][1:]] == [
        "custom_tool_call",
        "function_call",
        "function_call_output",
        "custom_tool_call_output",
    ]


def test_a_turn_without_words_or_calls_stays_a_turn():
    body, _ = sent(messages=[*HELLO, {"role": "assistant", "content": None}, *HELLO])
    assert body["input"][1] == {"type": "message", "role": "assistant", "content": ""}


@pytest.mark.parametrize(
    "fields",
    [
        _said(
            annotations=[], refusal=None, audio=None, function_call=None, tool_calls=None, provider_specific_fields={}
        ),
        _said(tool_calls=[], tool_call_id=None, made_up=None),
        {"stream_options": {"continuous_usage_stats": False, "include_usage": False}},
    ],
)
def test_what_an_answer_says_of_nothing_may_be_sent_back(fields):
    plain = sent(**({} if "stream_options" in fields else _said()))
    assert sent(**fields) == plain


@pytest.mark.parametrize("content", [None, []])
@pytest.mark.parametrize("role", ["user", "system", "developer"])
def test_an_empty_message_is_left_out(role, content):
    assert sent(messages=[*HELLO, {"role": role, "content": content}]) == sent()


def test_without_tools_there_is_no_choice_among_them():
    assert sent(tools=[], tool_choice="auto", parallel_tool_calls=True) == sent()
    assert refused(tool_choice="any").field == "tool_choice"


@pytest.mark.parametrize("arguments", [None, "", " \n"])
def test_a_call_without_arguments_has_none(arguments):
    body, _ = sent(**_called({"type": "function", "function": {"name": "f", "arguments": arguments}}))
    assert holds(body["input"], [_CALL_ITEM])


@pytest.mark.parametrize(("effort", "dropped"), [("low", ["reasoning_effort"]), ("none", [])])
def test_a_vendors_model_that_does_not_reason_is_not_asked_to(effort, dropped):
    assert sent(reasoning_effort=effort) == (sent()[0], dropped)


def _details(*details: Json, model: str = "gpt-5", base_url: str = VENDOR) -> tuple[list[Json], list[str]]:
    body, dropped = sent(model, base_url, **_said(reasoning_details=list(details)))
    return body["input"][1:-2], dropped


def test_pieces_of_one_thought_are_put_together():
    summary = {"type": "reasoning.summary", "id": "rs_1", "format": OPENAI, "index": 0}
    items, dropped = _details({**summary, "summary": "a"}, {**summary, "summary": "b"}, _DETAIL)
    assert dropped == [] and items == [
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "ab"}],
            "encrypted_content": "gAAA",
        }
    ]


def test_thoughts_without_an_id_belong_together_by_their_index():
    data = {"type": "reasoning.encrypted", "format": OPENAI}
    items, _ = _details({**data, "data": "a", "index": 0}, {**data, "data": "b", "index": 1})
    assert [item["encrypted_content"] for item in items] == ["a", "b"] and "id" not in items[0]


@pytest.mark.parametrize(
    "detail",
    [
        {**_DETAIL, "data": seal({"type": "reasoning.text", "format": ANTHROPIC})},
        {**_DETAIL, "format": ANTHROPIC},
        {**_DETAIL, "format": None},
        {**_DETAIL, "data": None},
        {"type": "reasoning.text", "text": "Raw.", "id": "rs_1", "format": OPENAI, "index": 0},
    ],
)
def test_a_vendor_is_not_shown_what_it_did_not_encrypt(detail):
    assert _details(detail) == ([], ["messages[].reasoning_content"])


def test_a_vendors_model_that_does_not_reason_is_sent_no_thoughts():
    assert _details(_DETAIL, model="gpt-4.1") == ([], ["messages[].reasoning_content"])


def test_an_open_model_gets_its_raw_thoughts_back():
    raw = {"type": "reasoning.text", "text": "Raw.", "id": "rs_1", "format": OPENAI, "index": 0}
    items, dropped = _details(raw, model="gpt-oss-20b", base_url=LOCAL)
    assert not dropped and items[0]["content"] == [{"type": "reasoning_text", "text": "Raw."}]


def test_reasoning_that_is_only_text_is_left_out_and_named():
    for name in ("reasoning_content", "reasoning"):
        body, dropped = sent("gpt-5", **_said(**{name: "Hm."}))
        assert [item.get("role") for item in body["input"]] == ["user", "assistant", "user"]
        assert dropped == ["messages[].reasoning_content"]


def test_a_breakpoint_in_an_assistants_words_is_dropped():
    part = {"type": "text", "text": "Hi", "prompt_cache_breakpoint": {"mode": "explicit"}}
    assert sent(**_said(content=[part]))[1] == ["messages[].content[].prompt_cache_breakpoint"]


# --- answers --------------------------------------------------------------------------------------------------------


def response(output: list[Json], **more: Any) -> Json:
    return {"id": "resp_1", "object": "response", "created_at": 1.7e9, "status": "completed", "output": output, **more}


def message_item(*texts: str, **more: Any) -> Json:
    content = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content, **more}


@pytest.mark.parametrize("status", ["failed", "cancelled", "in_progress", "queued"])
def test_a_response_that_did_not_come_to_its_end_is_no_answer(status):
    with pytest.raises(Malformed, match=status):
        chat_to_responses.answer(response([], status=status), asked())


@pytest.mark.parametrize(
    ("status", "details", "reason"),
    [
        ("completed", None, "stop"),
        (None, None, "stop"),
        ("incomplete", {"reason": "max_output_tokens"}, "length"),
        ("incomplete", {"reason": "content_filter"}, "content_filter"),
        ("incomplete", None, "length"),
        ("incomplete", {"reason": "steered"}, "length"),
    ],
)
def test_the_finish_reason(status, details, reason):
    value = response([message_item("Hi")], status=status, incomplete_details=details)
    choice = chat_to_responses.answer(value, asked())["choices"][0]
    assert choice["finish_reason"] == reason and choice["message"]["content"] == "Hi"


@pytest.mark.parametrize("streamed", [False, True])
def test_what_was_thought_goes_back_as_the_one_item_that_it_was(streamed):
    item = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}],
        "encrypted_content": "gAAA",
    }
    if streamed:  # by a server that tells only what is done
        stream = chat_to_responses.Stream(asked())
        chunks = stream.on({"type": "response.output_item.done", "output_index": 0, "item": item})
        details = [entry for chunk in chunks for entry in chunk["choices"][0]["delta"].get("reasoning_details", ())]
    else:
        message = chat_to_responses.answer(response([item, message_item("Hi")]), asked())["choices"][0]["message"]
        details = message["reasoning_details"]
    turns = [*HELLO, {"role": "assistant", "content": "Hi", "reasoning_details": details}, *HELLO]
    back = chat_to_responses.request({"model": "m", "messages": turns}, up("m", LOCAL), [])["input"][1]
    assert back == {**item, "summary": [{"type": "summary_text", "text": "a\n\nb"}]}


def test_an_answer_is_named_and_dated_after_the_upstreams():
    made = chat_to_responses.answer(response([message_item("Hi")], model="m-1", service_tier="flex"), asked())
    assert (made["id"], made["created"], made["model"], made["service_tier"]) == (
        "chatcmpl-resp_1",
        1_700_000_000,
        "m-1",
        "flex",
    )
    made = chat_to_responses.answer({"output": []}, asked())
    assert (made["id"], made["created"], made["model"]) == (f"chatcmpl-{NOW_S}", NOW_S, "m")
    assert made["usage"]["total_tokens"] == 0 and made["choices"][0]["message"]["content"] == ""


def test_a_call_without_an_id_is_given_one():
    call = {"type": "function_call", "name": "f", "arguments": "{}", "call_id": ""}
    calls = [chat_to_responses.answer(response([call, call]), asked())["choices"][0]["message"]["tool_calls"]] * 2
    ids = [call["id"] for call in calls[0]]
    assert len(set(ids)) == 2 and calls[0] == calls[1]


@pytest.mark.parametrize(
    "item",
    [
        5,
        {"type": "message", "content": "Hi"},
        {"type": "message", "content": [{"type": "output_text"}]},
        {"type": "function_call", "call_id": "c", "arguments": "{}"},
        {"type": "function_call", "name": "f", "arguments": {}},
        {"type": "reasoning", "summary": [{"type": "summary_text"}]},
    ],
)
def test_an_item_that_is_not_what_its_type_promises_is_no_answer(item):
    with pytest.raises(Malformed):
        chat_to_responses.answer(response([item]), asked())


def test_probabilities_are_passed_on_only_where_they_were_asked_for():
    item = message_item("Hi")
    item["content"][0]["logprobs"] = [{"token": "Hi", "logprob": -1, "top_logprobs": [{"token": None}]}]
    assert chat_to_responses.answer(response([item]), asked())["choices"][0]["logprobs"] is None
    told = chat_to_responses.answer(response([item]), asked(logprobs=True))["choices"][0]["logprobs"]
    assert told["content"] == [{"token": "Hi", "bytes": None, "logprob": -1, "top_logprobs": []}]


# --- streams --------------------------------------------------------------------------------------------------------


def streamed(events: list[Json], **fields: Any) -> list[Json]:
    stream = chat_to_responses.Stream(asked(**fields))
    return [chunk for event in events for chunk in stream.on(event)] + stream.end()


def folded(chunks: list[Json]) -> Json:
    """What a client makes of the chunks, which must be well-formed."""
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    assert [chunk["choices"][0]["finish_reason"] is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [
        True
    ]
    told: Json = {"content": "", "refusal": "", "reasoning": "", "calls": [], "details": {}}
    for chunk in chunks[1:-1]:
        delta = chunk["choices"][0]["delta"]
        assert delta and all(delta.values())
        told["content"] += delta.get("content", "")
        told["refusal"] += delta.get("refusal", "")
        told["reasoning"] += delta.get("reasoning_content", "")
        for detail in delta.get("reasoning_details", ()):
            form = detail["type"].removeprefix("reasoning.").replace("encrypted", "data")
            thought = told["details"].setdefault(detail["index"], {})
            thought[form] = thought.get(form, "") + detail[form]
        for call in delta.get("tool_calls", ()):
            if "id" in call:
                assert call["index"] == len(told["calls"])
                told["calls"].append({"id": call["id"], "type": call["type"], "name": "", "arguments": ""})
            known = told["calls"][call["index"]]
            body = call.get("custom") or call["function"]
            known["name"] += body.get("name", "")
            known["arguments"] += body.get("input", "") + body.get("arguments", "")
    told["finish_reason"] = chunks[-1]["choices"][0]["finish_reason"]
    return told


_PIECES = st.lists(st.sampled_from(["a", "Bc ", "\n", "", "{", '"é"', "𝄞"]), max_size=4)
_ITEMS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["message", "refusal", "function_call", "custom_tool_call"]), _PIECES),
        st.tuples(st.sampled_from(["summary", "text"]), st.lists(_PIECES, max_size=3)),
        st.tuples(st.just("web_search_call"), st.just([])),
    ),
    max_size=5,
)


def whole_item(number: int, kind: str, pieces: Any) -> Json:
    item: Json = {"id": f"item_{number}", "type": kind, "status": "completed"}
    if kind == "message":
        return {**item, "role": "assistant", "content": [{"type": "output_text", "text": "".join(pieces)}]}
    if kind == "refusal":
        return {**item, "type": "message", "content": [{"type": "refusal", "refusal": "".join(pieces)}]}
    if kind == "summary":
        parts = [{"type": "summary_text", "text": "".join(part)} for part in pieces]
        return {**item, "type": "reasoning", "summary": parts, "encrypted_content": f"gAAA{number}"}
    if kind == "text":
        parts = [{"type": "reasoning_text", "text": "".join(part)} for part in pieces]
        return {**item, "type": "reasoning", "summary": [], "content": parts}
    if kind == "web_search_call":
        return item
    field = "input" if kind == "custom_tool_call" else "arguments"
    return {**item, "call_id": f"call_{number}", "name": f"tool_{number}", field: "".join(pieces)}


def deltas_of(kind: str, pieces: Any) -> list[Json]:
    if kind == "summary" or kind == "text":
        event, index = ("summary_text", "summary_index") if kind == "summary" else ("text", "content_index")
        return [
            {"type": f"response.reasoning_{event}.delta", index: number, "delta": piece}
            for number, part in enumerate(pieces)
            for piece in part
        ]
    event = {"message": "output_text", "function_call": "function_call_arguments"}.get(kind, kind)
    event = "custom_tool_call_input" if kind == "custom_tool_call" else event
    return [{"type": f"response.{event}.delta", "content_index": 0, "delta": piece} for piece in pieces]


class Server(NamedTuple):
    """What a server says in its streams."""

    ids: bool
    places: bool
    adds: bool
    deltas: bool
    dones: bool
    whole: bool
    interleaves: bool

    @property
    def says_everything(self) -> bool:
        return self.dones or self.whole

    @property
    def tells_items_apart(self) -> bool:
        return self.ids or self.places or self.adds or self.dones or not self.deltas

    def events(self, items: list[tuple[str, Any]], output: list[Json]) -> list[Json]:
        tracks = [self._track(number, item, output[number]) for number, item in enumerate(items)]
        body: list[Json] = []
        while tracks:
            both = [item[0].endswith("_call") for item in items[-len(tracks) :][:2]] == [True, True]
            if both and self.interleaves and (self.ids or self.places):
                pairs = zip_longest(tracks.pop(0), tracks.pop(0))
                body += [event for pair in pairs for event in pair if event is not None]
            else:
                body += tracks.pop(0)
        start = {"type": "response.created", "response": response([], status="in_progress")}
        end = {"type": "response.completed", "response": response(output if self.whole else [])}
        return [start, *body, end]

    def _track(self, number: int, item: tuple[str, Any], whole: Json) -> list[Json]:
        where: Json = {"item_id": whole["id"]} if self.ids else {}
        where |= {"output_index": number} if self.places else {}
        fields = ("content", "summary", "arguments", "input")
        empty = {**whole, **{name: type(whole[name])() for name in fields if name in whole}}
        shown = whole if self.ids else {key: part for key, part in whole.items() if key != "id"}
        empty = empty if self.ids else {key: part for key, part in empty.items() if key != "id"}
        track = [{"type": "response.output_item.added", "item": empty, **where}] if self.adds else []
        if self.deltas and item[0] != "web_search_call":
            track += [{**delta, **where} for delta in deltas_of(*item)]
        if self.dones:
            track.append({"type": "response.output_item.done", "item": shown, **where})
        return track


_SERVERS = st.builds(Server, *[st.booleans()] * 7).filter(lambda s: s.says_everything or (s.adds and s.deltas))


def _arguments(item: Json) -> str:
    """As a client must read them: a function without any is called with none."""
    if "input" in item:
        return item["input"]
    return item["arguments"] if item["arguments"].strip() else "{}"


_TWO = [("message", ["a"]), ("message", ["Bc "])]


@settings(max_examples=500, deadline=None)
@example(_TWO, Server(False, False, False, deltas=True, dones=False, whole=True, interleaves=False))
@example(_TWO, Server(True, False, False, deltas=True, dones=False, whole=True, interleaves=False))
@example(_TWO, Server(False, True, False, deltas=True, dones=False, whole=True, interleaves=False))
@example([("function_call", ["\n", "{"])], Server(*[True] * 7))
@given(_ITEMS, _SERVERS)
def test_any_stream_tells_what_the_response_holds_once(items, server):
    output = [whole_item(number, *item) for number, item in enumerate(items)]
    told = folded(streamed(server.events(items, output)))
    parts = [part for item in output if item["type"] == "message" for part in item["content"]]
    assert told["content"] == "".join(part.get("text", "") for part in parts)
    assert told["refusal"] == "".join(part.get("refusal", "") for part in parts)
    calls = [
        (item["call_id"], item["name"], _arguments(item))
        for item in output
        if item["type"].endswith("tool_call") or item["type"] == "function_call"
    ]
    got = [(call["id"], call["name"], call["arguments"]) for call in told["calls"]]
    assert sorted(got) == calls
    assert told["finish_reason"] == ("tool_calls" if calls else "stop")
    thoughts = [item for item in output if item["type"] == "reasoning"]
    texts = [[part["text"] for part in (*t["summary"], *t.get("content", ())) if part["text"]] for t in thoughts]
    reasoning = "\n\n".join(text for parts in texts for text in parts)
    assert told["reasoning"].replace("\n", "") == reasoning.replace("\n", "")
    if server.tells_items_apart:
        assert told["reasoning"] == reasoning
    if server.tells_items_apart and server.says_everything:
        details = [
            (thought.get("summary", thought.get("text", "")), thought.get("data"))
            for thought in told["details"].values()
        ]
        expected = [("\n\n".join(parts), t.get("encrypted_content")) for parts, t in zip(texts, thoughts, strict=True)]
        assert Counter(details) == Counter(entry for entry in expected if any(entry))


@settings(max_examples=100, deadline=None)
@given(_ITEMS)
def test_a_whole_answer_is_what_its_stream_adds_up_to(items):
    output = [whole_item(number, *item) for number, item in enumerate(items)]
    told = folded(streamed(Server(True, True, True, True, True, True, False).events(items, output)))
    choice = chat_to_responses.answer(response(output), asked())["choices"][0]
    message = choice["message"]
    assert choice["finish_reason"] == told["finish_reason"]
    assert (message["content"] or "", message["refusal"] or "") == (told["content"], told["refusal"])
    assert message.get("reasoning_content", "") == told["reasoning"]
    calls = [(call["id"], call.get("custom") or call["function"]) for call in message.get("tool_calls", ())]
    assert [(name, body["name"], body.get("input", body.get("arguments"))) for name, body in calls] == [
        (call["id"], call["name"], call["arguments"]) for call in told["calls"]
    ]
    for detail in message.get("reasoning_details", ()):
        form = detail["type"].removeprefix("reasoning.").replace("encrypted", "data")
        assert told["details"][detail["index"]][form] == detail[form]


def test_a_stream_opens_with_whatever_comes_first_but_a_sign_of_life():
    stream = chat_to_responses.Stream(asked())
    assert stream.on({"type": "keepalive"}) == []
    opened = stream.on({"type": "response.output_text.delta", "item_id": "msg_1", "delta": "Hi"})
    assert [chunk["choices"][0]["delta"] for chunk in opened] == [
        {"role": "assistant", "content": ""},
        {"content": "Hi"},
    ]
    assert opened[0]["id"] == "chatcmpl-msg_1" and opened[0]["created"] == NOW_S


def test_arguments_that_come_before_the_tools_name_are_held():
    events = [
        {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": "{}"},
        {
            "type": "response.output_item.done",
            "output_index": 0,
            "item": {"type": "function_call", "name": "f", "call_id": "c"},
        },
        {"type": "response.completed", "response": response([])},
    ]
    assert folded(streamed(events))["calls"] == [{"id": "c", "type": "function", "name": "f", "arguments": "{}"}]
    with pytest.raises(Malformed, match="without a name"):
        streamed([events[0], events[2]])


def test_a_call_that_is_never_done_still_has_arguments():
    call = {"type": "function_call", "name": "f", "call_id": "c", "arguments": ""}
    events = [
        {"type": "response.output_item.added", "item": call},
        {"type": "response.completed", "response": response([])},
    ]
    assert folded(streamed(events))["calls"][0]["arguments"] == "{}"


def test_an_item_that_is_told_of_twice_is_sent_once():
    done = {"type": "response.output_item.done", "output_index": 0, "item": message_item("Hi")}
    end = {"type": "response.completed", "response": response([message_item("Hi")])}
    assert folded(streamed([done, done, end]))["content"] == "Hi"


def test_usage_is_told_last_and_only_to_those_who_asked():
    usage = {"input_tokens": 5, "output_tokens": 2}
    end = [{"type": "response.completed", "response": response([message_item("Hi")], usage=usage)}]
    assert all(chunk["choices"] for chunk in streamed(end))
    assert all(chunk["choices"] for chunk in streamed(end, stream_options={"include_usage": False}))
    last = streamed(end, stream_options={"include_usage": True})[-1]
    assert last["choices"] == [] and last["usage"]["total_tokens"] == 7


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"type": 5},
        {"type": "response.output_text.delta"},
        {"type": "response.function_call_arguments.delta", "delta": {}},
        {"type": "response.output_item.added", "item": "message"},
        {"type": "response.output_item.done"},
        {"type": "response.completed"},
        {"type": "response.completed", "response": {"output": [5]}},
    ],
)
def test_an_event_that_is_not_what_its_type_promises_is_no_part_of_an_answer(event):
    with pytest.raises(Malformed):
        streamed([event])


# --- any JSON at any place ------------------------------------------------------------------------------------------

_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.sampled_from(["user", "assistant", "tool", "function", "custom", "text", "message", "reasoning", OPENAI]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.just("type"), inner, max_size=3)
    ),
    max_leaves=6,
)


def _places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(place for key, part in parts for place in _places(part, (*here, key)))]


def mutated(draw: st.DrawFn, value: Any) -> Any:
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        places = _places(value)[1:]
        if not places:
            return value
        *way, last = draw(st.sampled_from(places))
        inside = value
        for key in way:
            inside = inside[key]
        if draw(st.booleans()):
            inside[last] = draw(_JSON)
        elif draw(st.booleans()):
            del inside[last]
        elif isinstance(inside, dict):
            inside[draw(st.text(max_size=4))] = draw(_JSON)
        else:
            inside.insert(last, draw(_JSON))
    return value


_REQUESTS = [orjson.loads((case / "request.json").read_bytes()) for case in CASES]
_ANSWERS = [orjson.loads(p.read_bytes()) for case in CASES if (p := case / "answer.upstream.json").exists()]
_STREAMS = [chunks_of(p.read_text()) for case in CASES if (p := case / "stream.upstream.sse").exists()]


@settings(max_examples=1000, deadline=None)
@given(st.data())
def test_any_request_is_carried_or_refused_and_left_as_it_was(data):
    fields = mutated(data.draw, data.draw(st.sampled_from(_REQUESTS)))
    before = copy.deepcopy(fields)
    upstream = data.draw(st.sampled_from([up(), up("gpt-5"), up("qwen3", LOCAL)]))
    dropped: list[str] = []
    try:
        orjson.dumps(chat_to_responses.request(fields, upstream, dropped))
    except Refusal as refusal:
        assert refusal.problem("up/m").message
    assert fields == before and set(dropped) <= CHAT_TO_RESPONSES.keys()


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_any_answer_is_translated_or_said_to_be_malformed_and_left_as_it_was(data):
    value = mutated(data.draw, data.draw(st.sampled_from(_ANSWERS)))
    before = copy.deepcopy(value)
    with suppress(Malformed):
        made = chat_to_responses.answer(value, asked(logprobs=True, stream_options={"include_usage": True}))
        made.pop("service_tier", None)  # whatever the upstream calls it
        ChatCompletion.model_validate_json(orjson.dumps(made))
    assert value == before


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_any_stream_is_translated_or_said_to_be_malformed_and_left_as_it_was(data):
    events = [event for event in mutated(data.draw, data.draw(st.sampled_from(_STREAMS))) if isinstance(event, dict)]
    before = copy.deepcopy(events)
    with suppress(Malformed):
        for chunk in streamed(events, logprobs=True, stream_options={"include_usage": True}):
            ChatCompletionChunk.model_construct(**orjson.loads(orjson.dumps(chunk)))
    assert events == before


def test_the_whole_way_through_the_gateways_own_translation():
    made = translate(Dialect.CHAT, Dialect.RESPONSES, {"model": "m", "messages": HELLO})
    assert orjson.loads(made.body) == {"model": "m", "input": HELLO, "store": False}
    assert orjson.loads(made.answer(response([message_item("Hi")])))["choices"][0]["message"]["content"] == "Hi"
    assert all(translation(case) for case in CASES if "refused" not in (case / "sent.json").read_text() and about(case))
