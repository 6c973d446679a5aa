"""What the relay needs of the one who asked; the server gives it."""

from __future__ import annotations

from typing import Protocol

Headers = list[tuple[bytes, bytes]]


class Client(Protocol):
    """The client's side of one request.

    gone: whether the client has left. headers_sent: whether a status has been sent; there is no other after it.
    """

    headers_sent: bool

    @property
    def gone(self) -> bool: ...

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Sends a whole answer."""

    async def start(self, status: int, headers: Headers) -> None:
        """Sends the head of a streamed answer."""

    async def write(self, data: bytes) -> None:
        """Sends a piece of it; returns when the client's side has room for more. Raises TimeoutError where there was
        none until the request's own deadline."""

    async def end(self, last: bytes = b"") -> None:
        """Ends it, with a last piece where there is one; waits for room for that without a deadline."""
