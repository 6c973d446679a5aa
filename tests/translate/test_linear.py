"""What grows four times takes about four times as long: nobody's body or stream may hold up everybody else's.

CPU time is compared with itself, in one run. Work that grew with the square would take sixteen times as long.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import orjson
import pytest
from cases import translate, upstream_meter

from headgate.wire.dialect import Dialect
from headgate.wire.sse import Event
from headgate.wire.stream import Step
from headgate.wire.translate.shape import Malformed, Refusal

CHAT, MESSAGES, RESPONSES = Dialect.CHAT, Dialect.MESSAGES, Dialect.RESPONSES
MOST = 9.0
Json = dict[str, Any]


def cpu_s(work: Callable[[], object]) -> float:
    """Without the garbage collector, whose work grows in steps of its own."""
    best = float("inf")
    gc.disable()
    try:
        for _ in range(2):
            start = time.process_time()
            work()
            best = min(best, time.process_time() - start)
    finally:
        gc.enable()
    return best


def is_linear(work: Callable[[int], Callable[[], object]], start: int) -> None:
    """Doubles the input until it takes long enough to be measured, then compares it with four times as much."""
    count = start
    while (small := cpu_s(work(count))) < 0.01 and count < 64 * start:
        count *= 2
    large = cpu_s(work(4 * count))
    assert large < MOST * max(small, 0.002), f"{count}: {small:.3f} s, {4 * count}: {large:.3f} s"


USER = {"role": "user", "content": "x"}
LONG = "y" * 500


def call(n: int) -> Json:
    return {"id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": "{}"}}


REQUESTS: dict[str, tuple[Dialect, Dialect, Callable[[int], Json]]] = {
    "system prompts": (RESPONSES, CHAT, lambda n: {"input": [{"role": "system", "content": LONG}] * n + [USER]}),
    "an assistant's messages": (
        RESPONSES,
        CHAT,
        lambda n: {"input": [USER, *[{"role": "assistant", "content": "x"}] * n, USER]},
    ),
    "reasoning items": (
        RESPONSES,
        CHAT,
        lambda n: {
            "input": [
                {"role": "assistant", "content": "x"},
                *[{"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": LONG}]}] * n,
                USER,
            ]
        },
    ),
    "encrypted entries": (
        CHAT,
        RESPONSES,
        lambda n: {
            "messages": [
                USER,
                {
                    "role": "assistant",
                    "content": "x",
                    "reasoning_details": [
                        {"type": "reasoning.encrypted", "format": "openai-responses-v1", "data": LONG, "id": "rs_1"}
                    ]
                    * n,
                },
                USER,
            ]
        },
    ),
    "signed entries": (
        CHAT,
        MESSAGES,
        lambda n: {
            "messages": [
                USER,
                {
                    "role": "assistant",
                    "content": "x",
                    "reasoning_details": [
                        {"type": "reasoning.text", "format": "anthropic-claude-v1", "text": LONG, "index": 0}
                    ]
                    * n,
                },
                USER,
            ]
        },
    ),
    "results after a user's words": (
        CHAT,
        MESSAGES,
        lambda n: {
            "messages": [*[USER] * n, *[{"role": "tool", "tool_call_id": "x", "content": "r"}] * n],
        },
    ),
    "calls and results": (
        CHAT,
        RESPONSES,
        lambda n: {
            "messages": [
                USER,
                {"role": "assistant", "tool_calls": [call(i) for i in range(n)]},
                *[{"role": "tool", "tool_call_id": f"c{i}", "content": "r"} for i in range(n)],
            ]
        },
    ),
    "blocks of a turn": (
        MESSAGES,
        CHAT,
        lambda n: {"max_tokens": 9, "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}] * n}]},
    ),
    "system blocks": (
        MESSAGES,
        CHAT,
        lambda n: {"max_tokens": 9, "system": [{"type": "text", "text": LONG}] * n, "messages": [USER]},
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request(name):
    client, upstream, make = REQUESTS[name]

    def work(count: int) -> Callable[[], object]:
        fields = {"model": "m", **make(count)}

        def run() -> None:
            with suppress(Refusal):
                translate(client, upstream, fields)

        return run

    is_linear(work, 200)


def chunk(delta: Json) -> Json:
    return {"id": "chatcmpl-x", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def piece(arguments: str, **more: Any) -> Json:
    return chunk({"tool_calls": [{"index": 0, "function": {"arguments": arguments, **more}}]})


STARTED: list[Json] = [
    {"type": "message_start", "message": {"id": "msg_x", "model": "m", "usage": {"input_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "x"}},
    {"type": "content_block_stop", "index": 0},
]
FORM = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "array", "items": {"type": "string"}}}}
ANSWER_TOOL = {"type": "tool_use", "id": "t", "name": "headgate_answer", "input": {}}

STREAMS: dict[str, tuple[Dialect, Dialect, Json, Callable[[int], list[Json]]]] = {
    "white space to messages": (MESSAGES, CHAT, {}, lambda n: [chunk({"reasoning_content": "t"}), *_blank(n)]),
    "white space to responses": (RESPONSES, CHAT, {}, lambda n: [chunk({"reasoning_content": "t"}), *_blank(n)]),
    "white space from the start": (MESSAGES, CHAT, {}, lambda n: _blank(n)),
    "arguments without a name to messages": (MESSAGES, CHAT, {}, lambda n: [chunk({"content": "t"}), *_nameless(n)]),
    "arguments without a name to responses": (RESPONSES, CHAT, {}, lambda n: [chunk({"content": "t"}), *_nameless(n)]),
    "arguments to messages": (MESSAGES, CHAT, {}, lambda n: [piece("", name="f"), *[piece(LONG)] * n]),
    "arguments to responses": (RESPONSES, CHAT, {}, lambda n: [piece("", name="f"), *[piece(LONG)] * n]),
    "arguments of an unknown item": (
        CHAT,
        RESPONSES,
        {},
        lambda n: (
            [{"type": "response.output_text.delta", "delta": "t", "item_id": "m"}]
            + [{"type": "response.function_call_arguments.delta", "item_id": "i", "output_index": 1, "delta": LONG}] * n
        ),
    ),
    "white space in a form that is a tool": (
        CHAT,
        MESSAGES,
        {"response_format": FORM},
        lambda n: [
            *STARTED,
            {"type": "content_block_start", "index": 1, "content_block": ANSWER_TOOL},
            *[
                {
                    "type": "content_block_delta",
                    "index": 1,
                    "delta": {"type": "input_json_delta", "partial_json": " " * 500},
                }
            ]
            * n,
        ],
    ),
    "blocks to chat": (
        CHAT,
        MESSAGES,
        {},
        lambda n: [
            STARTED[0],
            *[
                event
                for i in range(n)
                for event in (
                    {"type": "content_block_start", "index": i, "content_block": {"type": "text", "text": "x"}},
                    {"type": "content_block_stop", "index": i},
                )
            ],
        ],
    ),
}


def _blank(n: int) -> list[Json]:
    return [chunk({"content": " " * 500})] * n


def _nameless(n: int) -> list[Json]:
    return [piece(LONG)] * n


BODIES: dict[Dialect, Json] = {
    CHAT: {"messages": [USER]},
    MESSAGES: {"messages": [USER], "max_tokens": 9},
    RESPONSES: {"input": "x"},
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream(name):
    client, upstream, fields, make = STREAMS[name]
    made = translate(client, upstream, {"model": "m", **BODIES[client], **fields, "stream": True})

    def work(count: int) -> Callable[[], object]:
        events = [Event("", orjson.dumps(event)) for event in make(count)]

        def run() -> None:
            meter = made.meter(upstream_meter(upstream))
            for event in events:
                if meter.on(event) in (Step.INVALID, Step.ERROR):
                    break

        return run

    is_linear(work, 200)


def _chat_answer(message: Json) -> Json:
    return {"id": "x", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}


def _response(output: list[Json]) -> Json:
    return {"id": "resp_x", "model": "m", "status": "completed", "output": output}


ANSWERS: dict[str, tuple[Dialect, Dialect, Callable[[int], Json]]] = {
    "parts of a message": (
        CHAT,
        RESPONSES,
        lambda n: _response([{"type": "message", "content": [{"type": "output_text", "text": "a" * 50}] * n}]),
    ),
    "parts of a summary": (
        CHAT,
        RESPONSES,
        lambda n: _response([{"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "a"}] * n}]),
    ),
    "entries of one index to messages": (MESSAGES, CHAT, lambda n: _chat_answer({"reasoning_details": _entries(n)})),
    "entries of one index to responses": (RESPONSES, CHAT, lambda n: _chat_answer({"reasoning_details": _entries(n)})),
    "calls to messages": (MESSAGES, CHAT, lambda n: _chat_answer({"tool_calls": [call(i) for i in range(n)]})),
    "calls to responses": (RESPONSES, CHAT, lambda n: _chat_answer({"tool_calls": [call(i) for i in range(n)]})),
    "blocks to chat": (
        CHAT,
        MESSAGES,
        lambda n: {
            "id": "msg_x",
            "model": "m",
            "stop_reason": "end_turn",
            "content": [{"type": "text", "text": "a"}] * n,
        },
    ),
}


def _entries(n: int) -> list[Json]:
    return [{"type": "reasoning.text", "format": "anthropic-claude-v1", "text": "a" * 50, "index": 0}] * n


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer(name):
    client, upstream, make = ANSWERS[name]
    made = translate(client, upstream, {"model": "m", **BODIES[client]})

    def work(count: int) -> Callable[[], object]:
        value = make(count)

        def run() -> None:
            with suppress(Malformed):
                made.answer(value)

        return run

    is_linear(work, 500)
