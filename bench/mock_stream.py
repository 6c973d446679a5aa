"""A mock that streams: every request becomes a stream, and one timer writes a chunk to all of them.

    python -m bench.mock_stream PORT COUNTERS CHUNKS_PER_S

`chunks` counts what was written. When `stop` is set, every stream gets its finish reason and `[DONE]`.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import uvloop

from bench import payloads
from bench.counters import Counters


class Mock:
    def __init__(self, counters: Counters, period_s: float) -> None:
        self.counters = counters
        self.period_s = period_s
        self.open: dict[Connection, bool] = {}
        self.chunks = 0
        self.streams = 0
        self.next_s = 0.0

    def tick(self) -> None:
        loop = asyncio.get_running_loop()
        loop.call_at(self.next_s, self.tick)
        self.next_s = max(self.next_s + self.period_s, loop.time())
        if self.counters["stop"]:
            for connection in list(self.open):
                connection.finish()
        for connection in self.open:
            connection.transport.write(payloads.WORD)
        self.chunks += len(self.open)
        self.counters["chunks"] = self.chunks

    async def serve(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Connection(self), "127.0.0.1", port, backlog=4096)
        self.next_s = loop.time() + self.period_s
        self.tick()
        await server.serve_forever()


class Connection(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, mock: Mock) -> None:
        self.mock = mock
        self.buffer = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.mock.open.pop(self, None)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        if len(body) < length:
            return
        self.buffer = b""
        self.transport.write(payloads.STREAM_HEAD + payloads.ROLE)
        self.mock.open[self] = b'"include_usage":true' in body.replace(b" ", b"")
        self.mock.streams += 1
        self.mock.counters["streams"] = self.mock.streams

    def finish(self) -> None:
        wants_usage = self.mock.open.pop(self)
        self.transport.write(payloads.FINISH + (payloads.USAGE if wants_usage else b"") + payloads.DONE)
        self.mock.counters["ended"] += 1


if __name__ == "__main__":
    _, port_, path_, rate_ = sys.argv
    uvloop.run(Mock(Counters(Path(path_)), 1 / float(rate_)).serve(int(port_)))
