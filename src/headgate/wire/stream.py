"""What the events of a streamed answer mean, so that a broken stream is never passed off as a whole one.

Each dialect has a meter. It is shown every event once, in order, and says what the relay shall do with it:

    OPENING   says nothing yet (role chunk, `message_start`, ping): held back until content, passed on after it
    CONTENT   the first of these releases what was held
    WITHHELD  asked for by headgate, not by the client: not passed on
    END       the dialect's proper end: passed on, and nothing after it is
    ERROR     the upstream says that it failed; `problem` holds what it said
    INVALID   not an event of the dialect; `problem` says why

A proper end is a finish reason for every choice. When the connection ends, `closing()` gives the bytes that a whole
stream still lacks, or None where the stream is not whole.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum, auto
from typing import Any

import orjson

from headgate.errors import Problem, Reason
from headgate.wire.sse import Event
from headgate.wire.usage import Usage


class Step(Enum):
    OPENING = auto()
    CONTENT = auto()
    WITHHELD = auto()
    END = auto()
    ERROR = auto()
    INVALID = auto()


class StreamMeter(ABC):
    """Reads one stream. `usage` is None until the upstream has told it. body: the last event, parsed, for whoever wants
    to read more in it; None where it was none."""

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.problem: Problem | None = None
        self.sequence_number = -1
        self.body: dict[str, Any] | None = None

    @abstractmethod
    def on(self, event: Event) -> Step:
        """What this event is. After ERROR and INVALID `problem` is set; the provider's name is not known here."""

    @abstractmethod
    def closing(self) -> bytes | None:
        """The bytes still to send for a stream whose connection ended; None where it did not end properly."""

    def failed(self, error: Any, reason: Reason = Reason.UPSTREAM_ERROR) -> Step:
        self.problem = problem_of(error, reason)
        return Step.ERROR

    def invalid(self, why: str) -> Step:
        self.problem = Problem(Reason.UPSTREAM_INVALID, why)
        return Step.INVALID


def problem_of(error: Any, reason: Reason = Reason.UPSTREAM_ERROR, status: int = 0) -> Problem:
    """An upstream's error object, in whichever of the common shapes, as a Problem. Its `source` is set by the relay."""
    if not isinstance(error, dict):
        said = error if isinstance(error, str) and error else "the upstream reported an error"
        return Problem(reason, said[:MAX_MESSAGE], status)
    message, kind, code, param = (error.get(k) for k in ("message", "type", "code", "param"))
    return Problem(
        reason,
        (message if isinstance(message, str) and message else "the upstream reported an error")[:MAX_MESSAGE],
        status,
        param=param if isinstance(param, str) else None,
        type=kind if isinstance(kind, str) else None,
        code=str(code) if isinstance(code, str | int) and not isinstance(code, bool) else None,
    )


#: Characters of an upstream's message that are passed on.
MAX_MESSAGE = 4000


def load_object(data: bytes) -> dict[str, Any] | None:
    """The JSON object in an event, or None where it holds none."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
