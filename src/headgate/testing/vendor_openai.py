"""Answers as an OpenAI-compatible vendor writes them: chat, completions, embeddings, models, errors."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import orjson

from headgate.testing.replies import Answer, Headers, Stream
from headgate.testing.turns import CREATED_S, HELLO, SOME_USAGE, Call, Json, Turn, Usage, fragments, make_id, pieces

DONE = b"data: [DONE]\n\n"

#: Where a stream carries its usage: a chunk of its own (as OpenAI does when asked), the last chunk with content
#: (as several engines do), or nowhere.
UsageAt = Literal["own", "last", "none"]


def headers() -> Headers:
    """The headers that come with every answer."""
    return (
        ("x-request-id", make_id("req_", 32)),
        ("openai-organization", "org-headgate-fake"),
        ("openai-processing-ms", "12"),
        ("openai-version", "2020-10-01"),
        ("x-ratelimit-limit-requests", "500"),
        ("x-ratelimit-limit-tokens", "200000"),
        ("x-ratelimit-remaining-requests", "499"),
        ("x-ratelimit-remaining-tokens", "199000"),
        ("x-ratelimit-reset-requests", "120ms"),
        ("x-ratelimit-reset-tokens", "300ms"),
    )


def event(data: object) -> bytes:
    """One event with a JSON payload and no name."""
    return b"data: " + orjson.dumps(data) + b"\n\n"


def usage_json(usage: Usage) -> Json:
    return {
        "prompt_tokens": usage.whole_input,
        "completion_tokens": usage.output,
        "total_tokens": usage.whole_input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _finish(turn: Turn) -> str:
    return turn.finish or ("tool_calls" if turn.calls else "stop")


def _logprob(token: str) -> Json:
    entry = {"token": token, "logprob": -0.25, "bytes": list(token.encode())}
    return {**entry, "top_logprobs": [entry]}


def _logprobs(tokens: Sequence[str], wanted: bool) -> Json | None:
    return {"content": [_logprob(token) for token in tokens], "refusal": None} if wanted else None


# Chat


def chat_answer(
    *turns: Turn, model: str = "gpt-4o-mini", usage: Usage | None = SOME_USAGE, logprobs: bool = False
) -> Answer:
    """A whole chat completion, one choice per turn. `usage` None leaves it out."""
    choices = [
        {
            "index": index,
            "message": _message(turn),
            "logprobs": _logprobs(pieces(turn.text), logprobs),
            "finish_reason": _finish(turn),
        }
        for index, turn in enumerate(turns or (HELLO,))
    ]
    body: Json = {
        "id": make_id("chatcmpl-", 29),
        "object": "chat.completion",
        "created": CREATED_S,
        "model": model,
        "choices": choices,
        **({"usage": usage_json(usage)} if usage is not None else {}),
        "service_tier": "default",
        "system_fingerprint": "fp_headgatefake",
    }
    return Answer(headers=headers(), body=body)


def _message(turn: Turn) -> Json:
    message: Json = {
        "role": "assistant",
        "content": None if (turn.calls or turn.refusal) and not turn.text else turn.text,
        "refusal": turn.refusal,
        "annotations": [],
    }
    if turn.reasoning is not None:
        message["reasoning_content"] = turn.reasoning
    if turn.calls:
        message["tool_calls"] = [
            {"id": _call_id(call), "type": "function", "function": {"name": call.name, "arguments": call.text()}}
            for call in turn.calls
        ]
    return message


def _call_id(call: Call) -> str:
    return call.id or make_id("call_")


def chat_stream(
    *turns: Turn,
    model: str = "gpt-4o-mini",
    usage: Usage | None = SOME_USAGE,
    usage_at: UsageAt = "own",
    logprobs: bool = False,
    done: bool = True,
) -> Stream:
    """The same as a stream: for each choice its role, its pieces, its end; choices take turns, as vendors send them.

    done: False leaves out the closing `[DONE]`.
    """
    turns = turns or (HELLO,)
    base = {
        "id": make_id("chatcmpl-", 29),
        "object": "chat.completion.chunk",
        "created": CREATED_S,
        "model": model,
        "service_tier": "default",
        "system_fingerprint": "fp_headgatefake",
    }
    chunks: list[Json] = []
    for index, delta, finish in _interleaved(turns):
        tokens = [delta["content"]] if delta.get("content") else []
        probs = _logprobs(tokens, logprobs and bool(tokens))
        choice = {"index": index, "delta": delta, "logprobs": probs, "finish_reason": finish}
        chunks.append({**base, "choices": [choice]})
    if usage is not None and usage_at == "own":
        chunks = [{**chunk, "usage": None} for chunk in chunks]
        chunks.append({**base, "choices": [], "usage": usage_json(usage)})
    elif usage is not None and usage_at == "last":
        chunks[-1]["usage"] = usage_json(usage)
    return Stream([*map(event, chunks), *([DONE] if done else [])], headers=headers())


def _interleaved(turns: Sequence[Turn]) -> Iterator[tuple[int, Json, str | None]]:
    """(choice, delta, finish reason) of all choices, one of each in turn."""
    rows = [list(_deltas(turn)) for turn in turns]
    for position in range(max(map(len, rows))):
        for index, row in enumerate(rows):
            if position < len(row):
                yield index, *row[position]


def _deltas(turn: Turn) -> Iterator[tuple[Json, str | None]]:
    bare = (turn.calls or turn.refusal) and not turn.text
    yield {"role": "assistant", "content": None if bare else "", "refusal": None}, None
    for piece in pieces(turn.reasoning or ""):
        yield {"reasoning_content": piece}, None
    for piece in pieces(turn.text):
        yield {"content": piece}, None
    for piece in pieces(turn.refusal or ""):
        yield {"refusal": piece}, None
    for index, call in enumerate(turn.calls):
        function = {"name": call.name, "arguments": ""}
        yield {"tool_calls": [{"index": index, "id": _call_id(call), "type": "function", "function": function}]}, None
        for piece in fragments(call.text()):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}, None
    yield {}, _finish(turn)


# Completions


def completions_answer(
    *texts: str, model: str = "gpt-3.5-turbo-instruct", usage: Usage | None = SOME_USAGE, finish: str = "stop"
) -> Answer:
    choices = [
        {"text": text, "index": index, "logprobs": None, "finish_reason": finish}
        for index, text in enumerate(texts or ("Hello.",))
    ]
    body: Json = {
        "id": make_id("cmpl-", 29),
        "object": "text_completion",
        "created": CREATED_S,
        "model": model,
        "choices": choices,
        **({"usage": usage_json(usage)} if usage is not None else {}),
    }
    return Answer(headers=headers(), body=body)


def completions_stream(
    *texts: str,
    model: str = "gpt-3.5-turbo-instruct",
    usage: Usage | None = SOME_USAGE,
    finish: str = "stop",
    done: bool = True,
) -> Stream:
    base = {"id": make_id("cmpl-", 29), "object": "text_completion", "created": CREATED_S, "model": model}
    chunks: list[Json] = []
    for index, text in enumerate(texts or ("Hello.",)):
        for piece, reason in [*((piece, None) for piece in pieces(text)), ("", finish)]:
            choice = {"text": piece, "index": index, "logprobs": None, "finish_reason": reason}
            chunks.append({**base, "choices": [choice]})
    if usage is not None:
        chunks = [{**chunk, "usage": None} for chunk in chunks]
        chunks.append({**base, "choices": [], "usage": usage_json(usage)})
    return Stream([*map(event, chunks), *([DONE] if done else [])], headers=headers())


# Embeddings and models


def embeddings_answer(
    *vectors: Sequence[float],
    model: str = "text-embedding-3-small",
    encoding: Literal["float", "base64"] = "float",
    prompt_tokens: int = 5,
) -> Answer:
    """Vectors as numbers, or as base64 of little-endian 32-bit floats."""
    rows = vectors or ((0.5, -0.25, 0.125),)
    data: list[Json] = []
    for index, row in enumerate(rows):
        packed = base64.b64encode(struct.pack(f"<{len(row)}f", *row)).decode()
        value: Any = packed if encoding == "base64" else list(row)
        data.append({"object": "embedding", "index": index, "embedding": value})
    usage = {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens}
    return Answer(headers=headers(), body={"object": "list", "data": data, "model": model, "usage": usage})


def model_json(name: str) -> Json:
    return {"id": name, "object": "model", "created": CREATED_S, "owned_by": "headgate-fake"}


def models_answer(names: Sequence[str]) -> Answer:
    return Answer(headers=headers(), body={"object": "list", "data": [model_json(name) for name in names]})


# Errors

#: status: (type, code, message)
ERRORS: dict[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", None, "The fake vendor cannot read this request."),
    401: ("invalid_request_error", "invalid_api_key", "The fake vendor does not know this API key: sk-te**wxyz."),
    402: ("invalid_request_error", "billing_not_active", "The account of this key is not active."),
    403: ("invalid_request_error", "unsupported_country_region_territory", "This key may not do that."),
    404: ("invalid_request_error", "model_not_found", "The fake vendor has no such model."),
    413: ("invalid_request_error", "request_too_large", "The request has too many bytes."),
    422: ("invalid_request_error", None, "A field has a value that it cannot have."),
    429: ("requests", "rate_limit_exceeded", "Too many requests for this fake; wait a little."),
    500: ("server_error", None, "Something broke inside the fake vendor."),
    502: ("server_error", "bad_gateway", "The fake vendor's own gateway got no answer."),
    503: ("server_error", "service_unavailable", "The fake vendor is busy."),
    504: ("server_error", "timeout", "The fake vendor took too long."),
    529: ("server_error", "overloaded", "The fake vendor is overloaded."),
}


def error_json(status: int, message: str | None = None, code: str | None = None, param: str | None = None) -> Json:
    kind, known_code, known_message = ERRORS.get(status, ("api_error", None, "An error without a description."))
    return {
        "error": {"message": message or known_message, "type": kind, "param": param, "code": code or known_code},
    }


def error_answer(
    status: int,
    message: str | None = None,
    *,
    code: str | None = None,
    param: str | None = None,
    retry_after_s: float | None = None,
) -> Answer:
    """An error as the vendor words it. `retry_after_s` becomes `retry-after` and `retry-after-ms`."""
    extra: Headers = ()
    if retry_after_s is not None:
        extra = (("retry-after", f"{retry_after_s:g}"), ("retry-after-ms", f"{retry_after_s * 1000:.0f}"))
    return Answer(status, (*headers(), *extra), error_json(status, message, code, param))


def out_of_money() -> Answer:
    """The 429 that no waiting helps."""
    answer = error_json(429, "The fake account has no credit left.", "insufficient_quota")
    answer["error"]["type"] = "insufficient_quota"
    return Answer(429, headers(), answer)


def error_event(message: str = "The fake vendor broke in the middle.", code: str | None = None) -> bytes:
    """An error among the events of a stream."""
    return event({"error": {"message": message, "type": "server_error", "param": None, "code": code}})
