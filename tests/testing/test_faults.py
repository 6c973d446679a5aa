"""Each fault, seen by a client of bytes: what is on the wire is what the fault promises."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from headgate.testing import End, ScriptedUpstream, Stream, Turn, faults
from headgate.testing import vendor_anthropic as a
from headgate.testing import vendor_openai as o
from headgate.testing.http1 import Malformed, RequestReader

GET = b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n"
ANSWER = o.chat_answer(Turn("All of it."))
STREAM = o.chat_stream(Turn("One two three."))
MESSAGES = a.messages_stream(Turn("One two three."))


async def ask(up: ScriptedUpstream, request: bytes = GET, enough: bytes | None = None) -> bytes:
    """All that comes until the connection ends, or until (`enough`) these bytes came. Raises on RST."""
    reader, writer = await asyncio.open_connection("127.0.0.1", up.port)
    writer.write(request)
    got = b""
    try:
        while enough is None or enough not in got:
            more = await reader.read(1 << 16)
            if not more:
                break
            got += more
    finally:
        writer.close()
    return got


async def raw(reply: object, enough: bytes | None = None) -> bytes:
    async with ScriptedUpstream([reply]) as up:
        return await asyncio.wait_for(ask(up, enough=enough), 10)


def body(answer: bytes) -> bytes:
    return answer.split(b"\r\n\r\n", 1)[1]


async def test_connections_are_refused_until_it_listens_and_after_it_stops():
    async with ScriptedUpstream(listening=False) as up:
        with pytest.raises(ConnectionRefusedError):
            await ask(up)
        await up.listen()
        assert b"200 OK" in await ask(up, enough=b"}]}")
        await up.refuse()
        with pytest.raises(ConnectionRefusedError):
            await ask(up)
        await up.listen()
        assert b"200 OK" in await ask(up, enough=b"}]}")


async def test_nothing_is_said_and_the_leaving_client_is_recorded():
    async with ScriptedUpstream([faults.say_nothing()]) as up:
        task = asyncio.create_task(ask(up))
        request = await up.received()
        assert request.headers == [(b"host", b"x")] and not request.aborted
        task.cancel()
        await up.over(request)
        assert request.aborted and request.sent_bytes == 0


async def test_closed_before_an_answer():
    assert await raw(faults.close_before_answer()) == b""


async def test_reset():
    with pytest.raises(ConnectionResetError):
        await raw(faults.reset())


async def test_a_greeting_comes_before_any_request():
    async with ScriptedUpstream(greeting=lambda number: [b"220 mail\r\n", End.CLOSE] if number == 0 else []) as up:
        assert await ask(up, b"") == b"220 mail\r\n"
        assert b"200 OK" in await ask(up, enough=b"}]}")


async def test_garbage_and_endless_heads():
    assert await raw(faults.garbage()) == faults.JUNK
    got = await raw(faults.endless_header(50), enough=(b"x-more: " + b"a" * 1014 + b"\r\n") * 50)
    assert b"\r\n\r\n" not in got
    many = await raw(faults.connection_close(faults.many_headers(ANSWER, 2000)))
    assert many.count(b"x-many-") == 2000


async def test_lengths_that_lie():
    whole = ANSWER.payload()
    short = await raw(faults.truncated(ANSWER, 20))
    assert body(short) == whole[:-20] and b"content-length: %d\r\n" % len(whole) in short
    long = await raw(faults.length_too_short(ANSWER, 20), enough=whole)
    assert b"content-length: %d\r\n" % (len(whole) - 20) in long


async def test_chunks_that_break():
    assert not (await raw(faults.chunked_cut_off(ANSWER))).endswith(b"\r\n")
    assert b"zz\r\n" in await raw(faults.bad_chunk_size(STREAM))


async def test_interim_answers_and_compression():
    got = await raw(faults.connection_close(ANSWER))
    assert got.endswith(ANSWER.payload()) and b"connection: close" in got
    got = await raw(faults.interim(faults.connection_close(ANSWER), count=2))
    assert got.startswith(b"HTTP/1.1 100 Continue\r\n\r\n" * 2)
    assert b"103 Early Hints" in await raw(faults.interim(faults.connection_close(ANSWER), status=103))
    got = await raw(faults.connection_close(faults.gzipped(ANSWER)))
    assert gzip.decompress(body(got)) == ANSWER.payload() and b"content-encoding: gzip" in got
    got = await raw(faults.gzipped_stream(STREAM), enough=b"0\r\n\r\n")
    assert b"content-encoding: gzip" in got


async def test_two_hundreds_that_are_no_answers():
    assert b"<!DOCTYPE html>" in await raw(faults.html(), enough=b"</html>")
    assert b"content-length: 0" in await raw(faults.empty(), enough=b"\r\n\r\n")
    assert b'{"error":' in await raw(faults.error_in_200(), enough=b"}}")
    assert b"200 OK" in await raw(faults.not_json(), enough=b'"ass')


async def test_stale_connections_and_bytes_that_nobody_asked_for():
    async with ScriptedUpstream([ANSWER, ANSWER, faults.then_close(ANSWER)]) as up:
        reader, writer = await asyncio.open_connection("127.0.0.1", up.port)
        writer.write(GET)
        await reader.readuntil(ANSWER.payload())
        await up.over(up.requests[0])
        up.write_idle(b"junk")
        assert await reader.readexactly(4) == b"junk"
        writer.write(GET)
        await reader.readuntil(ANSWER.payload())
        await up.over(up.requests[1])
        up.close_idle()
        assert await reader.read() == b""
        writer.close()
        await up.idle()
        got = await ask(up)
        assert b"connection: close" not in got and got.endswith(ANSWER.payload())


async def test_a_drip_sends_single_bytes_at_the_tests_pace():
    paced = 0

    async def pace() -> None:
        nonlocal paced
        paced += 1

    got = await raw(faults.drip(faults.connection_close(faults.empty()), pace))
    assert paced == len(got)


@pytest.mark.parametrize("framing", ["chunked", "close"])
async def test_a_stream_is_the_same_in_both_framings(framing):
    stream = Stream(STREAM.events, framing=framing)
    got = await raw(stream, enough=b"0\r\n\r\n")
    assert got.count(b"data: ") == len(STREAM.events)
    assert (b"transfer-encoding: chunked" in got) == (framing == "chunked")


@pytest.mark.parametrize("ending", ["clean", "cut"])
async def test_half_an_event_can_look_like_the_end(ending):
    got = await raw(faults.half_event(STREAM, 2, ending), enough=b"0\r\n\r\n")
    assert got.endswith(b"\r\n0\r\n\r\n") == (ending == "clean")
    assert got.count(b"data: ") == 3 and b'finish_reason":"' not in got


@pytest.mark.parametrize(("stream", "mark"), [(STREAM, b'"finish_reason":"stop"'), (MESSAGES, b'stop_reason":"')])
def test_streams_without_their_ends(stream, mark):
    assert mark in stream.body()
    open_ended = faults.without_finish(stream)
    assert mark not in open_ended.body() and b"three." in open_ended.body() and b"DONE" not in open_ended.body()
    unclosed = faults.without_close(stream)
    assert mark in unclosed.body() and len(unclosed.events) == len(stream.events) - 1


async def test_errors_among_events():
    first = await raw(faults.error_after(STREAM, 0), enough=b"0\r\n\r\n")
    assert first.count(b"data: ") == 1 and b'{"error":' in first
    middle = await raw(faults.error_after(MESSAGES, 4, a.error_event()), enough=b"0\r\n\r\n")
    assert middle.count(b"event: ") == 5 and b"overloaded_error" in middle


async def test_lines_and_events_without_end():
    got = await raw(faults.endless_line(STREAM, kilobytes=64), enough=b"x" * 1024)
    assert b"x" * 1024 in got
    got = await raw(faults.endless_event(STREAM, lines=128), enough=b"same event\n" * 1)
    assert b"same event\n" in got


async def test_rewritten_regrouped_and_followed_by_junk():
    crlf = faults.rewritten(STREAM, lambda event: event.replace(b"\n", b"\r\n"))
    assert crlf.body().count(b"\r\n\r\n") == len(STREAM.events)
    assert faults.regrouped(STREAM, 7).body() == STREAM.body()
    assert faults.trailing_garbage(STREAM).body().startswith(STREAM.body())
    assert b"{oops" in faults.not_json_after(STREAM, 2).body()


async def test_an_answer_waits_for_the_test():
    event = asyncio.Event()
    async with ScriptedUpstream([faults.answer_when(faults.connection_close(ANSWER), event)]) as up:
        task = asyncio.create_task(ask(up))
        await up.received()
        assert not task.done()
        event.set()
        assert (await task).endswith(ANSWER.payload())


def test_all_statuses_have_bodies_of_both_vendors():
    for status, (left, right) in faults.every_status().items():
        assert left.status == right.status == status
        assert b'"error"' in left.payload() and b'"error"' in right.payload()


class TestRequests:
    POST = b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
    CHUNKED = b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n"

    @pytest.mark.parametrize("data", [POST, CHUNKED, POST + CHUNKED])
    def test_whole_or_byte_by_byte_is_the_same(self, data):
        whole = RequestReader().feed(data)
        reader = RequestReader()
        drops = [request for byte in data for request in reader.feed(bytes([byte]))]
        assert whole == drops and all(request.body == b"hello" for request in whole)
        assert reader.partial == b""

    @pytest.mark.parametrize(
        "data",
        [
            b"\x16\x03\x01\r\n\r\n",
            b"GET / HTTP/2\r\n\r\n",
            b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
            b"POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
            b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        ],
    )
    def test_what_is_not_http_is_refused(self, data):
        with pytest.raises(Malformed):
            RequestReader().feed(data)

    async def test_expect_gets_its_100_before_the_body(self):
        async with ScriptedUpstream([faults.connection_close(ANSWER)]) as up:
            reader, writer = await asyncio.open_connection("127.0.0.1", up.port)
            writer.write(b"POST /x HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"{}")
            assert (await reader.read()).endswith(ANSWER.payload())
            writer.close()

    async def test_half_a_request_and_a_malformed_one_are_recorded(self):
        async with ScriptedUpstream() as up:
            _, writer = await asyncio.open_connection("127.0.0.1", up.port)
            writer.write(self.POST[:-2])
            await writer.drain()
            writer.close()
            async with asyncio.timeout(10):
                while not up.partial:
                    await asyncio.sleep(0)
            assert await ask(up, b"nonsense\r\n\r\n") == b""
            await up.idle()
            assert up.requests == [] and len(up.malformed) == 1
            assert up.partial[0].startswith(b"POST /x")
