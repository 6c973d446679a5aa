"""A fake provider on 127.0.0.1 that does what its script says, also the wrong things.

    async with ScriptedUpstream([faults.reset(), openai.chat_stream(Turn("Hello"))]) as up:
        ...                                     # send something to up.base_url
        assert up.requests[0].header("authorization") == "Bearer sk-test"

`async with` runs it on the running loop, `with` on a thread of its own (for clients that block). The script is a list,
used up one reply per request, or a callable from the request to its reply; what a list does not cover is answered by
`otherwise`, a whole fake vendor. Nothing here waits for a clock: a reply waits for events that the test holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from headgate.clock import monotonic_s
from headgate.testing.http1 import Malformed, Request, RequestReader
from headgate.testing.replies import End, Reply, Step, Wait
from headgate.testing.vendor import Vendor

T = TypeVar("T")
Decide = Callable[[Request], Reply]
Script = Decide | Iterable[Reply | Decide]

BACKLOG = 4096


class ScriptedUpstream:
    """A real HTTP/1.1 server; see the module.

    script: what to answer. otherwise: answers what a list of replies does not cover.
    greeting: steps for a connection as soon as it is accepted, by its number from 0; for faults before any request.
    listening: False holds the port but refuses connections, until `listen()`.

    requests: all that came in whole, in order. partial: what came of those that did not. malformed: why what came was
    not HTTP. failures: what a script raised; leaving the `with` block raises the first of them. accepted: connections.
    """

    def __init__(
        self,
        script: Script = (),
        *,
        otherwise: Decide | None = None,
        greeting: Callable[[int], Iterable[Step]] | None = None,
        listening: bool = True,
    ) -> None:
        self.requests: list[Request] = []
        self.malformed: list[str] = []
        self.partial: list[bytes] = []
        self.failures: list[Exception] = []
        self.accepted = 0
        self._listening = listening
        self._greeting = greeting
        self._otherwise = otherwise or Vendor()
        self._decide: Decide = script if callable(script) else self._from_list
        self._left: deque[Reply | Decide] = deque() if callable(script) else deque(script)
        self._connections: set[_Connection] = set()
        self._changed = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._socket = _bound(0)
        self.port: int = self._socket.getsockname()[1]

    # What a test asks and says.

    @property
    def origin(self) -> str:
        """`http://127.0.0.1:PORT`, what the Anthropic SDK calls its base_url."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """`http://127.0.0.1:PORT/v1`, what a provider's base_url is in headgate.yaml and in the OpenAI SDK."""
        return self.origin + "/v1"

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    def then(self, *replies: Reply | Decide) -> None:
        """Adds to the list that the next requests use up."""
        self._left.extend(replies)

    async def received(self, count: int = 1) -> Request:
        """Waits until so many requests came in, and gives the last of these."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.requests) >= count)
        return self.requests[count - 1]

    async def over(self, request: Request) -> None:
        """Waits until the reply was sent in full or the client left."""
        async with self._changed:
            await self._changed.wait_for(lambda: request.aborted_s is not None or request.finished_s is not None)

    async def idle(self, connections: int = 0) -> None:
        """Waits until no more than so many connections are open."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._connections) <= connections)

    def close_idle(self) -> None:
        """Closes the kept-alive connections that wait for a request, as servers do after a while."""
        for connection in [c for c in self._connections if c.is_idle]:
            connection.end(End.CLOSE)

    def write_idle(self, data: bytes) -> None:
        """Writes bytes that nobody asked for on the kept-alive connections that wait for a request."""
        for connection in [c for c in self._connections if c.is_idle]:
            connection.write(data)

    async def refuse(self) -> None:
        """Stops accepting: connecting is refused from here on. Open connections stay as they are."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self._socket = _bound(self.port)

    async def listen(self) -> None:
        """Accepts connections (again)."""
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: _Connection(self), sock=self._socket, backlog=BACKLOG)

    def run(self, coroutine: Coroutine[Any, Any, T], timeout_s: float = 10.0) -> T:
        """With `with`: runs one of the coroutines above, or any other, on the server's loop and waits for it."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout_s)

    def call(self, function: Callable[[], object]) -> None:
        """With `with`: calls a function on the server's loop soon, for example `event.set`."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(function)

    # Starting and stopping.

    async def __aenter__(self) -> Self:
        if self._listening:
            await self.listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        self._socket.close()
        tasks = [connection.task for connection in self._connections]
        for connection in list(self._connections):
            connection.end(End.RESET)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.failures and kind is None:
            raise self.failures[0]

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="scripted-upstream", daemon=True)
        self._thread.start()
        self.run(self.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._loop is not None and self._thread is not None
        try:
            self.run(self.__aexit__(kind, error, trace))
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    # For the connections.

    def decide(self, request: Request) -> Reply:
        return self._decide(request)

    def _from_list(self, request: Request) -> Reply:
        if not self._left:
            return self._otherwise(request)
        item = self._left.popleft()
        return item(request) if callable(item) else item

    def opened(self, connection: _Connection) -> int:
        self._connections.add(connection)
        self.accepted += 1
        return self.accepted - 1

    def closed(self, connection: _Connection, partial: bytes) -> None:
        self._connections.discard(connection)
        if partial:
            self.partial.append(partial)
        self.notify()

    def greet(self, number: int) -> Iterable[Step]:
        return self._greeting(number) if self._greeting is not None else ()

    def notify(self) -> None:
        """Lets the waiting tests look again. May be called from protocol callbacks, which cannot await."""
        task = asyncio.get_running_loop().create_task(self._notify())
        _pending.add(task)
        task.add_done_callback(_pending.discard)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


_pending: set[asyncio.Task[None]] = set()


class _Connection(asyncio.Protocol):
    """One accepted connection: reads requests, and performs the steps of one reply after the other."""

    transport: asyncio.Transport
    task: asyncio.Task[None]

    def __init__(self, upstream: ScriptedUpstream) -> None:
        self._upstream = upstream
        self._reader = RequestReader()
        self._waiting: asyncio.Queue[Request] = asyncio.Queue()
        self._current: Request | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._number = 0
        self._count = 0

    @property
    def is_idle(self) -> bool:
        return self._current is None and self._waiting.empty()

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def end(self, how: End) -> None:
        if how is End.RESET:
            sock = self.transport.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
        else:
            self.transport.close()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._number = self._upstream.opened(self)
        self.task = asyncio.get_running_loop().create_task(self._serve())

    def data_received(self, data: bytes) -> None:
        try:
            requests = self._reader.feed(data)
        except Malformed as error:
            self._upstream.malformed.append(str(error))
            self.transport.close()
            return
        if self._reader.continue_wanted:
            self._reader.continue_wanted = False
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        for request in requests:
            request.connection, request.nth, request.received_s = self._number, self._count, monotonic_s()
            self._count += 1
            self._upstream.requests.append(request)
            self._waiting.put_nowait(request)
        if requests:
            self._upstream.notify()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._current is not None and self._current.finished_s is None:
            self._current.aborted_s = monotonic_s()
        self.task.cancel()
        self._upstream.closed(self, self._reader.partial)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # Replies

    async def _serve(self) -> None:
        if not await self._perform(self._upstream.greet(self._number), None):
            return
        while True:
            request = self._current = await self._waiting.get()
            try:
                steps = self._upstream.decide(request).steps()
                ended = not await self._perform(steps, request)
            except Exception as error:
                self._upstream.failures.append(error)
                self.end(End.RESET)
                return
            if ended:
                return
            self._finish(request)
            self._current = None
            if (request.header("connection") or "").lower() == "close":
                self.transport.close()
                return

    def _finish(self, request: Request) -> None:
        request.finished_s = monotonic_s()
        self._upstream.notify()

    async def _perform(self, steps: Iterable[Step], request: Request | None) -> bool:
        """Performs steps in order, letting the loop turn between writes. False when they ended the connection."""
        for step in steps:
            if isinstance(step, End):
                if request is not None:
                    self._finish(request)
                self.end(step)
                return False
            if isinstance(step, Wait):
                await step.until()
                continue
            self.write(step)
            if request is not None:
                request.sent_bytes += len(step)
            await self._writable.wait()
            await asyncio.sleep(0)
        return True


def _bound(port: int) -> socket.socket:
    """A socket that holds a port of 127.0.0.1 without listening: connecting to it is refused."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    sock.setblocking(False)
    return sock
