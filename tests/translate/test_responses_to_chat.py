"""A responses client on an upstream that speaks chat: the rules. Whole files are in golden/responses_to_chat."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import orjson
import pytest
from cases import GOLDEN, NOW_S, about, holds, translate
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.chat.completion_create_params import CompletionCreateParams
from openai.types.responses import Response, ResponseIncludable, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from headgate.wire.dialect import Dialect
from headgate.wire.translate import responses_to_chat
from headgate.wire.translate.asked import Asked
from headgate.wire.translate.fields import RESPONSES_TO_CHAT, Fate
from headgate.wire.translate.reasoning import ANTHROPIC, OPENAI, UNSIGNED, seal
from headgate.wire.translate.shape import Malformed, Refusal
from headgate.wire.translate.upstream import Upstream, describe, hub

Json = dict[str, Any]

CASES = sorted(path.parent for path in (GOLDEN / "responses_to_chat").glob("*/request.json"))
LOCAL = describe("local/m", "m", Dialect.CHAT, "http://127.0.0.1:8080/v1")
OPENAI_GPT = describe("openai/gpt-4.1", "gpt-4.1", Dialect.CHAT, "https://api.openai.com/v1")
OPENAI_REASONING = describe("openai/gpt-5.1", "gpt-5.1", Dialect.CHAT, "https://api.openai.com/v1")
HUB = hub("anthropic/claude", "claude")

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
CHAT_REQUEST: TypeAdapter[Any] = TypeAdapter(CompletionCreateParams)


def ask(fields: Json, upstream: Upstream = LOCAL) -> tuple[Json, list[str]]:
    dropped: list[str] = []
    sent = responses_to_chat.request({"model": "m", "input": "Hi", **fields}, upstream, dropped)
    return sent, dropped


def messages(items: list[Any], upstream: Upstream = LOCAL) -> list[Json]:
    return ask({"input": items}, upstream)[0]["messages"]


def asked(fields: Json | None = None, upstream: Upstream = LOCAL) -> Asked:
    whole = {"model": "m", "input": "Hi", **(fields or {})}
    return Asked(whole, responses_to_chat.request(whole, upstream, []), upstream, NOW_S)


def answer(message: Json, finish: str = "stop", fields: Json | None = None, upstream: Upstream = LOCAL) -> Json:
    value = {"id": "chatcmpl-0123456789abcdef", "created": 5, "model": "m"}
    value["choices"] = [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}]
    return responses_to_chat.answer(value, asked(fields, upstream))


def stream(deltas: list[Json], finish: str = "stop", fields: Json | None = None) -> list[Json]:
    made = responses_to_chat.Stream(asked(fields))
    events: list[Json] = []
    for delta in deltas:
        events += made.on(chunk(delta))
    events += made.on(chunk({}, finish))
    return events + made.end()


def chunk(delta: Json, finish: str | None = None) -> Json:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "chatcmpl-0123456789abcdef", "created": 5, "model": "m", "choices": [choice]}


def piece(index: int | None, said: Json, call_id: str | None = None) -> Json:
    call: Json = {"function": said}
    if index is not None:
        call["index"] = index
    if call_id is not None:
        call["id"] = call_id
    return {"tool_calls": [call]}


# --- what the vendor's own types say


def extras(parsed: Any) -> set[str]:
    """Names that the vendor's models do not have."""
    if isinstance(parsed, BaseModel):
        values = {name: getattr(parsed, name) for name in type(parsed).model_fields}
        return set(parsed.model_extra or ()).union(*map(extras, values.values()))
    return set().union(*map(extras, parsed)) if isinstance(parsed, list) else set()


def parse_response(value: Json) -> Response:
    parsed = Response.model_validate(value, strict=True)
    assert extras(parsed) <= {"store"}
    return parsed


def well_formed(events: list[Json]) -> Json:
    """The whole response at the end of a stream, which is checked as the vendor's types and its accumulator do."""
    parsed = [EVENT.validate_python(event, strict=True) for event in events]
    assert set().union(*map(extras, parsed)) <= {"store", "bytes"}
    assert all(type(event).model_fields["type"].annotation.__args__[0] == event.type for event in parsed)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    items: list[Json] = []
    for kind, *rest in lives(events[2:-1]):
        items.append(LIVES[kind](*rest))
    last = events[-1]
    response: Json = last["response"]
    assert last["type"] == f"response.{response['status']}"
    assert response["output"] == items
    assert len({item["id"] for item in items}) == len(items)
    state = ResponseStreamState(input_tools=omit, text_format=omit)
    told = [out for event in parsed for out in state.handle_event(event)]
    assert told[-1].response.output_text == "".join(texts(response))
    return response


def lives(events: list[Json]) -> Iterator[tuple[str, list[Json], Json]]:
    """(kind, the events between, the whole item) for each item, which never overlap."""
    place, between = 0, None
    for event in events:
        assert event["output_index"] == place
        if event["type"] == "response.output_item.added":
            assert between is None
            first, between = event["item"], []
        elif event["type"] == "response.output_item.done":
            item = event["item"]
            assert between is not None
            assert all(e["item_id"] == item["id"] == first["id"] for e in between)
            assert first["type"] == item["type"]
            assert item.get("status") != "in_progress"
            yield item["type"], between, item
            place, between = place + 1, None
        else:
            assert between is not None
            between.append(event)
    assert between is None


def _message_life(events: list[Json], item: Json) -> Json:
    parts: list[Json] = []
    said = ""
    for event in events:
        kind = event["type"].removeprefix("response.")
        assert event["content_index"] == len(parts)
        if kind == "content_part.added":
            said, opened, logprobs, annotations = "", event["part"], [], []
        elif kind in ("output_text.delta", "refusal.delta"):
            assert event["delta"]
            said += event["delta"]
            logprobs += event.get("logprobs", [])
        elif kind == "output_text.annotation.added":
            assert event["annotation_index"] == len(annotations)
            annotations.append(event["annotation"])
        elif kind == "output_text.done":
            assert (event["text"], event["logprobs"]) == (said, logprobs)
        elif kind == "refusal.done":
            assert event["refusal"] == said
        else:
            assert kind == "content_part.done"
            field = "refusal" if opened["type"] == "refusal" else "text"
            whole = {**opened, field: said}
            if field == "text":
                whole |= {"annotations": annotations, "logprobs": logprobs}
            assert event["part"] == whole
            parts.append(whole)
    assert item["content"] == parts
    return item


def _call_life(events: list[Json], item: Json) -> Json:
    field = "input" if item["type"] == "custom_tool_call" else "arguments"
    *deltas, done = events
    assert done["type"].endswith(".done") and all(e["type"].endswith(".delta") for e in deltas)
    assert "".join(e["delta"] for e in deltas) == done[field] == item[field]
    return item


def _reasoning_life(events: list[Json], item: Json) -> Json:
    if not events:
        assert item["summary"] == []
        return item
    assert all(event["summary_index"] == 0 for event in events)
    names = [event["type"].removeprefix("response.reasoning_summary_") for event in events]
    assert names[0] == "part.added" and names[-2:] == ["text.done", "part.done"] and set(names[1:-2]) == {"text.delta"}
    text = "".join(event["delta"] for event in events[1:-2])
    assert text == events[-2]["text"] == events[-1]["part"]["text"]
    assert item["summary"] == [{"type": "summary_text", "text": text}]
    return item


LIVES: dict[str, Callable[[list[Json], Json], Json]] = {
    "message": _message_life,
    "function_call": _call_life,
    "custom_tool_call": _call_life,
    "reasoning": _reasoning_life,
}


def of(response: Json, kind: str) -> list[Json]:
    return [item for item in response["output"] if item["type"] == kind]


def texts(response: Json, kind: str = "text") -> list[str]:
    return [part[kind] for item in of(response, "message") for part in item["content"] if kind in part]


def events_of(path: Path) -> list[Json]:
    blocks = path.read_text().split("\n\n")
    return [json.loads(line[6:]) for block in blocks for line in block.split("\n") if line.startswith("data: {")]


@pytest.mark.parametrize("case", [c for c in CASES if (c / "answer.client.json").exists()], ids=lambda c: c.name)
def test_every_golden_answer_is_what_the_vendors_types_say(case: Path) -> None:
    parse_response(orjson.loads((case / "answer.client.json").read_bytes()))


@pytest.mark.parametrize("case", [c for c in CASES if (c / "stream.client.sse").exists()], ids=lambda c: c.name)
def test_every_golden_stream_is_what_the_vendors_types_and_accumulator_say(case: Path) -> None:
    response = well_formed(events_of(case / "stream.client.sse"))
    if (case / "answer.client.json").exists() and case.name not in (
        "tools",
        "reasoning_signed",
        "finish_length_in_a_call",
    ):
        whole = orjson.loads((case / "answer.client.json").read_bytes())
        assert response["output"] == whole["output"]


def written(value: Any) -> Any:
    """A parsed TypedDict, whose lazy lists are read, and so checked."""
    if isinstance(value, dict):
        return {name: written(inner) for name, inner in value.items()}
    if isinstance(value, str | int | float | None):
        return value
    return [written(inner) for inner in value]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_every_golden_request_is_what_the_upstreams_vendor_documents(case: Path) -> None:
    sent = orjson.loads((case / "sent.json").read_bytes()).get("body")
    if sent is None:
        return
    understood = written(CHAT_REQUEST.validate_python(sent))
    if "max_tokens" in sent or "base_url" not in about(case):
        for message in sent["messages"]:
            message.pop("reasoning_content", None)
    assert understood == sent


# --- the table

USER = {"role": "user"}
F = {"type": "function", "name": "f", "parameters": {"type": "object"}}
C = {"type": "custom", "name": "c"}


def part(kind: str, **more: Any) -> Json:
    return {"input": [{**USER, "content": [{"type": kind, **more}]}]}


def item(kind: str, **more: Any) -> Json:
    return {"input": [{"type": kind, **more}]}


def says(role: str, content: Any = "x", **more: Any) -> Json:
    return {"messages": [{"role": role, "content": content, **more}]}


def calls(call: Json) -> Json:
    return {"messages": [{"role": "assistant", "tool_calls": [{"id": "c", **call}]}]}


CHAT_F = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CHAT_C = {"type": "custom", "custom": {"name": "c"}}
PDF = "data:application/pdf;base64,JVBERg=="
PNG = "https://e.com/a.png"
LOGPROBS = ["message.output_text.logprobs"]
CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}

#: For each row: fields that it is about; the upstream that it is carried to; and what must be in what is sent there.
CARRIED: dict[str, tuple[Json, Upstream, Json]] = {
    "model": ({}, LOCAL, {"model": "m"}),
    "input": ({"input": "Hello"}, LOCAL, says("user", "Hello")),
    "input[]:message": (item("message", role="user", content="Hello"), LOCAL, says("user", "Hello")),
    "input[]:function_call": ({"input": [CALL]}, LOCAL, calls({"function": {"name": "f", "arguments": "{}"}})),
    "input[]:function_call.namespace": (
        {"input": [{**CALL, "namespace": "n"}]},
        LOCAL,
        calls({"function": {"name": "n__f", "arguments": "{}"}}),
    ),
    "input[]:function_call_output": (
        item("function_call_output", call_id="c", output="x"),
        LOCAL,
        says("tool", tool_call_id="c"),
    ),
    "input[]:reasoning": (
        {
            "input": [
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "t"}]},
                {"role": "assistant", "content": "x"},
            ]
        },
        LOCAL,
        says("assistant", reasoning_content="t"),
    ),
    "input[]:custom_tool_call": (
        item("custom_tool_call", call_id="c", name="f", input="x"),
        OPENAI_GPT,
        calls({"type": "custom", "custom": {"name": "f", "input": "x"}}),
    ),
    "input[]:custom_tool_call_output": (
        item("custom_tool_call_output", call_id="c", output="x"),
        OPENAI_GPT,
        says("tool", tool_call_id="c"),
    ),
    "input[].content[]:input_text": (part("input_text", text="x"), LOCAL, says("user")),
    "input[].content[]:output_text": (part("output_text", text="x"), LOCAL, says("user")),
    "input[].content[]:refusal": (
        item("message", role="assistant", content=[{"type": "refusal", "refusal": "no"}]),
        OPENAI_GPT,
        says("assistant", [{"type": "refusal", "refusal": "no"}]),
    ),
    "input[].content[]:input_image": (
        part("input_image", image_url=PNG, detail="low"),
        LOCAL,
        says("user", [{"type": "image_url", "image_url": {"url": PNG, "detail": "low"}}]),
    ),
    "input[].content[]:input_file": (
        part("input_file", file_data="JVBERg=="),
        LOCAL,
        says("user", [{"type": "file", "file": {"file_data": PDF}}]),
    ),
    "instructions": ({"instructions": "Be brief."}, LOCAL, says("system", "Be brief.")),
    "max_output_tokens": ({"max_output_tokens": 5}, LOCAL, {"max_tokens": 5}),
    "stream": ({"stream": True}, LOCAL, {"stream": True, "stream_options": {"include_usage": True}}),
    "temperature": ({"temperature": 0.5}, LOCAL, {"temperature": 0.5}),
    "top_p": ({"top_p": 0.5}, LOCAL, {"top_p": 0.5}),
    "top_logprobs": ({"top_logprobs": 2}, LOCAL, {"logprobs": True, "top_logprobs": 2}),
    "tools": ({"tools": [F]}, LOCAL, {"tools": [CHAT_F]}),
    "tools[]:custom": ({"tools": [C]}, OPENAI_GPT, {"tools": [CHAT_C]}),
    "tools[]:namespace": (
        {"tools": [{"type": "namespace", "name": "n", "description": "", "tools": [F]}]},
        LOCAL,
        {"tools": [{"type": "function", "function": {"name": "n__f"}}]},
    ),
    "tool_choice": ({"tools": [F], "tool_choice": "required"}, LOCAL, {"tool_choice": "required"}),
    "tool_choice:allowed_tools": (
        {"tools": [F], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [F]}},
        OPENAI_GPT,
        {"tool_choice": {"allowed_tools": {"mode": "auto", "tools": [{"function": {"name": "f"}}]}}},
    ),
    "tool_choice:custom": (
        {"tools": [C], "tool_choice": {"type": "custom", "name": "c"}},
        OPENAI_GPT,
        {"tool_choice": CHAT_C},
    ),
    "parallel_tool_calls": ({"tools": [F], "parallel_tool_calls": False}, LOCAL, {"parallel_tool_calls": False}),
    "text": ({"text": {"format": {"type": "json_object"}}}, LOCAL, {"response_format": {"type": "json_object"}}),
    "text.verbosity": ({"text": {"verbosity": "low"}}, OPENAI_REASONING, {"verbosity": "low"}),
    "reasoning": ({"reasoning": {"effort": "low", "summary": "auto"}}, LOCAL, {"reasoning_effort": "low"}),
    "reasoning.effort": ({"reasoning": {"effort": "low"}}, OPENAI_REASONING, {"reasoning_effort": "low"}),
    "include": ({"include": LOGPROBS}, LOCAL, {"logprobs": True}),
    "include[]:message.output_text.logprobs": ({"include": LOGPROBS}, LOCAL, {"logprobs": True}),
    "user": ({"user": "u"}, LOCAL, {"user": "u"}),
    **{
        name: ({name: value}, OPENAI_GPT, {name: value})
        for name, value in {
            "safety_identifier": "s",
            "service_tier": "flex",
            "prompt_cache_key": "k",
            "prompt_cache_retention": "24h",
        }.items()
    },
}
HERE: dict[str, Json] = {
    "metadata": {"metadata": {"a": "b"}},
    "stream_options": {"stream_options": {}},
    "stream_options.include_obfuscation": {"stream_options": {"include_obfuscation": False}},
    "stream_options.include_usage": {"stream_options": {"include_usage": False}},
    "include[]:reasoning.encrypted_content": {"include": ["reasoning.encrypted_content"]},
}

#: For each row: fields, and the path that the refusal names.
REFUSED: dict[str, tuple[Json, str]] = {
    "input[]:item_reference": ({"input": [{"id": "msg_1"}]}, "input[0].type"),
    "input[].content[].file_id": (part("input_image", file_id="f"), "input[0].content[0].file_id"),
    "input[].content[].file_url": (part("input_file", file_url="https://e.com"), "input[0].content[0].file_url"),
    "input[].content[]:input_audio": (part("input_audio"), "input[0].content[0].type"),
    "previous_response_id": ({"previous_response_id": "resp_1"}, "previous_response_id"),
    "conversation": ({"conversation": "conv_1"}, "conversation"),
    "prompt": ({"prompt": {"id": "p"}}, "prompt"),
    "background": ({"background": True}, "background"),
    "moderation": ({"moderation": {"model": "m"}}, "moderation"),
}
for name in RESPONSES_TO_CHAT:  # the types of items and tools
    place, _, kind = name.partition(":")
    if RESPONSES_TO_CHAT[name].fate is Fate.REFUSED and name not in REFUSED:
        made = {"input[]": item(kind), "tools[]": {"tools": [{"type": kind}]}, "tool_choice": {place: {"type": kind}}}
        REFUSED[name] = (made[place], place.replace("[]", "[0]") + ".type")
DROPPED: dict[str, Json] = {
    "input[].phase": {"input": [{**USER, "content": "x", "phase": "commentary"}]},
    "input[].caller": {"input": [{**CALL, "caller": {"type": "program", "caller_id": "p"}}]},
    "input[].async": {"input": [{**CALL, "async": True}]},
    "input[].internal_chat_message_metadata_passthrough": {
        "input": [{**USER, "content": "x", "internal_chat_message_metadata_passthrough": {"turn_id": "t"}}]
    },
    "input[].parsed_arguments": {"input": [{**CALL, "parsed_arguments": {"a": 1}}]},
    "input[].content[].parsed": part("output_text", text="x", parsed={"a": 1}),
    "input[].content[].detail": part("input_file", file_data="JVBERg==", detail="low"),
    "input[].content[].prompt_cache_breakpoint": part(
        "input_text", text="x", prompt_cache_breakpoint={"mode": "explicit"}
    ),
    "tools[].defer_loading": {"tools": [{**F, "defer_loading": True}]},
    "tools[].async": {"tools": [{**F, "async": True}]},
    "tools[].allowed_callers": {"tools": [{**F, "allowed_callers": ["programmatic"]}]},
    "tools[].output_schema": {"tools": [{**F, "output_schema": {}}]},
    "reasoning.context": {"reasoning": {"context": "auto"}},
    "reasoning.mode": {"reasoning": {"mode": "pro"}},
    "prompt_cache_options": {"prompt_cache_options": {"mode": "explicit"}},
    "store": {"store": True},
    "truncation": {"truncation": "auto"},
    "max_tool_calls": {"max_tool_calls": 2},
    "context_management": {"context_management": [{"type": "compaction"}]},
    "access_programs": {"access_programs": {"cyber": "standard"}},
    "image": {"image": {"context_compression": "auto"}},
    "client_metadata": {"client_metadata": {"session": "s"}},
    **{
        f"include[]:{name}": {"include": [name]}
        for name in get_args(ResponseIncludable)
        if name not in ("message.output_text.logprobs", "reasoning.encrypted_content")
    },
}


def rows(fate: Fate) -> set[str]:
    return {name for name, row in RESPONSES_TO_CHAT.items() if row.fate is fate}


def test_every_row_has_its_example() -> None:
    assert set(CARRIED) == rows(Fate.CARRIED)
    assert set(HERE) == rows(Fate.HERE)
    assert set(REFUSED) == rows(Fate.REFUSED)
    assert set(DROPPED) == rows(Fate.DROPPED)


@pytest.mark.parametrize("row", CARRIED)
def test_a_carried_field_is_sent(row: str) -> None:
    fields, upstream, expected = CARRIED[row]
    sent, dropped = ask(fields, upstream)
    assert dropped == []
    assert holds(sent, expected)


@pytest.mark.parametrize("row", HERE)
def test_what_is_honoured_here_is_not_sent(row: str) -> None:
    assert ask(HERE[row]) == ask({})


@pytest.mark.parametrize("row", REFUSED)
def test_a_refused_field_is_named(row: str) -> None:
    fields, path = REFUSED[row]
    for upstream in (LOCAL, OPENAI_GPT, HUB):
        with pytest.raises(Refusal) as refusal:
            ask(fields, upstream)
        assert refusal.value.field == path
        assert refusal.value.valid
        assert RESPONSES_TO_CHAT[row].note in refusal.value.why


@pytest.mark.parametrize("row", DROPPED)
def test_a_dropped_field_is_named(row: str) -> None:
    for upstream in (LOCAL, OPENAI_REASONING, HUB):
        assert ask(DROPPED[row], upstream)[1] == [row]


@pytest.mark.parametrize("row", [name for name in RESPONSES_TO_CHAT if RESPONSES_TO_CHAT[name].idle])
def test_what_asks_for_nothing_passes_silently(row: str) -> None:
    *_, name = row.split(".")
    for value in (*RESPONSES_TO_CHAT[row].idle, None):
        if row.startswith("tools[]."):
            fields: Json = {"tools": [{**F, name: value}]}
        elif row.startswith("input[].content[]"):
            fields = part("input_file", file_data="JVBERg==", detail=value)
        elif row.startswith("input[]."):
            fields = {"input": [{**CALL, name: value}]}
        else:
            fields = {name: value}
        assert ask(fields)[1] == []


@pytest.mark.parametrize(
    "name", sorted(n for n in RESPONSES_TO_CHAT if n.isidentifier() and n not in ("model", "input"))
)
def test_null_is_absent(name: str) -> None:
    assert ask({name: None}) == ask({})


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"made_up": 1}, "made_up"),
        ({"text": {"made_up": 1}}, "text.made_up"),
        ({"reasoning": {"made_up": 1}}, "reasoning.made_up"),
        ({"tools": [{**F, "made_up": 1}]}, "tools[0].made_up"),
        ({"tools": [{**F, "tools": []}]}, "tools[0].tools"),
        ({"tools": [{"type": "made_up"}]}, "tools[0].type"),
        ({"tools": [{"type": "namespace", "name": "n", "made_up": 1}]}, "tools[0].made_up"),
        (
            {"tools": [{"type": "namespace", "name": "n", "tools": [{**F, "made_up": 1}]}]},
            "tools[0].tools[0].made_up",
        ),
        ({"tools": [{"type": "namespace", "name": "n", "tools": [C]}]}, "tools[0].tools[0].type"),
        ({"tools": [{**C, "format": {"type": "text", "made_up": 1}}]}, "tools[0].format.made_up"),
        (
            {"tools": [{**C, "format": {"type": "grammar", "syntax": "lark", "definition": "x", "made_up": 1}}]},
            "tools[0].format.made_up",
        ),
        ({"tool_choice": {"type": "function", "name": "f", "made_up": 1}}, "tool_choice.made_up"),
        ({"tool_choice": {"type": "made_up"}}, "tool_choice.type"),
        (
            {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [F], "made_up": 1}},
            "tool_choice.made_up",
        ),
        (
            {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{**F, "made_up": 1}]}},
            "tool_choice.tools[0].made_up",
        ),
        ({"text": {"format": {"type": "text", "made_up": 1}}}, "text.format.made_up"),
        ({"text": {"format": {"type": "json_object", "schema": {}}}}, "text.format.schema"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format.type"),
        (
            {"text": {"format": {"type": "json_schema", "name": "n", "schema": {}, "made_up": 1}}},
            "text.format.made_up",
        ),
        ({"stream_options": {"made_up": 1}}, "stream_options.made_up"),
        ({"include": [*LOGPROBS, "made_up"]}, "include[1]"),
        ({"input": [{**USER, "content": "x", "made\r\nup": 1}]}, "input[0].made\r\nup"),
        ({"input": [{**USER, "content": "x", "arguments": "{}"}]}, "input[0].arguments"),
        ({"input": [{**USER, "content": "x", "namespace": "n"}]}, "input[0].namespace"),
        ({"input": [{**CALL, "content": "x"}]}, "input[0].content"),
        (item("function_call_output", call_id="c", output="x", arguments="{}"), "input[0].arguments"),
        (
            item("custom_tool_call", call_id="c", name="f", input="x", namespace="n"),
            "input[0].namespace",
        ),
        (item("reasoning", summary=[], made_up=1), "input[0].made_up"),
        (
            item("reasoning", summary=[{"type": "summary_text", "text": "x", "made_up": 1}]),
            "input[0].summary[0].made_up",
        ),
        (part("input_text", text="x", made_up=1), "input[0].content[0].made_up"),
        (part("input_text", text="x", image_url=PNG), "input[0].content[0].image_url"),
        (part("input_image", image_url=PNG, text="x"), "input[0].content[0].text"),
        (part("computer_screenshot"), "input[0].content[0].type"),
        (item("made_up"), "input[0].type"),
        (
            item("function_call_output", call_id="c", output=[{"type": "input_text", "text": "x", "made_up": 1}]),
            "input[0].output[0].made_up",
        ),
        ({"input": [{**CALL, "arguments": "[1]"}]}, "input[0].arguments"),
        ({"input": [{**CALL, "arguments": "{"}]}, "input[0].arguments"),
    ],
)
def test_a_field_that_is_not_known_is_refused(fields: Json, path: str) -> None:
    with pytest.raises(Refusal) as refusal:
        ask(fields, OPENAI_GPT)
    assert (refusal.value.field, refusal.value.valid) == (path, True)


@pytest.mark.parametrize(
    "item",
    [
        {**USER, "content": "x", "id": "msg_1", "status": "completed", "made_up": None},
        {**CALL, "id": "fc_1", "status": "completed", "created_by": "u", "caller": {"type": "direct"}, "async": False},
        {
            "role": "assistant",
            "id": "msg_1",
            "status": "completed",
            "content": [{"type": "output_text", "text": "x", "annotations": [{"type": "file_path"}], "logprobs": []}],
        },
        {"type": "function_call_output", "id": "o", "status": "completed", "call_id": "c", "output": "x", "name": "f"},
    ],
)
def test_what_stands_in_an_answer_may_be_sent_back(item: Json) -> None:
    assert ask({"input": [item]})[1] == []


@pytest.mark.parametrize("content", [None, []])
@pytest.mark.parametrize("role", ["user", "system", "developer"])
def test_an_empty_message_is_left_out(role: str, content: Any) -> None:
    for upstream in (LOCAL, OPENAI_GPT, HUB):
        alone = messages([{"role": "user", "content": "x"}], upstream)
        assert messages([{"role": "user", "content": "x"}, {"role": role, "content": content}], upstream) == alone


@pytest.mark.parametrize("arguments", [None, "", " \n"])
def test_a_call_without_arguments_has_none(arguments: str | None) -> None:
    assert messages([{**CALL, "arguments": arguments}]) == messages([CALL])


SPACE = {"type": "namespace", "name": "n", "tools": [F]}


@pytest.mark.parametrize("tools", [[SPACE, {**F, "name": "n__f"}], [{**F, "name": "n__f"}, SPACE], [SPACE, SPACE]])
def test_two_tools_of_one_joined_name_are_refused(tools: list[Json]) -> None:
    with pytest.raises(Refusal) as refusal:
        ask({"tools": tools})
    assert (refusal.value.field, refusal.value.valid) == ("tools[1]", False)


@pytest.mark.parametrize(
    "fields",
    [
        item("custom_tool_call", call_id="c", name="f", input="x"),
        item("custom_tool_call_output", call_id="c", output="x"),
        {"tools": [C]},
        {"tool_choice": {"type": "custom", "name": "c"}},
        {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}},
    ],
)
def test_what_only_openai_itself_takes_is_refused_elsewhere(fields: Json) -> None:
    ask(fields, OPENAI_GPT)
    for upstream in (LOCAL, HUB):
        with pytest.raises(Refusal) as refusal:
            ask(fields, upstream)
        assert refusal.value.valid


@pytest.mark.parametrize("name", ["safety_identifier", "service_tier", "prompt_cache_key", "prompt_cache_retention"])
def test_labels_are_dropped_by_name_where_they_are_not_taken(name: str) -> None:
    assert ask({name: "x"}) == (ask({})[0], [name])


def test_the_hub_is_told_who_the_user_is() -> None:
    assert ask({"safety_identifier": "x"}, HUB)[0]["safety_identifier"] == "x"


def test_no_effort_asks_nothing_of_a_model_that_does_not_reason() -> None:
    assert ask({"reasoning": {"effort": "none"}}, OPENAI_GPT) == ask({}, OPENAI_GPT)
    assert ask({"reasoning": {"effort": "low"}}, OPENAI_GPT) == (ask({}, OPENAI_GPT)[0], ["reasoning.effort"])


def test_a_number_of_probabilities_asks_for_them() -> None:
    assert ask({"top_logprobs": 2})[0] == {**ask({})[0], "logprobs": True, "top_logprobs": 2}
    assert ask({"top_logprobs": 0}) == ask({})


def test_names_are_those_of_the_client() -> None:
    for name in responses_to_chat.NAMES.values():
        assert name in RESPONSES_TO_CHAT or name in ("text.format", "text.format.type", "tools[]", "tools[].format")


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"input": []}, "input"),
        ({"input": 5}, "input"),
        ({"input": ["x"]}, "input"),
        ({"input": [{}]}, "input[0].role"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input"),
        ({"input": [{"role": "user", "content": []}]}, "input"),
        ({"input": [{"role": "user", "content": {}}]}, "input[0].content"),
        ({"input": [{"type": 5}]}, "input[0].type"),
        (part("input_text"), "input[0].content[0].text"),
        (part("input_image"), "input[0].content[0].image_url"),
        (item("function_call", call_id="c", name="", arguments=""), "input[0].name"),
        (item("function_call_output", call_id="c", output={}), "input[0].output"),
        (item("reasoning", summary=[{"type": "x"}]), "input[0].summary[0].type"),
        ({"tools": {}}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tool_choice": "all"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.name"),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"include": "x"}, "include"),
        ({"temperature": "hot"}, "temperature"),
        ({"max_output_tokens": 1.5}, "max_output_tokens"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": -1}, "max_output_tokens"),
        ({"stream_options": {"include_obfuscation": 1}}, "stream_options.include_obfuscation"),
        ({"include": [5]}, "include[0]"),
    ],
)
def test_what_responses_itself_does_not_allow_is_a_bad_request(fields: Json, path: str) -> None:
    with pytest.raises(Refusal) as refusal:
        ask(fields)
    assert (refusal.value.field, refusal.value.valid) == (path, False)


# --- the conversation


def test_what_belongs_to_one_turn_becomes_one_message() -> None:
    made = messages(
        [
            {"role": "user", "content": "?"},
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "one"}]},
            CALL,
            {"role": "assistant", "content": "Looking."},
            {"type": "reasoning", "id": "rs_2", "summary": [{"type": "summary_text", "text": "two"}]},
            {**CALL, "call_id": "d"},
            {"type": "function_call_output", "call_id": "c", "output": "1"},
            {"type": "function_call_output", "call_id": "d", "output": "2"},
            {"role": "assistant", "content": "Done."},
        ]
    )
    assert [m["role"] for m in made] == ["user", "assistant", "tool", "tool", "assistant"]
    assert made[1]["content"] == "Looking."
    assert made[1]["reasoning_content"] == "one\n\ntwo"
    assert [call["id"] for call in made[1]["tool_calls"]] == ["c", "d"]


def test_images_of_results_follow_after_the_last_result() -> None:
    image = {"type": "input_image", "image_url": "https://e.com/a.png"}
    made = messages(
        [
            CALL,
            {**CALL, "call_id": "d"},
            {"type": "function_call_output", "call_id": "c", "output": [image]},
            {"type": "function_call_output", "call_id": "d", "output": [{"type": "input_text", "text": "2"}, image]},
            CALL,
        ]
    )
    assert [m["role"] for m in made] == ["assistant", "tool", "tool", "user", "assistant"]
    assert made[1]["content"] and made[2]["content"] == "2"
    assert ["c" in made[3]["content"][0]["text"], "d" in made[3]["content"][2]["text"]] == [True, True]


def test_on_the_hub_images_stay_in_the_result() -> None:
    image = {"type": "input_image", "image_url": "https://e.com/a.png"}
    made = messages([CALL, {"type": "function_call_output", "call_id": "c", "output": [image]}], HUB)
    assert made[1]["content"] == [{"type": "image_url", "image_url": {"url": "https://e.com/a.png"}}]


def test_reasoning_that_nothing_follows_is_named_as_dropped() -> None:
    thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "t"}]}
    sent, dropped = ask({"input": [{"role": "user", "content": "?"}, thought, {"role": "user", "content": "!"}]})
    assert [m["role"] for m in sent["messages"]] == ["user", "user"]
    assert dropped == ["input[]:reasoning"]


def test_the_full_reasoning_is_preferred_to_its_summary() -> None:
    thought = {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "short"}],
        "content": [{"type": "reasoning_text", "text": "long"}],
    }
    assert messages([thought, {"role": "assistant", "content": "x"}])[0]["reasoning_content"] == "long"


def sent_back(thought: Json, upstream: Upstream) -> Json:
    item = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "t"}], **thought}
    return messages([item, {"role": "assistant", "content": "x"}], upstream)[0]


def test_reasoning_comes_back_to_the_hub_as_its_vendor_signed_it() -> None:
    signed = sent_back({"encrypted_content": seal({"format": ANTHROPIC, "signature": "s"})}, HUB)
    assert signed["reasoning_details"] == [
        {"type": "reasoning.text", "text": "t", "signature": "s", "format": ANTHROPIC, "index": 0}
    ]
    redacted = sent_back({"summary": [], "encrypted_content": seal({"format": ANTHROPIC, "data": "d"})}, HUB)
    assert redacted["reasoning_details"] == [
        {"type": "reasoning.encrypted", "data": "d", "format": ANTHROPIC, "index": 0}
    ]
    own = sent_back({"encrypted_content": "gAAAA"}, HUB)
    assert own["reasoning_details"] == [
        {"type": "reasoning.summary", "summary": "t", "format": OPENAI, "id": "rs_1", "index": 0},
        {"type": "reasoning.encrypted", "data": "gAAAA", "format": OPENAI, "id": "rs_1", "index": 0},
    ]


@pytest.mark.parametrize("opaque", [UNSIGNED, "hg1.broken", seal({"format": ANTHROPIC, "signature": 5}), None])
def test_unsigned_reasoning_is_text_alone(opaque: str | None) -> None:
    message = sent_back({"encrypted_content": opaque}, HUB)
    assert message == {"role": "assistant", "content": "x", "reasoning_content": "t"}


def test_only_the_hub_is_sent_what_vendors_signed() -> None:
    thought = {"encrypted_content": seal({"format": ANTHROPIC, "signature": "s"})}
    assert sent_back(thought, LOCAL) == {"role": "assistant", "content": "x", "reasoning_content": "t"}
    assert sent_back(thought, OPENAI_REASONING) == {"role": "assistant", "content": "x"}


def test_several_thoughts_of_a_turn_are_told_apart_by_their_index() -> None:
    thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "t"}]}
    signed = [{**thought, "encrypted_content": seal({"format": ANTHROPIC, "signature": s})} for s in "ab"]
    [message] = messages([*signed, {"role": "assistant", "content": "x"}], HUB)
    assert [(d["index"], d["signature"]) for d in message["reasoning_details"]] == [(0, "a"), (1, "b")]


@pytest.mark.parametrize("said", ["", " \n", "{}"])
def test_empty_arguments_become_an_empty_object(said: str) -> None:
    [message] = messages([{**CALL, "arguments": said}])
    assert message["tool_calls"][0]["function"]["arguments"] == "{}"


@pytest.mark.parametrize("said", ['{"a":', "[]", "x"])
def test_arguments_that_are_no_object_are_refused(said: str) -> None:
    with pytest.raises(Refusal) as refusal:
        messages([{**CALL, "arguments": said}])
    assert (refusal.value.field, refusal.value.valid) == ("input[0].arguments", True)


def test_a_call_and_its_result_keep_one_id_where_it_must_be_another() -> None:
    long = "c" * 60
    made = messages([{**CALL, "call_id": long}, {"type": "function_call_output", "call_id": long, "output": "x"}])
    assert made[0]["tool_calls"][0]["id"] == made[1]["tool_call_id"] != long


def test_a_developer_is_a_system_except_for_openai() -> None:
    said = {"role": "developer", "content": "x"}
    assert [messages([said], u)[0]["role"] for u in (LOCAL, HUB, OPENAI_GPT)] == ["system", "system", "developer"]


@pytest.mark.parametrize("role", ["system", "developer", "assistant"])
def test_only_users_show_images(role: str) -> None:
    with pytest.raises(Refusal) as refusal:
        messages([{"role": role, "content": [{"type": "input_image", "image_url": "https://e.com/a.png"}]}])
    assert refusal.value.field == "input[0].content[0].type"


def test_the_request_is_left_as_it_was() -> None:
    for case in CASES:
        fields = orjson.loads((case / "request.json").read_bytes())
        before = copy.deepcopy(fields)
        for upstream in (LOCAL, HUB, OPENAI_REASONING):
            with contextlib.suppress(Refusal):
                responses_to_chat.request(fields, upstream, [])
        assert fields == before


# --- answers and streams


def test_the_response_says_again_what_was_asked() -> None:
    fields = {
        "instructions": "Be brief.",
        "metadata": {"job": "1"},
        "temperature": 0,
        "max_output_tokens": 7,
        "tools": [F],
        "tool_choice": {"type": "function", "name": "f"},
        "parallel_tool_calls": False,
        "text": {"format": {"type": "json_object"}},
        "reasoning": {"effort": "low", "summary": "auto"},
        "user": "u",
    }
    told = answer({"content": "x"}, fields=fields)
    parse_response(told)
    for name in ("instructions", "metadata", "temperature", "max_output_tokens", "tool_choice", "reasoning", "user"):
        assert told[name] == fields[name]
    assert told["text"] == {"format": {"type": "json_object"}, "verbosity": "medium"}
    assert told["parallel_tool_calls"] is False


@pytest.mark.parametrize(
    ("finish", "status", "reason"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("made_up", "completed", None),
        ("length", "incomplete", {"reason": "max_output_tokens"}),
        ("content_filter", "incomplete", {"reason": "content_filter"}),
    ],
)
def test_each_finish_reason(finish: str, status: str, reason: Json | None) -> None:
    for told in (answer({"content": "x"}, finish), well_formed(stream([{"content": "x"}], finish))):
        assert (told["status"], told["incomplete_details"]) == (status, reason)
        assert told["output"][0]["status"] == status


def test_ids_differ_where_the_upstream_counts_only_to_a_thousand() -> None:
    def of_answer(created: int) -> str:
        value = {"id": "chatcmpl-7", "created": created, "choices": [{"message": {"content": "x"}}]}
        return responses_to_chat.answer(value, asked())["output"][0]["id"]

    assert of_answer(1) != of_answer(2) and of_answer(1) == of_answer(1)
    assert len(of_answer(1)) <= 64


def test_reasoning_that_is_sealed_in_an_answer_comes_back_to_its_vendor() -> None:
    details = [
        {"type": "reasoning.text", "text": "a", "signature": "s", "format": ANTHROPIC, "index": 0},
        {"type": "reasoning.encrypted", "data": "d", "format": ANTHROPIC, "index": 1},
        {"type": "reasoning.summary", "summary": "b", "id": "rs_9", "format": OPENAI, "index": 2},
        {"type": "reasoning.encrypted", "data": "e", "id": "rs_9", "format": OPENAI, "index": 2},
    ]
    fields = {"include": ["reasoning.encrypted_content"]}
    told = answer({"content": "x", "reasoning_content": "ab", "reasoning_details": details}, fields=fields)
    parse_response(told)
    [message] = messages(told["output"], HUB)
    assert message["reasoning_details"] == details
    deltas = [{"reasoning_details": [entry]} for entry in details] + [{"content": "x"}]
    assert well_formed(stream(deltas, fields=fields))["output"] == told["output"]


def test_encrypted_reasoning_without_text_takes_the_text_beside_it() -> None:
    entry = {"type": "reasoning.encrypted", "data": "e", "id": "rs_9", "format": OPENAI, "index": 0}
    told = answer({"content": "x", "reasoning": "t", "reasoning_details": [entry]})
    assert told["output"][0] == {"id": "rs_9", "type": "reasoning", "summary": [{"type": "summary_text", "text": "t"}]}


def test_reasoning_that_comes_late_is_an_item_of_its_own() -> None:
    late = {"type": "reasoning.encrypted", "data": "e", "id": "rs_9", "format": OPENAI, "index": 0}
    first = {"type": "reasoning.summary", "summary": "t", "id": "rs_9", "format": OPENAI, "index": 0}
    deltas = [{"reasoning_details": [first]}, {"content": "x"}, {"reasoning_details": [late]}]
    told = well_formed(stream(deltas, fields={"include": ["reasoning.encrypted_content"]}))
    assert [i["type"] for i in told["output"]] == ["reasoning", "message", "reasoning"]
    assert told["output"][2]["encrypted_content"] == "e"


def test_nothing_is_added_to_what_was_signed() -> None:
    signed = {"type": "reasoning.text", "text": "a", "signature": "s", "format": ANTHROPIC, "index": 0}
    told = well_formed(stream([{"reasoning_details": [signed]}, {"reasoning_details": [{**signed, "text": "b"}]}]))
    assert [thought["summary"][0]["text"] for thought in of(told, "reasoning")] == ["a", "b"]


def test_tags_count_only_where_no_reasoning_came_before() -> None:
    told = well_formed(stream([{"reasoning_content": "r"}, {"content": "<think>q</think>x"}]))
    assert texts(told) == ["<think>q</think>x"]
    told = well_formed(stream([{"content": "<think>q</think>x"}]))
    assert texts(told) == ["x"]


def test_what_tags_hold_back_comes_before_what_follows() -> None:
    told = well_formed(stream([{"content": "<thi"}, piece(0, {"name": "f", "arguments": "{}"}, "a")]))
    assert [i["type"] for i in told["output"]] == ["message", "function_call"]
    assert texts(told) == ["<thi"]


def test_white_space_alone_is_no_message() -> None:
    call = piece(0, {"name": "f", "arguments": "{}"}, "a")
    for deltas in (
        [{"content": "\n\n"}, call],
        [{"reasoning_content": "r"}, {"content": "\n"}, {"content": "\n"}, call],
    ):
        assert of(well_formed(stream([*deltas, {"content": "\n"}])), "message") == []
    assert texts(well_formed(stream([{"reasoning_content": "r"}, {"content": "\n"}, {"content": "x"}]))) == ["\nx"]
    assert texts(well_formed(stream([{"content": "\n"}]))) == texts(answer({"content": "\n"})) == []


def test_empty_deltas_make_no_event() -> None:
    made = responses_to_chat.Stream(asked())
    assert [e["type"] for e in made.on(chunk({"role": "assistant", "content": ""}))] == [
        "response.created",
        "response.in_progress",
    ]
    nothing = {"content": "", "refusal": None, "tool_calls": [], "reasoning_content": "", "reasoning": None}
    assert made.on(chunk(nothing)) == []
    assert made.on({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}) == []


def test_a_call_is_announced_when_its_name_is_known() -> None:
    made = responses_to_chat.Stream(asked())
    made.on(chunk({}))
    assert made.on(chunk(piece(0, {"arguments": '{"a"'}, "c"))) == []
    out = made.on(chunk(piece(0, {"name": "f", "arguments": ":1}"})))
    assert [e["type"].rpartition(".")[2] for e in out] == ["added", "delta"]
    assert out[1]["delta"] == '{"a":1}'


def test_two_calls_never_share_an_id() -> None:
    said = {"name": "f", "arguments": "{}"}
    told = well_formed(stream([piece(0, said, "a"), piece(1, said, "a")]))
    first, second = (call["call_id"] for call in of(told, "function_call"))
    assert first == "a" != second


def test_a_call_without_an_id_is_given_one() -> None:
    said = {"name": "f", "arguments": "{}"}
    told = well_formed(stream([piece(0, said), piece(1, said, "")]))
    first, second = (call["call_id"] for call in of(told, "function_call"))
    assert first and second and first != second


@pytest.mark.parametrize(
    "deltas",
    [
        [piece(0, {"name": "f", "arguments": "{"}, "a"), piece(0, {"arguments": "}"})],
        [piece(0, {"name": "f", "arguments": "{"}, "a"), piece(0, {"arguments": "}"}, "a")],
        [piece(0, {"name": "f", "arguments": "{"}, "a"), piece(0, {"name": "f", "arguments": "}"}, "a")],
        [piece(0, {"name": "f", "arguments": "{"}, "a"), piece(0, {"arguments": "}"}, "b")],
        [piece(None, {"name": "f", "arguments": "{"}, "a"), piece(None, {"arguments": "}"})],
        [piece(None, {"name": "f", "arguments": "{"}, "a"), piece(None, {"arguments": "}"}, "a")],
    ],
)
def test_a_piece_continues_the_call_that_is_open(deltas: list[Json]) -> None:
    [call] = of(well_formed(stream(deltas)), "function_call")
    assert (call["call_id"], call["arguments"]) == ("a", "{}")


@pytest.mark.parametrize(
    "deltas",
    [
        [piece(0, {"name": "f", "arguments": "{}"}, "a"), piece(1, {"name": "g"}, "b")],
        [piece(0, {"name": "f", "arguments": "{}"}, "a"), piece(0, {"name": "g"}, "b")],
        [piece(None, {"name": "f", "arguments": "{}"}, "a"), piece(None, {"name": "g"}, "b")],
        [piece(None, {"name": "f", "arguments": "{}"}), piece(None, {"name": "g"})],
        [piece(0, {"name": "f", "arguments": "{}"}, "a"), {"content": "x"}, piece(0, {"name": "g"}, "b")],
    ],
)
def test_another_id_or_index_begins_another_call(deltas: list[Json]) -> None:
    calls = of(well_formed(stream(deltas)), "function_call")
    assert [(call["name"], call["arguments"]) for call in calls] == [("f", "{}"), ("g", "{}")]


@pytest.mark.parametrize(
    "deltas",
    [
        [piece(0, {"name": "f", "arguments": "{}"}, "a"), piece(1, {"name": "g"}, "b"), piece(0, {"arguments": "x"})],
        [piece(0, {"name": "f", "arguments": "{}"}, "a"), {"content": "x"}, piece(0, {"arguments": "x"}, "a")],
        [piece(None, {"name": "f", "arguments": "{}"}, "a"), {"content": "x"}, piece(None, {"arguments": "x"}, "a")],
        [piece(None, {"name": "f", "arguments": "{}"}, "a"), {"content": "x"}, piece(None, {"arguments": "x"})],
    ],
)
def test_a_piece_of_a_call_that_is_closed_cannot_be_told(deltas: list[Json]) -> None:
    with pytest.raises(Malformed, match="pieces of two tool calls at once"):
        stream(deltas)


@pytest.mark.parametrize("said", ["{", "[]", "x"])
def test_broken_arguments_are_malformed_unless_the_answer_was_cut(said: str) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": said}}
    for finish in ("stop", "tool_calls"):
        with pytest.raises(Malformed, match="whose arguments are not JSON"):
            stream([piece(0, call["function"], "a")], finish)
        with pytest.raises(Malformed, match="whose arguments are not JSON"):
            answer({"tool_calls": [call]}, finish)
    [told] = of(well_formed(stream([piece(0, call["function"], "a")], "length")), "function_call")
    assert (told["arguments"], told["status"]) == (said, "incomplete")
    assert answer({"tool_calls": [call]}, "length")["output"] == []


def test_a_call_without_a_name_is_malformed() -> None:
    with pytest.raises(Malformed, match="without a name"):
        stream([piece(0, {"arguments": "{}"}, "a")])
    assert well_formed(stream([piece(0, {"arguments": "{}"}, "a")], "length"))["output"] == []


def test_text_and_a_refusal_are_parts_of_one_message() -> None:
    told = well_formed(stream([{"content": "a"}, {"refusal": "no"}, {"content": "b"}]))
    assert [list(p)[1] for p in told["output"][0]["content"]] == ["text", "refusal", "text"]
    assert answer({"content": "a", "refusal": "no"})["output"][0]["content"] == told["output"][0]["content"][:2]


def test_probabilities_are_told_only_where_they_were_asked_for() -> None:
    value = {
        "choices": [{"index": 0, "delta": {"content": "x"}, "logprobs": {"content": [{"token": "x", "logprob": -1}]}}]
    }
    assert responses_to_chat.Stream(asked()).on(value)[-1]["logprobs"] == []
    told = responses_to_chat.Stream(asked({"include": ["message.output_text.logprobs"]})).on(value)[-1]["logprobs"]
    assert told == [{"token": "x", "bytes": [120], "logprob": -1, "top_logprobs": []}]


@pytest.mark.parametrize(
    "event",
    [
        {"choices": 5},
        {"choices": [5]},
        {"choices": [{"index": 1, "delta": {"content": "x"}}]},
        {"choices": [{"delta": 5}]},
        {"choices": [{"delta": {"content": ["x"]}}]},
        {"choices": [{"delta": {"refusal": 5}}]},
        {"choices": [{"delta": {"tool_calls": {"a": 1}}}]},
        {"choices": [{"delta": {"tool_calls": ["x"]}}]},
        {"choices": [{"delta": {"tool_calls": [{"index": "x"}]}}]},
        {"choices": [{"delta": {"tool_calls": [{"function": "x"}]}}]},
        {"choices": [{"delta": {"tool_calls": [{"function": {"name": "f", "arguments": 5}}]}}]},
    ],
)
def test_what_chat_does_not_promise_is_malformed(event: Json) -> None:
    with pytest.raises(Malformed):
        responses_to_chat.Stream(asked()).on(event)


@pytest.mark.parametrize(
    "value", [{}, {"choices": []}, {"choices": [{}]}, {"choices": [{"message": {}}] * 2}, {"choices": 5}]
)
def test_an_answer_without_one_message_is_malformed(value: Json) -> None:
    with pytest.raises(Malformed):
        responses_to_chat.answer(value, asked())


def test_thinking_goes_through_the_hub_and_back_as_it_was_signed() -> None:
    """With the converter of chat to messages behind this one."""
    image = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}
    fields: Json = {"model": "claude-sonnet-4-5", "input": [{"role": "user", "content": "Time?"}]}
    fields |= {"tools": [F], "include": ["reasoning.encrypted_content"]}
    blocks = [
        {"type": "thinking", "thinking": "A clock.", "signature": "s"},
        {"type": "redacted_thinking", "data": "d"},
        {"type": "text", "text": "One moment."},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
    ]
    said = {"id": "msg_01ABCDEFGHIJKLMNOP", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5"}
    said |= {"content": blocks, "stop_reason": "tool_use", "usage": {"input_tokens": 3, "output_tokens": 4}}
    told = orjson.loads(translate(Dialect.RESPONSES, Dialect.MESSAGES, fields).answer(said))
    parse_response(told)
    assert told["id"] == "resp_01ABCDEFGHIJKLMNOP"
    output = {"type": "function_call_output", "call_id": "toolu_1", "output": [image]}
    again = {**fields, "input": [*fields["input"], *told["output"], output]}
    sent = orjson.loads(translate(Dialect.RESPONSES, Dialect.MESSAGES, again).body)["messages"]
    assert sent[1] == {"role": "assistant", "content": blocks}
    assert sent[2]["content"][0]["content"][0]["type"] == "image"


# --- any order

LETTERS = st.text("ab <\n{é😀", min_size=1, max_size=6)
JSON_OBJECTS = st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3) | st.none(), max_size=2)


@st.composite
def segments(draw: st.DrawFn) -> list[tuple[str, list[Json], str]]:
    """(kind, deltas, what they say together)."""
    made: list[tuple[str, list[Json], str]] = []
    calls = 0
    indexed = draw(st.booleans())
    for kind in draw(st.lists(st.sampled_from(["text", "refusal", "reasoning", "signed", "call"]), max_size=6)):
        if kind == "call":
            said = json.dumps(draw(JSON_OBJECTS)) if draw(st.booleans()) else ""
            cut = draw(st.integers(0, len(said)))
            index = calls if indexed else None
            whole = [piece(index, {"name": f"f{calls}", "arguments": said[:cut]}, f"call_{calls}")]
            made.append((kind, [*whole, piece(index, {"arguments": said[cut:]})], said or "{}"))
            calls += 1
            continue
        pieces = draw(st.lists(LETTERS, min_size=1, max_size=3))
        if kind == "signed":
            entries = [{"type": "reasoning.text", "text": p, "format": ANTHROPIC, "index": len(made)} for p in pieces]
            signature = {"type": "reasoning.text", "signature": "s", "format": ANTHROPIC, "index": len(made)}
            deltas: list[Json] = [{"reasoning_content": e["text"], "reasoning_details": [e]} for e in entries]
            deltas.append({"reasoning_details": [signature]})
        else:
            name = {"text": "content", "refusal": "refusal", "reasoning": "reasoning_content"}[kind]
            deltas = [{name: p} for p in pieces]
        made.append((kind, deltas, "".join(pieces)))
    return made


def words(text: str) -> str:
    """Without the white space, of which what is told is tested by itself."""
    return "".join(text.split())


@settings(max_examples=120, deadline=None)
@given(segments(), st.sampled_from(["stop", "length"]), st.booleans())
def test_any_order_of_deltas_gives_a_well_formed_stream(
    said: list[tuple[str, list[Json], str]], finish: str, encrypted: bool
) -> None:
    fields = {"include": ["reasoning.encrypted_content"]} if encrypted else {}
    told = well_formed(stream([delta for _, deltas, _ in said for delta in deltas], finish, fields))
    joined = {kind: "".join(s for k, _, s in said if k == kind) for kind in ("refusal", "call")}
    joined["reasoning"] = "".join(s for k, _, s in said if k in ("reasoning", "signed"))
    assert words("".join(texts(told))) == words("".join(s for k, _, s in said if k == "text"))
    assert "".join(texts(told, "refusal")) == joined["refusal"]
    thoughts = of(told, "reasoning")
    assert words("".join(s["text"] for t in thoughts for s in t["summary"])) == words(joined["reasoning"])
    calls, told_calls = [s for k, _, s in said if k == "call"], [c["arguments"] for c in of(told, "function_call")]
    if finish == "length" and calls[-1:] == ["{}"] and len(told_calls) < len(calls):
        calls.pop()  # it was cut before its arguments began
    assert told_calls == calls
    if encrypted:
        signed = seal({"format": ANTHROPIC, "signature": "s"})
        assert [t["encrypted_content"] for t in thoughts].count(signed) == sum(k == "signed" for k, _, _ in said)


# --- any JSON

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
REQUESTS = [orjson.loads((case / "request.json").read_bytes()) for case in CASES]
ANSWERS = [orjson.loads(p.read_bytes()) for case in CASES if (p := case / "answer.upstream.json").exists()]
STREAMS = [(case, events_of(p)) for case in CASES if (p := case / "stream.upstream.sse").exists()]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inner:
        yield from places(below, (*path, key))


def mutated(draw: st.DrawFn, value: Any) -> Any:
    """The value with one or two places replaced by something else."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from([p for p in places(value) if p]))
        at = value
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = draw(JSON)
    return value


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_any_json_in_a_request_is_refused_or_carried_and_said_again(data: st.DataObject) -> None:
    fields = mutated(data.draw, data.draw(st.sampled_from(REQUESTS)))
    for upstream in (LOCAL, OPENAI_REASONING, HUB):
        try:
            sent = responses_to_chat.request(fields, upstream, [])
        except Refusal as refusal:
            assert refusal.problem("x").message
            continue
        orjson.dumps(sent)
        parse_response(responses_to_chat.answer(ANSWERS[0], Asked(fields, sent, upstream, NOW_S)))


INCLUDE_ALL = {"include": ["reasoning.encrypted_content", "message.output_text.logprobs"]}


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_any_json_in_an_answer_is_malformed_or_carried(data: st.DataObject) -> None:
    value = mutated(data.draw, data.draw(st.sampled_from(ANSWERS)))
    before = copy.deepcopy(value)
    try:
        told = responses_to_chat.answer(value, asked(INCLUDE_ALL))
    except Malformed:
        told = None
    assert value == before
    if told is not None:
        parse_response(told)


@settings(max_examples=250, deadline=None)
@given(st.data())
def test_any_json_in_a_stream_is_malformed_or_carried(data: st.DataObject) -> None:
    events = mutated(data.draw, data.draw(st.sampled_from(STREAMS))[1])
    before = copy.deepcopy(events)
    made = responses_to_chat.Stream(asked(INCLUDE_ALL))
    out: list[Json] = []
    try:
        for event in events:
            if isinstance(event, dict):
                out += made.on(event)
        out += made.end()
    except Malformed:
        out = []
    assert events == before
    if out:
        well_formed(out)
