"""The least that an ASGI gateway can be: uvicorn in front, a small HTTP/1.1 client behind, bytes passed as they are.

    python -m bench.bare PORT UPSTREAM_PORT

No keys, no routing, no metering, no timeouts: the floor that headgate is measured against.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from typing import Any

import httptools
import uvicorn

DROPPED = {b"connection", b"transfer-encoding", b"keep-alive", b"host"}


class Link(asyncio.Protocol):
    """One connection to the upstream, used by one request after the other."""

    transport: asyncio.Transport

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.closed = False
        self.reset()

    def reset(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.headers: list[tuple[bytes, bytes]] = []
        self.parts: deque[bytes] = deque()
        self.started = self.complete = self.reusable = False
        self.waiter: asyncio.Future[None] | None = None

    # httptools

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.started = True

    def on_body(self, data: bytes) -> None:
        self.parts.append(data)

    def on_message_complete(self) -> None:
        self.complete = True
        self.reusable = self.parser.should_keep_alive()

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)
        self.wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self.wake()

    def wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def more(self) -> None:
        if self.closed:
            raise ConnectionError("upstream closed")
        self.waiter = asyncio.get_running_loop().create_future()
        await self.waiter


class Bare:
    def __init__(self, port: int) -> None:
        self.port = port
        self.idle: list[Link] = []

    async def link(self) -> Link:
        while self.idle:
            link = self.idle.pop()
            if not link.closed:
                link.reset()
                return link
        _, link = await asyncio.get_running_loop().create_connection(Link, "127.0.0.1", self.port)
        return link

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        lines = [f"{scope['method']} {scope['path']} HTTP/1.1\r\nhost: 127.0.0.1:{self.port}\r\n".encode()]
        lines += [b"%s: %s\r\n" % pair for pair in scope["headers"] if pair[0] not in DROPPED]
        link = await self.link()
        try:
            link.transport.write(b"".join((*lines, b"\r\n", body)))
            while not link.started:
                await link.more()
            headers = [pair for pair in link.headers if pair[0] not in DROPPED]
            await send({"type": "http.response.start", "status": link.parser.get_status_code(), "headers": headers})
            while True:
                complete = link.complete
                data = b"".join(link.parts) if len(link.parts) != 1 else link.parts[0]
                link.parts.clear()
                await send({"type": "http.response.body", "body": data, "more_body": not complete})
                if complete:
                    break
                if not link.parts and not link.complete:
                    await link.more()
        except BaseException:
            link.transport.abort()
            raise
        if link.reusable and not link.closed:
            self.idle.append(link)
        else:
            link.transport.abort()


if __name__ == "__main__":
    _, port_, upstream_ = sys.argv
    uvicorn.run(
        Bare(int(upstream_)),
        host="127.0.0.1",
        port=int(port_),
        http="httptools",
        loop="uvloop",
        lifespan="off",
        access_log=False,
        log_level="warning",
        backlog=4096,
    )
