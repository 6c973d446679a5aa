"""Uvicorn's HTTP protocol, with what a server in the open needs and uvicorn leaves out.

A head must arrive within a time and a size. A connection that is one too many is told so. And when a client leaves,
the task that serves it is cancelled at once, so that its upstream stops too: waiting for `http.disconnect` in a second
task would cost every request more than the gateway's own work.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from headgate import ids
from headgate.clock import monotonic_s
from headgate.errors import Problem, Reason
from headgate.wire import problems
from headgate.wire.dialect import Dialect

#: Under this key of a scope stands uvicorn's own object for the request, whose `disconnected` is the truth.
CYCLE = "headgate.cycle"

#: Requests that a client may have sent ahead before its connection is left unread.
_MAX_PIPELINED = 8
#: For a client that has been answered before it has sent all of its request to notice it.
_LINGER_S = 2.0


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """header_timeout_s: for a whole head to arrive. max_header_bytes, max_headers: of one head.
    max_connections: open at once. stall_s: for a client that has stopped reading its answer."""

    header_timeout_s: float = 10.0
    max_header_bytes: int = 64 * 1024
    max_headers: int = 200
    max_connections: int = 20_000
    stall_s: float = 300.0


def make_protocol(limits: HeadLimits) -> type[asyncio.Protocol]:
    """The protocol class for uvicorn's `http` setting."""

    class GatewayProtocol(_LimitedProtocol):
        pass

    GatewayProtocol.limits = limits
    return GatewayProtocol


class _LimitedProtocol(HttpToolsProtocol):
    """Leans on what uvicorn keeps private: `_start_asgi_task`, `pipeline`, `flow`, and the fields of its request cycle.
    That is why pyproject.toml bounds uvicorn's version from above."""

    limits = HeadLimits()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._idle_since_s: float | None = None
        self._head_bytes = 0
        self._in_head = True
        self._in_body = False
        self._refused = False
        #: The request that is being answered. `self.cycle` is the newest, which may wait behind it.
        self._running: Any = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.limits.max_connections:
            self._refuse(503, Problem(Reason.TOO_MANY_CONNECTIONS, "too many connections", retry_after_s=1))
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        self._stop_stall_timer()
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None
        super().connection_lost(exc)
        running = self._running
        if running is not None and not running.response_complete:
            running.disconnected = True
            running.headgate_task.cancel()

    def pause_writing(self) -> None:
        super().pause_writing()
        # What waits for such a client holds an upstream, and there no deadline runs while nobody waits for it.
        self._stall_timer = self.loop.call_later(self.limits.stall_s, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop_stall_timer()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._head_bytes += len(data)
        if not self._in_body and (b"pgrade" in data or b"PGRADE" in data):
            data = _without_upgrade(data)
        super().data_received(data)
        if self._refused:
            return
        if self._head_bytes > self.limits.max_header_bytes:  # a head, or what frames a body: chunk sizes, trailers
            self._refuse_size()
        elif self._in_head and self._head_timer is None:
            self._await_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        if self._refused:
            return
        self._in_head = False
        self._in_body = True
        self._stop_head_timer()
        if len(self.headers) > self.limits.max_headers or (
            self._head_bytes > self.limits.max_header_bytes
            and sum(len(n) + len(v) + 4 for n, v in self.headers) + len(self.url) > self.limits.max_header_bytes
        ):
            self._head_bytes = 0
            self._refuse_size()
            return
        self._head_bytes = 0
        super().on_headers_complete()
        self.headers = []  # what comes now is a trailer, and no header of the request
        if len(self.pipeline) < _MAX_PIPELINED:
            self.flow.resume_reading()  # or nobody would see the client leave

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        if not self._refused:
            super().on_message_complete()
            if self.cycle is self._running:
                self.flow.resume_reading()  # a large body has paused it
        self._head_bytes = 0

    def on_response_complete(self) -> None:
        if self._running.more_body and not self.transport.is_closing():
            self._linger()
            return
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since_s = monotonic_s()
        if self.timeout_keep_alive_task is None:
            self._await_next(self.timeout_keep_alive)

    def _unset_keepalive_if_required(self) -> None:
        """Uvicorn would make and cancel a timer for each request; ours looks, when it fires, how long it has been."""
        self._idle_since_s = None

    def _await_next(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self._on_idle)

    def _on_idle(self) -> None:
        self.timeout_keep_alive_task = None
        if self._idle_since_s is None:
            return  # a request is under way; its end begins a new wait
        left_s = self._idle_since_s + self.timeout_keep_alive - monotonic_s()
        if left_s > 0.01:
            self._await_next(left_s)
        else:
            self.timeout_keep_alive_handler()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        cycle.scope[CYCLE] = cycle  # type: ignore[literal-required]
        self._running = cycle
        task = self.loop.create_task(cycle.run_asgi(app))
        cycle.headgate_task = task  # type: ignore[attr-defined]
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, Problem(Reason.BAD_REQUEST, "this is not an HTTP request"))

    def _refuse_size(self) -> None:
        limits = self.limits
        message = f"a request's head may have {limits.max_headers} headers and {limits.max_header_bytes} bytes"
        self._refuse(431, Problem(Reason.TOO_LARGE, message, status=431))

    def _refuse(self, status: int, problem: Problem) -> None:
        """Answers before there is a request to answer, and closes."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        running = self._running
        busy = running is not None and not running.response_complete
        broken = busy and running is self.cycle and running.more_body and not running.response_started
        if broken:  # it is the body of this very request that cannot be read
            running.disconnected = True
            running.headgate_task.cancel()
        if broken or not busy:
            url = getattr(self, "url", b"") or b""
            dialect = Dialect.MESSAGES if url.startswith(b"/v1/messages") else Dialect.CHAT
            body = problems.body(dialect, problem, ids.request_id())
            head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            self.transport.write(STATUS_LINE[status] + head + body)
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        """Ends our side and, for a moment, reads on to no purpose: a connection that is closed while its client still
        sends is reset, and takes with it the answer that the client has not read yet."""
        self._refused = True
        self._stop_head_timer()
        self.flow.resume_reading()
        self.transport.write_eof()
        self.loop.call_later(_LINGER_S, self.transport.abort)

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.limits.header_timeout_s, self._on_slow_head)

    def _on_slow_head(self) -> None:
        self._head_timer = None
        if self._running is not None and not self._running.response_complete:
            self._await_head()  # its next request is slow to come, but the one before is still being answered
        elif self._in_head:
            seconds = self.limits.header_timeout_s
            self._refuse(408, Problem(Reason.REQUEST_TIMEOUT, f"no whole request head within {seconds:g} s"))

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None


_UPGRADE = re.compile(rb"(\r\n)upgrade[ \t]*:", re.IGNORECASE)


def _without_upgrade(data: bytes) -> bytes:
    """A head without its wish for another protocol, which a server may ignore, and some HTTP clients always send. The
    parser would stop at it, and take the body for the other protocol's."""
    head, end, rest = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(rb"\1x-upgrade:", head) + end + rest
