"""A request as it goes to one target, and the reading of what comes back.

Where the target speaks the client's dialect the body passes as the bytes it came in, with what must differ patched, and
the answer as the bytes it comes in. Where it does not, both are translated.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from headgate.errors import Problem, Reason
from headgate.wire import (
    anthropic_messages,
    openai_chat,
    openai_completions,
    openai_embeddings,
    openai_responses,
)
from headgate.wire.answer import NotAnAnswer
from headgate.wire.dialect import Dialect
from headgate.wire.request import Request
from headgate.wire.stream import StreamMeter
from headgate.wire.translate.foreign import without_foreign_reasoning
from headgate.wire.translate.shape import Malformed, Refusal
from headgate.wire.translate.translation import Translation
from headgate.wire.translate.upstream import describe
from headgate.wire.usage import Usage

#: Each reads a whole answer, and raises NotAnAnswer for what is none.
READERS = {
    Dialect.CHAT: openai_chat.read_answer,
    Dialect.COMPLETIONS: openai_completions.read_answer,
    Dialect.EMBEDDINGS: openai_embeddings.read_answer,
    Dialect.RESPONSES: openai_responses.read_answer,
    Dialect.MESSAGES: anthropic_messages.read_answer,
}


@dataclass(slots=True)
class Outgoing:
    """dialect: the target's. body: what is sent. dropped: the client's fields that were left out of it. translation:
    None where none is needed."""

    request: Request
    dialect: Dialect
    body: bytes
    dropped: tuple[str, ...] = ()
    translation: Translation | None = None

    @property
    def translated_to(self) -> Dialect | None:
        return None if self.translation is None else self.dialect

    def meter(self) -> StreamMeter:
        """A fresh reader for the answer's stream. A translated one holds in `out` what each event became."""
        if self.translation is None:
            return meter_of(self.request)
        return self.translation.meter(_translated_meter(self.dialect))

    def read_answer(self, body: bytes) -> tuple[Usage | None, bytes]:
        """The usage of a whole answer, and the client's bytes of it. Raises NotAnAnswer."""
        answer = READERS[self.dialect](body)
        if self.translation is None:
            return answer.usage, body
        try:
            return answer.usage, self.translation.answer(answer.value)
        except Malformed as fault:
            raise NotAnAnswer(Problem(Reason.UPSTREAM_INVALID, str(fault))) from None


def outgoing(
    request: Request, dialect: Dialect, *, target: str, model: str, base_url: str, now_s: int, kind: str = "openai"
) -> Outgoing | Problem:
    """The request for one target. dialect: the one to ask it in. target: its name, for whoever reads a refusal. model,
    base_url: what is asked for, and where. kind: the provider's. now_s: seconds since 1970. A Problem says what cannot
    be carried."""
    if dialect is request.dialect:
        changed, left_out = without_foreign_reasoning(
            dialect, request.raw, request.fields, lambda: describe(target, model, dialect, base_url).is_openai
        )
        try:
            return Outgoing(request, dialect, request.upstream_body(model, changed), left_out)
        except orjson.JSONEncodeError as error:  # it reads deeper nesting than it writes
            return Problem(Reason.BAD_REQUEST, f"the body cannot be written again without its reasoning: {error}")
    try:
        upstream = describe(target, model, dialect, base_url, kind)
        made = Translation(request.dialect, {**request.fields, "model": model}, upstream, now_s)
    except Refusal as refusal:
        return refusal.problem(target)
    return Outgoing(request, dialect, made.body, made.dropped, made)


def meter_of(request: Request) -> StreamMeter:
    """A fresh reader for a stream in the request's own dialect."""
    if request.dialect is Dialect.MESSAGES:
        return anthropic_messages.MessagesMeter()
    if request.dialect is Dialect.RESPONSES:
        return openai_responses.ResponsesMeter()
    if request.dialect is Dialect.COMPLETIONS:
        choices = openai_completions.choices_asked(request.fields)
        return openai_completions.CompletionsMeter(choices, request.wants_usage)
    return openai_chat.ChoicesMeter(openai_chat.choices_asked(request.fields), request.wants_usage)


def _translated_meter(dialect: Dialect) -> StreamMeter:
    """Of an upstream that was asked for one answer, and in chat for its usage."""
    if dialect is Dialect.MESSAGES:
        return anthropic_messages.MessagesMeter()
    if dialect is Dialect.RESPONSES:
        return openai_responses.ResponsesMeter()
    return openai_chat.ChoicesMeter(1, wants_usage=True)
