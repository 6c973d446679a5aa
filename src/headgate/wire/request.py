"""One client's request in its dialect: what the gateway must know of it, and the bytes to send upstream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from headgate.errors import Problem, Reason
from headgate.wire import (
    anthropic_messages,
    check,
    estimate,
    openai_chat,
    openai_completions,
    openai_embeddings,
    openai_responses,
)
from headgate.wire.dialect import Dialect
from headgate.wire.json_object import JsonObject, NotAnObject

_SMALL_TOKENS = 4000

_CHECKS = {
    Dialect.CHAT: openai_chat.check_request,
    Dialect.COMPLETIONS: openai_completions.check_request,
    Dialect.EMBEDDINGS: openai_embeddings.check_request,
    Dialect.RESPONSES: openai_responses.check_request,
    Dialect.MESSAGES: anthropic_messages.check_request,
}

_UNCHANGED: Mapping[str, Any] = {}


class Request:
    """dialect: the one the client speaks. model: as the client wrote it. stream: whether the answer is to be streamed.
    wants_usage: whether the client itself asked for the usage chunk of a chat or completions stream."""

    __slots__ = ("_body", "_stream_options", "dialect", "model", "stream", "wants_usage")

    def __init__(self, dialect: Dialect, body: JsonObject) -> None:
        """Raises NotAnObject where the stream's options hold a field twice."""
        fields = body.fields
        self._body = body
        self.dialect = dialect
        self.model: str = fields["model"]
        self.stream: bool = fields.get("stream") is True
        options = fields.get("stream_options")
        self.wants_usage: bool = isinstance(options, dict) and options.get("include_usage") is True
        asks = self.stream and not self.wants_usage and dialect in (Dialect.CHAT, Dialect.COMPLETIONS)
        #: What to send instead of the client's, so that the stream tells its usage; None where it stays as it is.
        self._stream_options = _with_usage(body.member("stream_options") if options else b"{}") if asks else None

    @property
    def fields(self) -> dict[str, Any]:
        return self._body.fields

    @property
    def raw(self) -> bytes:
        """The body as it came."""
        return self._body.raw

    def upstream_body(self, model: str, changed: Mapping[str, Any] = _UNCHANGED) -> bytes:
        """The client's bytes with what must differ: the model's name, the wish for usage in a stream, and `changed`."""
        changes = dict(changed)
        if model != self.model:
            changes["model"] = model
        if self._stream_options is not None:
            changes["stream_options"] = orjson.Fragment(self._stream_options)
        return self._body.replaced(changes) if changes else self._body.raw

    def estimated_tokens(self) -> int:
        """An estimate of the prompt, for rate limits: quick where it is small, and careful where the quick one may have
        taken a picture for words."""
        quick = len(self._body.raw) // 4 + 1
        return quick if quick < _SMALL_TOKENS else min(quick, self.counted_tokens())

    def counted_tokens(self) -> int:
        """A careful estimate of the prompt, for a client that asks for a count."""
        return estimate.prompt_tokens(self.fields)


def parse(dialect: Dialect, raw: bytes, *, count_only: bool = False) -> Request | Problem:
    """Reads a client's body. count_only: it is a count of tokens that is asked for (Anthropic)."""
    try:
        body = JsonObject(raw)
    except NotAnObject as error:
        return Problem(Reason.BAD_REQUEST, str(error))
    check_rest = anthropic_messages.check_prompt if count_only else _CHECKS[dialect]
    problem = check.model(body.fields) or check_rest(body.fields)
    if problem is not None:
        return problem
    try:
        return Request(dialect, body)
    except NotAnObject as error:
        return check.bad("stream_options", f"'stream_options': {error}")


def _with_usage(options: bytes) -> bytes:
    return JsonObject(options).replaced({"include_usage": True})
