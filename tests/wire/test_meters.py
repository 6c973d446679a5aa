"""What each event of a stream means, one event at a time."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headgate.errors import Problem, Reason
from headgate.wire.anthropic_messages import STOP, MessagesMeter
from headgate.wire.openai_chat import DONE, ChoicesMeter
from headgate.wire.openai_completions import CompletionsMeter
from headgate.wire.openai_responses import ResponsesMeter
from headgate.wire.sse import Event
from headgate.wire.stream import Step, StreamMeter
from headgate.wire.usage import Usage

OPENING, CONTENT, WITHHELD, END, ERROR, INVALID = Step


def chat(choices: int = 1, wants_usage: bool = False) -> ChoicesMeter:
    return ChoicesMeter(choices, wants_usage)


def tell(meter: StreamMeter, data: Any) -> Step:
    raw = data if isinstance(data, bytes | None) else json.dumps(data).encode()
    return meter.on(Event("", raw))


def chunk(*choices: Any, **more: Any) -> dict[str, Any]:
    return {"choices": list(choices), **more}


def delta(index: int = 0, **fields: Any) -> dict[str, Any]:
    return {"index": index, "delta": fields, "finish_reason": None}


def finish(index: int = 0, reason: Any = "stop") -> dict[str, Any]:
    return {"index": index, "delta": {}, "finish_reason": reason}


WORD = chunk(delta(content="a"))
STOPPED = chunk(finish())
USED = {"prompt_tokens": 7, "completion_tokens": 3}

# --- chat --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "step"),
    [
        (None, OPENING),
        (chunk(delta(role="assistant")), OPENING),
        (chunk(delta(role="assistant", content="")), OPENING),
        (chunk(delta(content=None, refusal=None)), OPENING),
        (chunk(), OPENING),
        (chunk(prompt_filter_results=[{}]), OPENING),
        ({"id": "x"}, OPENING),
        ({"choices": None}, OPENING),
        (chunk({}), OPENING),
        (chunk({"index": 0, "delta": "a"}), OPENING),
        (chunk(delta(content="a")), CONTENT),
        (chunk(delta(reasoning_content="a")), CONTENT),
        (chunk(delta(reasoning="a")), CONTENT),
        (chunk(delta(refusal="a")), CONTENT),
        (chunk(delta(tool_calls=[{"index": 0}])), CONTENT),
        (chunk(delta(function_call={"name": "f"})), CONTENT),
        (chunk(delta(audio={"id": "a"})), CONTENT),
        (chunk(delta(0, role="assistant"), delta(1, content="a")), CONTENT),
        (chunk(finish()), CONTENT),
        (chunk(finish(reason="length")), CONTENT),
        (chunk(usage=USED), WITHHELD),
        (chunk(usage={}), WITHHELD),
        (chunk(usage=None), OPENING),
        ({"usage": USED}, WITHHELD),
        (chunk(delta(content="a"), usage=USED), CONTENT),
        ({"error": {"message": "no steam"}}, ERROR),
        ({"error": "no steam"}, ERROR),
        (chunk(finish(reason="error"), error={"message": "no steam"}), ERROR),
        (chunk(finish(reason="error")), ERROR),
        (b"", INVALID),
        (b"{", INVALID),
        (b"[DONE", INVALID),
        (b"[DONE]", INVALID),
        (b"[]", INVALID),
        (b"\xff", INVALID),
        (b"[" * 3000, INVALID),
        ({"choices": "a"}, INVALID),
        ({"choices": {"0": {}}}, INVALID),
        (chunk("a"), INVALID),
        (chunk(None), INVALID),
        (chunk({"index": "0", "delta": {}}), INVALID),
        (chunk({"index": None, "delta": {}}), INVALID),
    ],
)
def test_the_first_event_of_a_chat(data, step):
    meter = chat()
    assert tell(meter, data) is step
    assert (meter.problem is not None) == (step in (ERROR, INVALID))
    assert meter.problem is None or meter.problem.reason is (
        Reason.UPSTREAM_ERROR if step is ERROR else Reason.UPSTREAM_INVALID
    )


def test_a_usage_chunk_is_passed_on_to_whom_asked_for_it():
    meter = chat(wants_usage=True)
    assert tell(meter, chunk(usage=USED)) is OPENING
    assert meter.usage == Usage(7, 3)


def test_usage_is_kept_when_a_later_chunk_tells_none():
    meter = chat()
    tell(meter, chunk(delta(content="a"), usage=USED))
    for later in (None, {}, "none", {"prompt_tokens": -1}):
        tell(meter, chunk(delta(content="a"), usage=later))
    assert meter.usage == Usage(7, 3)


@pytest.mark.parametrize("reason", [None, "", False, 0])
def test_an_empty_finish_reason_is_none(reason):
    """Some upstreams write an empty one in every chunk until the last."""
    meter = chat()
    tell(meter, chunk({**delta(content="a"), "finish_reason": reason}))
    assert meter.closing() is None
    assert tell(meter, b"[DONE]") is INVALID


@pytest.mark.parametrize(
    ("choices", "events", "done", "closing"),
    [
        (1, [], INVALID, None),
        (1, [WORD], INVALID, None),
        (1, [WORD, STOPPED], END, DONE),
        (1, [STOPPED], END, DONE),
        (1, [chunk(delta(0, content="a"), delta(1, content="b")), STOPPED], INVALID, None),
        (2, [chunk(delta(0, content="a"), delta(1, content="b")), chunk(finish(0), finish(1))], END, DONE),
        (2, [chunk(delta(0, content="a"), delta(1, content="b")), chunk(finish(1))], INVALID, None),
        # its own word for the end vouches for a choice that it never opened; a mere end of the connection does not
        (2, [WORD, STOPPED], END, None),
        # what a finished choice still gets does not open it again
        (1, [WORD, STOPPED, chunk(delta(content=""), usage=USED)], END, DONE),
    ],
)
def test_a_chat_is_whole_with_a_finish_reason_for_every_choice(choices, events, done, closing):
    meter = chat(choices)
    for event in events:
        assert tell(meter, event) in (OPENING, CONTENT)
    assert meter.closing() == closing
    assert tell(meter, b"[DONE]") is done


def test_an_error_keeps_the_upstreams_words():
    meter = chat()
    tell(meter, {"error": {"message": "no steam", "type": "t", "code": 502, "param": "p"}})
    assert meter.problem == Problem(Reason.UPSTREAM_ERROR, "no steam", type="t", code="502", param="p")


def test_completions_have_text_where_chats_have_deltas():
    meter = CompletionsMeter(1, False)
    assert tell(meter, chunk({"index": 0, "text": "", "finish_reason": None})) is OPENING
    assert tell(meter, chunk({"index": 0, "text": "a", "finish_reason": None})) is CONTENT
    assert meter.closing() is None
    assert tell(meter, chunk({"index": 0, "text": "", "finish_reason": "stop"})) is CONTENT
    assert tell(meter, chunk(usage=USED)) is WITHHELD
    assert meter.closing() == DONE
    assert tell(meter, b"[DONE]") is END


# --- responses ---------------------------------------------------------------------------------------------------

RESPONSE = {"usage": {"input_tokens": 7, "output_tokens": 3}}


@pytest.mark.parametrize(
    ("data", "step"),
    [
        (None, OPENING),
        ({"type": "response.created", "response": {}}, OPENING),
        ({"type": "response.in_progress"}, OPENING),
        ({"type": "response.output_item.added"}, OPENING),
        ({"type": "keepalive"}, OPENING),
        ({"type": "response.output_text.delta", "delta": "a"}, CONTENT),
        ({"type": "response.function_call_arguments.delta"}, CONTENT),
        ({"type": "response.something.new"}, CONTENT),
        ({"type": "response.completed", "response": RESPONSE}, END),
        ({"type": "response.incomplete", "response": RESPONSE}, END),
        ({"type": "response.completed"}, INVALID),
        ({"type": "response.incomplete", "response": None}, INVALID),
        ({"type": "response.failed", "response": {"error": {"message": "no steam"}}}, ERROR),
        ({"type": "response.failed", "response": {}}, ERROR),
        ({"type": "response.failed"}, ERROR),
        ({"type": "error", "message": "no steam"}, ERROR),
        ({"type": "error", "error": {"message": "no steam"}}, ERROR),
        ({"error": {"message": "no steam"}}, ERROR),
        ({"type": 7}, INVALID),
        ({}, INVALID),
        (b"[DONE]", INVALID),
        (b"", INVALID),
        (b"{", INVALID),
        (b"[1]", INVALID),
    ],
)
def test_the_first_event_of_a_response(data, step):
    meter = ResponsesMeter()
    assert tell(meter, data) is step
    assert (meter.problem is not None) == (step in (ERROR, INVALID))
    assert meter.closing() is None


def test_a_response_tells_its_usage_at_its_end():
    meter = ResponsesMeter()
    tell(meter, {"type": "response.created", "response": {"usage": None}})
    assert meter.usage is None
    tell(meter, {"type": "response.completed", "response": RESPONSE})
    assert meter.usage == Usage(7, 3)


@pytest.mark.parametrize("kind", ["response.completed", "response.incomplete"])
@pytest.mark.parametrize("status", ["failed", "cancelled", "in_progress", "queued"])
def test_an_end_whose_response_is_not_done_is_no_end(kind, status):
    meter = ResponsesMeter()
    meter.on(Event("", b'{"type":"response.output_text.delta","delta":"half a sen"}'))
    response = {"status": status, "output": [], "error": {"message": "boom"} if status == "failed" else None}
    step = meter.on(Event("", json.dumps({"type": kind, "response": response}).encode()))
    assert step is (Step.ERROR if status == "failed" else Step.INVALID)
    assert meter.problem is not None and ("boom" if status == "failed" else status) in meter.problem.message
    assert meter.closing() is None


@pytest.mark.parametrize("status", [[], {}, 5, None, "ended"])
def test_a_status_that_nobody_knows_is_not_judged(status):
    meter = ResponsesMeter()
    assert tell(meter, {"type": "response.completed", "response": {"status": status, "output": []}}) is Step.END


def test_the_error_event_of_a_response_has_its_code_and_no_type():
    meter = ResponsesMeter()
    tell(meter, {"type": "error", "code": "rate_limit_exceeded", "message": "no steam", "param": "p"})
    assert meter.problem == Problem(Reason.UPSTREAM_ERROR, "no steam", code="rate_limit_exceeded", param="p")


@pytest.mark.parametrize("wrong", [-1, 2**53, 2**64 - 1, 1e300, "7", None, [7]])
def test_a_sequence_number_that_has_no_next_is_not_kept(wrong):
    meter = ResponsesMeter()
    tell(meter, {"type": "keepalive", "sequence_number": 5})
    tell(meter, {"type": "keepalive", "sequence_number": wrong})
    assert meter.sequence_number == 5


# --- messages ----------------------------------------------------------------------------------------------------

TEXT = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
WORDS = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}}
BLOCK_END = {"type": "content_block_stop", "index": 0}
REASON = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}}
DEEP = b"[" * 1000 + b"]" * 1000


@pytest.mark.parametrize(
    ("data", "step"),
    [
        (None, OPENING),
        ({"type": "ping"}, OPENING),
        ({"type": "message_start", "message": {"usage": {"input_tokens": 7}}}, OPENING),
        ({"type": "message_start", "message": "m"}, OPENING),
        ({"type": "something_new"}, OPENING),
        (TEXT, OPENING),
        ({**TEXT, "content_block": {"type": "thinking", "thinking": ""}}, OPENING),
        ({**TEXT, "content_block": {"type": "text", "text": "a"}}, CONTENT),
        ({**TEXT, "content_block": {"type": "tool_use", "name": "f"}}, CONTENT),
        ({**TEXT, "content_block": {"type": "redacted_thinking", "data": "x"}}, CONTENT),
        ({**TEXT, "content_block": None}, CONTENT),
        (WORDS, CONTENT),
        (BLOCK_END, OPENING),
        (REASON, CONTENT),
        ({"type": "message_delta", "delta": {"stop_reason": None}}, OPENING),
        ({"type": "message_delta", "delta": None}, OPENING),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "no steam"}}, ERROR),
        ({"type": "error"}, ERROR),
        ({"error": {"message": "no steam"}}, ERROR),
        ({"type": "message_stop"}, INVALID),
        ({"type": 7}, INVALID),
        ({}, INVALID),
        ({"type": "content_block_start"}, INVALID),
        ({"type": "content_block_start", "index": "0"}, INVALID),
        (b'{"type":"content_block_start","index":' + DEEP + b"}", INVALID),
        (b'{"type":"content_block_stop","index":' + DEEP + b"}", OPENING),
        (b"[DONE]", INVALID),
        (b"", INVALID),
        (b"{", INVALID),
    ],
)
def test_the_first_event_of_a_message(data, step):
    meter = MessagesMeter()
    assert tell(meter, data) is step
    assert (meter.problem is not None) == (step in (ERROR, INVALID))


@pytest.mark.parametrize(
    ("events", "stop", "closing"),
    [
        ([], INVALID, None),
        ([TEXT, WORDS, BLOCK_END], INVALID, None),
        ([TEXT, WORDS, BLOCK_END, REASON], END, STOP),
        ([TEXT, WORDS, REASON], END, None),
        ([REASON], END, STOP),
        ([TEXT, WORDS, BLOCK_END, {"type": "message_delta", "delta": {"stop_reason": ""}}], INVALID, None),
        ([TEXT, {**TEXT, "index": 1}, BLOCK_END, REASON], END, None),
    ],
)
def test_a_message_is_whole_with_a_stop_reason(events, stop, closing):
    meter = MessagesMeter()
    for event in events:
        assert tell(meter, event) in (OPENING, CONTENT)
    assert meter.closing() == closing
    assert tell(meter, {"type": "message_stop"}) is stop


def test_a_message_counts_from_its_start_to_its_end():
    meter = MessagesMeter()
    start = {"input_tokens": 10, "cache_read_input_tokens": 100, "output_tokens": 1}
    tell(meter, {"type": "message_start", "message": {"usage": start}})
    assert meter.usage == Usage(110, 1, 100)
    tell(meter, REASON)
    assert meter.usage == Usage(110, 3, 100)
