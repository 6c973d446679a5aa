"""Server-sent events: cutting a byte stream into whole events, and reading one.

Events are kept as the bytes they came in, terminator included, so what is passed on is what was sent. Lines may end
in LF, CRLF or CR, as the specification of event streams allows; an empty line ends an event. The cut does not depend
on how the bytes were split on their way, but for one harmless case: where a CR ends one piece and its LF begins the
next, that LF opens the following event, and joining the events gives the same bytes all the same.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_EMPTY_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class EventTooLarge(ValueError):
    """An event passed the limit without an end."""


class Event(NamedTuple):
    """name: the `event:` field, or an empty string. data: the `data:` lines joined by LF; None where there are none."""

    name: str
    data: bytes | None


class EventSplitter:
    """Feed it bytes, get whole events. `pending` is the number of bytes of an event that has begun."""

    def __init__(self, max_event_bytes: int) -> None:
        self._max = max_event_bytes
        self._tail = bytearray()
        self._searched = 0

    @property
    def pending(self) -> int:
        return len(self._tail)

    def rest(self) -> bytes:
        """What has come of the event that has begun."""
        return bytes(self._tail)

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events that `chunk` completes, each with its terminator. Raises EventTooLarge."""
        if self._tail:
            self._tail += chunk
            # The last three bytes that were searched may be the start of a terminator.
            if not _EMPTY_LINE.search(self._tail, max(0, self._searched - 3)):
                self._searched = len(self._tail)
                self._check(self._searched)
                return []
            chunk = bytes(self._tail)
            self._tail.clear()
        events = _cut(chunk)
        rest = events.pop()
        if rest:
            self._check(len(rest))
            self._tail += rest
        self._searched = len(rest)
        return events

    def _check(self, size: int) -> None:
        if size > self._max:
            raise EventTooLarge(f"an event of more than {self._max} bytes")


def _cut(data: bytes) -> list[bytes]:
    """All events, then what is left (perhaps empty)."""
    if b"\r" not in data:
        if len(data) > 1 and data.find(b"\n\n") == len(data) - 2:  # one whole event, as most pieces are
            return [data, b""]
        parts = data.split(b"\n\n")
        rest = parts.pop()
        return [*[part + b"\n\n" for part in parts], rest]
    events = []
    start = 0
    for match in _EMPTY_LINE.finditer(data):
        events.append(data[start : match.end()])
        start = match.end()
    return [*events, data[start:]]


def parse(raw: bytes) -> Event:
    """Reads one event. A name that is not UTF-8 reads as its replacement; comments and unknown fields are left out."""
    if raw.startswith(b"data: ") and raw.endswith(b"\n\n") and b"\r" not in raw and raw.find(b"\n") == len(raw) - 2:
        return Event("", raw[6:-2])
    name = ""
    data: list[bytes] = []
    for line in _LINE_END.split(raw.removeprefix(_BOM)):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value.decode("utf-8", "replace")
    return Event(name, b"\n".join(data) if data else None)
