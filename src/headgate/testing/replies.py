"""What the scripted upstream can be told to send, as data.

A reply is a list of steps: bytes to write, something to wait for, or an end of the connection. Steps say nothing about
requests, so whatever a server can do wrong on the wire can be written down as a list. When the steps are over without
an `End`, the connection stays open for the next request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import Literal, Protocol

import orjson

Headers = Sequence[tuple[str, str]]


class End(Enum):
    """How a server ends a connection: with FIN after all that was written, or with RST at once."""

    CLOSE = "close"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Wait:
    """Go on when `until()` is done, for example `Wait(event.wait)`. `Wait.forever()` is over when the client leaves."""

    until: Callable[[], Awaitable[object]]

    @classmethod
    def forever(cls) -> Wait:
        import asyncio

        return cls(lambda: asyncio.get_running_loop().create_future())


Step = bytes | Wait | End


class Reply(Protocol):
    """Anything that can be turned into steps: `Answer`, `Stream`, `Raw`."""

    def steps(self) -> Iterable[Step]: ...


@dataclass(frozen=True, slots=True)
class Raw:
    """Steps as they are, for what is not HTTP, or not quite."""

    script: tuple[Step, ...]

    def steps(self) -> Iterable[Step]:
        return self.script


def head(status: int, headers: Headers) -> bytes:
    """A status line and headers, with the empty line that ends them."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Overloaded" if status == 529 else "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """One chunk of the chunked transfer coding; of nothing, the chunk that ends it."""
    return b"%x\r\n%s\r\n" % (len(data), data)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. `body`: bytes as they are, text as UTF-8, anything else as JSON."""

    status: int = 200
    headers: Headers = ()
    body: object = b""
    content_type: str = "application/json"
    keep_alive: bool = True

    def payload(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        if isinstance(self.body, str):
            return self.body.encode()
        return orjson.dumps(self.body)

    def head(self, content_length: int | None = None) -> bytes:
        """Status line and headers. `content_length`: the figure that is claimed, the true one where None."""
        length = len(self.payload()) if content_length is None else content_length
        closing = () if self.keep_alive else (("connection", "close"),)
        common = (("content-type", self.content_type), ("content-length", str(length)))
        return head(self.status, (*common, *self.headers, *closing))

    def steps(self) -> Iterable[Step]:
        yield self.head() + self.payload()
        if not self.keep_alive:
            yield End.CLOSE


Ending = Literal["clean", "cut", "reset"]


@dataclass(frozen=True, slots=True)
class Stream:
    """A streamed answer, one write per event.

    events: each whole, with the empty line that ends it; a `Wait` among them holds the stream there.
    pace: awaited before event number i; None sends them as fast as the client reads.
    framing: `chunked`, or `close`: neither length nor chunks, the end of the connection ends the body.
    ending: `clean`, `cut` (FIN where more was promised; with framing `close` there is no telling) or `reset` (RST).
    """

    events: Sequence[bytes | Wait]
    headers: Headers = ()
    status: int = 200
    content_type: str = "text/event-stream; charset=utf-8"
    pace: Callable[[int], Awaitable[object]] | None = None
    framing: Literal["chunked", "close"] = "chunked"
    ending: Ending = "clean"
    keep_alive: bool = True

    def body(self) -> bytes:
        """All events in one piece."""
        return b"".join(event for event in self.events if isinstance(event, bytes))

    def head(self) -> bytes:
        chunked = self.framing == "chunked"
        how = ("transfer-encoding", "chunked") if chunked else ("connection", "close")
        closing = (("connection", "close"),) if chunked and not self.keep_alive else ()
        common = (("content-type", self.content_type), ("cache-control", "no-cache"))
        return head(self.status, (*common, *self.headers, how, *closing))

    def steps(self) -> Iterable[Step]:
        yield self.head()
        frame = chunk if self.framing == "chunked" else bytes
        for number, event in enumerate(self.events):
            if isinstance(event, Wait):
                yield event
                continue
            if self.pace is not None:
                yield Wait(_nth(self.pace, number))
            yield frame(event)
        if self.ending == "reset":
            yield End.RESET
        elif self.ending == "cut" or self.framing == "close":
            yield End.CLOSE
        else:
            yield chunk(b"")
            if not self.keep_alive:
                yield End.CLOSE


def _nth(pace: Callable[[int], Awaitable[object]], number: int) -> Callable[[], Awaitable[object]]:
    return lambda: pace(number)
