"""Answers as Anthropic writes them: messages, count_tokens, models, errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from headgate.testing.replies import Answer, Headers, Stream
from headgate.testing.turns import HELLO, SOME_USAGE, Json, Turn, Usage, fragments, make_id, pieces

RESET_AT = "2030-01-01T00:00:00Z"


def headers() -> Headers:
    """The headers that come with every answer."""
    limits = []
    for what, limit in (("requests", 4000), ("tokens", 480000), ("input-tokens", 400000), ("output-tokens", 80000)):
        for field, value in (("limit", limit), ("remaining", limit - 1), ("reset", RESET_AT)):
            limits.append((f"anthropic-ratelimit-{what}-{field}", str(value)))
    return (
        ("request-id", make_id("req_011", 21)),
        ("anthropic-organization-id", "00000000-0000-4000-8000-000000000000"),
        *limits,
    )


def event(name: str, data: Json) -> bytes:
    """One event, named as its payload's type."""
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps({"type": name, **data}) + b"\n\n"


PING = event("ping", {})


def usage_json(usage: Usage, output: int) -> Json:
    return {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cached,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write,
            "ephemeral_1h_input_tokens": 0,
        },
        "output_tokens": output,
        "service_tier": "standard",
    }


def _stop_reason(turn: Turn) -> str:
    return turn.finish or ("refusal" if turn.refusal is not None else "tool_use" if turn.calls else "end_turn")


def _blocks(turn: Turn) -> Iterator[Json]:
    if turn.reasoning is not None:
        yield {"type": "thinking", "thinking": turn.reasoning, "signature": turn.signature}
    if turn.refusal is not None and not turn.text:
        return
    if turn.text or not turn.calls:
        yield {"type": "text", "text": turn.text}
    for call in turn.calls:
        arguments = orjson.loads(call.text() or "{}")
        yield {"type": "tool_use", "id": call.id or make_id("toolu_01", 22), "name": call.name, "input": arguments}


def _message(model: str, content: list[Json], stop_reason: str | None, usage: Json) -> Json:
    return {
        "id": make_id("msg_01", 22),
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": usage,
    }


def messages_answer(turn: Turn = HELLO, *, model: str = "claude-haiku-4-5", usage: Usage = SOME_USAGE) -> Answer:
    """A whole message."""
    body = _message(model, list(_blocks(turn)), _stop_reason(turn), usage_json(usage, usage.output))
    return Answer(headers=headers(), body=body)


def messages_stream(
    turn: Turn = HELLO,
    *,
    model: str = "claude-haiku-4-5",
    usage: Usage = SOME_USAGE,
    ping_first: bool = False,
    stop: bool = True,
) -> Stream:
    """The same as a stream; a ping follows the first block's start, or (`ping_first`) comes before everything.

    stop: False leaves out the closing `message_stop`.
    """
    events = [event("message_start", {"message": _message(model, [], None, usage_json(usage, 1))})]
    for index, block in enumerate(_blocks(turn)):
        events.append(event("content_block_start", {"index": index, "content_block": _empty(block)}))
        if index == 0 and not ping_first:
            events.append(PING)
        events += [event("content_block_delta", {"index": index, "delta": delta}) for delta in _deltas(block)]
        events.append(event("content_block_stop", {"index": index}))
    final = {
        "delta": {"stop_reason": _stop_reason(turn), "stop_sequence": None},
        "usage": {key: value for key, value in usage_json(usage, usage.output).items() if key.endswith("_tokens")},
    }
    events.append(event("message_delta", final))
    if stop:
        events.append(event("message_stop", {}))
    return Stream([PING, *events] if ping_first else events, headers=headers())


def _empty(block: Json) -> Json:
    blank: Json = {"thinking": "", "signature": "", "text": "", "input": {}}
    return {key: blank.get(key, value) for key, value in block.items()}


def _deltas(block: Json) -> Iterator[Json]:
    if block["type"] == "text":
        for piece in pieces(block["text"]):
            yield {"type": "text_delta", "text": piece}
    elif block["type"] == "thinking":
        for piece in pieces(block["thinking"]):
            yield {"type": "thinking_delta", "thinking": piece}
        yield {"type": "signature_delta", "signature": block["signature"]}
    else:
        for piece in ("", *fragments(orjson.dumps(block["input"]).decode())):
            yield {"type": "input_json_delta", "partial_json": piece}


def count_tokens_answer(input_tokens: int) -> Answer:
    return Answer(headers=headers(), body={"input_tokens": input_tokens})


def model_json(name: str) -> Json:
    return {
        "type": "model",
        "id": name,
        "display_name": name.title(),
        "created_at": "2025-10-09T08:53:20Z",
        "lifecycle": "active",
        "max_input_tokens": 200_000,
        "max_tokens": 64_000,
    }


def models_answer(names: Sequence[str]) -> Answer:
    body: dict[str, Any] = {
        "data": [model_json(name) for name in names],
        "has_more": False,
        "first_id": names[0] if names else None,
        "last_id": names[-1] if names else None,
    }
    return Answer(headers=headers(), body=body)


#: status: (type, message)
ERRORS: dict[int, tuple[str, str]] = {
    400: ("invalid_request_error", "The fake vendor cannot read this request."),
    401: ("authentication_error", "The fake vendor does not know this x-api-key."),
    402: ("billing_error", "The fake account has no credit left."),
    403: ("permission_error", "This key may not do that."),
    404: ("not_found_error", "The fake vendor has no such model."),
    413: ("request_too_large", "The request has too many bytes."),
    429: ("rate_limit_error", "Too many requests for this fake; wait a little."),
    500: ("api_error", "Something broke inside the fake vendor."),
    504: ("timeout_error", "The fake vendor took too long."),
    529: ("overloaded_error", "The fake vendor is overloaded."),
}


def error_json(status: int, message: str | None = None) -> Json:
    kind, known = ERRORS.get(status, ("api_error", "An error without a description."))
    return {"type": "error", "error": {"type": kind, "message": message or known}, "request_id": make_id("req_011", 21)}


def error_answer(status: int, message: str | None = None, *, retry_after_s: float | None = None) -> Answer:
    """An error as the vendor words it."""
    extra: Headers = () if retry_after_s is None else (("retry-after", f"{retry_after_s:g}"),)
    return Answer(status, (*headers(), *extra), error_json(status, message))


def error_event(status: int = 529, message: str | None = None) -> bytes:
    """An error among the events of a stream."""
    kind, known = ERRORS[status]
    return event("error", {"error": {"type": kind, "message": message or known}})
