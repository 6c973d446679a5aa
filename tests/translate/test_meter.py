"""A translated stream keeps the relay's rules: what is an opening, what a beginning, and how much may come."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from cases import translate, upstream_meter

from headgate.wire.dialect import Dialect
from headgate.wire.sse import Event
from headgate.wire.stream import Step
from headgate.wire.translate import translation
from headgate.wire.translate.shape import Refusal
from headgate.wire.translate.translation import Meter

CHAT, MESSAGES, RESPONSES = Dialect.CHAT, Dialect.MESSAGES, Dialect.RESPONSES
BODIES: dict[Dialect, dict[str, Any]] = {
    CHAT: {"messages": [{"role": "user", "content": "x"}]},
    MESSAGES: {"messages": [{"role": "user", "content": "x"}], "max_tokens": 9},
    RESPONSES: {"input": "x"},
}


def reading(client: Dialect, upstream: Dialect) -> Meter:
    made = translate(client, upstream, {"model": "m", **BODIES[client], "stream": True})
    return made.meter(upstream_meter(upstream))


def tell(meter: Meter, event: dict[str, Any]) -> Step:
    return meter.on(Event("", orjson.dumps(event)))


def chunk(**delta: Any) -> dict[str, Any]:
    return {"id": "chatcmpl-x", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


@pytest.mark.parametrize("client", [MESSAGES, RESPONSES])
@pytest.mark.parametrize(
    "first",
    [
        chunk(role="assistant", content=""),
        chunk(role="assistant", content="\n"),
        chunk(role="assistant", content="<think>"),
        chunk(role="assistant", tool_calls=[{"index": 0, "id": "c", "function": {"name": "f"}}]),
    ],
)
def test_what_says_nothing_yet_is_an_opening(client, first):
    meter = reading(client, CHAT)
    step = tell(meter, first)
    assert step is Step.OPENING or b"read_gauge" in meter.out
    assert tell(meter, chunk(content="It is.")) is Step.CONTENT and b"It is." in meter.out


@pytest.mark.parametrize("client", [CHAT, MESSAGES])
def test_an_empty_word_of_responses_is_an_opening(client):
    meter = reading(client, RESPONSES)
    assert tell(meter, {"type": "response.output_text.delta", "item_id": "m", "delta": ""}) is Step.OPENING
    assert tell(meter, {"type": "response.output_text.delta", "item_id": "m", "delta": "It"}) is Step.CONTENT


def test_a_comment_says_that_the_upstream_is_there():
    meter = reading(MESSAGES, CHAT)
    assert meter.on(Event("", None)) is Step.OPENING and meter.out == b":\n\n"


def test_a_stream_that_does_not_end_ends_at_the_limit(monkeypatch):
    monkeypatch.setattr(translation, "_MAX_STREAM_BYTES", 2000)
    meter = reading(RESPONSES, CHAT)
    steps = [tell(meter, chunk(content="word ")) for _ in range(40)]
    assert steps[0] is Step.CONTENT and steps[-1] is Step.INVALID
    assert meter.problem is not None and "2000 bytes" in meter.problem.message


def test_what_a_response_could_not_say_again_is_refused_before_it_is_paid():
    deep: dict[str, Any] = {}
    for _ in range(248):
        deep = {"a": deep}
    fields = {"model": "m", "input": "x", "text": {"format": {"type": "json_schema", "name": "n", "schema": deep}}}
    with pytest.raises(Refusal):
        translate(RESPONSES, CHAT, fields)
