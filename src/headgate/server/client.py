"""One request of uvicorn's as the relay's `Client`, and its body read within limits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from headgate import clock
from headgate.errors import Problem, Reason
from headgate.relay.client import Headers

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

#: A body that comes at least this fast may take as long as it needs.
_SLOWEST_BYTES_PER_S = 16 * 1024


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """max_bytes: of a request's body. timeout_s: for its first piece, and for what is slower than 16 KiB a second."""

    max_bytes: int = 64 * 1024 * 1024
    timeout_s: float = 30.0


class HttpClient:
    """Implements relay.client.Client on uvicorn's own object for the request.

    ASGI's `send` takes a head and a body in two messages, checks every header with a regular expression, and writes
    twice. An answer is written here in one piece, a chunk of a stream in one, and what may stand in a header is known.
    """

    __slots__ = ("_chunked", "_cycle", "headers_sent", "until_s")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._chunked = True
        self.headers_sent = False
        self.until_s: float | None = None

    @property
    def gone(self) -> bool:
        return self._cycle.disconnected

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        cycle = self._cycle
        if cycle.flow.write_paused:
            await self._room(None)
        head = self._head(status, [*headers, (b"content-length", b"%d" % len(body))])
        self._write(head if cycle.scope["method"] == "HEAD" else head + body)
        self._complete()

    async def start(self, status: int, headers: Headers) -> None:
        await self._room(None)
        self._chunked = self._cycle.scope["http_version"] != "1.0"
        if self._chunked:
            headers = [*headers, (b"transfer-encoding", b"chunked")]
        else:
            self._cycle.keep_alive = False  # the end of the connection is the end of the answer
        self._write(self._head(status, headers))

    async def write(self, data: bytes) -> None:
        if self._cycle.flow.write_paused:
            await self._room(self.until_s)
        self._write(self._piece(data))

    async def end(self, last: bytes = b"") -> None:
        if last:
            await self._room(None)
            last = self._piece(last)
        self._write(last + b"0\r\n\r\n" if self._chunked else last)
        self._complete()

    def _piece(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data

    async def _room(self, until_s: float | None) -> None:
        """Waits while the client reads more slowly than we write, for as long as the protocol lets a client stall.
        Raises TimeoutError at `until_s`, where it is given."""
        flow = self._cycle.flow
        if not flow.write_paused or self._cycle.disconnected:
            return
        async with asyncio.timeout(None if until_s is None else max(0.0, until_s - clock.monotonic_s())):
            await flow.drain()

    def _head(self, status: int, headers: Headers) -> bytes:
        cycle = self._cycle
        self.headers_sent = True
        cycle.response_started = True
        cycle.waiting_for_100_continue = False
        lines = [STATUS_LINE[status]]
        for name, value in cycle.default_headers:
            lines.append(b"%b: %b\r\n" % (name, value))
        for name, value in headers:
            lines.append(b"%b: %b\r\n" % (name, value))
        lines.append(b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n")
        return b"".join(lines)

    def _write(self, data: bytes) -> None:
        if data and not self._cycle.disconnected:
            self._cycle.transport.write(data)

    def _complete(self) -> None:
        cycle = self._cycle
        if cycle.disconnected:
            return
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive and not cycle.more_body:  # else the protocol sees to its end
            cycle.transport.close()
        cycle.on_response()


class ClientGone(Exception):
    """The client left before its request was whole."""


async def read_body(cycle: RequestResponseCycle, headers: Headers, limits: BodyLimits) -> bytes | Problem:
    """The whole body. Raises ClientGone."""
    if cycle.disconnected:
        raise ClientGone
    if not cycle.more_body:  # all of it has come with the head, as most do
        whole, cycle.body = bytes(cycle.body), bytearray()
        return whole if len(whole) <= limits.max_bytes else _too_large(limits)
    announced = next((v for k, v in headers if k == b"content-length"), b"")
    if announced.isdigit() and int(announced) > limits.max_bytes:
        return _too_large(limits)
    receive: Receive = cycle.receive  # type: ignore[assignment]
    message = await _next(receive, limits.timeout_s)
    if message is None:
        return _too_slow(limits)
    pieces = [message.get("body", b"")]
    size = len(pieces[0])
    allowance_s = limits.timeout_s
    loop = asyncio.get_running_loop()
    while message.get("more_body"):
        if size > limits.max_bytes:
            return _too_large(limits)
        began = loop.time()
        message = await _next(receive, allowance_s)
        if message is None:
            return _too_slow(limits)
        piece = message.get("body", b"")
        size += len(piece)
        pieces.append(piece)
        earned_s = len(piece) / _SLOWEST_BYTES_PER_S
        allowance_s = min(limits.timeout_s, max(0.0, allowance_s - (loop.time() - began)) + earned_s)
    return b"".join(pieces) if size <= limits.max_bytes else _too_large(limits)


async def _next(receive: Receive, timeout_s: float) -> Message | None:
    """The next message, or None when the time ran out."""
    try:
        async with asyncio.timeout(timeout_s):
            message = await receive()
    except TimeoutError:
        return None
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message


def _too_large(limits: BodyLimits) -> Problem:
    return Problem(Reason.TOO_LARGE, f"a request's body may have {limits.max_bytes} bytes (server.max_body_mib)")


def _too_slow(limits: BodyLimits) -> Problem:
    message = f"the request's body did not arrive within {limits.timeout_s:g} s (server.body_timeout_s)"
    return Problem(Reason.REQUEST_TIMEOUT, message)
