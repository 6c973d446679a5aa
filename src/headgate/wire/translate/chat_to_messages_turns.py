"""The conversation of a chat client as an upstream that speaks messages takes it.

Messages has two roles that take turns, where chat has four in any order. So neighbours of one role become one message,
and the results of tools open the user's message that follows the calls, before what else the user says. A block of text
must say something: empty ones are left out, and so is a message that holds nothing else.

A system prompt before the first turn goes into `system`. A later one keeps its place where the model takes it there,
which is between the user's words and the assistant's answer to them; elsewhere it joins the others in `system`.

What was thought goes back only as the vendor signed it, and as the first blocks of its message.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final
from urllib.parse import unquote

import orjson

from headgate.wire.translate.fields import CHAT_TO_MESSAGES, Fate, refusal
from headgate.wire.translate.reasoning import ANTHROPIC, SEAL, unseal, with_inherited
from headgate.wire.translate.shape import Refusal, items, mapping, string, wrong
from headgate.wire.translate.tool_ids import for_messages
from headgate.wire.translate.upstream import Upstream

Json = dict[str, Any]

_PART: Final = "messages[].content[]"
_PROMPT: Final = frozenset({"role", "content", "cache_control"})
_ASSISTANT: Final = _PROMPT | {"refusal", "tool_calls", "reasoning_content", "reasoning", "reasoning_details"}
_RESULT: Final = frozenset({"role", "content", "tool_call_id"})
_TOOL: Final = _RESULT | {"cache_control"}
_PARTS: Final = {
    "text": frozenset({"type", "text", "cache_control"}),
    "refusal": frozenset({"type", "refusal", "cache_control"}),
    "image_url": frozenset({"type", "image_url", "cache_control"}),
    "file": frozenset({"type", "file", "cache_control"}),
}
_IMAGE: Final = frozenset({"url", "detail"})
_FILE: Final = frozenset({"filename", "file_data", "file_id"})
_CALL: Final = frozenset({"id", "type", "function"})
_FUNCTION: Final = frozenset({"name", "arguments"})

#: What each role may show.
_SHOWN: Final = frozenset({"text", "image_url", "file"})
_SAID: Final = frozenset({"text", "refusal"})
_TEXT: Final = frozenset({"text"})


def rest(given: Json, known: frozenset[str], place: str, upstream: Upstream, dropped: list[str]) -> None:
    """What else an object holds, by the table. place: the object's, as rows name it. Raises Refusal."""
    if given.keys() <= known:
        return
    for name in sorted(given.keys() - known):
        value = given[name]
        if value is None or value is False or value in ([], {}, ""):
            continue
        row = CHAT_TO_MESSAGES.get(f"{place}.{name}")
        if row is None or row.fate is Fate.CARRIED:
            raise Refusal(name or '""', f"is not a field that headgate can carry to {upstream.sentence}")
        if row.fate is Fate.REFUSED:
            raise refusal(CHAT_TO_MESSAGES, f"{place}.{name}", name, upstream)
        dropped.append(f"{place}.{name}")


def unknown(kind: Any, field: str, upstream: Upstream) -> Refusal:
    """A type that the table does not name."""
    if not isinstance(kind, str):
        return wrong(field, "must be a string")
    return Refusal(field, f"{kind[:50]!r} cannot be carried to {upstream.sentence}")


class Conversation:
    """system: the blocks of the prompt. messages: the turns. called: names of the tools that were called."""

    __slots__ = ("_behind", "_directions", "_dropped", "_upstream", "called", "messages", "system")

    def __init__(self, messages: Any, upstream: Upstream, dropped: list[str]) -> None:
        """Raises Refusal."""
        self.system: list[Json] = []
        self.messages: list[Json] = []
        self.called: dict[str, None] = {}
        self._upstream = upstream
        self._dropped = dropped
        #: What the user said beside the results that open the last message, and stands behind them all.
        self._behind: list[Json] | None = None
        self._directions: list[Json] = []  # a later prompt, whose place is after the user's words
        if not isinstance(messages, list):
            raise wrong("messages", "must be a list of objects")
        for index, message in enumerate(messages):
            try:
                self._read(message)
            except Refusal as fault:
                raise fault.within(f"messages[{index}]") from None
        self._place_directions()
        if not self.messages:
            raise Refusal("messages", f"cannot be carried to {upstream.sentence}: it needs words of the user")

    def may_think(self) -> bool:
        """Whether thinking may be asked for by a budget: a turn that goes on must have begun with it."""
        goes_on = False
        for message in reversed(self.messages):
            kind = message["content"][0]["type"] if isinstance(message["content"], list) else "text"
            if message["role"] == "assistant":
                if kind in ("thinking", "redacted_thinking"):
                    return True
                goes_on = True
            elif message["role"] == "user" and kind != "tool_result":
                break
        return not goes_on

    def _read(self, message: Any) -> None:
        if not isinstance(message, dict):
            raise wrong("", "must be an object")
        role = message.get("role")
        if role == "user":
            content = message.get("content")
            if len(message) > 2 or not isinstance(content, str):
                self._rest(message, _PROMPT, "messages[]")
                content = _marked(self._text(message, _SHOWN), message)
            self._add("user", content)
        elif role == "assistant":
            self._assistant(message)
        elif role == "tool":
            self._result(message)
        elif role in ("system", "developer"):
            self._rest(message, _PROMPT, "messages[]")
            blocks = _blocks(_marked(self._text(message, _TEXT), message))
            if self.messages and self._upstream.system_turns:
                self._directions += blocks
            else:
                self.system += blocks
        elif role == "function":
            raise refusal(CHAT_TO_MESSAGES, "messages[]:function", "role", self._upstream)
        else:
            raise wrong("role", "must be one of developer, system, user, assistant, tool")

    def _add(self, role: str, content: str | list[Json]) -> None:
        """A message, or more of the last one."""
        if not content or (isinstance(content, str) and content.isspace()):
            return
        messages = self.messages
        if role == "assistant":
            self._place_directions()
        elif self._behind is not None:
            self._behind += _blocks(content)
            return
        if messages and messages[-1]["role"] == role:
            last = messages[-1]
            if isinstance(last["content"], str):
                last["content"] = _blocks(last["content"])
            last["content"] += _blocks(content)
            return
        messages.append({"role": role, "content": content})

    def _place_directions(self) -> None:
        self._end_results()
        if not self._directions:
            return
        if self.messages[-1]["role"] == "user":
            self.messages.append({"role": "system", "content": plain(self._directions)})
        else:
            self.system += self._directions
        self._directions = []

    def _result(self, message: Json) -> None:
        result: Json = {
            "type": "tool_result",
            "tool_use_id": for_messages(string(message.get("tool_call_id"), "tool_call_id")),
        }
        content = self._text(message, _SHOWN)
        if content:
            result["content"] = content
        if not message.keys() <= _RESULT:
            self._rest(message, _TOOL, "messages[]")
            if message.get("cache_control") is not None:
                result["cache_control"] = mapping(message["cache_control"], "cache_control")
        messages = self.messages
        if self._behind is not None:  # a result has come into this message before
            messages[-1]["content"].append(result)
        elif messages and messages[-1]["role"] == "user":
            self._behind = _blocks(messages[-1]["content"])
            messages[-1]["content"] = [result]
        else:
            self._behind = []
            messages.append({"role": "user", "content": [result]})

    def _end_results(self) -> None:
        if self._behind:
            self.messages[-1]["content"] += self._behind
        self._behind = None

    def _assistant(self, message: Json) -> None:
        thoughts = self._thoughts(message)
        content: str | list[Json] = self._text(message, _SAID)
        refused, calls = message.get("refusal"), message.get("tool_calls")
        if thoughts or refused or calls:
            content = _blocks(content)
            if refused:
                content += _blocks(string(refused, "refusal"))
            for index, call in enumerate(items(calls, "tool_calls")):
                try:
                    content.append(self._call(call))
                except Refusal as fault:
                    raise fault.within(f"tool_calls[{index}]") from None
            if thoughts and not content:  # a message cannot end with what was thought
                self._dropped.append("messages[].reasoning_content")
            elif thoughts:
                content = thoughts + content
        self._rest(message, _ASSISTANT, "messages[]")
        self._add("assistant", _marked(content, message))

    def _call(self, call: Json) -> Json:
        kind = call.get("type")
        if kind == "custom":
            raise refusal(CHAT_TO_MESSAGES, "messages[].tool_calls[]:custom", "type", self._upstream)
        if kind is not None and kind != "function":
            raise unknown(kind, "type", self._upstream)
        function = mapping(call.get("function"), "function")
        name, written = string(function.get("name"), "function.name"), function.get("arguments")
        if written is None or not string(written, "function.arguments").strip():
            arguments = {}
        else:
            try:
                arguments = orjson.loads(written)
            except orjson.JSONDecodeError:
                arguments = None
            if not isinstance(arguments, dict):
                why = f"cannot be carried to {self._upstream.sentence}: they are not the JSON of an object"
                raise Refusal("function.arguments", why)
        self._rest(function, _FUNCTION, "messages[].tool_calls[].function")
        self._rest(call, _CALL, "messages[].tool_calls[]")
        self.called[name] = None
        return {"type": "tool_use", "id": for_messages(string(call.get("id"), "id")), "name": name, "input": arguments}

    # --- what was thought

    def _thoughts(self, message: Json) -> list[Json]:
        """Entries of one index are pieces of one block, as a stream gave them."""
        details = message.get("reasoning_details")
        if not details:
            if message.get("reasoning_content") or message.get("reasoning"):
                self._dropped.append("messages[].reasoning_content")
            return []
        found: list[tuple[Any, Json, list[str]]] = []
        growing: dict[int | None, tuple[Json, list[str]]] = {}
        lost = False
        for entry in with_inherited(items(details, "reasoning_details")):
            index, text = entry.get("index"), entry.get("text")
            if not isinstance(index, int):
                index = None
            if entry.get("format") != ANTHROPIC:
                lost = True
            elif entry.get("type") == "reasoning.encrypted":
                data = _own(entry, "data")
                found.append((index, {"type": "redacted_thinking", "data": data}, []))
            else:
                if index not in growing:
                    growing[index] = ({"type": "thinking", "thinking": "", "signature": ""}, [])
                    found.append((index, *growing[index]))
                block, pieces = growing[index]
                if isinstance(text, str):
                    pieces.append(text)
                signature = _own(entry, "signature")
                if signature:
                    block["signature"] = signature
                    del growing[index]  # nothing comes after it
        if all(index is not None for index, _, _ in found):
            found.sort(key=lambda one: one[0])
        blocks = []
        for _, block, pieces in found:
            if block.get("signature") or block.get("data"):
                if block["type"] == "thinking":
                    block["thinking"] = "".join(pieces)
                blocks.append(block)
            else:
                lost = True
        if lost:
            self._dropped.append("messages[].reasoning_content")
        return blocks

    # --- parts

    def _text(self, message: Json, kinds: frozenset[str]) -> str | list[Json]:
        content = message.get("content")
        return content if isinstance(content, str) else self._parts(content, kinds)

    def _parts(self, content: Any, kinds: frozenset[str]) -> list[Json]:
        blocks = []
        for index, part in enumerate(items(content, "content")):
            try:
                block = self._part(part, kinds)
            except Refusal as fault:
                raise fault.within(f"content[{index}]") from None
            if block is not None:
                blocks.append(block)
        return blocks

    def _part(self, part: Json, kinds: frozenset[str]) -> Json | None:
        """None for a text that says nothing."""
        kind = part.get("type")
        known = _PARTS.get(kind) if isinstance(kind, str) else None
        if known is None:
            row = f"{_PART}:{kind}"
            if isinstance(kind, str) and row in CHAT_TO_MESSAGES:
                raise refusal(CHAT_TO_MESSAGES, row, "type", self._upstream)
            raise unknown(kind, "type", self._upstream)
        if kind not in kinds:
            raise wrong("type", f"must be one of {', '.join(sorted(kinds))} in a message of this role")
        if not part.keys() <= known:
            self._rest(part, known, _PART)
        if kind in _SAID:
            text = string(part.get(kind), kind)
            if not text or text.isspace():
                return None
            block: Json = {"type": "text", "text": text}
        elif kind == "image_url":
            block = self._image(mapping(part.get("image_url"), "image_url"))
        else:
            block = self._file(mapping(part.get("file"), "file"))
        mark = part.get("cache_control")
        if mark is not None:
            block["cache_control"] = mapping(mark, "cache_control")
        return block

    def _image(self, image: Json) -> Json:
        self._rest(image, _IMAGE, f"{_PART}.image_url")
        field = "image_url.url"
        url = string(image.get("url"), field)
        if url[:5].lower() == "data:":
            media, encoded, data = _data_url(url, field)
            if not media.startswith("image/"):
                raise wrong(field, "must hold an image")
            if not encoded:
                raise Refusal(field, f"cannot be carried to {self._upstream.sentence}: it must be base64")
            return {"type": "image", "source": {"type": "base64", "media_type": _media(media), "data": data}}
        if url[:8].lower().startswith(("http://", "https://")):
            return {"type": "image", "source": {"type": "url", "url": url}}
        raise Refusal(field, f"cannot be carried to {self._upstream.sentence}: it is neither http(s) nor a data URL")

    def _file(self, file: Json) -> Json:
        if file.get("file_id") is not None:
            raise refusal(CHAT_TO_MESSAGES, f"{_PART}.file.file_id", "file.file_id", self._upstream)
        self._rest(file, _FILE, f"{_PART}.file")
        field = "file.file_data"
        written, name = string(file.get("file_data"), field), file.get("filename")
        media, encoded, data = "application/pdf", True, written
        if written[:5].lower() == "data:":
            media, encoded, data = _data_url(written, field)
        source: Json
        if media == "application/pdf" and encoded:
            source = {"type": "base64", "media_type": media, "data": data}
        elif media.startswith("text/"):
            source = {"type": "text", "media_type": "text/plain", "data": _decoded(data, encoded, field)}
        else:
            why = f"of type {media[:50]!r} cannot be carried to {self._upstream.sentence}: it takes PDF and text"
            raise Refusal(field, why)
        block: Json = {"type": "document", "source": source}
        if name:
            block["title"] = string(name, "file.filename")
        return block

    def _rest(self, given: Json, known: frozenset[str], place: str) -> None:
        rest(given, known, place, self._upstream, self._dropped)


def plain(blocks: list[Json]) -> str | list[Json]:
    """A single text as a string."""
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        text: str = blocks[0]["text"]
        return text
    return blocks


def _blocks(content: str | list[Json]) -> list[Json]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content and not content.isspace() else []
    return content


def _marked(content: str | list[Json], message: Json) -> str | list[Json]:
    """The cache's mark of a whole message, which stands on its last block."""
    mark = message.get("cache_control")
    if mark is None:
        return content
    mapping(mark, "cache_control")
    blocks = _blocks(content)
    return [*blocks[:-1], {**blocks[-1], "cache_control": mark}] if blocks else blocks


def _own(entry: Json, name: str) -> str:
    """What the vendor itself signed or encrypted; empty where it is not that. A seal is opened."""
    opaque = entry.get(name)
    if not isinstance(opaque, str):
        return ""
    if opaque.startswith(SEAL):
        inner = unseal(opaque) or {}
        opaque = inner.get(name) if inner.get("format") == ANTHROPIC else None
        if not isinstance(opaque, str) or opaque.startswith(SEAL):
            return ""
    return opaque


def _data_url(url: str, field: str) -> tuple[str, bool, str]:
    """(media type, whether it is base64, data)."""
    comma = url.find(",")
    if comma < 0:
        raise wrong(field, "must be a data URL with a comma before its data")
    media, *parameters = url[5:comma].split(";")
    return media.strip().lower(), "base64" in [p.strip().lower() for p in parameters], url[comma + 1 :]


def _media(media: str) -> str:
    return "image/jpeg" if media == "image/jpg" else media  # which is no type, but written everywhere


def _decoded(data: str, encoded: bool, field: str) -> str:
    if not encoded:
        return unquote(data)
    try:
        return base64.b64decode(data).decode()
    except (binascii.Error, ValueError):
        raise wrong(field, "must hold text in base64") from None
