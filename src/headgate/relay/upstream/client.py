"""Pools of idle connections per origin, and the one call that sends a request.

A request is written to a kept connection only if that connection shows no sign of having been closed; if it has been,
another is taken, and nothing was sent. Once a byte has been written the request is never sent again from here: the
upstream may have begun to work, and to charge.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass

from headgate import clock
from headgate.relay.upstream.connection import Connection
from headgate.relay.upstream.dial import Origin, Proxy, dial, origin_of, proxy_for

#: Idle connections kept for each origin, and for how long. Servers close theirs after 5 s (Node) to 75 s (nginx);
#: those that have are noticed at once, so this only bounds what lies about.
MAX_IDLE = 256
IDLE_S = 60.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A place to post to, prepared once: where to connect, and the request's head up to what differs each time.

    head: request line and fixed headers, each ended by CRLF, without content-length and the empty line.
    """

    origin: Origin
    proxy: Proxy | None
    head: bytes


def endpoint(method: str, url: str, headers: list[tuple[bytes, bytes]]) -> Endpoint:
    """Prepares requests to `url`. Raises ConnectFailed for a proxy that cannot be used."""
    origin = origin_of(url)
    proxy = proxy_for(origin)
    path = url.split("://", 1)[1].partition("/")[2]
    target = f"/{path}"
    fixed = [(b"host", origin.authority.encode()), (b"accept-encoding", b"identity"), *headers]
    if proxy is not None and origin.scheme == "http":
        target = f"http://{origin.authority}{target}"
        if proxy.authorization is not None:
            fixed.append((b"proxy-authorization", proxy.authorization))
    lines = [f"{method} {target} HTTP/1.1".encode(), *(name + b": " + value for name, value in fixed)]
    return Endpoint(origin, proxy, b"\r\n".join(lines) + b"\r\n")


class UpstreamClient:
    """One for each event loop. `tls` is for tests that have a certificate authority of their own."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._idle: dict[tuple[Origin, Proxy | None], list[Connection]] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    async def connect(self, to: Endpoint, timeout_s: float) -> Connection:
        """A connection that nothing has been written to, kept or new. Raises ConnectFailed and UpstreamTimeout."""
        key = (to.origin, to.proxy)
        idle = self._idle.get(key)
        while idle:
            connection = idle.pop()
            if connection.is_usable():
                return connection
            connection.close()

        def make() -> Connection:
            return Connection(lambda connection: self._keep(key, connection))

        return await dial(to.origin, to.proxy, make, timeout_s, self._tls)

    async def get(self, to: Endpoint, timeout_s: float, limit: int) -> tuple[int, bytes]:
        """A small request of the gateway's own, as for a list of models: status and body. Raises UpstreamFault."""
        return await self._exchange(to, b"\r\n", timeout_s, limit)

    async def call(self, to: Endpoint, body: bytes, timeout_s: float, limit: int) -> tuple[int, bytes]:
        """The same with a body."""
        return await self._exchange(to, b"content-length: %d\r\n\r\n" % len(body) + body, timeout_s, limit)

    async def _exchange(self, to: Endpoint, rest: bytes, timeout_s: float, limit: int) -> tuple[int, bytes]:
        connection = await self.connect(to, timeout_s)
        until = clock.monotonic_s() + timeout_s
        try:
            connection.send(to.head + rest)
            await connection.head("response", timeout_s, until)
            return connection.status, await connection.body(limit, "response", timeout_s, until)
        finally:
            connection.release()

    def _keep(self, key: tuple[Origin, Proxy | None], connection: Connection) -> None:
        idle = self._idle.setdefault(key, [])
        if self._closed or len(idle) >= MAX_IDLE:
            connection.close()
            return
        idle.append(connection)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(IDLE_S / 2, self._close_old)

    def _close_old(self) -> None:
        self._sweep = None
        oldest = clock.monotonic_s() - IDLE_S
        for key, idle in list(self._idle.items()):
            kept = [c for c in idle if not c.closed and c.idle_since > oldest]
            for connection in idle:
                if connection not in kept:
                    connection.close()
            if kept:
                self._idle[key] = kept
            else:
                del self._idle[key]
        if self._idle:
            self._sweep = asyncio.get_running_loop().call_later(IDLE_S / 2, self._close_old)

    def close(self) -> None:
        """Closes what is idle; connections in use close when they are released."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        for idle in self._idle.values():
            for connection in idle:
                connection.close()
        self._idle.clear()
