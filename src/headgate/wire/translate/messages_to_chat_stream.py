"""The answers of a chat upstream for a client that speaks messages, event by event.

Chat sends pieces of one message with several fields; messages sends blocks, one after another, of which one is open at
a time. A block begins with the first piece that belongs to no open block, and ends when a piece of another begins or
the upstream says that it has finished. What is held back, and why:

    white space       until a word of the same kind follows: models write empty lines around their tags and calls, and
                      Anthropic refuses a text of nothing else when it comes back in the next turn
    a tool call       until its name is known to be whole, which is when its arguments begin
    `message_delta`   until the end, since chat tells its usage after it has finished

The arguments of a call pass as they come, and are judged when its block ends. A piece for a call whose block has ended
cannot be put in its place any more; no server is known to send one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from headgate.wire.translate.asked import Asked
from headgate.wire.translate.reasoning import ANTHROPIC, OPENAI, UNSIGNED, ThinkTags, seal
from headgate.wire.translate.shape import Malformed
from headgate.wire.translate.tool_ids import made_up
from headgate.wire.usage import Usage, from_openai, to_anthropic

Json = dict[str, Any]

_STOPS = {"length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}

_STARTS = {"text": {"type": "text", "text": ""}, "thinking": {"type": "thinking", "thinking": "", "signature": ""}}


class Thought(NamedTuple):
    """A piece of reasoning. index: pieces of another index are another thought; None belongs to any. signature: what
    the next turn needs. redacted: a whole block of its own, which only its vendor can read."""

    index: Any
    text: str
    signature: str | None = None
    redacted: str | None = None


class _Call:
    """A tool call that is being told. key: its index upstream. opened: whether the client has been told of it."""

    __slots__ = ("arguments", "held", "id", "key", "name", "opened")

    def __init__(self, key: Any) -> None:
        self.key = key
        self.id = ""
        self.name = ""
        self.opened = False
        self.arguments: list[str] = []
        self.held: list[str] = []


class Stream:
    __slots__ = (
        "_asked",
        "_blank",
        "_blank_kind",
        "_blocks",
        "_call",
        "_called",
        "_id",
        "_kind",
        "_past",
        "_refused",
        "_signature",
        "_stop",
        "_tags",
        "_thought",
        "_usage",
    )

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._id = ""
        self._usage: Usage | None = None
        self._stop: tuple[str, str | None] | None = None  # reason and sequence, once the upstream has finished
        self._blocks = 0  # how many were opened
        self._kind = ""  # of the open block; a call's may be open without the client's knowing of it yet
        self._blank: list[str] = []
        self._blank_kind = ""
        self._tags: ThinkTags | None = ThinkTags()
        self._thought: Any = None  # index of the open thinking block
        self._signature: str | None = None
        self._call: _Call | None = None
        self._called = False
        self._past: set[int | str] = set()  # indexes and ids of calls whose blocks have ended
        self._refused = False

    def on(self, event: Json) -> list[Json]:
        usage = event.get("usage")
        if usage is not None:
            self._usage = from_openai(usage) or self._usage
        choices = event.get("choices")
        if not choices:
            return []
        choice = only_choice(choices)
        out: list[Json] = []
        if not self._id:
            self._begin(event, out)
        delta = choice.get("delta")
        if delta:
            if not isinstance(delta, dict):
                raise Malformed("sent a delta that is not an object")
            self._read(delta, out)
        reason = choice.get("finish_reason")
        if reason and self._stop is None:
            self._finish(choice, reason, out)
        return out

    def end(self) -> list[Json]:
        if self._stop is None:
            raise Malformed("ended its stream without a finish reason")
        reason, sequence = self._stop
        delta = {"stop_reason": reason, "stop_sequence": sequence}
        usage = to_anthropic(self._usage or Usage())
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
            "usage": to_anthropic(self._usage or Usage()),
        }
        out.append({"type": "message_start", "message": message})

    def _read(self, delta: Json, out: list[Json]) -> None:
        content, refusal, calls = delta.get("content"), delta.get("refusal"), delta.get("tool_calls")
        if delta.get("function_call"):
            raise Malformed("sent a call of the kind that 'tool_calls' has replaced")
        if self._stop is not None:
            if content or refusal or calls:
                raise Malformed("went on after its finish reason")
            return
        for thought in thoughts(delta):
            self._untag(out)
            self._think(thought, out)
        if content:
            if not isinstance(content, str):
                raise Malformed("sent content that is not text")
            if self._tags is None:
                self._say("text", content, out)
            else:
                self._say_tagged(self._tags.feed(content), out)
        if refusal:
            if not isinstance(refusal, str):
                raise Malformed("sent a refusal that is not text")
            self._untag(out)
            self._refused = True
            self._say("text", refusal, out)
        if calls:
            if not isinstance(calls, list):
                raise Malformed("sent tool calls that are not a list")
            self._untag(out)
            for piece in calls:
                self._add(piece, out)

    # --- text and reasoning ---

    def _say(self, kind: str, text: str, out: list[Json]) -> None:
        """A piece of text or of reasoning, which may begin a block."""
        if self._kind != kind:
            if self._blank_kind != kind:
                self._blank.clear()
            if text.isspace():
                self._blank.append(text)
                self._blank_kind = kind
                return
            text = "".join([*self._blank, text])
            self._close(out)
            self._open(kind, {**_STARTS[kind]}, out)
        delta = {"type": "text_delta", "text": text} if kind == "text" else {"type": "thinking_delta", "thinking": text}
        out.append({"type": "content_block_delta", "index": self._blocks - 1, "delta": delta})

    def _say_tagged(self, told: tuple[str, str], out: list[Json]) -> None:
        thought, text = told
        if thought:
            self._say("thinking", thought, out)
        if text:
            self._say("text", text, out)

    def _untag(self, out: list[Json]) -> None:
        """Tags count only in content that nothing stood before: what was held as the beginning of one is text."""
        if self._tags is not None:
            self._say_tagged(self._tags.finish(), out)
            self._tags = None

    def _think(self, thought: Thought, out: list[Json]) -> None:
        index, text, signature, redacted = thought
        if redacted is not None:
            self._close(out)
            self._open("redacted_thinking", {"type": "redacted_thinking", "data": redacted}, out)
            self._close(out)
            return
        if self._kind == "thinking" and (
            (index is not None and self._thought is not None and index != self._thought)
            or (self._signature is not None and (text or signature != self._signature))
        ):
            self._close(out)
        if text:
            self._say("thinking", text, out)
        if signature is not None:
            if self._kind != "thinking":
                self._close(out)
                self._open("thinking", {**_STARTS["thinking"]}, out)
            self._signature = signature
        if index is not None and self._kind == "thinking":
            self._thought = index

    # --- blocks ---

    def _open(self, kind: str, block: Json, out: list[Json]) -> None:
        self._kind = kind
        self._blank_kind = ""
        self._blank.clear()
        out.append({"type": "content_block_start", "index": self._blocks, "content_block": block})
        self._blocks += 1

    def _close(self, out: list[Json], reason: Any = None) -> None:
        """Ends the open block, if there is one. reason: why the upstream finished, where it has."""
        kind, call = self._kind, self._call
        if not kind:
            return
        told = call is None or self._close_call(call, reason, out)
        self._kind = ""
        if kind == "thinking":
            signed = UNSIGNED if self._signature is None else self._signature
            self._signature = self._thought = None
            delta = {"type": "signature_delta", "signature": signed}
            out.append({"type": "content_block_delta", "index": self._blocks - 1, "delta": delta})
        if told:
            out.append({"type": "content_block_stop", "index": self._blocks - 1})

    def _finish(self, choice: Json, reason: Any, out: list[Json]) -> None:
        self._untag(out)
        self._close(out, reason)
        self._stop = self._why(choice, reason)

    def _why(self, choice: Json, reason: Any) -> tuple[str, str | None]:
        stop = _STOPS.get(reason, "end_turn") if isinstance(reason, str) else "end_turn"
        if self._refused and stop != "max_tokens":
            return "refusal", None
        if stop in ("end_turn", "tool_use"):  # some say "stop" although they called, or the reverse
            stop = "tool_use" if self._called else "end_turn"
        sequence, asked = choice.get("stop_reason"), self._asked.fields.get("stop_sequences")
        if stop == "end_turn" and isinstance(sequence, str) and isinstance(asked, list) and sequence in asked:
            return "stop_sequence", sequence
        return stop, None

    # --- tool calls ---

    def _add(self, piece: Any, out: list[Json]) -> None:
        if not isinstance(piece, dict) or not isinstance(piece.get("function") or {}, dict):
            raise Malformed("sent a tool call that is not an object")
        if piece.get("type") not in (None, "", "function"):
            raise Malformed("sent a call of a tool that is not a function")
        key, given, function = piece.get("index"), piece.get("id"), piece.get("function") or {}
        name, arguments = function.get("name") or "", function.get("arguments") or ""
        if not isinstance(name, str) or not isinstance(arguments, str) or not isinstance(given or "", str):
            raise Malformed("sent a tool call whose id, name or arguments are not text")
        if key is not None and not isinstance(key, int):
            raise Malformed("sent a tool call whose index is not a number")
        call = self._told(key, given or "", name, out)
        call.id = call.id or given or ""
        if name and name != call.name:  # some repeat it in each piece
            if call.opened:
                raise Malformed("sent the name of a tool call after its arguments")
            call.name += name
        if not call.arguments:
            arguments = arguments.lstrip()
        if arguments:
            call.arguments.append(arguments)
            call.held.append(arguments)
        if call.held and call.name:
            self._pass(call, out)

    def _told(self, key: int | None, given: str, name: str, out: list[Json]) -> _Call:
        """The call that a piece belongs to: the open one, or a new one. Not every server counts its calls as it should:
        some give no index, or 0 to each, and are told by the ids; some make up an id for each piece, and are told by
        the name that only a new call has."""
        call, past = self._call, self._past
        told_of = given in past
        if call is not None:
            another = bool(given and call.id and given != call.id)
            counted = key is not None and call.key is not None
            if counted and key != call.key:
                told_of = key in past
            elif not another or (counted and not name and not told_of):
                return call
        elif key is not None:
            told_of = key in past
        if told_of and not (name and given and given not in past):
            raise Malformed("sent pieces of two tool calls at once")
        self._close(out)
        self._kind, self._blank_kind = "tool_use", ""
        self._call = call = _Call(key)
        return call

    def _pass(self, call: _Call, out: list[Json]) -> None:
        """Gives the client what it is not told yet of a call."""
        if not call.opened:
            call.opened = self._called = True
            # Some servers give one id to several calls.
            call_id = call.id if call.id and call.id not in self._past else made_up(self._id, self._blocks)
            self._open("tool_use", {"type": "tool_use", "id": call_id, "name": call.name, "input": {}}, out)
        if call.held:
            delta = {"type": "input_json_delta", "partial_json": "".join(call.held)}
            out.append({"type": "content_block_delta", "index": self._blocks - 1, "delta": delta})
            call.held.clear()

    def _close_call(self, call: _Call, reason: Any, out: list[Json]) -> bool:
        """Ends a call; says whether the client was told of it, and so must be told that it ended."""
        self._call = None
        cut = reason == "length"
        if not call.opened:
            if cut:
                return False  # before its arguments began
            if not call.name:
                raise Malformed("sent a tool call without a name")
            self._pass(call, out)
        self._past.update(key for key in (call.key, call.id) if key is not None and key != "")
        if call.arguments and not cut and not _is_object("".join(call.arguments)):
            raise Malformed("sent a tool call whose arguments are not JSON")
        return True


def only_choice(choices: Any) -> Json:
    """The one choice that was asked for."""
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        raise Malformed("sent choices that are not a list of one object")
    choice: Json = choices[0]
    if choice.get("index") not in (None, 0):
        raise Malformed("sent another choice than the one that was asked for")
    return choice


def thoughts(said: Json) -> Iterator[Thought]:
    """The reasoning in a message or a delta, from `reasoning_details`, or else from the plain text beside them."""
    text = said.get("reasoning_content") or said.get("reasoning")
    details = said.get("reasoning_details")
    if isinstance(details, list) and details:
        found = [thought for thought in map(_thought, details) if thought is not None]
        if any(thought.text for thought in found):
            text = ""
    else:
        found = []
    if text and isinstance(text, str):
        yield Thought(None, text)
    yield from found


def _thought(entry: Any) -> Thought | None:
    if not isinstance(entry, dict):
        return None
    kind, vendor, index = entry.get("type"), entry.get("format"), entry.get("index")
    if kind == "reasoning.encrypted":
        data, item = entry.get("data"), entry.get("id")
        if not isinstance(data, str) or not data:
            return None
        if vendor == ANTHROPIC:
            return Thought(index, "", redacted=data)
        if vendor == OPENAI:
            sealed = {"data": data, "id": item} if isinstance(item, str) else {"data": data}
            return Thought(index, "", seal({**sealed, "format": OPENAI}))
        return None
    text = entry.get("summary" if kind == "reasoning.summary" else "text")
    signature = entry.get("signature") if vendor == ANTHROPIC else None
    text = text if isinstance(text, str) else ""
    signature = signature if isinstance(signature, str) and signature else None
    return Thought(index, text, signature) if text or signature is not None else None


def _is_object(arguments: str) -> bool:
    try:
        return isinstance(orjson.loads(arguments), dict)
    except orjson.JSONDecodeError:
        return False
