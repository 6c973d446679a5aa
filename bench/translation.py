"""What a translation takes of the CPU: a request of 20 turns and 10 tools, and one event of a stream, for each pair.

All in one process and without a network, by the process's own CPU time. A request is shown twice: what the translation
takes (converting, and writing it as JSON), and everything between the client's bytes and the upstream's, with reading
and checking. The floor of the streams, in the same round, is the same upstream's stream where nothing is translated.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from bench import figures
from bench.machine import BenchError, Children
from headgate.errors import Problem
from headgate.relay.stream import _Pump
from headgate.wire.dialect import Dialect
from headgate.wire.outgoing import Outgoing, outgoing
from headgate.wire.request import Request, parse

TURNS = 20
TOOLS = 10
WORDS = 200
REQUEST_TARGET_US = 300.0
CHUNK_TARGET_US = 15.0

Json = dict[str, Any]
DIALECTS = {"chat": Dialect.CHAT, "messages": Dialect.MESSAGES, "responses": Dialect.RESPONSES}
_TEXT = (
    "the gate opens a little when the water rises and closes when it falls again so that the mill can run evenly " * 3
)
_SCHEMA = {
    "type": "object",
    "properties": {
        "place": {"type": "string", "description": "Where the gauge stands, by the name of the weir."},
        "days": {"type": "integer", "minimum": 1, "description": "How many days back."},
        "unit": {"type": "string", "enum": ["m", "ft"]},
    },
    "required": ["place"],
}


def request_body(dialect: Dialect) -> bytes:
    """A conversation of 20 turns, every other of which calls a tool, and 10 tools."""
    body: Json = {"model": "m", "stream": True, "temperature": 0.2}
    turns = range(TURNS // 2)
    if dialect is Dialect.CHAT:
        function = [{"name": f"tool_{n}", "description": _TEXT, "parameters": _SCHEMA} for n in range(TOOLS)]
        body |= {"max_tokens": 900, "tools": [{"type": "function", "function": f} for f in function]}
        body["messages"] = [{"role": "system", "content": _TEXT}, *(m for n in turns for m in _chat_turn(n))]
    elif dialect is Dialect.MESSAGES:
        tools = [{"name": f"tool_{n}", "description": _TEXT, "input_schema": _SCHEMA} for n in range(TOOLS)]
        body |= {"max_tokens": 900, "tools": tools, "system": _TEXT}
        body["messages"] = [m for n in turns for m in _messages_turn(n)]
    else:
        kind = {"type": "function", "parameters": _SCHEMA, "strict": False}
        body |= {"max_output_tokens": 900, "tools": [{"name": f"tool_{n}", **kind} for n in range(TOOLS)]}
        body |= {"instructions": _TEXT, "input": [item for n in turns for item in _responses_turn(n)]}
    return json.dumps(body, separators=(",", ":")).encode()


def _chat_turn(n: int) -> list[Json]:
    call = {"id": f"call_{n}", "type": "function", "function": {"name": "tool_1", "arguments": '{"place":"weir"}'}}
    return [
        {"role": "user", "content": f"{n}: {_TEXT}"},
        {"role": "assistant", "content": _TEXT, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": f"call_{n}", "content": "1.20 m"},
    ]


def _messages_turn(n: int) -> list[Json]:
    use = {"type": "tool_use", "id": f"call_{n}", "name": "tool_1", "input": {"place": "weir"}}
    return [
        {"role": "user", "content": f"{n}: {_TEXT}"},
        {"role": "assistant", "content": [{"type": "text", "text": _TEXT}, use]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": f"call_{n}", "content": "1.20 m"}]},
    ]


def _responses_turn(n: int) -> list[Json]:
    return [
        {"role": "user", "content": f"{n}: {_TEXT}"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": _TEXT}]},
        {"type": "function_call", "call_id": f"call_{n}", "name": "tool_1", "arguments": '{"place":"weir"}'},
        {"type": "function_call_output", "call_id": f"call_{n}", "output": "1.20 m"},
    ]


def stream_events(dialect: Dialect) -> list[bytes]:
    """An answer of 200 words, one event for each."""
    if dialect is Dialect.CHAT:
        head = {"id": "chatcmpl-b", "object": "chat.completion.chunk", "created": 1760000000, "model": "m"}

        def chunk(delta: Json, finish: str | None = None) -> bytes:
            return _data({**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]})

        usage = {"prompt_tokens": 7, "completion_tokens": 200, "total_tokens": 207}
        words = [chunk({"content": " water"})] * WORDS
        end = [chunk({}, "stop"), _data({**head, "choices": [], "usage": usage}), b"data: [DONE]\n\n"]
        return [chunk({"role": "assistant", "content": ""}), *words, *end]
    if dialect is Dialect.MESSAGES:
        message = {"id": "msg_b", "type": "message", "role": "assistant", "model": "m", "content": []}
        message |= {"stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 7, "output_tokens": 1}}
        delta = {"type": "text_delta", "text": " water"}
        block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        stop = {"delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 200}}
        return [
            _named({"type": "message_start", "message": message}),
            _named(block),
            *[_named({"type": "content_block_delta", "index": 0, "delta": delta})] * WORDS,
            _named({"type": "content_block_stop", "index": 0}),
            _named({"type": "message_delta", **stop}),
            _named({"type": "message_stop"}),
        ]
    return _responses_events()


def _responses_events() -> list[bytes]:
    response: Json = {"id": "resp_b", "object": "response", "created_at": 1760000000, "model": "m", "output": []}
    text = " water" * WORDS
    part = {"type": "output_text", "text": text, "annotations": []}
    item = {"id": "msg_b", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    at = {"item_id": "msg_b", "output_index": 0, "content_index": 0}
    empty = {**item, "status": "in_progress", "content": []}
    usage = {"input_tokens": 7, "output_tokens": 200, "total_tokens": 207}
    whole = {**response, "status": "completed", "output": [item], "usage": usage}
    events: list[Json] = [
        {"type": "response.created", "response": {**response, "status": "in_progress"}},
        {"type": "response.output_item.added", "output_index": 0, "item": empty},
        {"type": "response.content_part.added", **at, "part": {**part, "text": ""}},
        *({"type": "response.output_text.delta", **at, "delta": " water", "logprobs": []} for _ in range(WORDS)),
        {"type": "response.output_text.done", **at, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **at, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
    ]
    return [_named({**event, "sequence_number": number}) for number, event in enumerate(events)]


def _data(value: Json) -> bytes:
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


def _named(value: Json) -> bytes:
    return f"event: {value['type']}\n".encode() + _data(value)


def read(client: Dialect, body: bytes) -> Request:
    request = parse(client, body)
    if isinstance(request, Problem):
        raise BenchError(request.message)
    return request


def prepared(request: Request, upstream: Dialect) -> Outgoing:
    made = outgoing(request, upstream, target="up/m", model="m", base_url="http://127.0.0.1:1/v1", now_s=1)
    if isinstance(made, Problem):
        raise BenchError(made.message)
    return made


def replay(made: Outgoing, events: Sequence[bytes]) -> None:
    pump = _Pump(made.meter())
    for event in events:
        pump.take(event)
    if not pump.ended:
        raise BenchError(f"the stream did not end: {pump.problem}")


def cpu_us(work: Callable[[], object], seconds: float) -> float:
    """CPU time of one call, over as many as fit."""
    work()
    count, start = 0, time.process_time()
    while True:
        for _ in range(20):
            work()
        count += 20
        took = time.process_time() - start
        if took >= seconds:
            return took / count * 1e6


def run(children: Children, names: Sequence[str], seconds: float, rounds: int) -> Json:
    """Figures in µs for each `client>upstream`, and for each dialect with itself."""
    bodies = {name: request_body(dialect) for name, dialect in DIALECTS.items()}
    streams = {name: stream_events(dialect) for name, dialect in DIALECTS.items()}
    each = max(0.02, seconds / 40)
    result: Json = {
        "request": {},
        "whole": {},
        "chunk": {},
        "bytes": {name: len(body) for name, body in bodies.items()},
    }
    for _ in range(rounds):
        for client, its in DIALECTS.items():
            for upstream, theirs in DIALECTS.items():
                body, events = bodies[client], streams[upstream]
                pair = f"{client}>{upstream}"
                request = read(its, body)
                made = prepared(request, theirs)
                whole = cpu_us(partial(lambda a, b, c: prepared(read(a, c), b), its, theirs, body), each)
                told = cpu_us(partial(replay, made, events), each) / len(events)
                result["request"].setdefault(pair, []).append(cpu_us(partial(prepared, request, theirs), each))
                result["whole"].setdefault(pair, []).append(whole)
                result["chunk"].setdefault(pair, []).append(told)
    return result


def show(result: Json) -> None:
    print(f"\nTranslation: CPU per request ({TURNS} turns, {TOOLS} tools) and per streamed event, median of the rounds")
    columns = f"{'request µs':>12} {'with reading':>14} {'event µs':>12} {'above passing it on':>22}"
    print(f"  {'client > upstream':<24} {columns}")
    worst_request, worst_chunk = 0.0, 0.0
    for pair, asked in result["request"].items():
        client, upstream = pair.split(">")
        request = figures.spread(asked)["median"]
        floor = result["chunk"][f"{upstream}>{upstream}"]
        told = result["chunk"][pair]
        above = figures.spread([a - b for a, b in zip(told, floor, strict=True)])["median"]
        event = figures.spread(told)["median"]
        extra = "" if client == upstream else f"{above:>22.2f}"
        whole = figures.spread(result["whole"][pair])["median"]
        row = f"{request:>12.1f} {whole:>14.1f} {event:>12.2f} {extra}"
        print(f"  {client + ' > ' + upstream:<24} {row}".rstrip())
        if client != upstream:
            worst_request, worst_chunk = max(worst_request, request), max(worst_chunk, above)
    print(figures.verdict("a translated request at most", worst_request, REQUEST_TARGET_US, "µs"))
    print(figures.verdict("a translated event, above passing it on, at most", worst_chunk, CHUNK_TARGET_US, "µs"))
