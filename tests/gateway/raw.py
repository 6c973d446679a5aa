"""HTTP/1.1 from the client's side as bytes, so that a test can send what no library would, and see where it ended.

`Wire` is one connection. It reads one response at a time and says of each whether it was whole: a stream that was cut
off, or a body shorter than it was announced, is `whole == False`, never an exception.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

PATIENCE_S = 10.0


@dataclass(slots=True)
class Response:
    """status 0: the connection ended before a status line. whole: the body came to the end that HTTP announced."""

    status: int = 0
    version: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    whole: bool = False
    head: bytes = b""

    def header(self, name: str) -> str | None:
        found = [value for key, value in self.headers if key == name]
        assert len(found) <= 1, f"{name} came {len(found)} times"
        return found[0] if found else None

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[bytes]:
        """The events of a stream, without the empty lines between them."""
        lines = self.body.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return [event for event in lines.split(b"\n\n") if event]


class Wire:
    """One connection to a gateway."""

    def __init__(self, port: int, receive_buffer: int | None = None) -> None:
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer is not None:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._sock.settimeout(PATIENCE_S)
        self._sock.connect(("127.0.0.1", port))
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self.ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, data: bytes) -> Self:
        self._sock.sendall(data)
        return self

    def try_send(self, data: bytes) -> bool:
        """Whether all of it could be sent before the other side ended the connection."""
        try:
            self._sock.sendall(data)
        except (ConnectionResetError, BrokenPipeError):
            return False
        return True

    def finish(self) -> None:
        """Says that no more will be sent, and goes on reading."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._sock.close()

    def reset(self) -> None:
        """Leaves without a word: RST."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self._sock.close()

    @property
    def silent(self) -> bool:
        """Whether not a byte has arrived that was not read yet."""
        return not self._buffer and not select.select([self._sock], [], [], 0)[0]

    def more(self) -> bool:
        """Waits for more bytes; False when the connection has ended."""
        try:
            data = self._sock.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        self._buffer += data
        self.ended = self.ended or not data
        return bool(data)

    def until(self, mark: bytes) -> bytes:
        """All bytes up to the mark, which stay unread for `response`."""
        while mark not in self._buffer:
            assert self.more(), f"the connection ended before {mark!r}: {self._buffer[-500:]!r}"
        return self._buffer[: self._buffer.index(mark) + len(mark)]

    def read(self, size: int) -> bytes:
        """So many bytes, or all up to the end of the connection."""
        while len(self._buffer) < size and self.more():
            pass
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def rest(self) -> bytes:
        """All bytes up to the end of the connection."""
        while self.more():
            pass
        data, self._buffer = self._buffer, b""
        return data

    def response(self, *, head_only: bool = False) -> Response:
        """The next response that is not an interim one. head_only: the request was HEAD."""
        while True:
            response = self._one(head_only)
            if not 100 <= response.status < 200:
                return response

    def _one(self, head_only: bool) -> Response:
        response = Response()
        while b"\r\n\r\n" not in self._buffer:
            if not self.more():
                response.body, self._buffer = self._buffer, b""
                return response
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status, *_ = first.split(" ", 2)
        pairs = (line.partition(":") for line in lines)
        response.headers = [(name.lower(), value.strip()) for name, _, value in pairs]
        response.status, response.version, response.head = int(status), version, head
        length = response.header("content-length")
        if head_only or 100 <= response.status < 200 or response.status in (204, 304):
            response.whole = True
        elif response.header("transfer-encoding") == "chunked":
            self._chunked(response)
        elif length is not None:
            while len(self._buffer) < int(length) and self.more():
                pass
            response.body, self._buffer = self._buffer[: int(length)], self._buffer[int(length) :]
            response.whole = len(response.body) == int(length)
        else:
            response.body, response.whole = self.rest(), True
        return response

    def _chunked(self, response: Response) -> None:
        pieces: list[bytes] = []
        while not response.whole:
            while b"\r\n" not in self._buffer:
                if not self.more():
                    response.body = b"".join(pieces)
                    return
            line, self._buffer = self._buffer.split(b"\r\n", 1)
            size = int(line, 16)
            while len(self._buffer) < size + 2:
                if not self.more():
                    response.body = b"".join([*pieces, self._buffer[:size]])
                    return
            pieces.append(self._buffer[:size])
            assert self._buffer[size : size + 2] == b"\r\n"
            self._buffer = self._buffer[size + 2 :]
            response.whole = size == 0
        response.body = b"".join(pieces)


def post(path: str, body: Any, *headers: str, host: str = "localhost") -> bytes:
    """A POST as bytes. body: bytes as they are, anything else as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", f"host: {host}", f"content-length: {len(data)}", *headers]
    if not any(header.lower().startswith("content-type:") for header in headers):
        lines.append("content-type: application/json")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + data


def get(path: str, *headers: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "host: localhost", *headers]).encode("latin-1") + b"\r\n\r\n"


def ask(port: int, request: bytes) -> Response:
    """One request on a connection of its own."""
    with Wire(port) as wire:
        return wire.send(request).response()
