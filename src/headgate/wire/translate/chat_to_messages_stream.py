"""The way back of `chat_to_messages.py`: a message as a chat completion, whole or as a stream of chunks.

A message is a list of blocks, each of which is opened, grows and is closed.

Where a tool stands for the answer's form, its input is the text. Other text is then held back to the end, since it
would spoil the form; it counts only where the tool was not called after all.

Blocks of tools that the vendor's servers run are passed over, and so is every block of a kind that is not known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import orjson

from headgate.wire.translate.asked import Asked
from headgate.wire.translate.chat_chunks import Chunks, completion, detail
from headgate.wire.translate.chat_to_messages_form import ANSWER_TOOL, answering
from headgate.wire.translate.reasoning import ANTHROPIC
from headgate.wire.translate.shape import Malformed
from headgate.wire.usage import Usage, from_anthropic

Json = dict[str, Any]

_TEXT: Final = "text"
_THINKING: Final = "thinking"
_TOOL_USE: Final = "tool_use"
_ANSWER: Final = "answer"  # the tool that stands for the form
_PASSED: Final = ""

#: The kind of block that each delta belongs to.
_DELTAS: Final = {
    "text_delta": _TEXT,
    "citations_delta": _TEXT,
    "thinking_delta": _THINKING,
    "signature_delta": _THINKING,
    "input_json_delta": _TOOL_USE,
}
_CUT: Final = ("max_tokens", "model_context_window_exceeded")
_FINISH: Final = {"max_tokens": "length", "model_context_window_exceeded": "length", "refusal": "content_filter"}


class _Block:
    """index: among the calls, or among the thoughts. begun: whether any of its content was sent. input: of a call, as
    the block's start told it."""

    __slots__ = ("begun", "index", "input", "kind")

    def __init__(self, kind: str, index: int = 0) -> None:
        self.kind = kind
        self.index = index
        self.begun = False
        self.input: Json | None = None


class Stream:
    __slots__ = ("_asked", "_begun", "_blocks", "_chunks", "_form", "_held", "usage")

    _chunks: Chunks  # once it has begun

    def __init__(self, asked: Asked) -> None:
        self.usage: Usage | None = None
        self._asked = asked
        self._begun = False
        self._blocks: dict[int, _Block] = {}  # those that are open
        self._form = answering(asked)
        self._held: list[str] = []

    def on(self, event: Json) -> list[Json]:
        kind = event.get("type")
        if not isinstance(kind, str):
            raise Malformed("sent an event without a type")
        handler = _HANDLERS.get(kind)
        if handler is None:
            return []
        if not self._begun and kind != "message_start":
            raise Malformed("sent a part of a message before its start")
        return handler(self, event)

    def end(self) -> list[Json]:
        if not self._begun or not self._chunks.finished:
            raise Malformed("ended its stream without a stop reason")
        return self._chunks.usage(self.usage)

    # --- events

    def _message_start(self, event: Json) -> list[Json]:
        message = event.get("message")
        if not isinstance(message, dict):
            raise Malformed("sent a message that is not an object")
        if self._begun:
            raise Malformed("sent a second message")
        self._begun = True
        self.usage = from_anthropic(message.get("usage"))
        self._chunks = Chunks(self._asked, message.get("id"), message.get("model"), self._asked.now_s)
        return [self._chunks.delta({"role": "assistant", "content": ""})]

    def _block_start(self, event: Json) -> list[Json]:
        index, raw = event.get("index"), event.get("content_block")
        if not isinstance(index, int) or index in self._blocks:
            raise Malformed("sent a block whose index is no number, or that of an open one")
        if not isinstance(raw, dict) or not isinstance(raw.get("type"), str):
            raise Malformed("sent a block that is not an object with a type")
        if self._chunks.finished:
            raise Malformed("went on after its stop reason")
        kind = raw["type"]
        if kind == _TEXT:
            self._blocks[index] = _Block(_TEXT)
            return self._say(_string(raw, "text"))
        if kind == _THINKING:
            block = self._blocks[index] = _Block(_THINKING, self._new_thought())
            return self._think(block, _string(raw, "thinking")) + self._sign(block, _string(raw, "signature"))
        if kind == "redacted_thinking":
            self._blocks[index] = _Block(_PASSED)
            entry = {**detail("encrypted", ANTHROPIC, self._new_thought()), "data": _string(raw, "data")}
            return [self._chunks.delta({"reasoning_details": [entry]})]
        if kind == _TOOL_USE:
            block = self._blocks[index] = self._tool(raw)
            return [self._chunks.call(_string(raw, "id"), raw["name"])] if block.kind == _TOOL_USE else []
        self._blocks[index] = _Block(_PASSED)
        return []

    def _block_delta(self, event: Json) -> list[Json]:
        index, delta = event.get("index"), event.get("delta")
        block = self._blocks.get(index) if isinstance(index, int) else None
        if block is None or not isinstance(delta, dict):
            raise Malformed("sent a delta that is no object, or of a block that is not open")
        kind, own = delta.get("type"), block.kind
        if kind == "text_delta" and own == _TEXT:
            return self._say(_piece(delta, "text"))
        if not isinstance(kind, str):
            raise Malformed("sent a delta without a type")
        if own == _PASSED or kind not in _DELTAS:
            return []
        if kind == "input_json_delta":
            if own == _TOOL_USE:
                return self._argue(block, _piece(delta, "partial_json"))
            if own == _ANSWER:
                return self._answer(block, _piece(delta, "partial_json"))
        if _DELTAS[kind] != own:
            raise Malformed("sent a delta that does not fit its block")
        if kind == "thinking_delta":
            return self._think(block, _piece(delta, "thinking"))
        if kind == "signature_delta":
            return self._sign(block, _piece(delta, "signature"))
        return []

    def _block_stop(self, event: Json) -> list[Json]:
        index = event.get("index")
        block = self._blocks.pop(index, None) if isinstance(index, int) else None
        if block is not None:
            return self._close(block)
        if self._chunks.finished:  # which closed it
            return []
        raise Malformed("ended a block that is not open")

    def _message_delta(self, event: Json) -> list[Json]:
        self.usage = from_anthropic(event.get("usage"), self.usage)
        delta = event.get("delta")
        if delta is None:
            return []
        if not isinstance(delta, dict):
            raise Malformed("sent a delta that is not an object")
        reason = delta.get("stop_reason")
        if not reason or self._chunks.finished:
            return []
        chunks = [chunk for block in self._blocks.values() for chunk in self._close(block)]
        self._blocks = {}
        if self._form is not None:
            said = self._form.finish(cut=reason in _CUT) if self._form.called else "".join(self._held)
            if said:
                chunks.append(self._chunks.delta({"content": said}))
        finish = _FINISH.get(reason, "stop") if isinstance(reason, str) else "stop"
        if finish == "stop" and self._chunks.calls and reason != "stop_sequence":
            finish = "tool_calls"
        chunks.append(self._chunks.delta({}, finish))
        return chunks

    # --- what they hold

    def _say(self, text: str) -> list[Json]:
        if not text:
            return []
        if self._form is not None:
            self._held.append(text)
            return []
        return [self._chunks.delta({"content": text})]

    def _think(self, block: _Block, text: str) -> list[Json]:
        if not text:
            return []
        entry = {**detail("text", ANTHROPIC, block.index), "text": text}
        return [self._chunks.thought(block.index, text, entry)]

    def _sign(self, block: _Block, signature: str) -> list[Json]:
        if not signature:
            return []
        entry = {**detail("text", ANTHROPIC, block.index), "signature": signature}
        return [self._chunks.delta({"reasoning_details": [entry]})]

    def _new_thought(self) -> int:
        self._chunks.thoughts += 1
        return self._chunks.thoughts - 1

    def _tool(self, raw: Json) -> _Block:
        name, arguments = raw.get("name"), raw.get("input")
        if not isinstance(name, str) or not name:
            raise Malformed("sent a tool call without a name")
        if arguments is not None and not isinstance(arguments, dict):
            raise Malformed("sent a tool call whose arguments are not JSON")
        if self._form is None or name != ANSWER_TOOL:
            block = _Block(_TOOL_USE, self._chunks.calls)
        elif self._form.called:  # it answers once
            block = _Block(_PASSED)
        else:
            block = _Block(_ANSWER)
            self._form.called = True
        block.input = arguments
        return block

    def _argue(self, block: _Block, piece: str) -> list[Json]:
        if not piece:
            return []
        if not block.begun:
            block.begun = not piece.isspace()
        return [self._chunks.argument(block.index, piece)]

    def _answer(self, block: _Block, piece: str) -> list[Json]:
        if not piece or self._form is None:
            return []
        block.begun = True
        text = self._form.feed(piece)
        return [self._chunks.delta({"content": text})] if text else []

    def _close(self, block: _Block) -> list[Json]:
        """What a block still lacks: a call's arguments, where no delta told them."""
        if block.begun or block.kind not in (_TOOL_USE, _ANSWER):
            return []
        try:
            whole = orjson.dumps(block.input or {}).decode()
        except orjson.JSONEncodeError as error:  # it reads deeper nesting than it writes
            raise Malformed(f"sent arguments that cannot be written again: {error}") from None
        return self._argue(block, whole) if block.kind == _TOOL_USE else self._answer(block, whole)


_HANDLERS: Final[dict[str, Callable[[Stream, Json], list[Json]]]] = {
    "message_start": Stream._message_start,
    "content_block_start": Stream._block_start,
    "content_block_delta": Stream._block_delta,
    "content_block_stop": Stream._block_stop,
    "message_delta": Stream._message_delta,
}


def answer(value: Json, asked: Asked) -> Json:
    """A whole answer is read as a stream whose blocks begin with all that they hold. A call that the limit cut, and
    that has no arguments that could be read, is left out."""
    content = value.get("content")
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        raise Malformed("sent a message whose content is not a list of blocks")
    reason = value.get("stop_reason")
    if reason in _CUT:
        content = [b for b in content if b.get("type") != _TOOL_USE or isinstance(b.get("input"), dict | None)]
    stream = Stream(asked)
    chunks = stream.on({"type": "message_start", "message": value})
    for index, block in enumerate(content):
        chunks += stream.on({"type": "content_block_start", "index": index, "content_block": block})
        chunks += stream.on({"type": "content_block_stop", "index": index})
    chunks += stream.on({"type": "message_delta", "delta": {"stop_reason": reason or "end_turn"}})
    return completion(chunks, stream.usage)


def _string(raw: Json, name: str) -> str:
    """A field of a block's start, which may be missing."""
    value = raw.get(name)
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    raise Malformed(f"sent a block whose {name} is not a string")


def _piece(delta: Json, name: str) -> str:
    value = delta.get(name)
    if isinstance(value, str):
        return value
    raise Malformed(f"sent a delta without its {name}")
