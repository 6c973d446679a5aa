"""The answers of a chat upstream for a client that speaks messages, event by event.

Chat sends pieces of one message with several fields, which `chat_stream.py` reads; messages sends blocks, one after
another, of which one is open at a time. A block begins with the first part that belongs to no open block, and ends
when a part of another begins or the upstream says that it has finished. `message_delta` waits for the end, since chat
tells its usage after it has finished.
"""

from __future__ import annotations

from typing import Any

from headgate.wire.translate.asked import Asked
from headgate.wire.translate.chat_stream import ChatStream, Finished, Part, Reasoning, Refused, Text
from headgate.wire.translate.reasoning import ANTHROPIC, OPENAI, UNSIGNED, seal
from headgate.wire.translate.shape import Malformed
from headgate.wire.translate.tool_calls import CallArguments, CallBegun, CallEnded
from headgate.wire.translate.tool_ids import made_up
from headgate.wire.usage import Usage, to_anthropic

Json = dict[str, Any]

_STOPS = {"length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


class Stream:
    __slots__ = ("_asked", "_blocks", "_called", "_chat", "_id", "_kind", "_refused", "_signature", "_stop")

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._chat = ChatStream()
        self._id = ""
        self._stop: tuple[str, str | None] = ("end_turn", None)
        self._blocks = 0  # how many were opened
        self._kind = ""  # of the open block
        self._signature = UNSIGNED  # of the open thinking block
        self._called = self._refused = False

    def on(self, event: Json) -> list[Json]:
        out: list[Json] = []
        parts = self._chat.on(event)
        if not self._id and event.get("choices"):
            self._begin(event, out)
        for part in parts:
            self._write(part, out)
        return out

    def end(self) -> list[Json]:
        self._chat.end()
        reason, sequence = self._stop
        delta = {"stop_reason": reason, "stop_sequence": sequence}
        usage = to_anthropic(self._chat.usage or Usage())
        return [{"type": "message_delta", "delta": delta, "usage": usage}, {"type": "message_stop"}]

    def _begin(self, event: Json, out: list[Json]) -> None:
        given, model = event.get("id"), event.get("model")
        own = given.removeprefix("chatcmpl-") if isinstance(given, str) else ""
        self._id = f"msg_{own or self._asked.now_s}"
        message: Json = {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": model if isinstance(model, str) and model else self._asked.upstream.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": to_anthropic(self._chat.usage or Usage()),
        }
        out.append({"type": "message_start", "message": message})

    def _write(self, part: Part, out: list[Json]) -> None:
        if isinstance(part, Text | Refused):
            if isinstance(part, Refused):
                self._refused = True
            if self._kind != "text":
                self._open("text", {"type": "text", "text": ""}, out)
            self._tell({"type": "text_delta", "text": part.text}, out)
        elif isinstance(part, CallArguments):
            self._tell({"type": "input_json_delta", "partial_json": part.text}, out)
        elif isinstance(part, Reasoning):
            self._think(part, out)
        elif isinstance(part, CallBegun):
            if part.custom:
                raise Malformed("sent a call of a tool that is not a function")
            self._called = True
            call_id = part.id or made_up(self._id, self._blocks)
            self._open("tool_use", {"type": "tool_use", "id": call_id, "name": part.name, "input": {}}, out)
        elif isinstance(part, CallEnded):
            self._close(out)
        elif isinstance(part, Finished):
            self._close(out)
            self._stop = self._why(part)

    def _think(self, part: Reasoning, out: list[Json]) -> None:
        if part.encrypted and part.vendor == ANTHROPIC:
            self._open("redacted_thinking", {"type": "redacted_thinking", "data": part.encrypted}, out)
            self._close(out)
            return
        if part.begins:
            self._open("thinking", {"type": "thinking", "thinking": "", "signature": ""}, out)
        if part.text:
            self._tell({"type": "thinking_delta", "thinking": part.text}, out)
        if part.encrypted:
            sealed = {"data": part.encrypted, "id": part.id} if part.id else {"data": part.encrypted}
            self._signature = seal({**sealed, "format": OPENAI})
        elif part.signature:
            self._signature = part.signature

    def _open(self, kind: str, block: Json, out: list[Json]) -> None:
        self._close(out)
        self._kind = kind
        out.append({"type": "content_block_start", "index": self._blocks, "content_block": block})
        self._blocks += 1

    def _tell(self, delta: Json, out: list[Json]) -> None:
        out.append({"type": "content_block_delta", "index": self._blocks - 1, "delta": delta})

    def _close(self, out: list[Json]) -> None:
        """Ends the open block, if there is one."""
        if not self._kind:
            return
        if self._kind == "thinking":
            self._tell({"type": "signature_delta", "signature": self._signature}, out)
            self._signature = UNSIGNED
        self._kind = ""
        out.append({"type": "content_block_stop", "index": self._blocks - 1})

    def _why(self, finished: Finished) -> tuple[str, str | None]:
        stop = _STOPS.get(finished.reason, "end_turn")
        if self._refused and stop != "max_tokens":
            return "refusal", None
        if stop in ("end_turn", "tool_use"):  # some say "stop" although they called, or the reverse
            stop = "tool_use" if self._called else "end_turn"
        sequence, asked = finished.sequence, self._asked.fields.get("stop_sequences")
        if stop == "end_turn" and isinstance(sequence, str) and isinstance(asked, list) and sequence in asked:
            return "stop_sequence", sequence
        return stop, None
