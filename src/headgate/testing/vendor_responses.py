"""Answers as OpenAI's Responses API writes them, with the events of a stream in the vendor's order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from headgate.testing.replies import Answer, Stream
from headgate.testing.turns import CREATED_S, HELLO, SOME_USAGE, Call, Json, Turn, Usage, fragments, make_id, pieces
from headgate.testing.vendor_openai import headers

Status = Literal["completed", "incomplete", "failed"]


def usage_json(usage: Usage) -> Json:
    return {
        "input_tokens": usage.whole_input,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": usage.cache_write},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.whole_input + usage.output,
    }


def responses_answer(
    turn: Turn = HELLO,
    *,
    model: str = "gpt-4.1",
    usage: Usage | None = SOME_USAGE,
    status: Status = "completed",
    echo: Json | None = None,
) -> Answer:
    """A whole response. `echo`: the request, whose settings a response repeats."""
    shell = _Shell(model, echo or {})
    body = shell.response(status, [_item(part) for part in _parts(turn)], usage)
    return Answer(headers=headers(), body=body)


def responses_stream(
    turn: Turn = HELLO,
    *,
    model: str = "gpt-4.1",
    usage: Usage | None = SOME_USAGE,
    status: Status = "completed",
    echo: Json | None = None,
) -> Stream:
    shell = _Shell(model, echo or {})
    events = [
        orjson.dumps({"type": kind, "sequence_number": number, **body})
        for number, (kind, body) in enumerate(_events(shell, turn, usage, status))
    ]
    named = [b"event: " + orjson.loads(data)["type"].encode() + b"\ndata: " + data + b"\n\n" for data in events]
    return Stream(named, headers=headers())


def error_event(sequence_number: int, message: str = "The fake vendor broke in the middle.") -> bytes:
    """An error among the events of a stream."""
    body = {
        "type": "error",
        "sequence_number": sequence_number,
        "code": "server_error",
        "message": message,
        "param": None,
    }
    return b"event: error\ndata: " + orjson.dumps(body) + b"\n\n"


@dataclass(frozen=True, slots=True)
class _Shell:
    """What all states of one response have in common."""

    model: str
    echo: Json
    id: str = field(default_factory=lambda: make_id("resp_", 48))

    def response(self, status: str, output: list[Json], usage: Usage | None) -> Json:
        told = self.echo
        failed = {"code": "server_error", "message": "The fake vendor gave up."} if status == "failed" else None
        return {
            "id": self.id,
            "object": "response",
            "created_at": CREATED_S,
            "status": status,
            "background": False,
            "error": failed,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "instructions": told.get("instructions"),
            "max_output_tokens": told.get("max_output_tokens"),
            "max_tool_calls": None,
            "model": self.model,
            "output": output,
            "parallel_tool_calls": told.get("parallel_tool_calls", True),
            "previous_response_id": told.get("previous_response_id"),
            "reasoning": {"effort": None, "summary": None, **(told.get("reasoning") or {})},
            "service_tier": "auto" if status == "in_progress" else "default",
            "store": told.get("store", True),
            "temperature": told.get("temperature", 1.0),
            "text": told.get("text") or {"format": {"type": "text"}, "verbosity": "medium"},
            "tool_choice": told.get("tool_choice", "auto"),
            "tools": told.get("tools", []),
            "top_logprobs": 0,
            "top_p": told.get("top_p", 1.0),
            "truncation": "disabled",
            "usage": usage_json(usage) if usage is not None and status not in ("in_progress", "failed") else None,
            "user": None,
            "metadata": told.get("metadata") or {},
        }


@dataclass(frozen=True, slots=True)
class _Part:
    """One output item to be: reasoning, a message, or a call, with the id it has in all events."""

    kind: Literal["reasoning", "message", "call"]
    text: str = ""
    refusal: bool = False
    call: Call | None = None
    id: str = ""
    call_id: str = ""


def _parts(turn: Turn) -> Iterator[_Part]:
    if turn.reasoning is not None:
        yield _Part("reasoning", turn.reasoning, id=make_id("rs_", 48))
    if turn.refusal is not None:
        yield _Part("message", turn.refusal, refusal=True, id=make_id("msg_", 48))
    elif turn.text or not turn.calls:
        yield _Part("message", turn.text, id=make_id("msg_", 48))
    for call in turn.calls:
        yield _Part("call", call=call, id=make_id("fc_", 48), call_id=call.id or make_id("call_"))


def _content(part: _Part, text: str) -> Json:
    if part.refusal:
        return {"type": "refusal", "refusal": text}
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _item(part: _Part, *, begun: bool = False) -> Json:
    """The item when it is whole, or (`begun`) as it is announced."""
    status = "in_progress" if begun else "completed"
    if part.kind == "reasoning":
        summary = [] if begun else [{"type": "summary_text", "text": part.text}]
        return {"id": part.id, "type": "reasoning", "summary": summary}
    if part.call is not None:
        return {
            "id": part.id,
            "type": "function_call",
            "status": status,
            "arguments": "" if begun else part.call.text(),
            "call_id": part.call_id,
            "name": part.call.name,
        }
    content = [] if begun else [_content(part, part.text)]
    return {"id": part.id, "type": "message", "status": status, "content": content, "role": "assistant"}


Events = Iterator[tuple[str, Json]]


def _events(shell: _Shell, turn: Turn, usage: Usage | None, status: Status) -> Events:
    started = {"response": shell.response("in_progress", [], None)}
    yield "response.created", started
    yield "response.in_progress", started
    parts = list(_parts(turn))
    for index, part in enumerate(parts):
        yield "response.output_item.added", {"output_index": index, "item": _item(part, begun=True)}
        yield from _inside(part, {"item_id": part.id, "output_index": index})
        yield "response.output_item.done", {"output_index": index, "item": _item(part)}
    yield f"response.{status}", {"response": shell.response(status, [_item(part) for part in parts], usage)}


def _inside(part: _Part, where: Json) -> Events:
    if part.call is not None:
        for piece in fragments(part.call.text()):
            yield "response.function_call_arguments.delta", {**where, "delta": piece}
        yield "response.function_call_arguments.done", {**where, "arguments": part.call.text()}
        return
    if part.kind == "reasoning":
        at: Json = {**where, "summary_index": 0}
        yield "response.reasoning_summary_part.added", {**at, "part": {"type": "summary_text", "text": ""}}
        for piece in pieces(part.text):
            yield "response.reasoning_summary_text.delta", {**at, "delta": piece}
        yield "response.reasoning_summary_text.done", {**at, "text": part.text}
        yield "response.reasoning_summary_part.done", {**at, "part": {"type": "summary_text", "text": part.text}}
        return
    at = {**where, "content_index": 0}
    name = "response.refusal" if part.refusal else "response.output_text"
    extra: dict[str, Any] = {} if part.refusal else {"logprobs": []}
    yield "response.content_part.added", {**at, "part": _content(part, "")}
    for piece in pieces(part.text):
        yield f"{name}.delta", {**at, "delta": piece, **extra}
    yield f"{name}.done", {**at, "refusal" if part.refusal else "text": part.text, **extra}
    yield "response.content_part.done", {**at, "part": _content(part, part.text)}
