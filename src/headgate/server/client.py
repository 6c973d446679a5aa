"""One ASGI request as the relay's `Client`, and its body read within limits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from headgate.errors import Problem, Reason
from headgate.relay.client import Headers
from headgate.server.protocol import CYCLE

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


class AsgiClient:
    """Implements relay.client.Client over ASGI's send."""

    __slots__ = ("_cycle", "_send", "headers_sent")

    def __init__(self, scope: Scope, send: Send) -> None:
        self._send = send
        self._cycle = scope.get(CYCLE)
        self.headers_sent = False

    @property
    def gone(self) -> bool:
        return self._cycle is not None and bool(self._cycle.disconnected)

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        self.headers_sent = True
        length = (b"content-length", b"%d" % len(body))
        await self._send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
        await self._send({"type": "http.response.body", "body": body})

    async def start(self, status: int, headers: Headers) -> None:
        self.headers_sent = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


class ClientGone(Exception):
    """The client left before its request was whole."""


async def read_body(receive: Receive, headers: Headers, limits: BodyLimits, cycle: Any = None) -> bytes | Problem:
    """The whole body. cycle: uvicorn's object for the request, where it is uvicorn that serves. Raises ClientGone."""
    announced = next((v for k, v in headers if k == b"content-length"), b"")
    if announced.isdigit() and int(announced) > limits.max_bytes:
        return _too_large(limits)
    if cycle is not None and not cycle.more_body:
        message: Message | None = await receive()  # all of it has come with the head, so nothing has to be timed
    else:
        message = await _next(receive, limits.timeout_s)
    if message is None:
        return _too_slow(limits)
    if message["type"] == "http.disconnect":
        raise ClientGone
    if not message.get("more_body"):
        body: bytes = message.get("body", b"")
        return body if len(body) <= limits.max_bytes else _too_large(limits)
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
