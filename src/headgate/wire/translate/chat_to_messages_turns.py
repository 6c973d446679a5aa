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

from headgate.wire.translate import data_url
from headgate.wire.translate.data_url import DataUrl
from headgate.wire.translate.reasoning import ANTHROPIC, SEAL, unseal, with_inherited
from headgate.wire.translate.ruling import Ruling
from headgate.wire.translate.shape import each, items, mapping, string, wrong
from headgate.wire.translate.tool_ids import for_messages

Json = dict[str, Any]

_PART: Final = "messages[].content[]"
_PROMPT: Final = frozenset({"role", "content", "cache_control"})
_ASSISTANT: Final = _PROMPT | {"refusal", "tool_calls", "reasoning_content", "reasoning", "reasoning_details"}
_TOOL: Final = _PROMPT | {"tool_call_id"}
_ANY_ROLE: Final = _ASSISTANT | _TOOL
_PARTS: Final = {
    "text": frozenset({"type", "text", "cache_control"}),
    "refusal": frozenset({"type", "refusal", "cache_control"}),
    "image_url": frozenset({"type", "image_url", "cache_control"}),
    "file": frozenset({"type", "file", "cache_control"}),
}
_MARK: Final = frozenset({"type", "ttl"})
_IMAGE: Final = frozenset({"url"})
_FILE: Final = frozenset({"filename", "file_data"})
_CALL: Final = frozenset({"id", "type", "function"})
_FUNCTION: Final = frozenset({"name", "arguments"})

#: What each role may show.
_SHOWN: Final = frozenset({"text", "image_url", "file"})
_SAID: Final = frozenset({"text", "refusal"})
_TEXT: Final = frozenset({"text"})


def turns_of(fields: Json, ruling: Ruling) -> Conversation:
    """The conversation, read whole. Raises Refusal."""
    conversation = Conversation(ruling)
    each(fields.get("messages"), "messages", conversation.read)
    conversation.finish()
    if not conversation.messages:
        raise ruling.cannot("messages", "it needs words of the user")
    return conversation


class Conversation:
    """system: the blocks of the prompt. messages: the turns. called: names of the tools that were called."""

    __slots__ = ("_behind", "_directions", "_ruling", "called", "messages", "system")

    def __init__(self, ruling: Ruling) -> None:
        self.system: list[Json] = []
        self.messages: list[Json] = []
        self.called: dict[str, None] = {}
        self._ruling = ruling
        #: What the user said beside the results that open the last message, and stands behind them all.
        self._behind: list[Json] | None = None
        self._directions: list[Json] = []  # a later prompt, whose place is after the user's words

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

    def read(self, message: Json) -> None:
        """The next message. Raises Refusal."""
        role = message.get("role")
        if role == "user":
            self._look(message, _PROMPT, role)
            self._add("user", self._marked(self._text(message, _SHOWN), message))
        elif role == "assistant":
            self._assistant(message)
        elif role == "tool":
            self._result(message)
        elif role in ("system", "developer"):
            self._look(message, _PROMPT, role)
            blocks = _blocks(self._marked(self._text(message, _TEXT), message))
            if self.messages and self._ruling.upstream.system_turns:
                self._directions += blocks
            else:
                self.system += blocks
        elif role == "function":
            raise self._ruling.refused("messages[]:function", "role")
        else:
            raise wrong("role", "must be one of developer, system, user, assistant, tool")

    def finish(self) -> None:
        """After the last message: puts what was held back where it belongs."""
        self._place_directions()

    def _look(self, message: Json, known: frozenset[str], role: str) -> None:
        """What only another role's messages hold has a row that says `carried`, which is not true here."""
        if message.keys() <= known:
            return
        for name, value in message.items():
            if name not in known and name in _ANY_ROLE and value is not None:
                raise self._ruling.cannot(name, f"a message of role {role!r} holds no such field")
        self._ruling.rest(message, known, "messages[]")

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
        self._look(message, _TOOL, "tool")
        content = self._text(message, _SHOWN)
        if content:
            result["content"] = content
        mark = mark_of(message, "messages[]", self._ruling)
        if mark is not None:
            result["cache_control"] = mark
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
        self._look(message, _ASSISTANT, "assistant")
        thoughts = self._thoughts(message)
        content: str | list[Json] = self._text(message, _SAID)
        refused, calls = message.get("refusal"), message.get("tool_calls")
        if thoughts or refused or calls:
            content = _blocks(content)
            if refused:
                content += _blocks(string(refused, "refusal"))
            content += each(calls, "tool_calls", self._call)
            if thoughts and not content:  # a message cannot end with what was thought
                self._ruling.drop("messages[].reasoning_content")
            elif thoughts:
                content = thoughts + content
        self._add("assistant", self._marked(content, message))

    def _call(self, call: Json) -> Json:
        kind = call.get("type")
        if kind is not None and kind != "function":
            raise self._ruling.kind(kind, "messages[].tool_calls[]", "type")
        self._ruling.rest(call, _CALL, "messages[].tool_calls[]")
        function = mapping(call.get("function"), "function")
        self._ruling.rest(function, _FUNCTION, "messages[].tool_calls[].function", "function")
        name, written = string(function.get("name"), "function.name"), function.get("arguments")
        if written is None or not string(written, "function.arguments").strip():
            arguments = {}
        else:
            try:
                arguments = orjson.loads(written)
            except orjson.JSONDecodeError:
                arguments = None
            if not isinstance(arguments, dict):
                raise self._ruling.cannot("function.arguments", "they are not the JSON of an object")
        self.called[name] = None
        return {"type": "tool_use", "id": for_messages(string(call.get("id"), "id")), "name": name, "input": arguments}

    # --- what was thought

    def _thoughts(self, message: Json) -> list[Json]:
        """Entries of one index are pieces of one block, as a stream gave them."""
        details = message.get("reasoning_details")
        if not details:
            if message.get("reasoning_content") or message.get("reasoning"):
                self._ruling.drop("messages[].reasoning_content")
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
            self._ruling.drop("messages[].reasoning_content")
        return blocks

    # --- parts

    def _text(self, message: Json, kinds: frozenset[str]) -> str | list[Json]:
        content = message.get("content")
        if isinstance(content, str):
            return content
        blocks = each(content, "content", lambda part: self._part(part, kinds))
        return [block for block in blocks if block is not None]

    def _marked(self, content: str | list[Json], message: Json) -> str | list[Json]:
        """The cache's mark of a whole message, which stands on its last block."""
        mark = mark_of(message, "messages[]", self._ruling)
        if mark is None:
            return content
        blocks = _blocks(content)
        return [*blocks[:-1], {**blocks[-1], "cache_control": mark}] if blocks else blocks

    def _part(self, part: Json, kinds: frozenset[str]) -> Json | None:
        """None for a text that says nothing."""
        kind = part.get("type")
        known = _PARTS.get(kind) if isinstance(kind, str) else None
        if known is None:
            raise self._ruling.kind(kind, _PART, "type")
        if kind not in kinds:
            raise wrong("type", f"must be one of {', '.join(sorted(kinds))} in a message of this role")
        self._ruling.rest(part, known, _PART)
        if kind in _SAID:
            text = string(part.get(kind), kind)
            if not text or text.isspace():
                return None
            block: Json = {"type": "text", "text": text}
        elif kind == "image_url":
            block = self._image(mapping(part.get("image_url"), "image_url"))
        else:
            block = self._file(mapping(part.get("file"), "file"))
        mark = mark_of(part, _PART, self._ruling)
        if mark is not None:
            block["cache_control"] = mark
        return block

    def _image(self, image: Json) -> Json:
        self._ruling.rest(image, _IMAGE, f"{_PART}.image_url", "image_url")
        field = "image_url.url"
        url = string(image.get("url"), field)
        if url[:8].lower().startswith(("http://", "https://")):
            return {"type": "image", "source": {"type": "url", "url": url}}
        found = data_url.parse(url)
        if found is None:
            raise self._ruling.cannot(field, "it is neither http(s) nor a data URL")
        if not found.media_type.startswith("image/"):
            raise wrong(field, "must hold an image")
        if not found.is_base64:
            raise self._ruling.cannot(field, "it must be base64")
        # "image/jpg" is no type, but written everywhere.
        media_type = "image/jpeg" if found.media_type == "image/jpg" else found.media_type
        return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": found.data}}

    def _file(self, file: Json) -> Json:
        self._ruling.rest(file, _FILE, f"{_PART}.file", "file")
        field = "file.file_data"
        written, name = string(file.get("file_data"), field), file.get("filename")
        found = data_url.parse(written)
        if found is None:
            if ":" in written[:100]:
                raise wrong(field, "must be base64, or a data URL")
            found = DataUrl("application/pdf", True, written)
        source: Json
        if found.media_type == "application/pdf" and found.is_base64:
            source = {"type": "base64", "media_type": found.media_type, "data": found.data}
        elif found.media_type.startswith("text/"):
            source = {"type": "text", "media_type": "text/plain", "data": _decoded(found, field)}
        else:
            raise self._ruling.cannot(field, f"it takes PDF and text, not {found.media_type[:50]!r}")
        block: Json = {"type": "document", "source": source}
        if name:
            block["title"] = string(name, "file.filename")
        return block


def mark_of(given: Json, place: str, ruling: Ruling) -> Json | None:
    """What the cache is asked to keep. place: of the object that it stands on. Raises Refusal."""
    mark = given.get("cache_control")
    if mark is None:
        return None
    mapping(mark, "cache_control")
    ruling.rest(mark, _MARK, f"{place}.cache_control", "cache_control")
    marked: Json = mark
    return marked


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


def _decoded(found: DataUrl, field: str) -> str:
    if not found.is_base64:
        return unquote(found.data)
    try:
        return base64.b64decode(found.data).decode()
    except (binascii.Error, ValueError):
        raise wrong(field, "must hold text in base64") from None
