"""Everything that providers do wrong on the wire, each as a reply.

Faults of the connection and of HTTP stand alone, or spoil an `Answer`; faults of a stream take a good `Stream` and
give a bad one, so that each test says in one line what is wrong and with what:

    faults.half_event(openai.chat_stream(Turn("Hello there.")), after=2)

A connection that is refused is not a reply: `await upstream.refuse()`, or `ScriptedUpstream(listening=False)`.
"""

from __future__ import annotations

import asyncio
import gzip as gzip_coding
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

from headgate.testing import vendor_anthropic as anthropic
from headgate.testing import vendor_openai as openai
from headgate.testing.replies import Answer, End, Ending, Raw, Reply, Step, Stream, Wait, chunk, head

JUNK = b"\x00\x16\x03\x01 this is not HTTP \xff\xfe\r\n"

# The connection


def say_nothing() -> Raw:
    """Takes the request and never answers."""
    return Raw((Wait.forever(),))


def close_before_answer() -> Raw:
    return Raw((End.CLOSE,))


def reset() -> Raw:
    """RST instead of an answer."""
    return Raw((End.RESET,))


def answer_when(reply: Reply, event: asyncio.Event) -> Raw:
    """The reply, once the test says so."""
    return Raw((Wait(event.wait), *reply.steps()))


def then_close(reply: Reply) -> Raw:
    """Promises to keep the connection, then closes it: the next request meets a stale one."""
    return Raw((*reply.steps(), End.CLOSE))


def then_junk(reply: Reply, junk: bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}") -> Raw:
    """Sends more than was asked for, right after the answer, on a connection that is kept."""
    return Raw((*reply.steps(), junk))


def connection_close(reply: Answer | Stream) -> Answer | Stream:
    """Says `connection: close`, and does it."""
    return replace(reply, keep_alive=False)


def drip(reply: Reply, pace: Callable[[], Awaitable[object]] | None = None, size: int = 1) -> Raw:
    """The reply in pieces of so many bytes. `pace` is awaited between them; None lets the loop turn once."""
    steps: list[Step] = []
    for step in reply.steps():
        if not isinstance(step, bytes):
            steps.append(step)
            continue
        for at in range(0, len(step), size):
            steps.append(step[at : at + size])
            if pace is not None:
                steps.append(Wait(pace))
    return Raw(tuple(steps))


# HTTP


def garbage() -> Raw:
    """Bytes that are not HTTP."""
    return Raw((JUNK, End.CLOSE))


def endless_header(count: int = 400) -> Raw:
    """A head that does not end: one header of a kilobyte after the other, `count` of them, then silence."""
    line = b"x-more: " + b"a" * 1014 + b"\r\n"
    return Raw((b"HTTP/1.1 200 OK\r\n", *([line] * count), Wait.forever()))


def many_headers(reply: Answer, count: int = 5000) -> Answer:
    return replace(reply, headers=(*reply.headers, *((f"x-many-{n}", "1") for n in range(count))))


def huge_header(reply: Answer, size: int = 1 << 20) -> Answer:
    return replace(reply, headers=(*reply.headers, ("x-huge", "a" * size)))


def truncated(reply: Answer, missing: int = 20) -> Raw:
    """Announces the whole body, sends all but the end of it, and closes."""
    return Raw((reply.head() + reply.payload()[:-missing], End.CLOSE))


def length_too_short(reply: Answer, by: int = 20) -> Raw:
    """Announces fewer bytes than it sends: the rest is left over on the connection."""
    return Raw((reply.head(len(reply.payload()) - by) + reply.payload(),))


def chunked_cut_off(reply: Answer) -> Raw:
    """A whole answer in chunks, cut within the last one."""
    body = reply.payload()
    half = len(body) // 2
    common = (("content-type", reply.content_type), ("transfer-encoding", "chunked"))
    cut = chunk(body[half:])[:-10]
    return Raw((head(reply.status, (*common, *reply.headers)), chunk(body[:half]), cut, End.CLOSE))


def bad_chunk_size(stream: Stream) -> Raw:
    """Events, then a chunk whose size is no number."""
    first, second, *_ = stream.steps()
    return Raw((first, second, b"zz\r\nhello\r\n", End.CLOSE))


def interim(reply: Reply, *, status: int = 100, count: int = 1) -> Raw:
    """Interim answers first: 100 Continue, 103 Early Hints."""
    extra = () if status == 100 else (("link", "</x>; rel=preload"),)
    return Raw((*([head(status, extra)] * count), *reply.steps()))


def gzipped(reply: Answer) -> Answer:
    """Compressed, whether it was asked for or not."""
    packed = gzip_coding.compress(reply.payload(), mtime=0)
    return replace(reply, body=packed, headers=(*reply.headers, ("content-encoding", "gzip")))


def gzipped_stream(stream: Stream) -> Stream:
    """A compressed stream of events, in one piece."""
    packed = gzip_coding.compress(stream.body(), mtime=0)
    return replace(stream, events=(packed,), headers=(*stream.headers, ("content-encoding", "gzip")))


# 200s that are no answers


def html(status: int = 200) -> Answer:
    """The page of something in front of the provider."""
    page = "<!DOCTYPE html><html><head><title>Please log in</title></head><body>Welcome to the portal.</body></html>"
    return Answer(status, body=page, content_type="text/html; charset=utf-8")


def empty(status: int = 200) -> Answer:
    return Answer(status)


def error_in_200(message: str = "The fake vendor says 200 and means 500.") -> Answer:
    return Answer(200, openai.headers(), {"error": {"message": message, "type": "server_error", "code": 500}})


def not_json() -> Answer:
    return Answer(200, openai.headers(), '{"id": "chatcmpl-cut", "choices": [{"index": 0, "message": {"role": "ass')


# Streams


def _take(stream: Stream, count: int) -> list[bytes | Wait]:
    return list(stream.events[:count])


def cut(stream: Stream, after: int, ending: Ending = "cut") -> Stream:
    """Ends after so many events: with FIN, with RST, or (`clean`) as if that were all."""
    return replace(stream, events=_take(stream, after), ending=ending)


def half_event(stream: Stream, after: int, ending: Ending = "cut") -> Stream:
    """Ends in the middle of the event after so many."""
    event = stream.events[after]
    assert isinstance(event, bytes)
    return replace(stream, events=(*_take(stream, after), event[: len(event) // 2]), ending=ending)


def without_finish(stream: Stream) -> Stream:
    """All content and a clean end, but no word of why it ended: no finish reason, no usage, no closing event."""
    kept = [event for event in stream.events if isinstance(event, Wait) or not _closes(event)]
    return replace(stream, events=kept)


def without_close(stream: Stream) -> Stream:
    """The finish reason is there, but `[DONE]` or `message_stop` is missing."""
    closing = (openai.DONE, anthropic.event("message_stop", {}))
    return replace(stream, events=[event for event in stream.events if event not in closing])


_CLOSING = (
    b'"finish_reason":"',
    b"data: [DONE]",
    b'"choices":[],',
    b"event: message_delta",
    b"event: message_stop",
    b"event: response.completed",
    b"event: response.incomplete",
    b"event: response.failed",
)


def _closes(event: bytes) -> bool:
    return any(mark in event for mark in _CLOSING)


def error_after(stream: Stream, after: int, error: bytes | None = None, ending: Ending = "clean") -> Stream:
    """An error event after so many events (0: before everything), then the end. OpenAI's unless another is given."""
    return replace(stream, events=(*_take(stream, after), error or openai.error_event()), ending=ending)


def stall(stream: Stream, after: int, until: asyncio.Event | None = None) -> Stream:
    """Stops after so many events until the test sets the event; with None for ever."""
    pause = Wait.forever() if until is None else Wait(until.wait)
    return replace(stream, events=(*_take(stream, after), pause, *stream.events[after:]))


def endless_line(stream: Stream, after: int = 1, kilobytes: int = 4096) -> Stream:
    """An event whose line does not end: so many kilobytes without a newline, then silence."""
    parts: list[bytes | Wait] = [b"data: ", *([b"x" * 1024] * kilobytes), Wait.forever()]
    return replace(stream, events=(*_take(stream, after), *parts))


def endless_event(stream: Stream, after: int = 1, lines: int = 65536) -> Stream:
    """An event of so many lines that no empty line ends, then silence."""
    block = b"data: still the same event\n" * 64
    parts: list[bytes | Wait] = [*([block] * (lines // 64)), Wait.forever()]
    return replace(stream, events=(*_take(stream, after), *parts))


def trailing_garbage(stream: Stream, junk: bytes = b"data: {not json\n\n: and more\n\ndata: x\n\n") -> Stream:
    """More after the event that should have been the last."""
    return replace(stream, events=(*stream.events, junk))


def not_json_after(stream: Stream, after: int) -> Stream:
    """An event whose data is no JSON, among good ones."""
    return replace(stream, events=(*_take(stream, after), b"data: {oops\n\n", *stream.events[after:]))


def regrouped(stream: Stream, size: int) -> Stream:
    """The same bytes, cut without regard to where events end."""
    body = stream.body()
    return replace(stream, events=[body[at : at + size] for at in range(0, len(body), size)])


def rewritten(stream: Stream, change: Callable[[bytes], bytes]) -> Stream:
    """Each event changed, for example `lambda e: e.replace(b"\\n", b"\\r\\n")`."""
    return replace(stream, events=[e if isinstance(e, Wait) else change(e) for e in stream.events])


def every_status(statuses: Iterable[int] = (401, 403, 404, 413, 429, 500, 529)) -> dict[int, tuple[Answer, Answer]]:
    """The vendors' error answers by status: OpenAI's and Anthropic's."""
    waits = {429: 3.0}
    return {
        status: (
            openai.error_answer(status, retry_after_s=waits.get(status)),
            anthropic.error_answer(status, retry_after_s=waits.get(status)),
        )
        for status in statuses
    }
