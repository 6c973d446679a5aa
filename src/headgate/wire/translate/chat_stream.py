"""The one reader of an answer in chat: its chunks in, its parts out, in the order in which they were said.

Parts are what both other dialects are made of, and whoever writes those knows nothing of chat's forms. What is held
back here, and why:

    white space   until a word of the same kind follows: models write empty lines around their tags and calls, and
                  Anthropic refuses a text of nothing else when it comes back in the next turn
    `<think`      what may still become a tag (`ThinkTags`)
    a tool call   until its name is known to be whole (`tool_calls.py`)

A whole answer is read as a stream of one chunk (`as_chunk`), so that both ways to ask give the same answer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from headgate.wire.translate.reasoning import ANTHROPIC, OPENAI, ThinkTags
from headgate.wire.translate.shape import Malformed
from headgate.wire.translate.tool_calls import CallArguments, CallBegun, CallEnded, ToolCalls
from headgate.wire.usage import Usage, from_openai

Json = dict[str, Any]


class Text(NamedTuple):
    """logprobs: what the chunks of this text said under that name, as it came."""

    text: str
    logprobs: list[Any]


class Refused(NamedTuple):
    text: str


class Cited(NamedTuple):
    """annotations: of the text so far, as they came."""

    annotations: list[Any]


class Reasoning(NamedTuple):
    """A piece of reasoning. begins: it is another thought than the one before. id: the vendor's, if any. signature:
    Anthropic's, of the whole thought. encrypted: what only its vendor can read. vendor: whose format these two have."""

    begins: bool
    text: str
    id: str = ""
    signature: str = ""
    encrypted: str = ""
    vendor: str = ""


class Finished(NamedTuple):
    """reason: chat's word for it. sequence: the stop sequence that some servers tell."""

    reason: str
    sequence: Any


Part = Text | Refused | Cited | Reasoning | CallBegun | CallArguments | CallEnded | Finished


class _Thought(NamedTuple):
    index: Any
    text: str
    id: str = ""
    signature: str = ""
    encrypted: str = ""
    vendor: str = ""


class ChatStream:
    """usage: as it was told last."""

    __slots__ = (
        "_blank",
        "_blank_kind",
        "_calls",
        "_finished",
        "_index",
        "_kind",
        "_logprobs",
        "_sealed",
        "_tags",
        "usage",
    )

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self._calls = ToolCalls()
        self._finished = False
        self._kind = ""  # of what was said last
        self._blank: list[str] = []
        self._blank_kind = ""
        self._logprobs: list[Any] = []  # of text that is held back
        self._tags: ThinkTags | None = ThinkTags()
        self._index: Any = None  # of the thought that was begun last
        self._sealed = ""  # what it was signed with, after which it does not go on

    def on(self, chunk: Json) -> list[Part]:
        """The parts that this chunk makes known. Raises Malformed."""
        usage = chunk.get("usage")
        if usage is not None:
            self.usage = from_openai(usage) or self.usage
        choices = chunk.get("choices")
        out: list[Part] = []
        if not choices:  # of its usage, or of what the vendor's filter said
            return out
        choice = only_choice(choices)
        delta = choice.get("delta")
        if delta:
            if not isinstance(delta, dict):
                raise Malformed("sent a delta that is not an object")
            self._read(delta, choice, out)
        reason = choice.get("finish_reason")
        if reason and not self._finished:
            reason = reason if isinstance(reason, str) else "stop"
            self._untag(out)
            self._calls.close(out, reason)
            self._finished = True
            out.append(Finished(reason, choice.get("stop_reason")))
        return out

    def end(self) -> list[Part]:
        """Raises Malformed where the upstream never finished."""
        if not self._finished:
            raise Malformed("ended its stream without a finish reason")
        return []

    def _read(self, delta: Json, choice: Json, out: list[Part]) -> None:
        get = delta.get
        content, refusal, calls = get("content"), get("refusal"), get("tool_calls")
        if get("function_call"):
            raise Malformed("sent a call of the kind that 'tool_calls' has replaced")
        if self._finished:
            if content or refusal or calls:
                raise Malformed("went on after its finish reason")
            return
        if get("reasoning_content") or get("reasoning") or get("reasoning_details"):
            for thought in _thoughts(delta):
                self._untag(out)
                self._think(thought, out)
        if content:
            logprobs = choice.get("logprobs")
            if logprobs is not None:
                self._logprobs.append(logprobs)
            self._content(content, out)
        if refusal:
            if not isinstance(refusal, str):
                raise Malformed("sent a refusal that is not text")
            self._untag(out)
            self._turn("refusal", out)
            out.append(Refused(refusal))
        notes = get("annotations")
        if notes and isinstance(notes, list):
            out.append(Cited(notes))
        if calls:
            if not isinstance(calls, list):
                raise Malformed("sent tool calls that are not a list")
            self._untag(out)
            self._turn("call", out)
            for piece in calls:
                self._calls.on(piece, out)

    # --- text and reasoning

    def _content(self, content: Any, out: list[Part]) -> None:
        if isinstance(content, list):  # Mistral's models that reason
            for part in content:
                self._part(part, out)
        elif not isinstance(content, str):
            raise Malformed("sent content that is not text")
        elif self._tags is None:
            self._say(content, out)
        else:
            self._say_tagged(self._tags.feed(content), out)

    def _part(self, part: Any, out: list[Part]) -> None:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            if part["text"]:
                self._content(part["text"], out)
            return
        inner = part.get("thinking") if kind == "thinking" else None
        if isinstance(inner, str):
            inner = [{"type": "text", "text": inner}]
        if not isinstance(inner, list):
            raise Malformed("sent content that is not text")
        for one in inner:
            text = one.get("text") if isinstance(one, dict) and one.get("type") == "text" else None
            if not isinstance(text, str):
                raise Malformed("sent content that is not text")
            if text:
                self._untag(out)
                self._think(_Thought(None, text), out)

    def _say_tagged(self, told: tuple[str, str], out: list[Part]) -> None:
        thought, text = told
        if thought:
            if not text:
                self._logprobs = []
            self._think(_Thought(None, thought), out)
        if text:
            self._say(text, out)

    def _untag(self, out: list[Part]) -> None:
        """Tags count only in content that nothing stood before: what was held as the beginning of one is text."""
        if self._tags is not None:
            told, self._tags = self._tags.finish(), None
            self._say_tagged(told, out)

    def _turn(self, kind: str, out: list[Part]) -> None:
        """Something of this kind is said: what was open is closed, and white space before it forgotten."""
        if self._kind != kind:
            self._calls.close(out)
            self._kind = kind
            self._blank, self._blank_kind, self._logprobs = [], "", []

    def _worded(self, kind: str, text: str) -> str:
        """The text and the white space before it, or nothing where that is all so far."""
        if text.isspace():
            if self._blank_kind != kind:
                self._blank, self._blank_kind = [], kind
            self._blank.append(text)
            return ""
        if self._blank_kind == kind:
            self._blank.append(text)
            text = "".join(self._blank)
            self._blank_kind = ""
        return text

    def _say(self, text: str, out: list[Part]) -> None:
        if self._kind != "text":
            text = self._worded("text", text)
            if not text:
                return
            logprobs, self._logprobs = self._logprobs, []
            self._turn("text", out)
        else:
            logprobs, self._logprobs = self._logprobs, []
        out.append(Text(text, logprobs))

    def _think(self, thought: _Thought, out: list[Part]) -> None:
        """A thought goes on in the one before it, unless that has another index or was sealed already."""
        index, text, item, signature, encrypted, vendor = thought
        sealed = signature or encrypted
        redacted = bool(encrypted) and vendor == ANTHROPIC  # stands alone
        begins = self._kind != "thought" or redacted
        if not begins:
            begins = (index is not None and self._index is not None and index != self._index) or bool(
                self._sealed and (text or sealed != self._sealed)
            )
        if begins and text:
            text = self._worded("thought", text)
            if self._kind == "thought":
                self._kind = ""
        if not text and not sealed:
            return
        self._turn("thought", out)
        if begins:
            self._index, self._sealed = index, ""
        elif self._index is None:
            self._index = index
        self._sealed = sealed or self._sealed
        out.append(Reasoning(begins, text, item, signature, encrypted, vendor))


def as_chunk(answer: Json) -> Json:
    """A whole answer as the one chunk of a stream. Raises Malformed."""
    choice = only_choice(answer.get("choices"))
    said = choice.get("message")
    if not isinstance(said, dict):
        raise Malformed("sent a choice without a message")
    calls = said.get("tool_calls")
    if isinstance(calls, list):  # each is whole, and stands in its place
        calls = [{**call, "index": i} if isinstance(call, dict) else call for i, call in enumerate(calls)]
    whole = {**choice, "delta": {**said, "tool_calls": calls}, "finish_reason": choice.get("finish_reason") or "stop"}
    return {**answer, "choices": [whole]}


def only_choice(choices: Any) -> Json:
    """The one choice that was asked for. Raises Malformed."""
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        raise Malformed("sent choices that are not a list of one object")
    choice: Json = choices[0]
    if choice.get("index") not in (None, 0):
        raise Malformed("sent another choice than the one that was asked for")
    return choice


def _thoughts(said: Json) -> list[_Thought]:
    """The reasoning in a message or a delta: `reasoning_details`, or else the plain text beside them."""
    text = said.get("reasoning_content") or said.get("reasoning")
    details = said.get("reasoning_details")
    found = [one for one in map(_thought, details) if one is not None] if isinstance(details, list) else []
    if text and isinstance(text, str) and not any(thought.text for thought in found):
        return [_Thought(None, text, found[0].id if found else ""), *found]
    return found


def _thought(entry: Any) -> _Thought | None:
    if not isinstance(entry, dict):
        return None
    kind, vendor, index, item = entry.get("type"), entry.get("format"), entry.get("index"), entry.get("id")
    item = item if isinstance(item, str) else ""
    if kind == "reasoning.encrypted":
        data = entry.get("data")
        if not isinstance(data, str) or not data or vendor not in (ANTHROPIC, OPENAI):
            return None  # what others mean, only their vendors know
        return _Thought(index, "", item, encrypted=data, vendor=vendor)
    text = entry.get("summary" if kind == "reasoning.summary" else "text")
    text = text if isinstance(text, str) else ""
    signature = entry.get("signature") if vendor == ANTHROPIC else None
    signature = signature if isinstance(signature, str) else ""
    if not text and not signature:
        return None
    return _Thought(index, text, item, signature, vendor=vendor if isinstance(vendor, str) else "")
