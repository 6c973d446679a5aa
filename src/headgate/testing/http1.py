"""The server's side of HTTP/1.1 requests: bytes in, whole requests out, nothing thrown away.

It reads what the gateway sends, so it forgives nothing: a request that is not HTTP is a fault of the gateway, and
`Malformed` says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

HEAD_LIMIT_BYTES = 1 << 20


class Malformed(Exception):
    """What came is not an HTTP/1.1 request."""


@dataclass(slots=True)
class Request:
    """One request as it came in. Times are seconds of the monotonic clock.

    target: as sent, with its query. headers: as sent, in order, names as written.
    connection, nth: number of the connection (from 0), and of the request on it (from 0, so `nth > 0` is a reused one).
    aborted_s: when the client left before the reply was over; None where it stayed.
    finished_s: when the last byte of the reply was handed to the kernel; None where it was not.
    sent_bytes: how much of the reply was handed to the kernel.
    """

    method: str
    target: str
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    connection: int = 0
    nth: int = 0
    received_s: float = 0.0
    aborted_s: float | None = None
    finished_s: float | None = None
    sent_bytes: int = 0

    @property
    def path(self) -> str:
        return self.target.split("?", 1)[0]

    @property
    def aborted(self) -> bool:
        return self.aborted_s is not None

    def header(self, name: str) -> str | None:
        """The value of a header, all of them joined by a comma where there are several; None where there is none."""
        wanted = name.lower().encode()
        found = [value.decode("latin-1") for key, value in self.headers if key.lower() == wanted]
        return ", ".join(found) if found else None

    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass(slots=True)
class RequestReader:
    """`feed` bytes as they come, and take the requests that became whole.

    `continue_wanted` turns true once when a head asks for `100 Continue` and its body has not come yet.
    """

    continue_wanted: bool = False
    _buffer: bytearray = field(default_factory=bytearray)
    _request: Request | None = None
    _left: int = 0
    _chunked: bool = False

    @property
    def partial(self) -> bytes:
        """What came of a request that is not whole yet."""
        if self._request is None:
            return bytes(self._buffer)
        return f"{self._request.method} {self._request.target} …".encode() + bytes(self._buffer)

    def feed(self, data: bytes) -> list[Request]:
        self._buffer += data
        whole = []
        while (request := self._next()) is not None:
            whole.append(request)
        return whole

    def _next(self) -> Request | None:
        if self._request is None and not self._read_head():
            return None
        request = self._request
        assert request is not None
        body = self._chunked_body() if self._chunked else self._counted_body()
        if body is None:
            return None
        request.body = body
        self._request = None
        return request

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > HEAD_LIMIT_BYTES:
                raise Malformed("a head without end")
            return False
        first, *lines = bytes(self._buffer[:end]).split(b"\r\n")
        del self._buffer[: end + 4]
        match first.split(b" "):
            case [method, target, b"HTTP/1.1" | b"HTTP/1.0"]:
                self._request = Request(method.decode("latin-1"), target.decode("latin-1"), [_header(x) for x in lines])
            case _:
                raise Malformed(f"request line {first[:200]!r}")
        coding = (self._request.header("transfer-encoding") or "").lower()
        length = self._request.header("content-length")
        if coding and length is not None:
            raise Malformed("both content-length and transfer-encoding")
        if coding not in ("", "chunked") or not (length or "0").isdigit():
            raise Malformed(f"body framing {coding or length!r}")
        self._chunked = coding == "chunked"
        self._left = int(length or 0)
        expects = (self._request.header("expect") or "").lower() == "100-continue"
        self.continue_wanted = expects and not self._buffer
        return True

    def _counted_body(self) -> bytes | None:
        if len(self._buffer) < self._left:
            return None
        body = bytes(self._buffer[: self._left])
        del self._buffer[: self._left]
        return body

    def _chunked_body(self) -> bytes | None:
        """The joined chunks once the last one is here. Reads them anew each time: requests here are small."""
        parts, at = [], 0
        while (line_end := self._buffer.find(b"\r\n", at)) >= 0:
            try:
                size = int(bytes(self._buffer[at:line_end]).split(b";")[0], 16)
            except ValueError:
                raise Malformed(f"chunk size {bytes(self._buffer[at:line_end])[:40]!r}") from None
            start = line_end + 2
            if len(self._buffer) < start + size + 2:
                return None
            if self._buffer[start + size : start + size + 2] != b"\r\n":
                raise Malformed("a chunk that does not end where its size says (or trailers, which nobody sends)")
            parts.append(bytes(self._buffer[start : start + size]))
            at = start + size + 2
            if size == 0:
                del self._buffer[:at]
                return b"".join(parts)
        return None


def _header(line: bytes) -> tuple[bytes, bytes]:
    name, colon, value = line.partition(b":")
    if not colon or not name or name != name.strip():
        raise Malformed(f"header line {line[:200]!r}")
    return name, value.strip(b" \t")
