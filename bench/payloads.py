"""The requests and answers that are sent: about 500 bytes asked, about 700 answered, about 250 per streamed chunk."""

from __future__ import annotations

import json

MODEL = "bench"
PATH = "/v1/chat/completions"

_WORDS = "the gate opens a little when the water rises and closes when it falls again so that the mill can run evenly "


def request_body(*, stream: bool) -> bytes:
    messages = [
        {"role": "system", "content": "You keep a mill. " + _WORDS},
        {"role": "user", "content": "When should " + _WORDS + "through the night?"},
    ]
    body = {"model": MODEL, "messages": messages, "temperature": 0.2, "max_tokens": 256}
    if stream:
        body["stream"] = True
    return json.dumps(body, separators=(",", ":")).encode()


def answer_body() -> bytes:
    answer = {
        "id": "chatcmpl-bench00000000000000000000000",
        "object": "chat.completion",
        "created": 1760000000,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": _WORDS.strip() + ".", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 74,
            "completion_tokens": 24,
            "total_tokens": 98,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        },
        "service_tier": "default",
        "system_fingerprint": "fp_bench0000",
    }
    return json.dumps(answer, separators=(",", ":")).encode()


def _chunk(**changes: object) -> bytes:
    chunk = {
        "id": "chatcmpl-bench00000000000000000000000",
        "object": "chat.completion.chunk",
        "created": 1760000000,
        "model": MODEL,
        "service_tier": "default",
        "system_fingerprint": "fp_bench0000",
        **changes,
    }
    return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"


def _delta(delta: dict[str, str], finish: str | None = None) -> bytes:
    return _chunk(choices=[{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}])


def framed(data: bytes) -> bytes:
    """One chunk of the chunked transfer coding."""
    return b"%x\r\n%s\r\n" % (len(data), data)


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
ROLE = framed(_delta({"role": "assistant", "content": ""}))
WORD = framed(_delta({"content": " water"}))
FINISH = framed(_delta({}, "stop"))
USAGE = framed(_chunk(choices=[], usage={"prompt_tokens": 74, "completion_tokens": 24, "total_tokens": 98}))
DONE = framed(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def request_bytes(port: int, key: str, *, stream: bool) -> bytes:
    body = request_body(stream=stream)
    head = (
        f"POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\naccept: */*\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
