"""Random damage to everything that is read from a client or an upstream.

Each input is made from a seed and its own number, so that one that failed can be made again alone. What must hold:
nothing but the documented exceptions, no hang, and what is written is valid JSON that says what it should.

`HEADGATE_FUZZ_SEED` takes another seed than the recorded one; a failure prints seed, number and input.
"""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
import pytest

from headgate.errors import Problem, Reason
from headgate.relay.stream import _Pump
from headgate.wire import anthropic_messages, models, problems, sse
from headgate.wire.answer import NotAnAnswer
from headgate.wire.dialect import Dialect
from headgate.wire.json_object import JsonObject, NotAnObject
from headgate.wire.outgoing import READERS, meter_of
from headgate.wire.request import Request, parse
from headgate.wire.sse import EventSplitter, EventTooLarge

SEED = int(os.environ.get("HEADGATE_FUZZ_SEED", "20261120"))
#: Seconds of CPU for a thousand inputs, of which each takes a fraction of a millisecond.
HANG_S = 30.0
BATCH = 1000

FIXTURES = Path(__file__).parents[1] / "wire" / "fixtures"

# --- what is damaged ---------------------------------------------------------------------------------------------

CONTENT = [
    {"type": "text", "text": "what is this? \u2028 磨坊 \U0001f30a"},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
]
TURNS = [
    {"role": "user", "content": CONTENT},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]},
]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
OPTIONS = {"include_usage": False, "x": [1.0, {"y": None}]}
BODIES = {
    Dialect.CHAT: [
        {"model": "up/m", "messages": TURNS, "stream": True, "stream_options": OPTIONS, "tools": TOOLS, "n": 2},
        {"messages": [{"role": "system", "content": "s"}], "max_tokens": 9, "model": "m", "seed": -1, "stop": ["\n"]},
    ],
    Dialect.COMPLETIONS: [
        {"model": "m", "prompt": ["a", "b"], "n": 2, "best_of": 3, "stream": True, "stream_options": None},
        {"prompt": [[1, 2], [3]], "model": "m", "max_tokens": 5, "stream": True, "logprobs": 0},
    ],
    Dialect.EMBEDDINGS: [{"input": ["a", [1, 2]], "model": "m", "dimensions": 8, "encoding_format": "base64"}],
    Dialect.RESPONSES: [
        {"model": "m", "input": TURNS, "stream": True, "stream_options": {}, "max_output_tokens": 9, "tools": TOOLS},
        {"model": "m", "input": "x", "instructions": "y", "prompt": {"id": "p", "variables": {"a": "b"}}},
    ],
    Dialect.MESSAGES: [
        {"model": "m", "max_tokens": 9, "messages": TURNS, "system": CONTENT, "stream": True, "tools": TOOLS},
    ],
}
REQUESTS = [(dialect, orjson.dumps(body)) for dialect, bodies in BODIES.items() for body in bodies]
STREAMS = [
    (Dialect(path.relative_to(FIXTURES).parts[0]), path.read_bytes()) for path in sorted(FIXTURES.rglob("*.sse"))
]
ANSWERS = [
    (Dialect(path.relative_to(FIXTURES).parts[0]), path.read_bytes())
    for path in sorted(FIXTURES.rglob("*.json"))
    if path.parent != FIXTURES
]
ASKED = {
    dialect: orjson.dumps({k: v for k, v in bodies[0].items() if k != "stream"}) for dialect, bodies in BODIES.items()
}

#: Deeper than a JSON writer goes, and than Python recurses; not deeper than the parser reads.
DEEP = b'{"":[' * 480 + b"7" + b"]}" * 480
TOKENS = [
    *[
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b" ",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\0",
        b"\xff",
        b"\xf0\x9f",
    ],
    *[b"null", b"true", b"-0", b"1e5", b"1.0", b"-1", b"1e999", b"NaN", b"9" * 30, b'\\ud800"', b"\\u0000", b'""'],
    *[b"data: ", b"data:", b"event: error\n", b": x\n\n", b"data: [DONE]\n\n", b"[DONE]", b"\xef\xbb\xbf", b"<html>"],
    *[b'"model":"m",', b'"error":{},', b'"error":"x",', b'"usage":[],', b'"index":', b'"stream":true,', DEEP],
    *[b'"finish_reason":"stop"', b'"type":"message_stop"', b'"type":"response.completed"', b'"stop_reason":"x"'],
]
#: As JSON, so that each use is a value of its own.
VALUES = [
    orjson.dumps(value)
    for value in (
        *[None, True, False, 0, 1, -1, 1.5, -0.0, 1e300, 2**53, 2**63, 2**64 - 1, 10**12 + 1],
        *["", "x", "stop", "error", "[DONE]", "\0", "\n", "x" * 600, "message_stop", "response.completed", "@deep"],
        *[[], {}, [[]], [{}], [None], ["x"], {"": ""}, {"error": {"message": 5, "code": 5.5}}, {"type": "text"}],
    )
]


def any_value(rng: random.Random) -> Any:
    return orjson.loads(rng.choice(VALUES))


def damaged(rng: random.Random, raw: bytes) -> bytes:
    """Bytes cut, swapped, doubled, flipped, and tokens put in, in a few places."""
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(raw) + 1)
        to = min(len(raw), at + rng.randrange(1, 20))
        kind = rng.randrange(7)
        if kind == 0:
            raw = raw[:at] + raw[to:]
        elif kind == 1:
            raw = raw[:at] + rng.choice(TOKENS) + raw[at:]
        elif kind == 2:
            raw = raw[:at] + rng.choice(TOKENS) + raw[to:]
        elif kind == 3:
            raw = raw[:to] + raw[at:]
        elif kind == 4:
            raw = raw[:at]
        elif kind == 5:
            raw = raw[:at] + bytes([rng.randrange(256)]) + raw[at + 1 :]
        else:
            other = rng.randrange(len(raw) + 1)
            raw = raw[:at] + raw[other : other + 30] + raw[at:]
    return raw


def reshaped(rng: random.Random, raw: bytes) -> bytes:
    """Still JSON, but with a value replaced, left out, put in or doubled."""
    whole = {"": orjson.loads(raw)}
    for _ in range(rng.randrange(1, 3)):
        node: Any = whole
        key: Any = ""
        while isinstance(node[key], dict | list) and node[key] and rng.random() < 0.75:
            node = node[key]
            key = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
        kind = rng.randrange(6)
        if kind == 0 and node is not whole:
            del node[key]
        elif kind == 1 and isinstance(node, dict) and node is not whole:
            node[rng.choice(("error", "model", "usage", "choices", "type", "é", ""))] = any_value(rng)
        elif kind == 2 and isinstance(node, list):
            node.append(any_value(rng))
        else:
            node[key] = any_value(rng)
    return orjson.dumps(whole[""]).replace(b'"@deep"', DEEP)


def mutated(rng: random.Random, raw: bytes) -> bytes:
    if rng.random() < 0.5:
        return damaged(rng, raw)
    try:
        return reshaped(rng, raw)
    except orjson.JSONDecodeError:
        return damaged(rng, raw)


def mutated_stream(rng: random.Random, raw: bytes) -> bytes:
    """Events dropped, doubled, moved and reshaped; other line ends; damage anywhere."""
    kind = rng.randrange(4)
    if kind:
        events = raw.split(b"\n\n")
        at, other = rng.randrange(len(events)), rng.randrange(len(events))
        if kind == 1:
            name, mark, data = events[at].partition(b"data: ")
            if data[:1] == b"{":
                events[at] = name + mark + reshaped_or_not(rng, data)
        elif kind == 2:
            events[at], events[other] = events[other], events[at]
        else:
            events[at : at + 1] = [] if rng.random() < 0.5 else [events[at], events[other]]
        raw = b"\n\n".join(events)
    if rng.random() < 0.2:
        raw = raw.replace(b"\n", rng.choice((b"\r\n", b"\r")))
    return damaged(rng, raw) if kind == 0 or rng.random() < 0.2 else raw


def reshaped_or_not(rng: random.Random, data: bytes) -> bytes:
    try:
        return reshaped(rng, data)
    except orjson.JSONDecodeError:
        return data


# --- what must hold ----------------------------------------------------------------------------------------------


def updated(raw: bytes, fields: dict[str, Any], changes: dict[str, Any]) -> None:
    """raw is JSON, and reads as the fields with these changes."""
    read = orjson.loads(raw)
    with suppress(RecursionError):  # too deep to be compared
        assert read == {**fields, **changes}


def told(dialect: Dialect, problem: Problem) -> None:
    """A problem can be written as a body and as an event of its dialect."""
    assert 400 <= problem.status <= 599 and problem.message
    assert orjson.loads(problems.body(dialect, problem, "r"))["error"]["message"] == problem.message
    event = sse.parse(problems.event(dialect, problem, 1))
    assert event.data is not None and orjson.loads(event.data)["error"]["source"] == problem.source


def fuzz_request(rng: random.Random) -> Iterator[bytes]:
    dialect, raw = rng.choice(REQUESTS)
    raw = mutated(rng, raw)
    yield raw
    count_only = dialect is Dialect.MESSAGES and rng.random() < 0.3
    request = parse(dialect, raw, count_only=count_only)
    if isinstance(request, Problem):
        assert request.reason is Reason.BAD_REQUEST and request.status == 400
        told(dialect, request)
        return
    changes: dict[str, Any] = {"model": "other"}
    if request.stream and dialect in (Dialect.CHAT, Dialect.COMPLETIONS):
        changes["stream_options"] = {**(request.fields.get("stream_options") or {}), "include_usage": True}
    out = request.upstream_body("other")
    updated(out, request.fields, changes)
    JsonObject(out)
    assert request.estimated_tokens() > 0 and request.counted_tokens() > 0
    if request.stream and not count_only:
        assert meter_of(request).usage is None


def fuzz_object(rng: random.Random) -> Iterator[bytes]:
    raw = mutated(rng, rng.choice(REQUESTS)[1])
    yield raw
    try:
        body = JsonObject(raw)
    except NotAnObject as refused:
        assert 0 < len(str(refused)) < 1000
        return
    changes = {rng.choice(("model", "stream", "new", *body.fields)): any_value(rng) for _ in range(2)}
    out = body.replaced(changes)
    updated(out, body.fields, changes)
    again = JsonObject(out)
    assert again.replaced(changes) == out
    for name in body.fields:
        if name not in changes:
            assert again.member(name) == body.member(name)


def fuzz_stream(rng: random.Random) -> Iterator[bytes]:
    dialect, raw = rng.choice(STREAMS)
    raw = mutated_stream(rng, raw)
    yield raw
    fields = {"model": "m", "stream": True, **orjson.loads(ASKED[dialect]), "n": rng.choice((None, 1, 2))}
    request = parse(dialect, orjson.dumps(fields))
    assert isinstance(request, Request)
    cuts = sorted(rng.randrange(len(raw) + 1) for _ in range(rng.randrange(6)))
    state, out = pumped(request, [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)])
    assert state.ended == (state.problem is None)
    assert not out or state.started
    if state.problem is not None:
        told(dialect, state.problem)
        problems.event(dialect, state.problem, state.meter.sequence_number + 1)
    if b"\r" not in raw and rng.random() < 0.3:
        whole, all_out = pumped(request, [raw])
        assert (whole.ended, whole.problem, all_out) == (state.ended, state.problem, out)


def pumped(request: Request, pieces: list[bytes]) -> tuple[_Pump, bytes]:
    state = _Pump(meter_of(request))
    out = b""
    for piece in pieces:
        out += state.take(piece)
        if state.ended or state.problem is not None:
            return state, out
    return state, out + state.at_end()


def fuzz_splitter(rng: random.Random) -> Iterator[bytes]:
    raw = mutated_stream(rng, rng.choice(STREAMS)[1])
    yield raw
    limit = rng.choice((10, 300, 1000, 10**6))
    splitter = EventSplitter(limit)
    got = b""
    size = rng.choice((7, 100, 1000))
    try:
        for at in range(0, len(raw), size):
            for event in splitter.feed(raw[at : at + size]):
                sse.parse(event)
                got += event
            assert splitter.pending <= limit
    except EventTooLarge:
        assert len(raw) > limit
    else:
        assert got + splitter.rest() == raw


def fuzz_answer(rng: random.Random) -> Iterator[bytes]:
    dialect, raw = rng.choice(ANSWERS)
    raw = mutated(rng, raw)
    yield raw
    request = parse(dialect, ASKED[dialect])
    assert isinstance(request, Request)
    try:
        usage = READERS[dialect](raw).usage
    except NotAnAnswer as fault:
        told(dialect, fault.problem)
    else:
        counts = (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens) if usage else ()
        assert all(count is None or (type(count) is int and 0 <= count <= 3 * 10**12) for count in counts)
    told(dialect, problems.upstream_problem(rng.choice((400, 429, 500, 529)), raw, None))
    models.read_listing(raw)
    with suppress(NotAnAnswer):
        assert anthropic_messages.read_count(raw) >= 0


Fuzz = Callable[[random.Random], Iterator[bytes]]
#: Of a hundred inputs, how many are of each kind.
KINDS: list[tuple[Fuzz, int]] = [
    (fuzz_request, 35),
    (fuzz_object, 20),
    (fuzz_stream, 20),
    (fuzz_splitter, 5),
    (fuzz_answer, 20),
]
KIND_OF: Sequence[Fuzz] = [kind for kind, share in KINDS for _ in range(share)]


class Hang(Exception):
    pass


@contextmanager
def no_hang() -> Iterator[None]:
    """Ends what takes more CPU time than a batch ever should."""

    def stop(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, HANG_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def fuzz(first: int, last: int, kinds: Sequence[Fuzz] = KIND_OF) -> Counter[str]:
    """Runs the inputs of these numbers; says how many there were of each kind. kinds: in turns."""
    ran: Counter[str] = Counter()
    rng = random.Random()
    for start in range(first, last, BATCH):
        with no_hang():
            for number in range(start, min(start + BATCH, last)):
                kind = kinds[number % len(kinds)]
                rng.seed(SEED * 10**8 + number)
                run = kind(rng)
                raw = next(run)
                try:
                    next(run, None)
                except BaseException as error:
                    error.add_note(f"{kind.__name__}: HEADGATE_FUZZ_SEED={SEED} number {number}, input {raw!r}")
                    raise
                ran[kind.__name__] += 1
    return ran


def test_twenty_thousand_damaged_inputs_do_no_harm():
    ran = fuzz(0, 20_000)
    assert ran.total() == 20_000 and len(ran) == len(KINDS)


@pytest.mark.long
def test_a_million_damaged_inputs_do_no_harm():
    ran = fuzz(0, 1_000_000)
    print(f"\nHEADGATE_FUZZ_SEED={SEED}:", dict(ran))
    assert ran.total() == 1_000_000


def test_damage_is_the_same_for_the_same_seed_and_reaches_both_sides_of_every_check():
    """A fuzzer that only made what is refused, or only what passes, would show nothing."""
    sides: Counter[str] = Counter()
    rng = random.Random()
    for number in range(600):
        rng.seed(number)
        dialect, raw = rng.choice(REQUESTS)
        first = mutated(rng, raw)
        rng.seed(number)
        rng.choice(REQUESTS)
        assert mutated(rng, raw) == first
        sides["request " + type(parse(dialect, first)).__name__] += 1
        dialect, raw = rng.choice(STREAMS)
        request = parse(dialect, orjson.dumps({**orjson.loads(ASKED[dialect]), "stream": True}))
        assert isinstance(request, Request)
        state, _ = pumped(request, [mutated_stream(rng, raw)])
        sides[f"stream {state.ended}"] += 1
    assert len(sides) == 4 and min(sides.values()) > 60
