"""`anthropic.messages`: POST /v1/messages, and the count of its tokens."""

from __future__ import annotations

from typing import Any

import orjson

from headgate.errors import Problem
from headgate.wire import answer, check
from headgate.wire.sse import Event
from headgate.wire.stream import Step, StreamMeter, load_object
from headgate.wire.usage import from_anthropic

STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


def check_request(fields: check.Fields) -> Problem | None:
    if fields.get("max_tokens") is None:
        return check.bad("max_tokens", "you must provide 'max_tokens'")
    return check_prompt(fields) or check.boolean(fields, "stream") or check.positive(fields, "max_tokens")


def check_prompt(fields: check.Fields) -> Problem | None:
    """What a request and a count of its tokens share."""
    system = fields.get("system")
    if system is not None and not isinstance(system, str | list):
        return check.bad("system", "'system' must be a string or a list of blocks")
    return check.messages(fields) or check.objects(fields, "tools")


def read_answer(body: bytes) -> answer.Answer:
    value = answer.load(body, "a message")
    if value.get("type") != "message" or not isinstance(value.get("content"), list):
        raise answer.not_an_answer("JSON that is no message instead of a message")
    if not value.get("stop_reason"):
        raise answer.not_an_answer("a message without a stop reason")
    return answer.Answer(from_anthropic(value.get("usage")), value)


def read_count(body: bytes) -> int:
    value = answer.load(body, "a count of tokens").get("input_tokens")
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise answer.not_an_answer("JSON without 'input_tokens' instead of a count of tokens")
    return value


class MessagesMeter(StreamMeter):
    def __init__(self) -> None:
        super().__init__()
        self._stop_reason_seen = False
        self._open_blocks: set[int] = set()

    def on(self, event: Event) -> Step:
        if event.data is None:
            return Step.OPENING
        body = self.body = load_object(event.data)
        if body is None:
            return self.invalid("sent an event that is not JSON")
        kind = body.get("type")
        if kind == "content_block_delta":
            return Step.CONTENT
        if kind == "error" or (not isinstance(kind, str) and body.get("error")):
            return self.failed(body.get("error"))
        if kind == "message_start":
            message = body.get("message")
            if isinstance(message, dict):
                self.usage = from_anthropic(message.get("usage"), self.usage)
            return Step.OPENING
        if kind == "content_block_start":
            index = body.get("index")
            if not isinstance(index, int):
                return self.invalid("sent a content block whose index is not a number")
            self._open_blocks.add(index)
            return Step.OPENING if is_empty(body.get("content_block")) else Step.CONTENT
        if kind == "content_block_stop":
            index = body.get("index")
            if isinstance(index, int):
                self._open_blocks.discard(index)
            return Step.OPENING
        if kind == "message_delta":
            self.usage = from_anthropic(body.get("usage"), self.usage)
            delta = body.get("delta")
            if isinstance(delta, dict) and delta.get("stop_reason"):
                self._stop_reason_seen = True
                return Step.CONTENT
            return Step.OPENING
        if kind == "message_stop":
            if self._stop_reason_seen:
                return Step.END
            return self.invalid("ended its stream without a stop reason")
        return Step.OPENING if isinstance(kind, str) else self.invalid("sent an event without a type")

    def closing(self) -> bytes | None:
        return STOP if self._stop_reason_seen and not self._open_blocks else None


def is_empty(block: Any) -> bool:
    """A block that begins empty says nothing yet; a tool's name, or a redacted thought, does."""
    return isinstance(block, dict) and block.get("type") in ("text", "thinking") and not block.get(block["type"])


def count_answer(input_tokens: int) -> bytes:
    """The body of an estimated count. `estimated` stands beside the vendor's field, which clients read as ever."""
    return orjson.dumps({"input_tokens": input_tokens, "estimated": True})
