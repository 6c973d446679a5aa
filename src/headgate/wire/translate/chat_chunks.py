"""What a chat client reads of an answer: the chunks of its stream, and the whole completion that they add up to.

Chat has one message, with a place for each kind of content. What was thought goes where the wider world of chat has
agreed: its text into `reasoning_content`, and into `reasoning_details` all that the vendor must see again, under one
index for each block or item. Tool calls have indices of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from headgate.wire.translate.asked import Asked
from headgate.wire.translate.shape import Malformed
from headgate.wire.translate.tool_ids import made_up
from headgate.wire.usage import Usage, to_openai

Json = dict[str, Any]


class Chunks:
    """Writes the chunks of one answer. head: what all of them share. calls, thoughts: how many there are so far, which
    is also the next one's index. finished: whether the finish reason was written."""

    __slots__ = ("_here", "_wants_usage", "calls", "finished", "head", "thoughts")

    def __init__(self, asked: Asked, answer_id: Any, model: Any, created_s: int) -> None:
        """answer_id, model: as the upstream tells them, if it does."""
        self.head: Json = {
            "id": f"chatcmpl-{answer_id if isinstance(answer_id, str) and answer_id else asked.now_s}",
            "object": "chat.completion.chunk",
            "created": created_s,
            "model": model if isinstance(model, str) and model else asked.upstream.model,
        }
        self.calls = 0
        self.thoughts = 0
        self.finished = False
        options = asked.fields.get("stream_options")
        self._wants_usage = isinstance(options, dict) and options.get("include_usage") is True
        self._here: object = None  # where the last thought stood

    def delta(self, delta: Json, finish: str | None = None, logprobs: list[Json] | None = None) -> Json:
        choice: Json = {"index": 0, "delta": delta, "finish_reason": finish}
        if logprobs is not None:
            choice["logprobs"] = {"content": logprobs, "refusal": None}
        if finish is not None:
            self.finished = True
        return {**self.head, "choices": [choice]}

    def usage(self, usage: Usage | None) -> list[Json]:
        """The chunk of usage, where the client asked for it."""
        return [{**self.head, "choices": [], "usage": to_openai(usage or Usage())}] if self._wants_usage else []

    def thought(self, here: object, text: str, detail: Json) -> Json:
        """A piece of reasoning in the open. here: what it is a part of; the texts of two are kept apart by an empty
        line. detail: its entry."""
        apart = self._here is not None and self._here != here
        self._here = here
        return self.delta({"reasoning_content": f"\n\n{text}" if apart else text, "reasoning_details": [detail]})

    def call(self, call_id: Any, name: str, given: str = "", *, custom: bool = False) -> Json:
        """The beginning of the next call. call_id: as the upstream tells it, if it does. given: what is known of the
        arguments."""
        call: Json = {
            "index": self.calls,
            "id": call_id if isinstance(call_id, str) and call_id else made_up(self.head["id"], self.calls),
        }
        if custom:
            call |= {"type": "custom", "custom": {"name": name, "input": given}}
        else:
            call |= {"type": "function", "function": {"name": name, "arguments": given}}
        self.calls += 1
        return self.delta({"tool_calls": [call]})

    def argument(self, index: int, piece: str, *, custom: bool = False) -> Json:
        """More of a call's arguments."""
        more = {"custom": {"input": piece}} if custom else {"function": {"arguments": piece}}
        return self.delta({"tool_calls": [{"index": index, **more}]})


def detail(form: str, vendor: str, index: int, item_id: str = "") -> Json:
    """An entry of `reasoning_details`, to which its content is still to be added. form: `text`, `summary` or
    `encrypted`. vendor: whose format it has."""
    made: Json = {"type": f"reasoning.{form}", "format": vendor, "index": index}
    if item_id:
        made["id"] = item_id
    return made


def completion(chunks: Iterable[Json], usage: Usage | None) -> Json:
    """The whole answer of a finished stream: what its chunks add up to. What stands beside their choices is kept, as
    the last one says it. Raises Malformed."""
    message = _Message()
    logprobs: list[Json] = []
    finish = None
    made: Json = {}
    for chunk in chunks:
        made |= chunk
        for choice in chunk["choices"]:
            message.add(choice["delta"])
            if "logprobs" in choice:
                logprobs += choice["logprobs"]["content"]
            finish = choice["finish_reason"] or finish
    if finish is None:
        raise Malformed("sent an answer without a stop reason")
    choice = {
        "index": 0,
        "message": message.whole(),
        "logprobs": {"content": logprobs, "refusal": None} if logprobs else None,
        "finish_reason": finish,
    }
    made.pop("usage", None)  # which comes last, whether or not a stream was to tell it
    return {**made, "object": "chat.completion", "choices": [choice], "usage": to_openai(usage or Usage())}


#: The names of an entry's fields that come once; the others come in pieces.
_ONCE = frozenset({"type", "format", "index", "id"})


class _Message:
    """A message of which deltas are added up. Pieces of text are kept in lists until it is whole, since an answer may
    come in very many."""

    def __init__(self) -> None:
        self._texts: dict[str, list[str]] = {"content": [], "refusal": [], "reasoning_content": []}
        self._details: list[Json] = []
        self._calls: dict[int, Json] = {}
        self._given: dict[int, list[str]] = {}  # the arguments of each call

    def add(self, delta: Json) -> None:
        for name, piece in delta.items():
            if name in self._texts:
                self._texts[name].append(piece)
            elif name == "reasoning_details":
                for entry in piece:
                    self._think(entry)
            elif name == "tool_calls":
                for call in piece:
                    self._call(call)

    def _think(self, entry: Json) -> None:
        """Goes on with the last entry where it is of the same kind and place, as a signature does after its text."""
        last = self._details[-1] if self._details else None
        if last is None or (last["type"], last["index"]) != (entry["type"], entry["index"]):
            last = {name: value for name, value in entry.items() if name in _ONCE}
            self._details.append(last)
        for name, piece in entry.items():
            if name not in _ONCE:
                last.setdefault(name, []).append(piece)

    def _call(self, call: Json) -> None:
        index = call["index"]
        if "id" in call:
            self._calls[index] = {"id": call["id"], "type": call["type"], call["type"]: {**call[call["type"]]}}
            self._given[index] = []
        form, field = ("custom", "input") if "custom" in call else ("function", "arguments")
        self._given[index].append(call[form][field])

    def whole(self) -> Json:
        texts = {name: "".join(pieces) for name, pieces in self._texts.items()}
        content, refusal = texts["content"], texts["refusal"]
        message: Json = {"role": "assistant", "content": content, "refusal": refusal or None}
        if not content and (refusal or self._calls):
            message["content"] = None
        if texts["reasoning_content"]:
            message["reasoning_content"] = texts["reasoning_content"]
        if self._details:
            message["reasoning_details"] = [
                {name: value if name in _ONCE else "".join(value) for name, value in entry.items()}
                for entry in self._details
            ]
        for index, call in self._calls.items():
            call[call["type"]]["input" if call["type"] == "custom" else "arguments"] = "".join(self._given[index])
        if self._calls:
            message["tool_calls"] = list(self._calls.values())
        return message
