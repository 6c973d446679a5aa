"""A chat client on an upstream that speaks messages: what each field becomes, and the answer's way back.

The golden cases hold whole examples; here are the rules: the vendor's own types, every row of the table, any message of
valid blocks however it is cut, any form however it is told, and any JSON at any place.
"""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import anthropic.types
import orjson
import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming, MessageCreateParamsStreaming
from cases import GOLDEN, NOW_S, about, holds, translate, translation
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import TypeAdapter

from headgate.wire.dialect import Dialect
from headgate.wire.translate import chat_to_messages
from headgate.wire.translate.asked import Asked
from headgate.wire.translate.chat_to_messages_form import ANSWER_TOOL, fitted
from headgate.wire.translate.fields import CHAT_TO_MESSAGES, Fate
from headgate.wire.translate.reasoning import ANTHROPIC, EFFORTS, OPENAI, UNSIGNED, seal
from headgate.wire.translate.shape import Malformed, Refusal
from headgate.wire.translate.upstream import Upstream, describe

Json = dict[str, Any]

HAIKU, OPUS, OLD, OTHER = "claude-haiku-4-5", "claude-opus-4-8", "claude-3-7-sonnet-latest", "glm-4.6"
HELLO: list[Json] = [{"role": "user", "content": "Hello"}]
CASES = sorted(path.parent for path in (GOLDEN / "chat_to_messages").glob("*/request.json"))
ANSWERED = [case for case in CASES if (case / "answer.upstream.json").exists()]
STREAMED = [case for case in CASES if (case / "stream.upstream.sse").exists()]
SIGNATURE = "EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrk"


def up(model: str = HAIKU) -> Upstream:
    return describe(f"up/{model}", model, Dialect.MESSAGES, "https://api.anthropic.com")


def sent(model: str = HAIKU, **fields: Any) -> tuple[Json, list[str]]:
    dropped: list[str] = []
    body = chat_to_messages.request({"model": model, "messages": HELLO, **fields}, up(model), dropped)
    return body, dropped


def refused(model: str = HAIKU, **fields: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        sent(model, **fields)
    return caught.value


def asked(model: str = HAIKU, **fields: Any) -> Asked:
    fields = {"model": model, "messages": HELLO, **fields}
    return Asked(fields, chat_to_messages.request(fields, up(model), []), up(model), NOW_S)


def datas(raw: str) -> list[Json]:
    return [orjson.loads(line[6:]) for line in raw.splitlines() if line.startswith("data: {")]


def user(content: Any, **more: Any) -> Json:
    return {"role": "user", "content": content, **more}


def ai(content: Any = None, **more: Any) -> Json:
    return {"role": "assistant", "content": content, **more}


def call(call_id: str = "call_1", name: str = "f", arguments: Any = "{}") -> Json:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def result(call_id: str = "call_1", content: Any = "1") -> Json:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def text(words: str) -> Json:
    return {"type": "text", "text": words}


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
STRICT = {"type": "function", "function": {**TOOL["function"], "strict": True}}
LEVEL = {
    "type": "object",
    "properties": {"metres": {"type": "number"}},
    "required": ["metres"],
    "additionalProperties": False,
}


def form(schema: Any, **more: Any) -> Json:
    return {"type": "json_schema", "json_schema": {"name": "level", "schema": schema, **more}}


# --- the vendors' types ----------------------------------------------------------------------------------------------


def _eager(value: Any) -> Any:
    """Iterables of the vendor's request types are checked as they are read."""
    if isinstance(value, dict):
        return {key: _eager(part) for key, part in value.items()}
    if isinstance(value, str | int | float | None):
        return value
    return [_eager(part) for part in value]


_WHOLE, _STREAMED = TypeAdapter(MessageCreateParamsNonStreaming), TypeAdapter(MessageCreateParamsStreaming)
#: Older models and other servers still take these, which the vendor's types no longer hold.
_SAMPLING = ("temperature", "top_p", "top_k")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_sent_is_what_the_vendor_documents_and_nothing_else(case):
    body = orjson.loads((case / "sent.json").read_bytes()).get("body")
    if body is not None:
        adapter = _STREAMED if body.get("stream") else _WHOLE
        body = {name: value for name, value in body.items() if name not in _SAMPLING}
        assert _eager(adapter.validate_python(body)) == body


@pytest.mark.parametrize("case", ANSWERED, ids=lambda case: case.name)
def test_an_answer_is_a_chat_completion_to_the_vendors_own_types(case):
    anthropic.types.Message.model_validate_json((case / "answer.upstream.json").read_bytes(), strict=True)
    ChatCompletion.model_validate_json((case / "answer.client.json").read_bytes(), strict=True)


@pytest.mark.parametrize("case", STREAMED, ids=lambda case: case.name)
def test_a_stream_adds_up_to_the_answer_in_the_vendors_own_library(case):
    upstream: TypeAdapter[Any] = TypeAdapter(anthropic.types.RawMessageStreamEvent)
    for event in datas((case / "stream.upstream.sse").read_text()):
        if event["type"] != "ping":
            upstream.validate_json(orjson.dumps(event), strict=True)
    state: Any = ChatCompletionStreamState()
    for chunk in datas((case / "stream.client.sse").read_text()):
        state.handle_chunk(ChatCompletionChunk.model_validate_json(orjson.dumps(chunk), strict=True))
    streamed = state.current_completion_snapshot.choices[0]
    whole = case / "answer.client.json"
    if not whole.exists() or case.name in ("cut_within_a_tool_call", "json_schema_beside_tools", "refusal"):
        return  # these show two different answers
    answer = ChatCompletion.model_validate_json(whole.read_bytes()).choices[0]
    assert _meant(streamed.message.content) == _meant(answer.message.content)
    assert streamed.finish_reason == answer.finish_reason
    assert [orjson.loads(one.function.arguments) for one in streamed.message.tool_calls or ()] == [
        orjson.loads(one.function.arguments) for one in answer.message.tool_calls or () if one.type == "function"
    ]
    assert getattr(streamed.message, "reasoning_content", None) == getattr(answer.message, "reasoning_content", None)


def _meant(content: str | None) -> Any:
    """A form may be told with other white space."""
    return orjson.loads(content) if content and content[0] in "{[" else content or None


# --- the table -------------------------------------------------------------------------------------------------------


def _said(**extra: Any) -> Json:
    return {"messages": [*HELLO, ai("Hi") | extra, *HELLO]}


def _part(part: Json) -> Json:
    return {"messages": [user([text("Look"), part])]}


_CACHE = {"type": "ephemeral"}
_DETAIL = {"type": "reasoning.text", "text": "So.", "signature": SIGNATURE, "format": ANTHROPIC, "index": 0}

#: One request for every row of the table.
EXAMPLES: dict[str, Json] = {
    "model": {},
    "messages": {},
    "messages[].content[]:text": _part(text("here")),
    "messages[].content[]:image_url": _part({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}),
    "messages[].content[].image_url.detail": _part(
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}}
    ),
    "messages[].content[]:file": _part({"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBE"}}),
    "messages[].content[].file.file_id": _part({"type": "file", "file": {"file_id": "file-1"}}),
    "messages[].content[]:refusal": _said(content=[{"type": "refusal", "refusal": "No."}]),
    "messages[].content[]:input_audio": _part({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}),
    "messages[].content[].cache_control": _part({**text("a"), "cache_control": _CACHE}),
    "messages[].content[].prompt_cache_breakpoint": _part({**text("a"), "prompt_cache_breakpoint": {"mode": "x"}}),
    "messages[].cache_control": _said(cache_control=_CACHE),
    "messages[].annotations": _said(annotations=[{"type": "url_citation", "url_citation": {}}]),
    "messages[].parsed": _said(parsed={"a": 1}),
    "messages[].provider_specific_fields": _said(provider_specific_fields={"a": 1}),
    "messages[].name": {"messages": [user("Hello", name="ada")]},
    "messages[].refusal": _said(refusal="No."),
    "messages[].reasoning_content": _said(reasoning_content="So.", reasoning_details=[_DETAIL]),
    "messages[].reasoning": _said(reasoning="So.", reasoning_details=[_DETAIL]),
    "messages[].reasoning_details": _said(reasoning_details=[_DETAIL]),
    "messages[].tool_calls": {"messages": [*HELLO, ai(tool_calls=[call()]), result()]},
    "messages[].tool_calls[]:custom": _said(tool_calls=[{"id": "a", "type": "custom", "custom": {"name": "f"}}]),
    "messages[].tool_calls[].index": _said(tool_calls=[{**call(), "index": 1}]),
    "messages[].tool_calls[].extra_content": _said(tool_calls=[{**call(), "extra_content": {"google": {}}}]),
    "messages[].tool_calls[].function.parsed_arguments": _said(
        tool_calls=[{**call(), "function": {**call()["function"], "parsed_arguments": {}}}]
    ),
    "messages[].function_call": _said(function_call={"name": "f", "arguments": "{}"}),
    "messages[]:function": {"messages": [{"role": "function", "name": "f", "content": "1"}]},
    "messages[].audio": _said(audio={"id": "audio_1"}),
    "max_tokens": {"max_tokens": 100},
    "max_completion_tokens": {"max_completion_tokens": 100},
    "stream": {"stream": True},
    "stream_options": {"stream": True, "stream_options": {"include_usage": True}},
    "stream_options.include_obfuscation": {"stream": True, "stream_options": {"include_obfuscation": True}},
    "stream_options.continuous_usage_stats": {"stream_options": {"continuous_usage_stats": True}},
    "temperature": {"temperature": 0.5},
    "top_p": {"top_p": 0.5},
    "top_k": {"top_k": 40},
    "stop": {"stop": "END"},
    "tools": {"tools": [TOOL]},
    "tools[].cache_control": {"tools": [{**TOOL, "cache_control": _CACHE}]},
    "tools[].function.strict": {"tools": [{"type": "function", "function": {"name": "f", "strict": True}}]},
    "tools[].function.parameters": {"tools": [TOOL]},
    "tools[]:custom": {"tools": [{"type": "custom", "custom": {"name": "f"}}]},
    "tool_choice": {"tools": [TOOL], "tool_choice": "required"},
    "tool_choice:allowed_tools": {
        "tools": [TOOL],
        "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [TOOL]}},
    },
    "tool_choice:custom": {"tool_choice": {"type": "custom", "custom": {"name": "f"}}},
    "parallel_tool_calls": {"tools": [TOOL], "parallel_tool_calls": False},
    "response_format": {"response_format": {"type": "json_object"}},
    "response_format.json_schema.schema": {"response_format": form(LEVEL)},
    "response_format.json_schema.strict": {"response_format": form(LEVEL, strict=True)},
    "reasoning_effort": {"reasoning_effort": "low"},
    "thinking": {"thinking": {"type": "enabled", "budget_tokens": 2000}},
    "user": {"user": "u"},
    "safety_identifier": {"safety_identifier": "s"},
    "n": {"n": 2},
    "logprobs": {"logprobs": True},
    "top_logprobs": {"top_logprobs": 3},
    "logit_bias": {"logit_bias": {"5": 1}},
    "functions": {"functions": [{"name": "f"}]},
    "function_call": {"function_call": "auto"},
    "modalities": {"modalities": ["text", "audio"]},
    "audio": {"audio": {"voice": "ash", "format": "wav"}},
    "web_search_options": {"web_search_options": {}},
    "moderation": {"moderation": {"model": "omni-moderation-latest"}},
    "seed": {"seed": 1},
    "frequency_penalty": {"frequency_penalty": 1},
    "presence_penalty": {"presence_penalty": 0.5},
    "prediction": {"prediction": {"type": "content", "content": "Hi"}},
    "metadata": {"metadata": {"a": "b"}},
    "store": {"store": True},
    "service_tier": {"service_tier": "flex"},
    "verbosity": {"verbosity": "low"},
    "prompt_cache_key": {"prompt_cache_key": "k"},
    "prompt_cache_options": {"prompt_cache_options": {"mode": "explicit"}},
    "prompt_cache_retention": {"prompt_cache_retention": "24h"},
    **{
        name: {name: 1.1}
        for name in ("min_p", "typical_p", "repetition_penalty", "repeat_penalty", "tfs_z", "mirostat", "top_a")
    },
}


def _shown(**block: Any) -> Json:
    return {"messages": [{"role": "user", "content": [block]}]}


def _answered(*blocks: Json) -> Json:
    return {"messages": [{"role": "assistant", "content": list(blocks)}]}


_THINKING = {"type": "thinking", "thinking": "So.", "signature": SIGNATURE}

#: For every row that is carried, what must be in the body that is made of its example.
BECOMES: dict[str, Json] = {
    "model": {"model": HAIKU},
    "messages": {"messages": HELLO},
    "messages[].content[]:text": _shown(type="text", text="here"),
    "messages[].content[]:image_url": _shown(type="image", source={"type": "url", "url": "https://example.com/a.png"}),
    "messages[].content[]:file": _shown(
        type="document", source={"type": "base64", "media_type": "application/pdf", "data": "JVBE"}
    ),
    "messages[].content[]:refusal": {"messages": [{"role": "assistant", "content": [{"type": "text", "text": "No."}]}]},
    "messages[].content[].cache_control": _shown(type="text", text="a", cache_control=_CACHE),
    "messages[].cache_control": _answered({**text("Hi"), "cache_control": _CACHE}),
    "messages[].refusal": _answered(text("Hi"), text("No.")),
    "messages[].reasoning_content": _answered(_THINKING),
    "messages[].reasoning": _answered(_THINKING),
    "messages[].reasoning_details": _answered(_THINKING),
    "messages[].tool_calls": _answered({"type": "tool_use", "id": "call_1", "name": "f", "input": {}}),
    "max_tokens": {"max_tokens": 100},
    "max_completion_tokens": {"max_tokens": 100},
    "stream": {"stream": True},
    "stream_options": {"stream": True},
    "temperature": {"temperature": 0.5},
    "top_p": {"top_p": 0.5},
    "top_k": {"top_k": 40},
    "stop": {"stop_sequences": ["END"]},
    "tools": {"tools": [{"name": "f", "input_schema": {"type": "object", "properties": {}}}]},
    "tools[].cache_control": {"tools": [{"name": "f", "cache_control": _CACHE}]},
    "tools[].function.strict": {"tools": [{"strict": True, "input_schema": {"additionalProperties": False}}]},
    "tools[].function.parameters": {"tools": [{"input_schema": {"type": "object", "properties": {}}}]},
    "tool_choice": {"tool_choice": {"type": "any"}},
    "parallel_tool_calls": {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
    "response_format": {
        "tools": [{"name": ANSWER_TOOL, "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "tool", "name": ANSWER_TOOL},
    },
    "response_format.json_schema.schema": {"output_config": {"format": {"type": "json_schema", "schema": LEVEL}}},
    "response_format.json_schema.strict": {"output_config": {"format": {"type": "json_schema", "schema": LEVEL}}},
    "reasoning_effort": {"thinking": {"type": "enabled", "budget_tokens": 4096}, "max_tokens": 20_480},
    "thinking": {"thinking": {"type": "enabled", "budget_tokens": 2000}, "max_tokens": 18_384},
    "user": {"metadata": {"user_id": "u"}},
    "safety_identifier": {"metadata": {"user_id": "s"}},
}


def test_every_row_of_the_table_has_an_example():
    assert EXAMPLES.keys() == CHAT_TO_MESSAGES.keys()
    assert BECOMES.keys() == {name for name, row in CHAT_TO_MESSAGES.items() if row.fate is Fate.CARRIED}


@pytest.mark.parametrize("name", CHAT_TO_MESSAGES)
def test_a_row_of_the_table_is_true(name):
    row, example = CHAT_TO_MESSAGES[name], EXAMPLES[name]
    if row.fate is Fate.REFUSED:
        refusal = refused(**example)
        assert refusal.valid and row.note in str(refusal)
        leaf = name.rpartition(":")[0] or name
        assert refusal.field.startswith(leaf.split("[")[0].split(".")[0])
        return
    body, dropped = sent(**example)
    if row.fate is Fate.DROPPED:
        assert dropped == [name]
        plain = copy.deepcopy(example)
        _without(plain, name.replace("[]", "").split("."))
        assert (body, []) == sent(**plain)
        return
    assert dropped == []
    assert holds(body, BECOMES[name])


def _without(value: Any, path: list[str]) -> None:
    """Takes the field at the end of the path out, wherever it stands."""
    if isinstance(value, list):
        for one in value:
            _without(one, path)
    elif isinstance(value, dict) and len(path) == 1:
        value.pop(path[0], None)
    elif isinstance(value, dict) and path[0] in value:
        _without(value[path[0]], path[1:])


@pytest.mark.parametrize(
    ("name", "idle"),
    [
        (name, idle)
        for name, row in CHAT_TO_MESSAGES.items()
        if "[" in name and ":" not in name and row.fate is Fate.DROPPED
        for idle in (None, *row.idle)
    ],
)
def test_what_asks_for_nothing_passes_in_silence_further_in_too(name, idle):
    example = copy.deepcopy(EXAMPLES[name])
    _set(example, name.replace("[]", "").split("."), idle)
    assert sent(**example)[1] == []


def _set(value: Any, path: list[str], idle: Any) -> None:
    """Another value for the field at the end of the path, wherever it stands."""
    if isinstance(value, list):
        for one in value:
            _set(one, path, idle)
    elif isinstance(value, dict) and path[0] in value:
        if len(path) == 1:
            value[path[0]] = idle
        else:
            _set(value[path[0]], path[1:], idle)


@pytest.mark.parametrize(
    ("name", "idle"),
    [(name, idle) for name, row in CHAT_TO_MESSAGES.items() if "[" not in name for idle in (None, *row.idle)],
)
def test_what_asks_for_nothing_passes_in_silence(name, idle):
    if name in ("messages", "model"):
        return
    fields: Json = {}
    place = fields
    *outer, last = name.partition(":")[0].split(".")
    for step in outer:
        place = place.setdefault(step, {})
    place[last] = idle
    if outer[:1] == ["response_format"]:
        fields["response_format"] |= {"type": "json_schema"}
        fields["response_format"]["json_schema"] |= (
            {"name": "n", "schema": LEVEL} if last != "schema" else {"name": "n"}
        )
    assert sent(**fields)[1] == []


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"reasoning_format": "parsed"}, "reasoning_format"),
        (_said(mood="good"), "messages[1].mood"),
        ({"messages": [user("Hello", mood="good")]}, "messages[0].mood"),
        ({"messages": [{"role": "user", "mood": "good"}]}, "messages[0].mood"),
        ({"messages": [*HELLO, {**result(), "mood": "good"}]}, "messages[1].mood"),
        ({"messages": [{"role": "system", "content": "Be.", "mood": "good"}, *HELLO]}, "messages[0].mood"),
        (_part({**text("a"), "mood": "good"}), "messages[0].content[1].mood"),
        (
            _part({"type": "image_url", "image_url": {"url": "https://a.b/c", "mood": "good"}}),
            "messages[0].content[1].image_url.mood",
        ),
        (_part({"type": "file", "file": {"file_data": "JVBE", "mood": "good"}}), "messages[0].content[1].file.mood"),
        (_part({**text("a"), "cache_control": {"mood": "good"}}), "messages[0].content[1].cache_control.mood"),
        (_part({"type": "video_url", "video_url": {"url": "https://a.b/c"}}), "messages[0].content[1].type"),
        (_said(tool_calls=[{**call(), "mood": "good"}]), "messages[1].tool_calls[0].mood"),
        ({"tools": [{**TOOL, "mood": "good"}]}, "tools[0].mood"),
        ({"tools": [{"type": "function", "function": {"name": "f", "mood": "good"}}]}, "tools[0].function.mood"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}, "mood": "good"}}, "tool_choice.mood"),
        (
            {"tool_choice": {"type": "function", "function": {"name": "f", "mood": "good"}}},
            "tool_choice.function.mood",
        ),
        ({"response_format": {"type": "json_object", "mood": "good"}}, "response_format.mood"),
        ({"response_format": {**form(LEVEL), "mood": "good"}}, "response_format.mood"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000, "mood": "good"}}, "thinking.mood"),
        (_said(mood=False), "messages[1].mood"),
        (_said(tool_call_id="call_1"), "messages[1].tool_call_id"),
        ({"messages": [user("Hello", tool_calls=[call()])]}, "messages[0].tool_calls"),
        (
            _said(tool_calls=[{**call(), "function": {**call()["function"], "mood": "good"}}]),
            "messages[1].tool_calls[0].function.mood",
        ),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice.type"),
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
        ({"response_format": form(LEVEL, mood="good")}, "response_format.json_schema.mood"),
        ({"stream_options": {"mood": "good"}}, "stream_options.mood"),
    ],
)
def test_what_has_no_row_is_refused_by_name(fields, field):
    refusal = refused(**fields)
    assert refusal.valid and refusal.field == field


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"messages": "Hello"}, "messages"),
        ({"messages": [5]}, "messages"),
        ({"messages": [{"role": "king", "content": "Hello"}]}, "messages[0].role"),
        ({"messages": [user(5)]}, "messages[0].content"),
        ({"messages": [user([text("a"), 5])]}, "messages[0].content"),
        ({"messages": [user([{"type": 5}])]}, "messages[0].content[0].type"),
        ({"messages": [user([{"type": "text", "text": 5}])]}, "messages[0].content[0].text"),
        ({"messages": [user([{"type": "refusal", "refusal": "No."}])]}, "messages[0].content[0].type"),
        ({"messages": [user("a", cache_control=True)]}, "messages[0].cache_control"),
        ({"messages": [{"role": "system", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].type"),
        (_part({"type": "image_url", "image_url": "https://a.b/c"}), "messages[0].content[1].image_url"),
        (_part({"type": "image_url", "image_url": {"url": "data:text/plain;base64,aa"}}), None),
        (
            _part({"type": "file", "file": {"file_data": "data:application/pdf"}}),
            "messages[0].content[1].file.file_data",
        ),
        (_part({"type": "file", "file": {}}), "messages[0].content[1].file.file_data"),
        (_part({"type": "file", "file": {"file_data": "data:text/plain;base64,/w=="}}), None),
        (_said(tool_calls=[{"id": "a", "type": "function"}]), "messages[1].tool_calls[0].function"),
        (_said(tool_calls=[{**call(), "id": 5}]), "messages[1].tool_calls[0].id"),
        (_said(reasoning_details="So."), "messages[1].reasoning_details"),
        ({"messages": [*HELLO, {"role": "tool", "content": "1"}]}, "messages[1].tool_call_id"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": True}, "max_completion_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_k": False}, "top_k"),
        ({"stop": [5]}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": []}, "stream_options"),
        ({"tools": {}}, "tools"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]}, None),
        ({"tools": [{"type": "function", "function": {"name": "f", "strict": 1}}]}, "tools[0].function.strict"),
        ({"tool_choice": "some"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.function"),
        ({"parallel_tool_calls": "no"}, "parallel_tool_calls"),
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": form([])}, "response_format.json_schema.schema"),
        ({"response_format": form(LEVEL, strict="yes")}, "response_format.json_schema.strict"),
        ({"reasoning_effort": "enormous"}, "reasoning_effort"),
        ({"thinking": True}, "thinking"),
        ({"user": 5}, "user"),
    ],
)
def test_what_chat_itself_does_not_allow_is_the_clients_fault(fields, field):
    refusal = refused(**fields)
    assert not refusal.valid and (field is None or refusal.field == field)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"messages": [{"role": "system", "content": "Be brief."}]}, "messages"),
        ({"messages": [user(""), ai("  ")]}, "messages"),
        ({"stop": ["END", "\n"]}, "stop"),
        ({"stop": ""}, "stop"),
        ({"tools": [{"type": "function", "function": {"name": ANSWER_TOOL}}]}, "tools[0].function.name"),
        (_said(tool_calls=[call(arguments="[1]")]), "messages[1].tool_calls[0].function.arguments"),
        (_said(tool_calls=[call(arguments='{"a":')]), "messages[1].tool_calls[0].function.arguments"),
        (_part({"type": "image_url", "image_url": {"url": "ftp://a.b/c"}}), "messages[0].content[1].image_url.url"),
        (_part({"type": "image_url", "image_url": {"url": "data:image/png"}}), "messages[0].content[1].image_url.url"),
        (_part({"type": "image_url", "image_url": {"url": "data:image/svg+xml,<svg/>"}}), None),
        ({"messages": [user(None), user([])]}, "messages"),
        (_part({"type": "file", "file": {"file_data": "data:application/zip;base64,UEs="}}), None),
    ],
)
def test_what_the_vendor_does_not_allow_is_refused_by_name(fields, field):
    refusal = refused(**fields)
    assert refusal.valid and (field is None or refusal.field == field)


# --- the conversation ------------------------------------------------------------------------------------------------


def turns(*messages: Json, model: str = HAIKU, **fields: Any) -> list[Json]:
    return sent(model, messages=list(messages), **fields)[0]["messages"]


def test_roles_take_turns_and_only_what_says_something_is_said():
    made = turns(
        user("a"), user([text(" "), text("b")]), ai(""), ai([text("\n")]), user("c"), ai("d"), ai("e"), user("f")
    )
    assert [message["role"] for message in made] == ["user", "assistant", "user"]
    assert made[0]["content"] == [text("a"), text("b"), text("c")]
    assert made[1]["content"] == [text("d"), text("e")] and made[2]["content"] == "f"


@given(
    st.lists(
        st.one_of(
            st.builds(user, st.sampled_from(["", "a", [text("b"), text("")]])),
            st.builds(ai, st.sampled_from(["", None, "c"]), tool_calls=st.sampled_from([None, [call()]])),
            st.builds(result, content=st.sampled_from(["", "1", [text("2")]])),
            st.builds(lambda words: {"role": "system", "content": words}, st.sampled_from(["", "s"])),
        ),
        max_size=9,
    ),
    st.sampled_from([HAIKU, OPUS]),
)
def test_whatever_the_order_results_come_first_and_nothing_is_empty(messages, model):
    before = copy.deepcopy(messages)
    try:
        body = sent(model, messages=messages, tools=[TOOL])[0]
    except Refusal as refusal:
        assert refusal.field == "messages"
        return
    made = body["messages"]
    assert messages == before
    roles = [message["role"] for message in made]
    assert all(a != b for a, b in pairwise(roles))
    for index, message in enumerate(made):
        kinds = [block["type"] for block in message["content"]] if isinstance(message["content"], list) else ["text"]
        assert kinds and kinds == sorted(kinds, key=lambda kind: kind != "tool_result")
        if message["role"] == "system":  # the vendor's rule
            assert model == OPUS and roles[index - 1] == "user" and roles[index + 1 : index + 2] in ([], ["assistant"])
    said = str(messages)
    assert str(body).count("'s'") == said.count("'s'") and str(made).count("'1'") == said.count("'1'")


def test_results_come_first_in_every_turn():
    turn = [ai(tool_calls=[call()]), user("Quick!"), result(content="1"), user("Well?"), result(content="2")]
    for message in turns(*HELLO, *turn, *turn, *turn)[2::2]:
        kinds = [block["type"] for block in message["content"]]
        assert kinds == ["tool_result", "tool_result", "text", "text"]
        assert [block["content"] for block in message["content"][:2]] == ["1", "2"]


@pytest.mark.parametrize(
    ("model", "stays"),
    [
        (OTHER, False),
        (HAIKU, False),
        ("claude-opus-4-6", False),
        ("claude-opus-4-7", False),
        ("claude-opus-4-8", True),
        ("claude-sonnet-5", True),
    ],
)
def test_a_later_prompt_keeps_its_place_where_the_model_takes_it(model, stays):
    body, _ = sent(model, messages=[user("a"), ai("b"), user("c"), {"role": "developer", "content": "d"}])
    assert ([m["role"] for m in body["messages"]][3:], body.get("system")) == (
        (["system"], None) if stays else ([], "d")
    )


def test_a_later_prompt_without_words_of_the_user_before_it_joins_the_others():
    made, _ = sent(OPUS, messages=[user("a"), ai("b"), {"role": "system", "content": "c"}, ai("d")])
    assert made["system"] == "c" and [m["role"] for m in made["messages"]] == ["user", "assistant"]


def test_a_mark_for_the_cache_stays_where_it_is():
    marked = {**text("a"), "cache_control": _CACHE}
    made, _ = sent(messages=[{"role": "system", "content": "a", "cache_control": _CACHE}, user([marked])])
    assert made["system"] == [marked] and made["messages"][0]["content"] == [marked]
    made, _ = sent(messages=[*HELLO, ai(tool_calls=[call()]), {**result(), "cache_control": _CACHE}])
    assert made["messages"][2]["content"][0]["cache_control"] == _CACHE
    assert "cache_control" not in str(turns(user("a"), ai("", cache_control=_CACHE)))


def test_ids_of_calls_and_of_their_results_stay_together():
    made = turns(*HELLO, ai(tool_calls=[call("call:1"), call("toolu_2")]), result("toolu_2"), result("call:1"))
    first, second = (block["id"] for block in made[1]["content"])
    assert [block["tool_use_id"] for block in made[2]["content"]] == [second, first] == ["toolu_2", first]
    assert first != "call:1"


@pytest.mark.parametrize("arguments", ["", "  ", None, "{}"])
def test_a_call_without_arguments_has_an_empty_object(arguments):
    assert turns(*HELLO, ai(tool_calls=[call(arguments=arguments)]))[1]["content"][0]["input"] == {}


@pytest.mark.parametrize("name", ["", "report.md"])
def test_text_in_a_file_is_read(name):
    part = {"type": "file", "file": {"filename": name, "file_data": "data:text/markdown;base64,w6Y="}}
    block = turns(user([part]))[0]["content"][0]
    assert block["source"] == {"type": "text", "media_type": "text/plain", "data": "æ"}
    assert block.get("title") == (name or None)


# --- what was thought ------------------------------------------------------------------------------------------------


def thinking(signature: str = SIGNATURE, words: str = "So.") -> Json:
    return {"type": "thinking", "thinking": words, "signature": signature}


def blocks_of(*details: Json, **extra: Any) -> tuple[list[Json], list[str]]:
    body, dropped = sent(messages=[*HELLO, ai("Hi", reasoning_details=list(details), **extra), *HELLO])
    content = body["messages"][1]["content"]
    return (content[:-1] if isinstance(content, list) else []), dropped


def test_blocks_go_back_in_the_order_of_their_index():
    second = {"type": "reasoning.encrypted", "data": "Emw", "format": ANTHROPIC, "index": 1}
    made, dropped = blocks_of(second, _DETAIL)
    assert made == [thinking(), {"type": "redacted_thinking", "data": "Emw"}] and dropped == []


def test_pieces_of_a_stream_become_one_block():
    pieces = [{"type": "reasoning.text", "format": ANTHROPIC, "index": 0} | {"text": word} for word in ("S", "o", ".")]
    signature = {"type": "reasoning.text", "format": ANTHROPIC, "index": 0, "signature": SIGNATURE}
    assert blocks_of(*pieces, signature) == ([thinking()], [])
    unnumbered = [{k: v for k, v in piece.items() if k != "index"} for piece in (*pieces, signature)]
    assert blocks_of(*unnumbered, *unnumbered) == ([thinking(), thinking()], [])


def test_a_block_whose_words_are_not_shown_goes_back_too():
    assert blocks_of({**_DETAIL, "text": ""}) == ([thinking(words="")], [])


@pytest.mark.parametrize(
    "detail",
    [
        {**_DETAIL, "format": OPENAI},
        {"type": "reasoning.text", "text": "So.", "index": 0},
        {"type": "reasoning.text", "text": "So.", "format": ANTHROPIC, "index": 0},
        {**_DETAIL, "signature": ""},
        {**_DETAIL, "signature": UNSIGNED},
        {**_DETAIL, "signature": seal({"format": OPENAI, "signature": "x"})},
        {**_DETAIL, "signature": seal({"format": ANTHROPIC, "signature": UNSIGNED})},
        {"type": "reasoning.encrypted", "data": "gAAA", "format": OPENAI, "index": 0},
        {"type": "reasoning.encrypted", "data": seal({"format": OPENAI, "data": "x"}), "format": ANTHROPIC, "index": 0},
    ],
)
def test_what_this_vendor_did_not_sign_is_not_shown_to_it(detail):
    assert blocks_of(detail) == ([], ["messages[].reasoning_content"])
    assert blocks_of(reasoning_content="So.") == ([], ["messages[].reasoning_content"])


def test_a_seal_is_opened_before_it_goes_back():
    sealed = seal({"format": ANTHROPIC, "signature": SIGNATURE})
    assert blocks_of({**_DETAIL, "signature": sealed}) == ([thinking()], [])


def test_a_message_cannot_end_with_what_was_thought():
    made, dropped = sent(messages=[*HELLO, ai("", reasoning_details=[_DETAIL]), *HELLO])
    assert [message["role"] for message in made["messages"]] == ["user"]
    assert dropped == ["messages[].reasoning_content"]


def test_what_an_answer_held_goes_back_as_it_was():
    content = [thinking(), {"type": "redacted_thinking", "data": "Emw"}, thinking("EqQ2", "Yes."), text("Hi")]
    value = _message(content)
    whole = chat_to_messages.answer(value, asked())["choices"][0]["message"]
    assert turns(*HELLO, whole, *HELLO)[1]["content"] == content
    details, words = [], []
    for chunk in chat_to_messages_stream(_events(content)):
        delta = chunk["choices"][0]["delta"]
        details += delta.get("reasoning_details", [])
        words.append(delta.get("content", ""))
    streamed = ai("".join(words), reasoning_details=details)
    assert turns(*HELLO, streamed, *HELLO)[1]["content"] == content


# --- thinking --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("limit", [None, 1, 1024, 1025, 2000, 4096, 8192, 30_000, 100_000])
@pytest.mark.parametrize("model", [HAIKU, "claude-opus-4-1", "claude-opus-4-5", OTHER])
def test_a_budget_always_fits_below_the_limit(effort, limit, model):
    body, dropped = sent(model, reasoning_effort=effort, **({} if limit is None else {"max_tokens": limit}))
    assert limit is None or body["max_tokens"] == limit
    assert body["max_tokens"] <= (limit or (32_000 if model == "claude-opus-4-1" else 65_536))
    if effort == "none" or (limit is not None and limit <= 1024):
        assert "thinking" not in body and dropped == ([] if effort == "none" else ["reasoning_effort"])
    else:
        assert 1024 <= body["thinking"]["budget_tokens"] < body["max_tokens"] and dropped == []
    assert ("effort" in body.get("output_config", {})) == (model == "claude-opus-4-5" and effort != "none")


def test_a_budget_comes_on_top_of_what_is_written():
    assert sent(reasoning_effort="medium")[0]["max_tokens"] == 16_384 + 8192
    assert sent(thinking={"type": "enabled", "budget_tokens": 3000})[0]["max_tokens"] == 16_384 + 3000
    assert sent(thinking={"type": "disabled"})[0]["max_tokens"] == 16_384


@pytest.mark.parametrize("model", [HAIKU, OPUS, "claude-opus-4-6"])
@pytest.mark.parametrize(
    "forcing",
    [
        {"tools": [TOOL], "tool_choice": "required"},
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"response_format": {"type": "json_object"}},
    ],
)
def test_a_tool_that_must_be_called_wins_over_thinking(model, forcing):
    body, dropped = sent(model, reasoning_effort="low", **forcing)
    assert "thinking" not in body and dropped == ["reasoning_effort"]
    body, dropped = sent(model, thinking={"type": "enabled", "budget_tokens": 2000}, **forcing)
    assert "thinking" not in body and dropped == ["thinking"]
    body, dropped = sent(model, thinking={"type": "disabled"}, **forcing)
    assert body["thinking"] == {"type": "disabled"} and dropped == []


@pytest.mark.parametrize("choice", ["auto", "none", None])
def test_a_tool_that_may_be_called_does_not(choice):
    body, dropped = sent(reasoning_effort="low", tools=[TOOL], tool_choice=choice)
    assert body["thinking"]["budget_tokens"] == 4096 and dropped == []


@pytest.mark.parametrize(
    ("messages", "thinks"),
    [
        ([*HELLO, ai(tool_calls=[call()]), result()], False),
        ([*HELLO, ai(tool_calls=[call()], reasoning_details=[_DETAIL]), result()], True),
        ([*HELLO, ai(tool_calls=[call()], reasoning_content="So."), result(), user("Well?")], False),
        (
            [*HELLO, ai(tool_calls=[call()], reasoning_details=[_DETAIL]), result(), ai(tool_calls=[call()]), result()],
            True,
        ),
        ([*HELLO, ai(tool_calls=[call()]), result(), ai("1"), user("Again")], True),
        ([*HELLO, ai("The answer is")], False),
        (HELLO, True),
    ],
)
def test_a_turn_that_goes_on_must_have_begun_with_thinking(messages, thinks):
    body, dropped = sent(messages=messages, tools=[TOOL], reasoning_effort="low")
    assert ("thinking" in body) is thinks and ("reasoning_effort" in dropped) is not thinks
    assert sent(OPUS, messages=messages, tools=[TOOL], reasoning_effort="low")[0]["thinking"]["type"] == "adaptive"


@pytest.mark.parametrize(
    ("model", "given", "made", "dropped"),
    [
        (
            OTHER,
            {"temperature": 2, "top_p": 0.5, "top_k": 3},
            {"temperature": 1, "top_p": 0.5, "top_k": 3},
            ["temperature"],
        ),
        (OTHER, {"temperature": 1.0}, {"temperature": 1.0}, []),
        (HAIKU, {"temperature": 0.3, "top_p": 0.5}, {"temperature": 0.3}, ["top_p"]),
        (HAIKU, {"temperature": 0.3, "top_p": 1}, {"temperature": 0.3}, []),
        (HAIKU, {"top_p": 0.5}, {"top_p": 0.5}, []),
        (OPUS, {"temperature": 1.0, "top_p": 1, "top_k": 3}, {}, ["top_k"]),
        (OPUS, {"temperature": 0, "top_p": 0.5}, {}, ["temperature", "top_p"]),
    ],
)
def test_models_are_sent_the_sampling_that_they_take(model, given, made, dropped):
    body, names = sent(model, **given)
    assert {name: body[name] for name in _SAMPLING if name in body} == made and names == dropped


@pytest.mark.parametrize(
    "thinking", [{"reasoning_effort": "low"}, {"thinking": {"type": "enabled", "budget_tokens": 2000}}]
)
@pytest.mark.parametrize(
    ("given", "made", "dropped"),
    [
        ({"temperature": 0.5, "top_p": 0.96}, {"top_p": 0.96}, ["temperature"]),
        ({"temperature": 1, "top_p": 0.9, "top_k": 3}, {}, ["top_p", "top_k"]),
    ],
)
def test_sampling_gives_way_to_thinking(thinking, given, made, dropped):
    body, names = sent(**given, **thinking)
    assert {name: body[name] for name in _SAMPLING if name in body} == made and names == dropped


def test_who_asks_is_told_once_and_briefly():
    assert sent(user="u", safety_identifier="u") == (sent(user="u")[0], [])
    long = sent(user="u" * 300)[0]["metadata"]["user_id"]
    assert len(long) == 32 and long == sent(user="u" * 300)[0]["metadata"]["user_id"]
    assert sent(user="u" * 256)[0]["metadata"]["user_id"] == "u" * 256


# --- tools and forms in requests -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "schema"),
    [
        (None, {"type": "object", "properties": {}}),
        ({}, {"type": "object"}),
        ({"properties": {}}, {"type": "object", "properties": {}}),
        (LEVEL, LEVEL),
    ],
)
def test_a_tool_always_has_a_schema_of_an_object(parameters, schema):
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    assert sent(tools=[tool])[0]["tools"] == [{"name": "f", "input_schema": schema}]


def test_a_tool_is_strict_only_where_the_model_can_hold_it():
    assert sent(tools=[STRICT])[0]["tools"][0]["strict"] is True
    assert sent(tools=[STRICT])[0]["tools"][0]["input_schema"]["additionalProperties"] is False
    body, dropped = sent(OTHER, tools=[STRICT])
    assert "strict" not in body["tools"][0] and dropped == ["tools[].function.strict"]
    limited = {**LEVEL, "properties": {"metres": {"type": "number", "minimum": 0}}}
    body, dropped = sent(tools=[{"type": "function", "function": {"name": "f", "parameters": limited, "strict": True}}])
    assert body["tools"][0]["input_schema"]["properties"]["metres"]["description"] == "minimum: 0"
    assert dropped == ["tools[].function.parameters"]
    assert "minimum" in limited["properties"]["metres"]


@pytest.mark.parametrize(
    ("choice", "tools", "made"),
    [
        (None, [], {"type": "tool", "name": ANSWER_TOOL, "disable_parallel_tool_use": True}),
        ("required", [], {"type": "tool", "name": ANSWER_TOOL, "disable_parallel_tool_use": True}),
        ("none", ["f"], {"type": "tool", "name": ANSWER_TOOL, "disable_parallel_tool_use": True}),
        (None, ["f"], {"type": "any"}),
        ("auto", ["f"], {"type": "any"}),
    ],
)
def test_a_form_that_is_a_tool_is_asked_for(choice, tools, made):
    body, _ = sent(OLD, tools=[TOOL for _ in tools], tool_choice=choice, response_format=form(LEVEL))
    assert body["tool_choice"] == made and [tool["name"] for tool in body["tools"]] == [*tools, ANSWER_TOOL]
    assert body["tools"][-1]["input_schema"] == LEVEL and "output_config" not in body


@pytest.mark.parametrize("inner", [{"anyOf": [LEVEL]}, {"type": "object", "anyOf": [LEVEL]}, {"type": "string"}, {}])
def test_what_cannot_be_a_tools_input_is_wrapped(inner):
    roots = {"$defs": {"A": LEVEL}}
    body, _ = sent(OLD, response_format=form(inner | roots))
    wrapped = {"type": "object", "properties": {"value": inner}, "required": ["value"], **roots}
    assert body["tools"][0]["input_schema"] == wrapped


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "f"}}])
def test_a_tool_that_the_client_wants_called_comes_before_a_form(choice):
    body, _ = sent(OLD, tools=[TOOL], tool_choice=choice, response_format=form(LEVEL))
    assert body == sent(OLD, tools=[TOOL], tool_choice=choice)[0]


def test_one_call_at_a_time_holds_beside_a_form():
    body, _ = sent(OLD, tools=[TOOL], parallel_tool_calls=False, response_format=form(LEVEL))
    assert body["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}


def test_one_call_at_a_time_is_not_asked_for_where_there_is_none():
    assert sent(tools=[TOOL], tool_choice="none", parallel_tool_calls=False)[0]["tool_choice"] == {"type": "none"}
    assert "tool_choice" not in sent(parallel_tool_calls=False)[0]
    assert "tool_choice" not in sent(tools=[TOOL], parallel_tool_calls=True)[0]


def test_tools_of_earlier_turns_are_told_only_where_there_are_no_others():
    messages = [*HELLO, ai(tool_calls=[call(name="g"), call("call_2", "h"), call("call_3", "g")])]
    body, _ = sent(messages=messages, tool_choice="auto")
    assert [tool["name"] for tool in body["tools"]] == ["g", "h"] and body["tool_choice"] == {"type": "none"}
    assert [tool["name"] for tool in sent(messages=messages, tools=[TOOL])[0]["tools"]] == ["f"]
    body, _ = sent(messages=messages, response_format={"type": "json_object"})
    assert [tool["name"] for tool in body["tools"]] == [ANSWER_TOOL]


@pytest.mark.parametrize(
    ("schema", "made"),
    [
        (LEVEL, LEVEL),
        (
            {"type": "object", "properties": {"a": {"type": ["object", "null"], "properties": {}}}},
            {
                "type": "object",
                "properties": {"a": {"type": ["object", "null"], "properties": {}, "additionalProperties": False}},
                "additionalProperties": False,
            },
        ),
        (
            {"$ref": "#/$defs/A", "$defs": {"A": {"properties": {}}}},
            {"$ref": "#/$defs/A", "$defs": {"A": {"properties": {}, "additionalProperties": False}}},
        ),
        (
            {"oneOf": [{"type": "string", "maxLength": 3}]},
            {"anyOf": [{"type": "string", "description": "maxLength: 3"}]},
        ),
        ({"allOf": [{"$ref": "#"}]}, {"allOf": [{"$ref": "#"}]}),
        (
            {"type": "array", "items": {"type": "string", "format": "regex", "pattern": 'a"', "description": "A"}},
            {"type": "array", "items": {"type": "string", "description": 'A (format: "regex", pattern: "a\\"")'}},
        ),
        ({"type": "array", "items": True, "minItems": 1}, {"type": "array", "items": True, "minItems": 1}),
        ({"type": "object"}, None),
        ({"type": "object", "properties": {}, "additionalProperties": True}, None),
        ({"type": "object", "additionalProperties": {"type": "string"}}, None),
        ({"allOf": [LEVEL, LEVEL]}, None),
        ({"anyOf": [LEVEL], "oneOf": [LEVEL]}, None),
        ({"type": "array", "prefixItems": [LEVEL]}, None),
    ],
)
def test_the_vendors_grammar_is_given_what_it_takes(schema, made):
    before = copy.deepcopy(schema)
    fitting = fitted(schema)
    assert (fitting.schema if fitting is not None else None) == made and schema == before
    if fitting is not None:
        assert fitting.limits == ("description" in str(made))


def test_a_schema_too_deep_for_the_grammar_becomes_a_tool():
    schema: Json = LEVEL
    for _ in range(150):
        schema = {"type": "array", "items": schema}
    body, _ = sent(response_format=form(schema))
    assert body["tools"][0]["name"] == ANSWER_TOOL


@pytest.mark.parametrize("schema", [None, {"type": "object"}, {**LEVEL, "additionalProperties": True}])
def test_a_form_that_the_grammar_cannot_hold_becomes_a_tool(schema):
    body, _ = sent(response_format=form(schema))
    assert body["tools"][0]["input_schema"] == (schema or {"type": "object"}) and "output_config" not in body


# --- answers, whole and streamed -------------------------------------------------------------------------------------


def _message(content: list[Json], stop_reason: Any = "end_turn", **more: Any) -> Json:
    usage = {"input_tokens": 5, "output_tokens": 7}
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x"}
    return {**head, "content": content, "stop_reason": stop_reason, "stop_sequence": None, "usage": usage, **more}


def _start(**more: Any) -> Json:
    return {"type": "message_start", "message": _message([], None, **more)}


def _block(index: int, block: Json) -> Json:
    return {"type": "content_block_start", "index": index, "content_block": block}


def _delta(index: int, kind: str, **content: Any) -> Json:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **content}}


def _stop(index: int) -> Json:
    return {"type": "content_block_stop", "index": index}


def _finish(reason: Any = "end_turn") -> Json:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 9}}


_FIELDS = {"text": ("text_delta", "text"), "thinking": ("thinking_delta", "thinking")}


def _events(content: list[Json], stop_reason: str = "end_turn", size: int = 3) -> list[Json]:
    """The message as a stream, in pieces of this size."""
    events = [_start()]
    for index, block in enumerate(content):
        kind = block["type"]
        if kind in _FIELDS:
            events.append(_block(index, {**block, kind: ""} | ({"signature": ""} if "signature" in block else {})))
            delta, name = _FIELDS[kind]
            for at in range(0, len(block[kind]), size):
                events.append(_delta(index, delta, **{name: block[kind][at : at + size]}))
            if "signature" in block:
                events.append(_delta(index, "signature_delta", signature=block["signature"]))
        elif kind in ("tool_use", "server_tool_use"):
            events.append(_block(index, {**block, "input": {}}))
            written = orjson.dumps(block["input"]).decode() if block["input"] else ""
            for at in range(0, len(written), size):
                events.append(_delta(index, "input_json_delta", partial_json=written[at : at + size]))
        else:
            events.append(_block(index, block))
        events.append(_stop(index))
    return [*events, _finish(stop_reason), {"type": "message_stop"}]


def chat_to_messages_stream(events: list[Json], by: Asked | None = None) -> list[Json]:
    stream = chat_to_messages.Stream(by or asked())
    return [chunk for event in events for chunk in stream.on(event)] + stream.end()


def heard(chunks: list[Json]) -> Json:
    """What a client makes of them; well-formedness is checked on the way."""
    said: Json = {"content": "", "reasoning_content": "", "calls": [], "thoughts": {}, "finish": None}
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    for chunk in chunks:
        assert chunk["object"] == "chat.completion.chunk" and chunk["created"] == NOW_S
        assert {k: chunk[k] for k in ("id", "model")} == {k: chunks[0][k] for k in ("id", "model")}
        assert said["finish"] is None or chunk["choices"] == []
        for choice in chunk["choices"]:
            assert choice["index"] == 0
            said["finish"] = choice["finish_reason"]
            delta = choice["delta"]
            assert delta or choice["finish_reason"]
            said["content"] += delta.get("content", "")
            said["reasoning_content"] += delta.get("reasoning_content", "")
            for entry in delta.get("reasoning_details", []):
                assert entry["format"] == ANTHROPIC
                thought = said["thoughts"].setdefault(entry["index"], {"text": "", "signature": "", "data": ""})
                for name in thought:
                    thought[name] += entry.get(name, "")
            for one in delta.get("tool_calls", []):
                if "id" in one:
                    assert one["index"] == len(said["calls"]) and one["type"] == "function"
                    said["calls"].append([one["id"], one["function"]["name"], ""])
                said["calls"][one["index"]][2] += one["function"]["arguments"]
    return said


_WORDS = st.text(st.characters(codec="utf-8"), max_size=12)
_INPUTS = st.dictionaries(st.text(max_size=3), st.integers(-9, 9) | _WORDS | st.lists(st.booleans()), max_size=3)
_CONTENT = st.lists(
    st.one_of(
        st.builds(text, _WORDS),
        st.builds(thinking, st.text("abc", min_size=1, max_size=3), _WORDS),
        st.builds(lambda data: {"type": "redacted_thinking", "data": data}, st.text("abc", min_size=1, max_size=3)),
        st.builds(
            lambda kind, name, value: {"type": kind, "id": f"id_{name}", "name": name, "input": value},
            st.sampled_from(["tool_use", "tool_use", "server_tool_use"]),
            st.text("abc", min_size=1, max_size=3),
            _INPUTS,
        ),
        st.just({"type": "web_search_tool_result", "tool_use_id": "a", "content": []}),
    ),
    max_size=6,
)


@settings(max_examples=150)
@given(_CONTENT, st.integers(1, 9))
def test_any_stream_adds_up_to_what_the_upstream_said(content, size):
    said = heard(chat_to_messages_stream(_events(content, "end_turn", size)))
    assert said["content"] == "".join(block["text"] for block in content if block["type"] == "text")
    thoughts = [block for block in content if block["type"] in ("thinking", "redacted_thinking")]
    assert list(said["thoughts"].values()) == [
        {"text": b.get("thinking", ""), "signature": b.get("signature", ""), "data": b.get("data", "")}
        for b in thoughts
    ]
    assert list(said["thoughts"]) == list(range(len(thoughts)))
    assert said["reasoning_content"] == "\n\n".join(b["thinking"] for b in thoughts if b.get("thinking"))
    calls = [block for block in content if block["type"] == "tool_use"]
    assert [(one[0], one[1], orjson.loads(one[2])) for one in said["calls"]] == [
        (block["id"], block["name"], block["input"]) for block in calls
    ]
    assert said["finish"] == ("tool_calls" if calls else "stop")
    whole = chat_to_messages.answer(_message(content), asked())["choices"][0]
    message = whole["message"]
    assert (message["content"] or "", whole["finish_reason"]) == (said["content"], said["finish"])
    assert message.get("reasoning_content", "") == said["reasoning_content"]
    assert [one["function"]["arguments"] for one in message.get("tool_calls", [])] == [
        orjson.dumps(block["input"]).decode() for block in calls
    ]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("va }", max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150)
@given(_JSON, st.integers(1, 5), st.booleans(), st.booleans())
def test_any_value_is_taken_out_of_its_wrapping_however_it_is_cut(value, size, indented, talks):
    by = asked(OLD, response_format=form({"type": ["array", "object", "string", "number", "null"]}))
    assert "value" in by.sent["tools"][0]["input_schema"]["properties"]
    written = orjson.dumps({"value": value}, option=orjson.OPT_INDENT_2 if indented else 0).decode()
    events = [_start(), _block(0, text("Well." if talks else "")), _stop(0)]
    events.append(_block(1, {"type": "tool_use", "id": "a", "name": ANSWER_TOOL, "input": {}}))
    events += [_delta(1, "input_json_delta", partial_json=written[i : i + size]) for i in range(0, len(written), size)]
    said = heard(chat_to_messages_stream([*events, _stop(1), _finish("tool_use")], by))
    assert orjson.loads(said["content"]) == value and (said["finish"], said["calls"]) == ("stop", [])
    block = {"type": "tool_use", "id": "a", "name": ANSWER_TOOL, "input": {"value": value}}
    whole = chat_to_messages.answer(_message([text("Well."), block], "tool_use"), by)["choices"][0]
    assert orjson.loads(whole["message"]["content"]) == value and whole["finish_reason"] == "stop"


def _answered(written: str, reason: str = "tool_use", schema: Any = None) -> Json:
    by = asked(OLD, response_format=form({"type": "array"} if schema is None else schema))
    events = [_start(), _block(0, {"type": "tool_use", "id": "a", "name": ANSWER_TOOL, "input": {}})]
    events += [_delta(0, "input_json_delta", partial_json=written), _stop(0), _finish(reason)]
    return heard(chat_to_messages_stream(events, by))


@pytest.mark.parametrize(
    "written",
    ['{"value":[1],"more":2}', '{"more":[1]}', "{}", "[1]", '{"value":[1}', '{"value":', '{"value":[1]}}', "5"],
)
def test_an_answer_that_has_not_the_form_is_malformed(written):
    with pytest.raises(Malformed, match="the form that was asked for"):
        _answered(written)
    assert _answered(written, "max_tokens")["finish"] == "length"


def test_an_unusual_wrapping_is_opened_too():
    assert _answered('{"\\u0076alue":[1]}')["content"] == "[1]"


def test_a_form_that_was_cut_is_told_as_far_as_it_came():
    assert _answered('{"value":[{"a":1}', "max_tokens")["content"] == '[{"a":1}'
    assert _answered('{"metres":1', "max_tokens", LEVEL)["content"] == '{"metres":1'
    with pytest.raises(Malformed):
        _answered('{"metres":1', "tool_use", LEVEL)


def test_an_answer_is_given_once():
    by = asked(OLD, response_format=form(LEVEL))
    block = {"type": "tool_use", "id": "a", "name": ANSWER_TOOL, "input": {"metres": 1}}
    assert chat_to_messages.answer(_message([block, block], "tool_use"), by)["choices"][0]["message"] == {
        "role": "assistant",
        "content": '{"metres":1}',
        "refusal": None,
    }


def test_an_empty_answer_in_a_form_is_an_empty_object():
    by = asked(OLD, response_format={"type": "json_object"})
    block = {"type": "tool_use", "id": "a", "name": ANSWER_TOOL, "input": {}}
    assert chat_to_messages.answer(_message([block], "tool_use"), by)["choices"][0]["message"]["content"] == "{}"


def test_a_client_that_asked_for_no_form_may_be_answered_by_any_tool():
    block = {"type": "tool_use", "id": "a", "name": ANSWER_TOOL, "input": {}}
    assert chat_to_messages.answer(_message([block]), asked())["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("tool_use", "stop"),
        ("something_new", "stop"),
        (5, "stop"),
        (["end_turn"], "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
    ],
)
def test_every_stop_reason_has_a_finish_reason(reason, finish):
    assert heard(chat_to_messages_stream([_start(), _finish(reason)]))["finish"] == finish
    assert chat_to_messages.answer(_message([], reason), asked())["choices"][0]["finish_reason"] == finish


@pytest.mark.parametrize("wanted", [True, False, None, 1])
def test_the_usage_comes_last_and_only_for_who_asked(wanted):
    by = Asked({"stream_options": {"include_usage": wanted}}, {}, up(), NOW_S)
    chunks = chat_to_messages_stream([_start(), _finish()], by)
    if wanted is True:
        assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["total_tokens"] == 14
    else:
        assert all("usage" not in chunk for chunk in chunks)


def test_an_answer_without_usage_model_or_id_is_one_still():
    value = {"content": [text("Hi")], "stop_reason": "end_turn"}
    made = chat_to_messages.answer(value, asked())
    assert (made["id"], made["model"]) == (f"chatcmpl-{NOW_S}", HAIKU) and made["usage"]["total_tokens"] == 0


def test_a_call_without_an_id_is_given_the_same_one_each_time():
    calls = [{"type": "tool_use", "name": "f", "input": {}}, {"type": "tool_use", "id": "", "name": "f", "input": {}}]
    whole = chat_to_messages.answer(_message(calls), asked())["choices"][0]["message"]["tool_calls"]
    streamed = heard(chat_to_messages_stream(_events(calls)))["calls"]
    assert [one["id"] for one in whole] == [one[0] for one in streamed] and whole[0]["id"] != whole[1]["id"]


def test_blocks_that_are_open_at_the_same_time_do_not_mix():
    call_a, call_b = ({"type": "tool_use", "id": name, "name": name, "input": {}} for name in "ab")
    events = [_start(), _block(0, call_a), _block(1, call_b), _delta(1, "input_json_delta", partial_json='{"b":')]
    events += [_stop(0), _delta(1, "input_json_delta", partial_json="1}"), _finish("tool_use"), _stop(1)]
    assert [one[2] for one in heard(chat_to_messages_stream(events))["calls"]] == ["{}", '{"b":1}']


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("pieces", [[], [""], [" ", "\n"]])
def test_a_call_without_arguments_has_an_empty_object_in_the_end(pieces, closed):
    events = [_start(), _block(0, {"type": "tool_use", "id": "a", "name": "f", "input": {}})]
    events += [_delta(0, "input_json_delta", partial_json=piece) for piece in pieces]
    events += [_stop(0), _finish("end_turn")] if closed else [_finish("end_turn"), _stop(0)]
    said = heard(chat_to_messages_stream(events))
    assert orjson.loads(said["calls"][0][2]) == {} and said["finish"] == "tool_calls"


def test_a_sequence_that_stops_a_call_is_not_a_call_to_be_made():
    events = [_start(), _block(0, {"type": "tool_use", "id": "a", "name": "f", "input": {}})]
    events += [_delta(0, "input_json_delta", partial_json='{"a":'), _stop(0), _finish("stop_sequence")]
    assert heard(chat_to_messages_stream(events))["finish"] == "stop"


def test_nothing_comes_of_a_delta_that_says_nothing():
    stream = chat_to_messages.Stream(asked())
    stream.on(_start())
    assert stream.on(_block(0, text(""))) == [] and stream.on(_delta(0, "text_delta", text="")) == []
    assert stream.on(_delta(0, "citations_delta", citation={})) == [] and stream.on(_delta(0, "new_delta")) == []
    assert stream.on({"type": "ping"}) == [] and stream.on({"type": "message_stop"}) == []


@pytest.mark.parametrize(
    "events",
    [
        [{}],
        [{"type": 5}],
        [_block(0, text(""))],
        [{"type": "message_start"}],
        [_start(), _start()],
        [_start(), _block(0, text("")), _block(0, text(""))],
        [_start(), {**_block(0, text("")), "index": "0"}],
        [_start(), {**_block(0, text("")), "index": []}],
        [_start(), _block(0, {"text": "a"})],
        [_start(), _block(0, {"type": "text", "text": 5})],
        [_start(), _block(0, {"type": "tool_use", "id": "a", "input": {}})],
        [_start(), _block(0, {"type": "tool_use", "id": "a", "name": "f", "input": "{}"})],
        [_start(), _block(0, {"type": "tool_use", "id": 5, "name": "f"})],
        [_start(), {"type": "content_block_start", "index": 0}],
        [_start(), _delta(0, "text_delta", text="a")],
        [_start(), _block(0, text("")), _delta(1, "text_delta", text="a")],
        [_start(), _block(0, text("")), {**_delta(0, "text_delta", text="a"), "index": [0]}],
        [_start(), _block(0, text("")), _stop(0), _delta(0, "text_delta", text="a")],
        [_start(), _block(0, text("")), _delta(0, "thinking_delta", thinking="a")],
        [_start(), _block(0, text("")), _delta(0, "input_json_delta", partial_json="a")],
        [_start(), _block(0, text("")), _delta(0, "text_delta")],
        [_start(), _block(0, text("")), {"type": "content_block_delta", "index": 0, "delta": {}}],
        [_start(), _block(0, text("")), {"type": "content_block_delta", "index": 0}],
        [_start(), _block(0, thinking()), _delta(0, "text_delta", text="a")],
        [_start(), _block(0, thinking()), _delta(0, "signature_delta", signature=5)],
        [_start(), _stop(0)],
        [_start(), {"type": "message_delta", "delta": "stop"}],
        [_start(), _finish(), _block(0, text(""))],
        [_start(), _block(0, text("")), _finish(), _delta(0, "text_delta", text="a")],
    ],
)
def test_what_is_no_stream_of_messages_is_malformed(events):
    stream = chat_to_messages.Stream(asked())
    for event in events[:-1]:
        stream.on(event)
    with pytest.raises(Malformed):
        stream.on(events[-1])


def test_a_stream_without_a_stop_reason_has_no_end():
    stream = chat_to_messages.Stream(asked())
    stream.on(_start())
    stream.on(_finish(None))
    with pytest.raises(Malformed, match="without a stop reason"):
        stream.end()


@pytest.mark.parametrize("content", [None, "Hi", [5], [{"type": 5}], [{"type": "tool_use", "name": "f", "input": "{"}]])
def test_what_is_no_message_is_malformed(content):
    with pytest.raises(Malformed):
        chat_to_messages.answer(_message(content), asked())


def test_a_call_that_the_limit_cut_is_left_out():
    cut = {"type": "tool_use", "id": "a", "name": "f", "input": '{"a":'}
    made = chat_to_messages.answer(_message([text("Hi"), cut], "max_tokens"), asked())["choices"][0]
    assert (made["message"].get("tool_calls"), made["finish_reason"]) == (None, "length")


# --- through chat ----------------------------------------------------------------------------------------------------


def test_refusals_and_dropped_fields_have_the_names_that_a_client_of_responses_knows():
    fields = {"model": HAIKU, "input": "Hello", "top_logprobs": 2}
    with pytest.raises(Refusal) as caught:
        translate(Dialect.RESPONSES, Dialect.MESSAGES, fields)
    assert caught.value.field == "top_logprobs"
    with pytest.raises(Refusal) as caught:
        fields = {"model": HAIKU, "input": "Hello", "include": ["message.output_text.logprobs"]}
        translate(Dialect.RESPONSES, Dialect.MESSAGES, fields)
    assert caught.value.field == "include[]:message.output_text.logprobs"
    fields = {"model": HAIKU, "input": "Hello", "reasoning": {"effort": "low"}, "max_output_tokens": 100}
    assert translate(Dialect.RESPONSES, Dialect.MESSAGES, fields).dropped == ("reasoning",)


@pytest.mark.parametrize("name", chat_to_messages.NAMES)
def test_the_upstreams_names_are_the_vendors(name):
    assert name in MessageCreateParamsNonStreaming.__annotations__ and name not in CHAT_TO_MESSAGES.keys() - {
        "max_tokens",
        "metadata",
        "thinking",
    }
    assert chat_to_messages.NAMES[name] in CHAT_TO_MESSAGES


# --- any JSON at any place -------------------------------------------------------------------------------------------

_ODD_VALUES = orjson.loads(
    b"""[null, true, false, 0, -1, 1.5, 1e30, "", " ", "text", "object", "{}", [], [[]], [null], ["a"], {}, {"type": 5},
    {"type": "text"}, {"type": "function"}, [{}], [{"type": "tool_use"}], {"role": "user"}, "data:,", "https://a"]"""
)
_ODD = st.sampled_from([*_ODD_VALUES, 10**30, UNSIGNED])


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(value, dict):
        for key, part in value.items():
            found += _places(part, (*path, key))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            found += _places(part, (*path, index))
    return found


@st.composite
def _damaged(draw: Any, wholes: list[Any]) -> Any:
    value = copy.deepcopy(draw(st.sampled_from(wholes)))
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from(_places(value)[1:] or [()]))
        if not path:
            continue
        place = value
        for step in path[:-1]:
            place = place[step]
        how = draw(st.integers(0, 3))
        if how == 0:
            del place[path[-1]]
        elif how == 1 and isinstance(place, list):
            place.insert(path[-1], copy.deepcopy(place[draw(st.integers(0, len(place) - 1))]))
        else:
            place[path[-1]] = copy.deepcopy(draw(_ODD))
    return value


_REQUESTS = [orjson.loads((case / "request.json").read_bytes()) for case in CASES]
_REQUESTS += [{"model": HAIKU, "messages": HELLO, **example} for example in EXAMPLES.values()]
_ANSWERS = [orjson.loads((case / "answer.upstream.json").read_bytes()) for case in ANSWERED]
_STREAMS = [datas((case / "stream.upstream.sse").read_text()) for case in STREAMED]
_ASKED = [
    asked(),
    asked(stream_options={"include_usage": True}),
    asked(OLD, response_format=form(LEVEL)),
    asked(OLD, response_format=form({"type": "array"})),
]


@settings(max_examples=400)
@given(_damaged(_REQUESTS), st.sampled_from([HAIKU, OPUS, OLD, "claude-opus-4-5"]))
def test_a_damaged_request_is_refused_or_sent_and_never_changed(fields, model):
    before, dropped = copy.deepcopy(fields), []
    try:
        body = chat_to_messages.request(fields, up(model), dropped)
    except Refusal as refusal:
        assert refusal.field
    else:
        assert body["messages"] and body["max_tokens"] > 0
        assert set(body) - set(_SAMPLING) <= {"stream", *MessageCreateParamsNonStreaming.__annotations__}
    assert fields == before and all(isinstance(name, str) for name in dropped)


@settings(max_examples=250)
@given(_damaged(_ANSWERS), st.sampled_from(_ASKED))
def test_a_damaged_answer_is_malformed_or_a_chat_completion(value, by):
    before = copy.deepcopy(value)
    try:
        made = chat_to_messages.answer(value, by)
    except Malformed:
        pass
    else:
        ChatCompletion.model_validate_json(orjson.dumps(made), strict=True)
    assert value == before


@settings(max_examples=250)
@given(_damaged(_STREAMS), st.sampled_from(_ASKED))
def test_a_damaged_stream_is_malformed_or_a_stream_of_chunks(events, by):
    before = copy.deepcopy(events)
    stream, made = chat_to_messages.Stream(by), []
    try:
        for event in events:
            if isinstance(event, dict):  # the meter hands on nothing else
                made += stream.on(event)
        made += stream.end()
    except Malformed:
        pass
    else:
        heard(made)
    for chunk in made:
        ChatCompletionChunk.model_validate_json(orjson.dumps(chunk), strict=True)
    assert events == before


def test_the_goldens_know_their_address():
    assert all(about(case) == {} for case in CASES) and translation(CASES[0]).client is Dialect.CHAT
