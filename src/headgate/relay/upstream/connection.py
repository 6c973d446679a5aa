"""One HTTP/1.1 connection to an upstream, and the response that is on it.

The relay is the only reader, so there is one waiter and no queue: what arrives is kept until it is asked for, and when
more than `HIGH_WATER` bytes wait, the socket is not read any further. A deadline holds only while somebody waits for
the upstream; a client that reads slowly does not make the upstream late. One timer serves all deadlines of a
connection: it looks when it fires whether the deadline has moved on.

A connection goes back to its pool only after a whole response with nothing behind it.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import cast

import httptools

from headgate import clock
from headgate.errors import Phase, UpstreamBroken, UpstreamFault, UpstreamTimeout

#: Body bytes that may wait for the relay before the socket is left unread.
HIGH_WATER = 64 * 1024
#: Status line and headers; also whatever is between two pieces of body (chunk sizes, extensions, trailers).
MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 200
#: How long a finished stream may take to end its response too, so that its connection can be used again.
DRAIN_S = 1.0
_DRAIN_BYTES = 64 * 1024

Headers = list[tuple[bytes, bytes]]


class Connection(asyncio.Protocol):
    """Made by `dial`; used for one exchange at a time.

    on_idle(connection) is called when a response is whole and the connection can serve another request.
    """

    def __init__(self, on_idle: Callable[[Connection], None]) -> None:
        self._on_idle = on_idle
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._poll: select.poll | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._drain_timer: asyncio.TimerHandle | None = None
        self._deadline: float | None = None
        self._phase: Phase = "response"
        self._phase_s = 0.0
        self.idle_since = 0.0
        self.closed = False
        self._parser = httptools.HttpResponseParser(self)  # begins anew by itself after each whole response
        self._begin()

    def _begin(self) -> None:
        """Forgets the last response."""
        self.status = 0
        self.headers: Headers = []
        self._reading = False
        self._head_done = False
        self._framed = False
        self._complete = False
        self._keep_alive = False
        self._overhead = 0
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._paused = False
        self._fault: UpstreamFault | None = None
        self._answered = False
        self._draining = False
        self._drained = 0

    # --- what the client does with it -----------------------------------------------------------------------------

    def is_usable(self) -> bool:
        """Whether an idle connection can still be written to. Looks at the socket itself: an upstream that has closed
        it, or has sent something unasked, shows as readable before the event loop has come to it."""
        if self.closed or self._transport is None or self._transport.is_closing():
            return False
        return self._poll is None or not self._poll.poll(0)

    def send(self, request: bytes) -> None:
        """Writes a request, whole. A response can be read after it."""
        assert self._transport is not None and not self._reading
        self._begin()
        self._reading = True
        self._transport.write(request)

    async def head(self, phase: Phase, within_s: float, until: float) -> None:
        """Waits for status and headers. until: the request's own deadline, on the monotonic clock."""
        while not self._head_done:
            await self._wait(phase, within_s, until)

    async def chunk(self, phase: Phase, within_s: float, until: float) -> bytes:
        """What has arrived of the body, at least one byte; empty at its end. Raises UpstreamFault."""
        while not self._chunks:
            if self._complete:
                return b""
            await self._wait(phase, within_s, until)
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._buffered = 0
        self._resume()
        return data

    async def body(self, limit: int, phase: Phase, within_s: float, until: float) -> bytes:
        """The whole body. `within_s` is for all of it. Raises UpstreamFault, also for a body above `limit` bytes."""
        if self._complete and len(self._chunks) == 1 and self._buffered <= limit:  # it came with its head
            self._buffered = 0
            return self._chunks.pop()
        end = clock.monotonic_s() + within_s
        pieces: list[bytes] = []
        size = 0
        while piece := await self.chunk(phase, max(0.0, end - clock.monotonic_s()), until):
            size += len(piece)
            if size > limit:
                raise UpstreamBroken(f"an answer of more than {limit} bytes")
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def answered(self) -> None:
        """The dialect's end was read, so what is still to come is HTTP's end only: `release` will wait for it."""
        self._answered = True

    def release(self) -> None:
        """The relay is done with this response; to be called once. Back to the pool if it is whole; if only HTTP's end
        is missing, back as soon as that has come, in the background; else closed."""
        if self._complete:
            self._finish()
        elif self._answered and not self.closed:
            self._draining = True
            self._drain_timer = self._loop.call_later(DRAIN_S, self.close)
            self._resume()
        else:
            self.close()

    def close(self) -> None:
        """Ends the connection at once; the upstream sees its client leave."""
        self.closed = True
        self._cancel_timers()
        if self._transport is not None:
            self._transport.abort()

    # --- waiting --------------------------------------------------------------------------------------------------

    async def _wait(self, phase: Phase, within_s: float, until: float) -> None:
        if self._fault is not None:
            raise self._fault
        assert self._waiter is None, "one reader at a time"
        own = clock.monotonic_s() + within_s
        if own <= until:
            self._deadline, self._phase, self._phase_s = own, phase, within_s
        else:
            self._deadline, self._phase, self._phase_s = until, "total", within_s
        if self._timer is None or self._timer_at > self._deadline:
            self._arm(self._deadline)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
            self._deadline = None

    def _on_timer(self) -> None:
        self._timer = None
        if self._deadline is None:
            return
        if clock.monotonic_s() < self._deadline - 0.001:
            self._arm(self._deadline)
            return
        self._fail(UpstreamTimeout(self._phase, self._phase_s, sent=True))

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_later(max(0.0, at - clock.monotonic_s()), self._on_timer)

    def _cancel_timers(self) -> None:
        for timer in (self._timer, self._drain_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._drain_timer = None

    def _resume(self) -> None:
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, fault: UpstreamFault) -> None:
        """The response cannot be finished; what has arrived can still be read before the fault is raised."""
        if self._fault is None and not self._complete:
            self._fault = fault
        self.close()
        self._wake()

    def _finish(self) -> None:
        """A whole response was read: back to the pool, if the connection can serve another."""
        self._reading = False
        if self._drain_timer is not None:
            self._drain_timer.cancel()
            self._drain_timer = None
        transport = self._transport
        clean = self._keep_alive and not self.closed and transport is not None and not transport.is_closing()
        if not clean or transport is None or transport.get_write_buffer_size():
            self.close()
            return
        self._resume()
        self.idle_since = clock.monotonic_s()
        self._on_idle(self)

    # --- asyncio.Protocol -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        if sock is not None and hasattr(select, "poll"):
            self._poll = select.poll()
            self._poll.register(sock.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)

    def data_received(self, data: bytes) -> None:
        if not self._reading:
            self.close()  # nobody asked
            return
        self._overhead += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(UpstreamBroken("switched protocols unasked"))
        except httptools.HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, UpstreamFault):
                self._fail(cause)
            elif self._complete:
                self._keep_alive = False  # something behind a whole response
            else:
                self._fail(UpstreamBroken(f"sent what is not HTTP ({error})"))
        else:
            if self._overhead > MAX_HEAD_BYTES and not self._complete:
                self._fail(UpstreamBroken(f"more than {MAX_HEAD_BYTES} bytes of headers or framing"))
        if self._draining and self._complete:
            self._draining = False
            self._finish()
        elif self._drained > _DRAIN_BYTES:
            self.close()

    def eof_received(self) -> bool:
        if self._reading and not self._complete:
            if self._head_done and not self._framed:
                self._complete = True  # a body without a length ends with its connection
                self._keep_alive = False
                self._wake()
            else:
                what = "in the middle of its answer" if self._head_done else "without an answer"
                self._fail(UpstreamBroken(f"closed the connection {what}"))
        self.closed = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._cancel_timers()
        if self._reading and not self._complete and self._fault is None:
            what = "in the middle of its answer" if self._head_done else "without an answer"
            self._fault = UpstreamBroken(f"closed the connection {what}{f' ({exc})' if exc else ''}")
        self._wake()

    # --- httptools ------------------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) >= MAX_HEADERS:
            raise UpstreamBroken(f"more than {MAX_HEADERS} headers")
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status < 200:
            return
        self._overhead = 0
        self._head_done = True
        self._keep_alive = self._parser.should_keep_alive()
        self._framed = self.status in (204, 304) or any(
            name in (b"content-length", b"transfer-encoding") for name, _ in self.headers
        )
        self._wake()

    def on_body(self, data: bytes) -> None:
        self._overhead = 0
        if self._draining:
            self._drained += len(data)
            return
        self._chunks.append(data)
        self._buffered += len(data)
        if self._buffered > HIGH_WATER and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        if self.status < 200:  # an interim response; the real one follows
            self.headers = []
            return
        self._complete = True
        self._wake()

    def on_message_begin(self) -> None:
        if self._complete:
            raise UpstreamBroken("sent a second answer unasked")
