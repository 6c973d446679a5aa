"""A client that opens streams and reads them, in a process of its own so that its cost is not the system's.

    python -m bench.reader PORT COUNTERS STREAMS KEY

It opens at most 100 streams at a time, counts events, and counts as an error whatever is not a 200, ends early, or
ends without `[DONE]`.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import uvloop

from bench import payloads
from bench.counters import Counters

AT_ONCE = 100


class Reader(asyncio.Protocol):
    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.started = asyncio.get_running_loop().create_future()
        self.tail = b""
        self.over = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.tally.connected += 1
        transport.write(self.tally.request)

    def data_received(self, data: bytes) -> None:
        tail = self.tail + data
        if not self.started.done():
            if b"\r\n\r\n" not in tail:
                self.tail = tail
                return
            head, _, data = tail.partition(b"\r\n\r\n")
            self.started.set_result(None)
            if not head.startswith(b"HTTP/1.1 200"):
                self.fail(head[:200] + b" ... " + data[:300])
                return
            self.tally.streams += 1
            tail = data
            self.tail = b""
        self.tally.chunks += tail.count(b"data: ") - self.tail.count(b"data: ")
        self.tail = tail[-32:]
        if b"data: [DONE]" in tail:
            self.over = True
            self.tally.ended += 1
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.over:
            self.fail(f"ended early: {exc!r}".encode())

    def fail(self, why: bytes) -> None:
        if not self.over:
            self.over = True
            self.tally.errors += 1
            if self.tally.errors <= 3:
                print(why.decode(errors="replace"), file=sys.stderr, flush=True)
        if not self.started.done():
            self.started.set_result(None)


class Tally:
    def __init__(self, counters: Counters, request: bytes) -> None:
        self.counters = counters
        self.request = request
        self.connected = self.streams = self.chunks = self.ended = self.errors = 0

    def publish(self) -> None:
        for name in ("connected", "streams", "chunks", "ended", "errors"):
            self.counters[name] = getattr(self, name)
        asyncio.get_running_loop().call_later(0.02, self.publish)


async def read(port: int, counters: Counters, count: int, key: str) -> None:
    loop = asyncio.get_running_loop()
    tally = Tally(counters, payloads.request_bytes(port, key, stream=True))
    tally.publish()
    slots = asyncio.Semaphore(AT_ONCE)

    async def open_one() -> None:
        async with slots:
            try:
                _, reader = await loop.create_connection(lambda: Reader(tally), "127.0.0.1", port)
            except OSError as error:
                tally.errors += 1
                print(error, file=sys.stderr, flush=True)
                return
            await reader.started

    await asyncio.gather(*(open_one() for _ in range(count)))
    await asyncio.Event().wait()


if __name__ == "__main__":
    _, port_, path_, count_, key_ = sys.argv
    uvloop.run(read(int(port_), Counters(Path(path_)), int(count_), key_))
