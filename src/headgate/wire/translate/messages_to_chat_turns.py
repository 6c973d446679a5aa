"""The conversation of a messages client, as the messages of chat.

Blocks of one message stay one message wherever chat allows it. Two things stand elsewhere in chat: the results of tools
are messages of their own, before what else the user says, and hold text alone, so that their images come after them in
a message of the user; and what was thought is a field beside the content.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from headgate.wire.translate.fields import MESSAGES_TO_CHAT, Fate, refusal
from headgate.wire.translate.reasoning import ANTHROPIC, OPENAI, SEAL, unseal
from headgate.wire.translate.shape import Refusal, items, mapping, string, wrong
from headgate.wire.translate.tool_ids import for_chat
from headgate.wire.translate.upstream import Upstream

Json = dict[str, Any]

_BLOCKS = "messages[].content[]"

#: What each object may hold that is carried; `rest` sees to what else stands in it.
_MESSAGE = frozenset({"role", "content"})
_TEXT = frozenset({"type", "text"})
_IMAGE = frozenset({"type", "source"})
_DOCUMENT = frozenset({"type", "source", "title", "context"})
_SEARCH_RESULT = frozenset({"type", "title", "source", "content"})
_RESULT = frozenset({"type", "tool_use_id", "content", "is_error"})
_CALL = frozenset({"type", "id", "name", "input"})
_THINKING = frozenset({"type", "thinking", "signature"})
_REDACTED = frozenset({"type", "data"})


class Turns:
    """Makes chat's messages, in order."""

    __slots__ = ("_behind", "_dropped", "_out", "_upstream")

    def __init__(self, upstream: Upstream, dropped: list[str]) -> None:
        self._upstream = upstream
        self._dropped = dropped
        self._out: list[Json] = []
        #: After results, what the user said in the same turn: chat wants all results straight after their calls.
        self._behind: list[Json] | None = None

    def all(self, fields: Json) -> list[Json]:
        system = fields.get("system")
        if system is not None:
            text = self._system(system, "system", "system[]")
            if text:
                self._out.append({"role": "system", "content": text})
        messages = items(fields.get("messages"), "messages")
        if not messages:
            raise wrong("messages", "must hold at least one message")
        for index, message in enumerate(messages):
            try:
                self._turn(message)
            except Refusal as refused:
                raise refused.within(f"messages[{index}]") from None
        self._end_results()
        last, upstream = messages[-1].get("role"), self._upstream
        # What the hub leads to, a model of the responses API, would not go on with it either.
        if last == "assistant" and (upstream.is_openai or upstream.is_hub):
            why = "it would not continue the assistant's message, but begin another"
            raise Refusal(f"messages[{len(messages) - 1}]", f"cannot be carried to {upstream.sentence}: {why}")
        return self._out

    def _turn(self, message: Json) -> None:
        role, content = message.get("role"), message.get("content")
        if len(message) > 2:
            self._rest(message, _MESSAGE, "messages[]")
        if role == "user":
            self._user(content)
            return
        self._end_results()
        if role == "assistant":
            self._assistant(content)
        elif role == "system":
            self._out.append({"role": "system", "content": self._system(content, "content", _BLOCKS)})
        else:
            raise wrong("role", "must be 'user', 'assistant' or 'system'")

    def _system(self, content: Any, field: str, place: str) -> str:
        if isinstance(content, str):
            return content
        texts: list[str] = []
        for index, block in enumerate(_content(content, field)):
            try:
                if block.get("type") != "text":
                    raise wrong("type", "must be 'text'")
                if len(block) > 2:
                    self._rest(block, _TEXT, place)
                texts.append(string(block.get("text"), "text"))
            except Refusal as refused:
                raise refused.within(f"{field}[{index}]") from None
        return "\n\n".join(texts)

    def _user(self, content: Any) -> None:
        if isinstance(content, str):
            if self._behind is None:
                self._out.append({"role": "user", "content": content})
            elif content:
                self._behind.append({"type": "text", "text": content})
            return
        blocks = _content(content, "content")
        if self._behind is None and any(block.get("type") == "tool_result" for block in blocks):
            self._behind = []
        shown: list[Json] = []
        parts: list[Json] = []
        for index, block in enumerate(blocks):
            try:
                if block.get("type") == "tool_result":
                    self._result(block, shown)
                else:
                    self._part(block, parts, "a message of the user")
            except Refusal as refused:
                raise refused.within(f"content[{index}]") from None
        if self._behind is None:
            self._out.append({"role": "user", "content": _plain(parts)})
        else:
            self._behind += shown + parts

    def _end_results(self) -> None:
        if self._behind:
            self._out.append({"role": "user", "content": _plain(self._behind)})
        self._behind = None

    def _result(self, block: Json, shown: list[Json]) -> None:
        """The result of a tool as its message; its images and files, which that cannot hold, go to `shown`."""
        self._rest(block, _RESULT, _BLOCKS)
        call = for_chat(string(block.get("tool_use_id"), "tool_use_id"))
        content = block.get("content")
        if content is None:
            text = ""
        elif isinstance(content, str):
            text = content
        else:
            parts: list[Json] = []
            for index, inner in enumerate(_content(content, "content")):
                try:
                    self._part(inner, parts, "the result of a tool")
                except Refusal as refused:
                    raise refused.within(f"content[{index}]") from None
            text = "\n\n".join([part["text"] for part in parts if part["type"] == "text"])
            media = [part for part in parts if part["type"] != "text"]
            if media:
                shown.append({"type": "text", "text": f"From the result of tool call {call}:"})
                shown += media
        if flag(block.get("is_error"), "is_error") and text.lstrip()[:5].lower() != "error":
            text = f"Error: {text}"
        self._out.append({"role": "tool", "tool_call_id": call, "content": text})

    def _part(self, block: Json, parts: list[Json], where: str) -> None:
        """A block that is shown to the model, as one part or more."""
        kind = block.get("type")
        if kind == "text":
            if len(block) > 2:
                self._rest(block, _TEXT, _BLOCKS)
            parts.append({"type": "text", "text": string(block.get("text"), "text")})
        elif kind == "image":
            self._rest(block, _IMAGE, _BLOCKS)
            parts.append({"type": "image_url", "image_url": {"url": self._image(block.get("source"))}})
        elif kind == "document":
            self._rest(block, _DOCUMENT, _BLOCKS)
            self._document(block, parts)
        elif kind == "search_result":
            self._rest(block, _SEARCH_RESULT, _BLOCKS)
            found = [string(block.get("title"), "title"), string(block.get("source"), "source")]
            text = self._system(block.get("content"), "content", _BLOCKS)
            parts.append({"type": "text", "text": "\n".join(found) + "\n\n" + text})
        else:
            raise self._misplaced(kind, where)

    def _image(self, source: Any) -> str:
        source = mapping(source, "source")
        kind = source.get("type")
        if kind == "url":
            return string(source.get("url"), "source.url")
        if kind == "base64":
            return _data_url(source)
        raise self._unreadable(kind, "image")

    def _document(self, block: Json, parts: list[Json]) -> None:
        source = mapping(block.get("source"), "source")
        kind, title, context = source.get("type"), block.get("title"), block.get("context")
        head = [string(value, name) for name, value in (("title", title), ("context", context)) if value]
        if kind == "base64":
            if context:
                parts.append({"type": "text", "text": head[-1]})
            file = {"filename": head[0] if title else "document.pdf", "file_data": _data_url(source)}
            parts.append({"type": "file", "file": file})
        elif kind == "text":
            head.append(string(source.get("data"), "source.data"))
            parts.append({"type": "text", "text": "\n".join(head)})
        elif kind == "content":
            if head:
                parts.append({"type": "text", "text": "\n".join(head)})
            content = source.get("content")
            if isinstance(content, str):
                parts.append({"type": "text", "text": content})
                return
            for index, inner in enumerate(_content(content, "source.content")):
                try:
                    if inner.get("type") not in ("text", "image"):
                        raise wrong("type", "must be 'text' or 'image' in a document")
                    self._part(inner, parts, "a document")
                except Refusal as refused:
                    raise refused.within(f"source.content[{index}]") from None
        else:
            raise self._unreadable(kind, "document")

    def _assistant(self, content: Any) -> None:
        if isinstance(content, str):
            self._out.append({"role": "assistant", "content": content})
            return
        texts: list[str] = []
        calls: list[Json] = []
        thoughts: list[str] = []
        details: list[Json] = []
        for index, block in enumerate(_content(content, "content")):
            try:
                kind = block.get("type")
                if kind == "text":
                    if len(block) > 2:
                        self._rest(block, _TEXT, _BLOCKS)
                    texts.append(string(block.get("text"), "text"))
                elif kind == "tool_use":
                    calls.append(self._call(block))
                elif kind in ("thinking", "redacted_thinking"):
                    self._thought(block, kind, thoughts, details)
                else:
                    raise self._misplaced(kind, "a message of the assistant")
            except Refusal as refused:
                raise refused.within(f"content[{index}]") from None
        # One text may have been cut into several blocks in the middle of a word, for its citations.
        message: Json = {"role": "assistant", "content": "".join(texts) if texts or not calls else None}
        if thoughts:
            message["reasoning_content"] = "\n\n".join(thoughts)
        if details:
            message["reasoning_details"] = details
        if calls:
            message["tool_calls"] = calls
        self._out.append(message)

    def _call(self, block: Json) -> Json:
        if len(block) > 4:
            self._rest(block, _CALL, _BLOCKS)
        try:
            arguments = orjson.dumps(mapping(block.get("input"), "input")).decode()
        except orjson.JSONEncodeError as error:  # it reads deeper nesting than it writes
            raise wrong("input", f"cannot be written again: {error}") from None
        function = {"name": string(block.get("name"), "name"), "arguments": arguments}
        return {"id": for_chat(string(block.get("id"), "id")), "type": "function", "function": function}

    def _thought(self, block: Json, kind: str, thoughts: list[str], details: list[Json]) -> None:
        """Entries of one thought have one index; each thought has another."""
        index = details[-1]["index"] + 1 if details else 0
        if kind == "redacted_thinking":
            self._rest(block, _REDACTED, _BLOCKS)
            data = string(block.get("data"), "data")
            if self._upstream.is_hub:
                details.append({"type": "reasoning.encrypted", "data": data, "format": ANTHROPIC, "index": index})
            else:
                self._dropped.append(f"{_BLOCKS}:redacted_thinking")
            return
        self._rest(block, _THINKING, _BLOCKS)
        text = string(block.get("thinking"), "thinking")
        signature = block.get("signature")
        if signature is not None:
            string(signature, "signature")
        if self._upstream.is_openai:
            self._dropped.append(f"{_BLOCKS}:thinking")
            return
        if text:
            thoughts.append(text)
        if self._upstream.is_hub:
            details += _details(text, signature, index)

    def _rest(self, given: Json, known: frozenset[str], place: str) -> None:
        rest(given, known, place, self._upstream, self._dropped)

    def _misplaced(self, kind: Any, where: str) -> Refusal:
        """For a block that is none of those which may stand here."""
        kind = string(kind, "type")
        row = MESSAGES_TO_CHAT.get(f"{_BLOCKS}:{kind}") or MESSAGES_TO_CHAT.get(f"{_BLOCKS}.content[]:{kind}")
        if row is not None and row.fate is not Fate.REFUSED:
            return wrong("", f"of type '{kind}' cannot stand in {where}")
        why = f": {row.note}" if row is not None else ""
        return Refusal("", f"of type '{kind[:50]}' cannot be carried to {self._upstream.sentence}{why}")

    def _unreadable(self, kind: Any, what: str) -> Refusal:
        """For a source that is none of those which chat has."""
        kind = string(kind, "source.type")
        for row in (f"{_BLOCKS}.source:{kind}", f"{_BLOCKS}:{what}.source:{kind}"):
            if row in MESSAGES_TO_CHAT:
                return refusal(MESSAGES_TO_CHAT, row, "source", self._upstream)
        return Refusal("source", f"of type '{kind[:50]}' cannot be carried to {self._upstream.sentence}")


def rest(given: Mapping[str, Any], known: frozenset[str], place: str, upstream: Upstream, dropped: list[str]) -> None:
    """What else an object holds, by the table. place: of the object, as the table's rows name it."""
    for name, value in given.items():
        if name in known or value is None:
            continue
        row = MESSAGES_TO_CHAT.get(f"{place}.{name}")
        if row is None:
            raise Refusal(name or '""', f"is not a field that headgate can carry to {upstream.sentence}")
        if any(value == idle and type(value) is type(idle) for idle in row.idle):
            continue
        if row.fate is Fate.REFUSED:
            raise refusal(MESSAGES_TO_CHAT, f"{place}.{name}", name, upstream)
        dropped.append(f"{place}.{name}")


def _content(value: Any, field: str) -> list[Json]:
    if not isinstance(value, list):
        raise wrong(field, "must be a string or a list of blocks")
    return items(value, field)


def _plain(parts: list[Json]) -> str | list[Json]:
    """A single text as a string, since many templates know nothing else."""
    if len(parts) == 1 and parts[0]["type"] == "text":
        text: str = parts[0]["text"]
        return text
    return parts or ""


def _data_url(source: Json) -> str:
    kind, data = string(source.get("media_type"), "source.media_type"), string(source.get("data"), "source.data")
    return f"data:{kind};base64,{data}"


def _details(text: str, signature: str | None, index: int) -> list[Json]:
    """The entries of one thinking block, for the vendor that they come from to take back."""
    entry = unseal(signature) or {}
    data, item = entry.get("data"), entry.get("id")
    if entry.get("format") == OPENAI and isinstance(data, str):
        sealed: Json = {"format": OPENAI, "index": index}
        if isinstance(item, str):
            sealed["id"] = item
        summary = [{"type": "reasoning.summary", "summary": text, **sealed}] if text else []
        return [*summary, {"type": "reasoning.encrypted", "data": data, **sealed}]
    if signature and not signature.startswith(SEAL):
        own = {"signature": signature, "format": ANTHROPIC}
        return [{"type": "reasoning.text", "text": text, **own, "index": index}]
    return [{"type": "reasoning.text", "text": text, "index": index}] if text else []


def flag(value: Any, field: str) -> bool:
    if value is None or isinstance(value, bool):
        return bool(value)
    raise wrong(field, "must be true or false")
