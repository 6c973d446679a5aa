"""Every golden stream through the meter and the pump: whole, byte by byte, split and cut at every byte.

`expected.json` says of each stream how it ends, after how many of its events, what it took, and what is added or
withheld. What is passed on is worked out here from the file itself, by a cut of its own.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from headgate import clock
from headgate.errors import Problem, Reason, UpstreamBroken, UpstreamTimeout
from headgate.relay import stream
from headgate.relay.record import AttemptRecord, Outcome
from headgate.relay.stream import _Pump, pump
from headgate.routing.target import Provider, Target
from headgate.wire import sse
from headgate.wire.dialect import Dialect
from headgate.wire.outgoing import Outgoing, meter_of
from headgate.wire.request import Request, parse

FIXTURES = Path(__file__).parents[1] / "wire" / "fixtures"
EXPECTED: dict[str, dict[str, Any]] = json.loads((FIXTURES / "expected.json").read_bytes())
STREAMS = sorted(str(path.relative_to(FIXTURES))[:-4] for path in FIXTURES.rglob("*.sse"))
WHOLE = [name for name in STREAMS if EXPECTED[name]["ends"] == "whole"]
BROKEN = [name for name in STREAMS if EXPECTED[name]["ends"] != "whole"]

BODIES: dict[str, dict[str, Any]] = {
    "openai.chat": {"messages": [{"role": "user", "content": "?"}]},
    "openai.completions": {"prompt": "?"},
    "openai.responses": {"input": "?"},
    "anthropic.messages": {"max_tokens": 9, "messages": [{"role": "user", "content": "?"}]},
}
COUNTS = ("input_tokens", "output_tokens", "cached_input_tokens", "cache_write_tokens", "reasoning_tokens")
LINE_ENDS = {"LF": b"\n", "CRLF": b"\r\n", "CR": b"\r"}


def read(name: str) -> bytes:
    return (FIXTURES / f"{name}.sse").read_bytes()


def asked(name: str, *, wants_usage: bool = False) -> Request:
    """The request that this stream answers."""
    dialect = name.split("/", maxsplit=1)[0]
    fields = {"model": "m", "stream": True, **BODIES[dialect]}
    if choices := EXPECTED[name].get("choices"):
        fields["n"] = choices
    if wants_usage:
        fields["stream_options"] = {"include_usage": True}
    request = parse(Dialect(dialect), json.dumps(fields).encode())
    assert isinstance(request, Request)
    return request


def with_line_ends(data: bytes, line_end: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\n", line_end)


def events_of(data: bytes) -> list[bytes]:
    """A cut of our own: each event with its terminator, and the rest if there is one."""
    return re.findall(rb".+?(?:\r\n\r\n|\n\n|\r\r|\Z)", data, re.DOTALL)


def passed_on(name: str, data: bytes, wants_usage: bool) -> bytes:
    """What the client must get of this stream, the closing and the error event aside."""
    row = EXPECTED[name]
    events = events_of(data)[: row["passes"]]
    if not wants_usage and "withholds" in row:
        del events[row["withholds"]]
    return b"".join(events)


def run(request: Request, pieces: list[bytes]) -> tuple[_Pump, bytes]:
    """Feeds a pump until it has come to a verdict, as the coroutine does."""
    state = _Pump(meter_of(request))
    out = b""
    for piece in pieces:
        out += state.take(piece)
        if state.ended or state.problem is not None:
            return state, out
    return state, out + state.at_end()


def verdict(state: _Pump) -> dict[str, Any]:
    """What `expected.json` says of a stream, as far as the pump knows it."""
    usage = state.meter.usage
    said: dict[str, Any] = {
        "ends": "whole" if state.ended else state.problem.reason.value if state.problem else "open",
        "usage": {k: v for k in COUNTS if (v := getattr(usage, k)) is not None} if usage else None,
    }
    if state.problem is not None:
        said["says"] = state.problem.message
    return said


def expected_verdict(name: str) -> dict[str, Any]:
    return {key: value for key, value in EXPECTED[name].items() if key in ("ends", "usage", "says")}


def test_every_stream_has_its_row_and_every_row_its_stream():
    assert sorted(EXPECTED) == STREAMS
    assert len(WHOLE) > 25 and len(BROKEN) > 20
    for name in STREAMS:
        assert len(events_of(read(name))) == EXPECTED[name]["of"], name


def test_no_stream_of_the_broken_is_whole_but_those_that_lack_only_their_last_line():
    """Theirs is a finish reason for every choice: the closing is added. A tool's input is the model's to get right."""
    assert {name.split("/", 1)[1] for name in WHOLE if "/broken/" in name} == {
        "broken/finish_without_done",
        "broken/finish_without_message_stop",
        "broken/tool_input_cut",
    }


@pytest.mark.parametrize("wants_usage", [False, True], ids=["usage not asked for", "usage asked for"])
@pytest.mark.parametrize("line_end", LINE_ENDS)
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_fed_whole_is_passed_on_as_it_came(name, line_end, wants_usage):
    data = with_line_ends(read(name), LINE_ENDS[line_end])
    state, out = run(asked(name, wants_usage=wants_usage), [data])
    assert verdict(state) == expected_verdict(name)
    assert out == passed_on(name, data, wants_usage) + EXPECTED[name].get("adds", "").encode()


@pytest.mark.parametrize("wants_usage", [False, True], ids=["usage not asked for", "usage asked for"])
@pytest.mark.parametrize("line_end", ["LF", "CR"])
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_fed_byte_by_byte_gives_the_same_bytes(name, line_end, wants_usage):
    data = with_line_ends(read(name), LINE_ENDS[line_end])
    state, out = run(asked(name, wants_usage=wants_usage), [data[i : i + 1] for i in range(len(data))])
    assert verdict(state) == expected_verdict(name)
    assert out == passed_on(name, data, wants_usage) + EXPECTED[name].get("adds", "").encode()


@pytest.mark.parametrize("name", STREAMS)
def test_a_crlf_stream_fed_byte_by_byte_gives_the_same_events(name):
    """A pair of CR and LF that came apart may leave its LF to the next event, which no reader of events sees."""
    data = with_line_ends(read(name), b"\r\n")
    state, out = run(asked(name), [data[i : i + 1] for i in range(len(data))])
    assert verdict(state) == expected_verdict(name)
    expected = passed_on(name, data, False) + EXPECTED[name].get("adds", "").encode()
    assert meant(out) == meant(expected)
    assert out.replace(b"\r\n", b"").replace(b"\r", b"").replace(b"\n", b"") == re.sub(rb"[\r\n]", b"", expected)


def meant(data: bytes) -> list[sse.Event]:
    """The events that a reader by the specification would see, whatever the line ends."""
    plain = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return [event for raw in plain.split(b"\n\n") if (event := sse.parse(raw)).data is not None]


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_split_at_every_boundary_gives_the_same_bytes(name):
    data = read(name)
    if b"\r" in data:
        data = with_line_ends(data, b"\n")
    request = asked(name)
    expected = passed_on(name, data, False) + EXPECTED[name].get("adds", "").encode()
    ends = expected_verdict(name)
    for at in range(1, len(data)):
        state, out = run(request, [data[:at], data[at:]])
        assert out == expected, at
        assert verdict(state) == ends, at


@pytest.mark.parametrize("name", WHOLE)
def test_a_stream_cut_at_any_byte_is_whole_only_after_every_finish_reason(name):
    data = with_line_ends(read(name), b"\n")
    request = asked(name)
    finished = finish_offset(name, data)
    full = meant(passed_on(name, data, False) + EXPECTED[name].get("adds", "").encode())
    for at in range(len(data)):
        state, out = run(request, [data[:at]] if at else [])
        if state.ended:
            assert at >= finished, at
            assert state.problem is None
            *said, last = meant(out)
            assert said == full[: len(said)] and last == full[-1], at
        else:
            assert state.problem is not None and state.problem.reason is Reason.STREAM_BROKEN, at
            assert data.startswith(out.removesuffix(b"\n\n")) or "withholds" in EXPECTED[name], at
        assert all(sse.parse(raw).data is not None or raw[:1] == b":" for raw in events_of(out)), at


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_stream_is_whole_at_no_cut(name):
    data = with_line_ends(read(name), b"\n")
    request = asked(name)
    for at in range(len(data)):
        state, _ = run(request, [data[:at]] if at else [])
        assert not state.ended and state.problem is not None, at


def finish_offset(name: str, data: bytes) -> int:
    """The byte with which the last finish reason has been said: the end of its event's JSON."""
    marks = {
        "openai.chat": rb'"finish_reason":"[^"]+"',
        "openai.completions": rb'"finish_reason":"[^"]+"',
        "openai.responses": rb'"type":"response\.(?:completed|incomplete)"',
        "anthropic.messages": rb'"stop_reason":"[^"]+"',
    }
    last = list(re.finditer(marks[name.split("/", maxsplit=1)[0]], data))[-1]
    return data.index(b"\n", last.end())


# --- rules of the pump that no golden stream shows ---------------------------------------------------------------


def chat(choices: str, extra: str = "") -> bytes:
    return b'data: {"choices":[' + choices.encode() + b"]" + extra.encode() + b"}\n\n"


ROLE = chat('{"index":0,"delta":{"role":"assistant","content":""}}')
WORD = chat('{"index":0,"delta":{"content":"a"}}')
STOP = chat('{"index":0,"delta":{},"finish_reason":"stop"}')
DONE = b"data: [DONE]\n\n"
FAILED = b'data: {"error":{"message":"out of steam"}}'


def chat_request(n: int = 1) -> Request:
    request = parse(Dialect.CHAT, json.dumps({"model": "m", "stream": True, "n": n, **BODIES["openai.chat"]}).encode())
    assert isinstance(request, Request)
    return request


def test_openings_are_held_until_the_first_content():
    state = _Pump(meter_of(chat_request()))
    assert state.take(ROLE) == b"" and not state.started
    assert state.take(b": ping\n\n") == b"" and not state.started
    assert state.take(WORD) == ROLE + b": ping\n\n" + WORD and state.started
    assert state.take(b": ping\n\n") == b": ping\n\n"


def test_nothing_is_passed_on_of_a_stream_that_fails_before_content():
    state, out = run(chat_request(), [ROLE, FAILED + b"\n\n"])
    assert out == b"" and not state.started
    assert state.problem == Problem(Reason.UPSTREAM_ERROR, "out of steam")


def test_nothing_after_the_end_is_passed_on():
    state, out = run(chat_request(), [ROLE + WORD + STOP + DONE + WORD])
    assert out == ROLE + WORD + STOP + DONE and state.ended


def test_nothing_after_an_error_is_passed_on():
    state, out = run(chat_request(), [WORD + FAILED + b"\n\n" + WORD + STOP + DONE])
    assert out == WORD and not state.ended


@pytest.mark.parametrize("split", [True, False], ids=["one by one", "at once"])
def test_openings_without_end_are_too_much(split, monkeypatch):
    monkeypatch.setattr(stream, "MAX_HELD_BYTES", 1000)
    many = [ROLE] * 40 + [WORD, STOP, DONE]
    state, out = run(chat_request(), many if split else [b"".join(many)])
    assert out == b"" and not state.ended
    assert state.problem == Problem(Reason.UPSTREAM_INVALID, "sent more than 1000 bytes without content")


def test_an_event_without_end_is_too_much(monkeypatch):
    monkeypatch.setattr(stream, "MAX_EVENT_BYTES", 1000)
    state, out = run(chat_request(), [WORD, b"data: " + b"x" * 600, b"x" * 600])
    assert out == WORD
    assert state.problem == Problem(Reason.UPSTREAM_INVALID, "sent an event of more than 1000 bytes")


def test_the_end_of_a_connection_after_the_last_finish_reason_adds_what_is_lacking():
    assert run(chat_request(), [WORD + STOP])[1] == WORD + STOP + DONE
    assert run(chat_request(), [WORD + STOP.rstrip()])[1] == WORD + STOP + DONE


@pytest.mark.parametrize("rest", [b"data: [DO", b"data: {", b"data:", b"data", b": pi", b"event: x", b"event: x\n"])
def test_a_half_event_after_the_last_finish_reason_is_left_out(rest):
    assert run(chat_request(), [WORD + STOP + rest])[1] == WORD + STOP + DONE


def test_an_error_of_the_upstream_after_the_last_finish_reason_still_counts():
    for end in (b"", b"\n\n"):
        state, out = run(chat_request(), [WORD + STOP + FAILED + end])
        assert out == WORD + STOP and not state.ended
        assert state.problem == Problem(Reason.UPSTREAM_ERROR, "out of steam")


def test_a_choice_that_was_asked_for_and_never_came_is_not_whole():
    state, _ = run(chat_request(2), [WORD + STOP])
    assert state.problem is not None and not state.ended


# --- the coroutine ---------------------------------------------------------------------------------------------


class FakeConnection:
    """Gives pieces, then ends, or raises what it was given."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self.pieces = list(pieces)
        self.waited_for: list[str] = []
        self.kept = self.closed = False

    async def chunk(self, phase: str, within_s: float, until_s: float) -> bytes:
        self.waited_for.append(phase)
        piece = self.pieces.pop(0) if self.pieces else b""
        if isinstance(piece, Exception):
            raise piece
        return piece

    def answered(self) -> None:
        self.kept = True

    def close(self) -> None:
        self.closed = True


class FakeClient:
    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.ended = 0

    async def start(self) -> None:
        self.got.append(b"head;")

    async def write(self, data: bytes) -> None:
        self.got.append(data)

    async def end(self, last: bytes = b"") -> None:
        if last:
            self.got.append(last)
        self.ended += 1


async def pumped(*pieces: bytes | Exception, request: Request | None = None, left_s: float = 60) -> SimpleNamespace:
    request = request or chat_request()
    provider = Provider("mill", "openai", "http://mill/v1", frozenset({Dialect.CHAT}), api_key="sk-secret")
    attempt = AttemptRecord(1, Target(provider, "m"), clock.monotonic_s())
    client, connection = FakeClient(), FakeConnection(*pieces)
    to_send = Outgoing(request, request.dialect, b"{}")
    problem = await pump(to_send, client, attempt, connection, clock.monotonic_s() + left_s, client.start)
    return SimpleNamespace(problem=problem, attempt=attempt, client=client, connection=connection)


async def test_a_whole_stream_is_completed_and_its_connection_kept():
    did = await pumped(ROLE, WORD, chat("", ',"usage":{"prompt_tokens":3,"completion_tokens":1}') + STOP, DONE)
    assert did.problem is None and did.attempt.outcome is Outcome.COMPLETED
    assert b"".join(did.client.got) == b"head;" + ROLE + WORD + STOP + DONE
    assert did.attempt.delivered_bytes == len(ROLE + WORD + STOP + DONE)
    assert (did.attempt.usage.input_tokens, did.attempt.usage.output_tokens) == (3, 1)
    assert did.attempt.first_token_s is not None
    assert did.client.ended == 1 and did.connection.kept and not did.connection.closed
    assert did.connection.waited_for == ["first_token", "first_token", "idle", "idle"]


async def test_a_failure_before_content_is_returned_and_nothing_is_sent():
    did = await pumped(ROLE, FAILED + b"\n\n")
    assert did.client.got == [] and did.client.ended == 0
    assert did.problem == Problem(Reason.UPSTREAM_ERROR, "out of steam", source="mill")
    assert did.attempt.outcome is Outcome.UPSTREAM_ERROR and did.attempt.delivered_bytes == 0


@pytest.mark.parametrize(
    ("last", "outcome", "says"),
    [
        (b"", Outcome.BROKEN, "provider mill ended its stream before the answer was whole"),
        (b"data: {\n\n", Outcome.UPSTREAM_INVALID, "provider mill sent an event that is not JSON"),
        (FAILED + b"\n\n", Outcome.UPSTREAM_ERROR, "out of steam"),
        (UpstreamBroken("closed the connection early"), Outcome.BROKEN, "provider mill closed the connection early"),
        (
            UpstreamTimeout("idle", 60, sent=True),
            Outcome.TIMEOUT,
            "provider mill gave no further event of the stream within 60 s (timeouts.idle_s)",
        ),
    ],
    ids=["end", "not JSON", "error", "broken connection", "silence"],
)
async def test_a_failure_after_content_ends_the_stream_with_an_error_event(last, outcome, says):
    did = await pumped(ROLE + WORD, last)
    head, content, error = did.client.got
    assert (head, content) == (b"head;", ROLE + WORD)
    assert json.loads(error.removeprefix(b"data: "))["error"]["message"] == says
    assert did.problem is None and did.attempt.problem.message == says
    assert did.attempt.outcome is outcome
    assert did.client.ended == 1 and did.connection.closed and not did.connection.kept


@pytest.mark.parametrize("fault", [UpstreamBroken("broke off"), UpstreamTimeout("idle", 60, sent=True)])
async def test_a_connection_that_breaks_after_the_last_finish_reason_completes_the_answer(fault):
    did = await pumped(WORD + STOP, fault)
    assert b"".join(did.client.got) == b"head;" + WORD + STOP + DONE
    assert did.attempt.outcome is Outcome.COMPLETED


async def test_an_error_that_came_before_the_connection_broke_is_the_one_that_is_told():
    did = await pumped(WORD + FAILED, UpstreamBroken("broke off"))
    assert did.attempt.problem == Problem(Reason.UPSTREAM_ERROR, "out of steam", source="mill")


async def test_a_stream_that_outlives_its_request_is_ended_with_an_error_event():
    did = await pumped(WORD, WORD, left_s=-1)
    assert did.client.got[:2] == [b"head;", WORD] and b"timeouts.total_s" in did.client.got[2]
    assert did.attempt.outcome is Outcome.TIMEOUT and did.client.ended == 1 and did.connection.closed


async def test_an_answer_whose_end_came_with_the_deadline_is_whole():
    did = await pumped(WORD + STOP + DONE, left_s=-1)
    assert did.attempt.outcome is Outcome.COMPLETED and did.client.got == [b"head;", WORD + STOP + DONE]


async def test_the_providers_key_is_cut_out_of_its_errors():
    did = await pumped(WORD, b'data: {"error":{"message":"bad key sk-secret","code":"sk-secret"}}\n\n')
    assert b"sk-secret" not in b"".join(did.client.got)
    assert b"[api key]" in did.client.got[-1]


async def test_the_error_event_of_the_responses_api_has_the_next_sequence_number():
    request = parse(Dialect.RESPONSES, b'{"model":"m","stream":true,"input":"?"}')
    delta = b'data: {"type":"response.output_text.delta","sequence_number":%d,"delta":"a"}\n\n'
    for said, next_number in ((41, 42), (18446744073709551615, 0), (-5, 0)):
        did = await pumped(delta % said, request=request)
        error = json.loads(did.client.got[-1].partition(b"data: ")[2])
        assert error["sequence_number"] == next_number
