"""Cutting a byte stream into events: nothing lost, nothing joined, whatever the pieces."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headgate.wire import sse
from headgate.wire.sse import Event, EventSplitter, EventTooLarge

LARGE = 1 << 30


def fed(pieces: list[bytes], max_event_bytes: int = LARGE) -> tuple[list[bytes], bytes]:
    """The events, and what is left."""
    splitter = EventSplitter(max_event_bytes)
    events = [event for piece in pieces for event in splitter.feed(piece)]
    assert splitter.pending == len(splitter.rest())
    return events, splitter.rest()


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    at = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(at)]


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def seen(events: list[bytes]) -> list[Event]:
    """What a reader of events sees: those with data."""
    return [event for raw in events if (event := sse.parse(raw)).data is not None]


@pytest.mark.parametrize(
    ("data", "events", "rest"),
    [
        (b"", [], b""),
        (b"data: a", [], b"data: a"),
        (b"data: a\n", [], b"data: a\n"),
        (b"data: a\n\n", [b"data: a\n\n"], b""),
        (b"data: a\r\n\r\n", [b"data: a\r\n\r\n"], b""),
        (b"data: a\r\rb", [b"data: a\r\r"], b"b"),
        (b"data: a\n\r\nb", [b"data: a\n\r\n"], b"b"),
        (b"data: a\r\n\nb", [b"data: a\r\n\n"], b"b"),
        (b"data: a\r\n\rb", [b"data: a\r\n\r"], b"b"),
        (b"a\n\nb\n\nc", [b"a\n\n", b"b\n\n"], b"c"),
        (b"\n\n\n\na\n\n", [b"\n\n", b"\n\n", b"a\n\n"], b""),
        (b"a\r\nb\r\n", [], b"a\r\nb\r\n"),
    ],
)
def test_an_empty_line_ends_an_event(data, events, rest):
    assert fed([data]) == (events, rest)


STREAMS = st.one_of(
    st.binary(max_size=60),
    st.lists(st.sampled_from([b"\n", b"\r", b"\r\n", b"a", b"data: x", b":", b"event: y", b"\xff"]), max_size=14).map(
        b"".join
    ),
)
CUTS = st.lists(st.integers(0, 200), max_size=8)


@settings(max_examples=500, deadline=None)
@given(data=STREAMS, cuts=CUTS)
@example(data=b"data: x\r\n\r\ndata: y\r\n\r\n", cuts=[10, 20])
@example(data=b"data: x\r\n\r\n\n\r\ndata: y\r\r\n\n", cuts=[10, 12])
def test_no_byte_is_lost_and_no_split_changes_what_is_seen(data: bytes, cuts: list[int]):
    whole, rest = fed([data])
    assert b"".join(whole) + rest == data
    for pieces in (split(data, cuts), bytewise(data)):
        events, left = fed(pieces)
        assert b"".join(events) + left == data
        assert seen([*events, left]) == seen([*whole, rest])


@settings(max_examples=300, deadline=None)
@given(data=STREAMS.map(lambda data: re.sub(rb"\r+(?=\n)", b"", data)), cuts=CUTS)
def test_without_pairs_of_cr_and_lf_the_events_are_the_same_bytes(data: bytes, cuts: list[int]):
    assert fed(split(data, cuts)) == fed([data]) == fed(bytewise(data))


@settings(max_examples=300, deadline=None)
@given(data=STREAMS, cuts=CUTS)
def test_every_event_ends_with_its_first_empty_line(data: bytes, cuts: list[int]):
    events, rest = fed(split(data, cuts))
    empty_line = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
    for event in events:
        found = empty_line.search(event)
        assert found is not None and found.end() == len(event)
    assert empty_line.search(rest) is None or rest.endswith(b"\r\n")


# --- limits ------------------------------------------------------------------------------------------------------


def test_an_event_of_exactly_the_limit_passes_and_one_more_byte_does_not():
    assert fed(bytewise(b"x" * 10), 10) == ([], b"x" * 10)
    for pieces in ([b"x" * 11], bytewise(b"x" * 11), [b"x" * 10, b"x"], [b"a\n\n" + b"x" * 11]):
        with pytest.raises(EventTooLarge, match="an event of more than 10 bytes"):
            fed(pieces, 10)


@settings(max_examples=200, deadline=None)
@given(sizes=st.lists(st.integers(0, 30), max_size=20), piece=st.integers(1, 7), limit=st.integers(1, 30))
def test_what_is_kept_never_passes_the_limit(sizes: list[int], piece: int, limit: int):
    data = b"\n\n".join(b"x" * size for size in sizes)
    splitter = EventSplitter(limit)
    try:
        for start in range(0, len(data), piece):
            for event in splitter.feed(data[start : start + piece]):
                assert len(event) <= limit + piece
            assert splitter.pending <= limit
    except EventTooLarge:
        assert max(sizes) + 1 > limit
    else:
        assert max(sizes[:-1], default=0) <= limit + piece


class Counting:
    """Stands in for the pattern of an empty line, and counts the bytes it is asked to look at."""

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self.pattern = pattern
        self.looked_at = 0

    def search(self, data: bytes | bytearray, start: int) -> re.Match[bytes] | None:
        self.looked_at += len(data) - start
        return self.pattern.search(data, start)

    def finditer(self, data: bytes):
        self.looked_at += len(data)
        return self.pattern.finditer(data)


@pytest.mark.parametrize("filler", [b"x", b"\r", b"x\n", b"x\r\n"], ids=["letters", "one CR", "LF lines", "CRLF lines"])
def test_an_endless_event_is_searched_once(filler, monkeypatch):
    """4 MiB in pieces of 1 KiB: each byte is looked at a bounded number of times, however long the event is."""
    counting = Counting(sse._EMPTY_LINE)
    monkeypatch.setattr(sse, "_EMPTY_LINE", counting)
    piece = filler * (1024 // len(filler)) if filler != b"\r" else b"x" * 1023 + b"\r"
    pieces = 4096
    splitter = EventSplitter(LARGE)
    for _ in range(pieces):
        assert splitter.feed(piece) == []
    total = pieces * len(piece)
    assert total <= counting.looked_at + len(piece) <= total + 4 * pieces + len(piece)
    (event,) = splitter.feed(b"x\n\n")
    assert len(event) == total + 3
    assert counting.looked_at <= 2 * total + 4 * pieces + len(piece)


# --- reading one -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "event"),
    [
        (b"data: x\n\n", Event("", b"x")),
        (b"data:x\n\n", Event("", b"x")),
        (b"data:  x \n\n", Event("", b" x ")),
        (b"data: x\r\n\r\n", Event("", b"x")),
        (b"data: x\r\r", Event("", b"x")),
        (b"data: x", Event("", b"x")),
        (b"data: x: y\n\n", Event("", b"x: y")),
        (b"data:\n\n", Event("", b"")),
        (b"data\n\n", Event("", b"")),
        (b"data: a\ndata: b\n\n", Event("", b"a\nb")),
        (b"data: a\rdata: b\r\n\n", Event("", b"a\nb")),
        (b"event: ping\ndata: {}\n\n", Event("ping", b"{}")),
        (b"data: {}\nevent: ping\n\n", Event("ping", b"{}")),
        (b"event: a\nevent: b\ndata: x\n\n", Event("b", b"x")),
        (b"event:\xff\ndata: x\n\n", Event("�", b"x")),
        (b": a comment\n\n", Event("", None)),
        (b": data: x\n\n", Event("", None)),
        (b"id: 7\nretry: 10\nother: x\n\n", Event("", None)),
        (b"id: 7\ndata: x\n\n", Event("", b"x")),
        (b" data: x\n\n", Event("", None)),
        (b"DATA: x\n\n", Event("", None)),
        (b"\xef\xbb\xbfdata: x\n\n", Event("", b"x")),
        (b"\ndata: x\n\n", Event("", b"x")),
        (b"\n\n", Event("", None)),
        (b"", Event("", None)),
    ],
)
def test_an_event_is_read_as_the_specification_says(raw, event):
    assert sse.parse(raw) == event


@settings(max_examples=300, deadline=None)
@given(raw=STREAMS)
def test_any_bytes_can_be_read_as_an_event(raw: bytes):
    event = sse.parse(raw)
    assert isinstance(event.name, str) and (event.data is None or isinstance(event.data, bytes))
