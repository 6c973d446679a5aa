"""Random damage to everything that a translation reads, on both sides of it.

What must hold, whatever comes: a request is refused by name, or becomes one that headgate itself would take in the
upstream's dialect; an answer is refused, or becomes one that it would take in the client's; a stream that ended is a
whole one to the client's own meter, and one that did not is never ended cleanly. Seeds as in `test_fuzz_wire.py`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from fuzz.test_fuzz_wire import SEED, Fuzz, fuzz, mutated, mutated_stream, told
from headgate.errors import Problem, Reason
from headgate.relay.stream import _Pump
from headgate.wire.answer import NotAnAnswer
from headgate.wire.dialect import Dialect
from headgate.wire.outgoing import READERS, Outgoing, meter_of, outgoing
from headgate.wire.request import Request, parse

GOLDEN = Path(__file__).parents[1] / "translate" / "golden"
DIALECTS = {"chat": Dialect.CHAT, "messages": Dialect.MESSAGES, "responses": Dialect.RESPONSES}
ADDRESSES = ("http://127.0.0.1:8080/v1", "https://api.openai.com/v1")


class Pair(NamedTuple):
    client: Dialect
    upstream: Dialect
    requests: list[bytes]
    answers: list[bytes]
    streams: list[bytes]


def _pair(name: str) -> Pair:
    """Requests are of the client's dialect, whichever pair they stand at; answers and streams of the upstream's."""
    client, upstream = name.split("_to_")
    return Pair(
        DIALECTS[client],
        DIALECTS[upstream],
        [path.read_bytes() for path in sorted(GOLDEN.glob(f"{client}_to_*/*/request.json"))],
        [path.read_bytes() for path in sorted(GOLDEN.glob(f"*_to_{upstream}/*/answer.upstream.json"))],
        [path.read_bytes() for path in sorted(GOLDEN.glob(f"*_to_{upstream}/*/stream.upstream.sse"))],
    )


DIRECT = ("chat_to_messages", "messages_to_chat", "chat_to_responses", "responses_to_chat")
JOINED = ("messages_to_responses", "responses_to_messages")
PAIRS = {name: _pair(name) for name in (*DIRECT, *JOINED)}


def translated(pair: Pair, request: Request, base_url: str) -> Outgoing | Problem:
    model = request.model
    return outgoing(request, pair.upstream, target=f"up/{model}", model=model, base_url=base_url, now_s=1)


def fuzz_request(pair: Pair, rng: random.Random) -> Iterator[bytes]:
    raw = mutated(rng, rng.choice(pair.requests))
    yield raw
    request = parse(pair.client, raw)
    if isinstance(request, Problem):
        return
    made = translated(pair, request, rng.choice(ADDRESSES))
    if isinstance(made, Problem):
        assert made.reason in (Reason.NOT_TRANSLATABLE, Reason.BAD_REQUEST) and made.status == 400
        assert made.param or "cannot be written again" in made.message
        told(pair.client, made)
        return
    again = parse(pair.upstream, made.body)
    assert isinstance(again, Request), again
    assert again.model == request.model and again.stream == request.stream
    assert all(isinstance(name, str) and name.isascii() and name.isprintable() for name in made.dropped)


def fuzz_answer(pair: Pair, rng: random.Random) -> Iterator[bytes]:
    raw = mutated(rng, rng.choice(pair.answers))
    yield raw
    made = asked(pair, rng, stream=False)
    try:
        _, out = made.read_answer(raw)
    except NotAnAnswer as fault:
        told(pair.client, fault.problem)
    else:
        READERS[pair.client](out)


def fuzz_stream(pair: Pair, rng: random.Random) -> Iterator[bytes]:
    raw = mutated_stream(rng, rng.choice(pair.streams))
    yield raw
    made = asked(pair, rng, stream=True)
    state = _Pump(made.meter())
    cut = rng.randrange(len(raw) + 1)
    out = state.take(raw[:cut])
    if not state.ended and state.problem is None:
        out += state.take(raw[cut:])
    if not state.ended and state.problem is None:
        out += state.at_end()
    assert state.ended == (state.problem is None)
    assert not out or state.started
    clients = _Pump(meter_of(made.request))
    heard = clients.take(out)
    if state.ended:
        # The client's own meter heard all of it, and its proper end: nothing is left for the end of the connection.
        assert clients.problem is None and clients.ended, (clients.problem, out)
        assert heard == out, (heard, out)
    else:
        assert state.problem is not None and not clients.ended, out
        assert clients.problem is None, (clients.problem, out)
        told(pair.client, state.problem)


#: A request that passes, for each client: the answers' fields are echoed from it.
_ASKED: dict[Dialect, list[dict[str, Any]]] = {
    Dialect.CHAT: [
        {"model": "m", "messages": [{"role": "user", "content": "x"}]},
        {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream_options": {"include_usage": True}},
        {
            "model": "m",
            "messages": [{"role": "user", "content": "x"}],
            "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
        },
    ],
    Dialect.MESSAGES: [{"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}],
    Dialect.RESPONSES: [
        {"model": "m", "input": "x"},
        {
            "model": "m",
            "input": "x",
            "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
            "tools": [{"type": "function", "name": "f", "parameters": {}, "strict": False}],
        },
    ],
}


def asked(pair: Pair, rng: random.Random, *, stream: bool) -> Outgoing:
    request = parse(pair.client, orjson.dumps({**rng.choice(_ASKED[pair.client]), "stream": stream}))
    assert isinstance(request, Request)
    made = translated(pair, request, ADDRESSES[0])
    if isinstance(made, Problem):  # log probabilities cannot go to messages
        request = parse(pair.client, orjson.dumps({**_ASKED[pair.client][0], "stream": stream}))
        assert isinstance(request, Request)
        made = translated(pair, request, ADDRESSES[0])
    assert isinstance(made, Outgoing), made
    return made


def kinds(pair: Pair) -> list[Fuzz]:
    """Of ten inputs, how many are of each kind."""
    made: list[Fuzz] = []
    for run, share in ((fuzz_request, 4), (fuzz_answer, 2), (fuzz_stream, 4)):
        kind = partial(run, pair)
        kind.__name__ = run.__name__  # type: ignore[attr-defined]
        made += [kind] * share
    return made


@pytest.mark.parametrize("name", PAIRS)
def test_four_thousand_damaged_inputs_do_no_harm(name):
    assert fuzz(0, 4000, kinds(PAIRS[name])).total() == 4000


@pytest.mark.long
@pytest.mark.parametrize("name", PAIRS)
def test_a_million_damaged_inputs_do_no_harm(name):
    count = 1_000_000 if name in DIRECT else 200_000
    ran = fuzz(0, count, kinds(PAIRS[name]))
    print(f"\n{name}, HEADGATE_FUZZ_SEED={SEED}:", dict(ran))
    assert ran.total() == count


@pytest.mark.parametrize("name", PAIRS)
def test_damage_reaches_both_sides_of_every_check(name):
    """A fuzzer that only made what is refused, or only what passes, would show nothing."""
    pair = PAIRS[name]
    sides: Counter[str] = Counter()
    rng = random.Random(1)
    for _ in range(600):
        request = parse(pair.client, mutated(rng, rng.choice(pair.requests)))
        if isinstance(request, Request):
            sides["request " + type(translated(pair, request, ADDRESSES[0])).__name__] += 1
        made = asked(pair, rng, stream=True)
        state = _Pump(made.meter())
        state.take(mutated_stream(rng, rng.choice(pair.streams)))
        sides[f"stream {state.ended}"] += 1
    assert len(sides) == 4 and min(sides.values()) > 20, sides
