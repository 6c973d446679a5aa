"""How a problem is written in the client's dialect: as a whole body, and as the last event of a stream.

OpenAI and Anthropic have each one object for errors. `source` is added to it and says who made the error: headgate, or
the provider named there. OpenAI's `type` is a rough class; what a program should look at is `code`.
"""

from __future__ import annotations

from typing import Any

import orjson

from headgate.errors import HEADGATE, Problem, Reason
from headgate.wire.dialect import Dialect

_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}

_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def error_object(dialect: Dialect, problem: Problem) -> dict[str, Any]:
    """The `error` object in the client's dialect."""
    ours = problem.source == HEADGATE
    if dialect.is_anthropic:
        fallback = "invalid_request_error" if problem.status < 500 else "api_error"
        kind = problem.type or _ANTHROPIC_TYPES.get(problem.status, fallback)
        return {"type": kind, "message": problem.message, "source": problem.source}
    fallback = "invalid_request_error" if problem.status < 500 else "server_error"
    return {
        "message": problem.message,
        "type": problem.type or _OPENAI_TYPES.get(problem.status, fallback),
        "param": problem.param,
        "code": problem.code or (problem.reason.value if ours or problem.reason in _OURS_TO_NAME else None),
        "source": problem.source,
    }


#: What headgate says about a provider's failure, where the provider itself gave no code.
_OURS_TO_NAME = frozenset(
    {
        Reason.UPSTREAM_INVALID,
        Reason.UPSTREAM_UNREACHABLE,
        Reason.UPSTREAM_CREDENTIALS,
        Reason.UPSTREAM_TIMEOUT,
        Reason.STREAM_BROKEN,
    }
)


def body(dialect: Dialect, problem: Problem, request_id: str) -> bytes:
    """The whole body of an error answer."""
    error = error_object(dialect, problem)
    if dialect.is_anthropic:
        return orjson.dumps({"type": "error", "error": error, "request_id": request_id})
    return orjson.dumps({"error": error})


def event(dialect: Dialect, problem: Problem, sequence_number: int = 0) -> bytes:
    """The event that ends a stream whose content has begun. sequence_number: for the responses API, the next one."""
    error = error_object(dialect, problem)
    if dialect.is_anthropic:
        return b"event: error\ndata: " + orjson.dumps({"type": "error", "error": error}) + b"\n\n"
    if dialect is Dialect.RESPONSES:
        data = {
            "type": "error",
            "code": error["code"],
            "message": problem.message,
            "param": problem.param,
            "sequence_number": sequence_number,
            "error": error,
        }
        return b"event: error\ndata: " + orjson.dumps(data) + b"\n\n"
    return b"data: " + orjson.dumps({"error": error}) + b"\n\n"


def upstream_problem(status: int, raw: bytes, retry_after_s: float | None) -> Problem:
    """A provider's error answer as a Problem. Its `source` is for the caller to set."""
    from headgate.wire.stream import MAX_MESSAGE, load_object, problem_of

    value = load_object(raw)
    error = (value.get("error") or value) if value else None
    if isinstance(error, dict) and not isinstance(error.get("message"), str):
        message = next((error[k] for k in ("detail", "error") if isinstance(error.get(k), str)), None)
        error = {**error, "message": message}
    problem = problem_of(error, Reason.UPSTREAM_ERROR, status)
    message = problem.message
    if error is None:
        text = raw[:MAX_MESSAGE].decode("utf-8", "replace").strip()
        what = "an HTML page" if text.startswith("<") else text[:500] or "an empty body"
        message = f"answered {status} with {what}"
    return Problem(
        Reason.UPSTREAM_ERROR,
        message,
        status,
        param=problem.param,
        type=problem.type,
        code=problem.code,
        retry_after_s=retry_after_s,
    )
