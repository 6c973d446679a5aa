"""The listening socket, and uvicorn set up as this gateway needs it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from headgate.errors import OperatorFault
from headgate.server.protocol import HeadLimits, make_protocol

BACKLOG = 4096
#: After the grace period the requests that are left are cancelled, and get this long to say so to their clients.
_LAST_WORDS_S = 2.0


class CannotListen(OperatorFault):
    """The address is taken, not allowed, or not this machine's."""


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens at once, so that clients of a starting gateway wait instead of being refused."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise CannotListen(f"cannot listen on {host}: {error.strerror or error}") from None
    sock = socket.socket(family, kind, proto)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        reason = (error.strerror or str(error)).lower()
        raise CannotListen(f"cannot listen on {host}:{port}: {reason}. Choose another with --port.") from None
    sock.setblocking(False)
    return sock


class Server(uvicorn.Server):
    """Uvicorn's server, whose signals are somebody else's, and whose end waits for the last words of its requests."""

    def __init__(self, app: Any, limits: HeadLimits, keep_alive_s: float, grace_s: float) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=make_protocol(limits),
                ws="none",
                lifespan="off",
                loop="none",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=max(1, round(keep_alive_s)),
                timeout_graceful_shutdown=max(1, round(grace_s)),
                backlog=BACKLOG,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def run_on(self, sock: socket.socket, on_started: Callable[[], None]) -> None:
        """Serves until `should_exit`, and then until the requests under way have ended or their grace has."""
        serving = asyncio.create_task(self.serve(sockets=[sock]))
        while not self.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.005)
        if self.started:
            on_started()
        await serving

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        left = list(self.server_state.tasks)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=_LAST_WORDS_S)
