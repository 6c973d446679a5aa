"""The conversation of a messages client, as the messages of chat.

Blocks of one message stay one message wherever chat allows it. Two things stand elsewhere in chat: the results of tools
are messages of their own, before what else the user says, and hold text alone, so that their images come after them in
a message of the user (on the hub they stay, and the second step decides); and what was thought is a field beside the
content.

The templates of many local models take one system message, at the beginning, and fail on a second. So for these the
prompts that stand there are joined into one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import orjson

from headgate.wire.translate.data_url import DataUrl
from headgate.wire.translate.fields import Fate
from headgate.wire.translate.reasoning import ANTHROPIC, OPENAI, SEAL, unseal
from headgate.wire.translate.ruling import Ruling
from headgate.wire.translate.shape import Refusal, T, each, flag, mapping, string, wrong
from headgate.wire.translate.tool_ids import for_chat
from headgate.wire.translate.tool_results import as_text

Json = dict[str, Any]

_BLOCKS: Final = "messages[].content[]"
_INNER: Final = "messages[].content[].content[]"

#: What each object may hold that is carried; the ruling sees to what else stands in it.
_MESSAGE: Final = frozenset({"role", "content"})
_TEXT: Final = frozenset({"type", "text"})
_IMAGE: Final = frozenset({"type", "source"})
_DOCUMENT: Final = frozenset({"type", "source", "title", "context"})
_SEARCH_RESULT: Final = frozenset({"type", "title", "source", "content"})
_RESULT: Final = frozenset({"type", "tool_use_id", "content", "is_error"})
_CALL: Final = frozenset({"type", "id", "name", "input"})
_THINKING: Final = frozenset({"type", "thinking", "signature"})
_REDACTED: Final = frozenset({"type", "data"})
_DATA_SOURCE: Final = frozenset({"type", "media_type", "data"})
_URL_SOURCE: Final = frozenset({"type", "url"})
_CONTENT_SOURCE: Final = frozenset({"type", "content"})


def turns_of(fields: Json, ruling: Ruling) -> list[Json]:
    """`messages`. Raises Refusal."""
    conversation = _Conversation(ruling)
    if fields.get("system") is not None:
        conversation.system(fields["system"], "system", "system[]")
    messages = fields.get("messages")
    each(messages, "messages", conversation.turn)
    made = conversation.whole()
    if not messages or not made:
        raise wrong("messages", "must hold a message that is not empty")
    upstream = ruling.upstream
    # What the hub leads to, a model of the responses API, would not go on with it either.
    if messages[-1].get("role") == "assistant" and (upstream.is_openai or upstream.is_hub):
        why = "it would not continue the assistant's message, but begin another"
        raise ruling.cannot(f"messages[{len(messages) - 1}]", why)
    return made


class _Conversation:
    """Makes chat's messages, in order."""

    __slots__ = ("_behind", "_joins_prompts", "_out", "_prompts", "_ruling")

    def __init__(self, ruling: Ruling) -> None:
        upstream = ruling.upstream
        self._ruling = ruling
        self._out: list[Json] = []
        self._joins_prompts = not (upstream.is_openai or upstream.is_hub)
        self._prompts: list[str] = []  # those at the beginning, where they are joined
        #: After results, what the user said in the same turn: chat wants all results straight after their calls.
        self._behind: list[Json] | None = None

    def whole(self) -> list[Json]:
        """The messages, once the last turn has come."""
        self._end_results()
        if not self._prompts:
            return self._out
        return [{"role": "system", "content": "\n\n".join(self._prompts)}, *self._out]

    def turn(self, message: Json) -> None:
        """The next message. Raises Refusal."""
        role, content = message.get("role"), message.get("content")
        self._ruling.rest(message, _MESSAGE, "messages[]")
        if content is None:
            content = []
        if role == "user":
            self._user(content)
            return
        self._end_results()
        if role == "assistant":
            self._assistant(content)
        elif role == "system":
            self.system(content, "content", _BLOCKS)
        else:
            raise wrong("role", "must be 'user', 'assistant' or 'system'")

    def system(self, content: Any, field: str, place: str) -> None:
        """A prompt; one that says nothing is left out. place: of its blocks, as rows write it. Raises Refusal."""
        text = self._words(content, field, place)
        if not text:
            return
        if self._joins_prompts and not self._out:
            self._prompts.append(text)
        else:
            self._out.append({"role": "system", "content": text})

    def _words(self, content: Any, field: str, place: str) -> str:
        """Content that is text alone."""

        def read(block: Json) -> str:
            if block.get("type") != "text":
                raise wrong("type", "must be 'text'")
            self._ruling.rest(block, _TEXT, place)
            return string(block.get("text"), "text")

        return content if isinstance(content, str) else "\n\n".join(_read(content, field, read))

    def _user(self, content: Any) -> None:
        if isinstance(content, str):
            if self._behind is None:
                self._out.append({"role": "user", "content": content})
            elif content:
                self._behind.append(_text(content))
            return
        shown: list[Json] = []
        parts: list[Json] = []

        def read(block: Json) -> None:
            nonlocal shown, parts
            if block.get("type") == "tool_result":
                if self._behind is None:
                    self._behind = []
                shown += self._result(block)
            else:
                parts += self._part(block, _BLOCKS, "a message of the user")

        _read(content, "content", read)
        if self._behind is None:
            self._out.append({"role": "user", "content": _plain(parts)})
        else:
            self._behind += shown + parts

    def _end_results(self) -> None:
        if self._behind:
            self._out.append({"role": "user", "content": _plain(self._behind)})
        self._behind = None

    def _result(self, block: Json) -> list[Json]:
        """Makes the tool's message, and gives what it cannot hold."""
        self._ruling.rest(block, _RESULT, _BLOCKS)
        call_id = for_chat(string(block.get("tool_use_id"), "tool_use_id"))
        content = block.get("content")
        if isinstance(content, str):
            parts = [_text(content)]
        elif content is None:
            parts = []
        else:
            parts = self._parts(content, "content", lambda inner: self._part(inner, _INNER, "the result of a tool"))
        texts = [part["text"] for part in parts if part["type"] == "text"]
        media = [part for part in parts if part["type"] != "text"]
        failed = flag(block.get("is_error"), "is_error") and not (texts and _is_error(texts[0]))
        shown: list[Json] = []
        told: str | list[Json]
        if media and self._ruling.upstream.is_hub:
            told = [_text("Error:"), *parts] if failed else parts
        else:
            told, shown = as_text(call_id, "\n\n".join(texts), media)
            told = f"Error: {told}" if failed else told
        self._out.append({"role": "tool", "tool_call_id": call_id, "content": told})
        return shown

    # --- what is shown to the model

    def _parts(self, content: Any, field: str, read: Callable[[Json], list[Json]]) -> list[Json]:
        return [part for made in _read(content, field, read) for part in made]

    def _part(self, block: Json, place: str, where: str) -> list[Json]:
        """A block as one part or more. place: the block's, as rows write it. where: the same in words."""
        kind, ruling = block.get("type"), self._ruling
        if kind == "text":
            ruling.rest(block, _TEXT, _BLOCKS)
            return [_text(string(block.get("text"), "text"))]
        if kind == "image":
            ruling.rest(block, _IMAGE, _BLOCKS)
            return [{"type": "image_url", "image_url": {"url": self._image(block.get("source"))}}]
        if kind == "document":
            ruling.rest(block, _DOCUMENT, _BLOCKS)
            return self._document(block)
        if kind == "search_result":
            ruling.rest(block, _SEARCH_RESULT, _BLOCKS)
            found = [string(block.get("title"), "title"), string(block.get("source"), "source")]
            words = self._words(block.get("content"), "content", _BLOCKS)
            return [_text("\n".join(found) + "\n\n" + words)]
        raise self._misplaced(kind, place, where)

    def _image(self, source: Any) -> str:
        kind = mapping(source, "source").get("type")
        if kind == "url":
            self._rest_of_source(source, _URL_SOURCE)
            return string(source.get("url"), "source.url")
        if kind == "base64":
            return self._data_url(source)
        raise self._ruling.kind(kind, f"{_BLOCKS}:image.source", "source.type")

    def _document(self, block: Json) -> list[Json]:
        source = mapping(block.get("source"), "source")
        kind, title, context = source.get("type"), block.get("title"), block.get("context")
        head = [string(value, name) for name, value in (("title", title), ("context", context)) if value]
        if kind == "base64":
            file = {"filename": head[0] if title else "document.pdf", "file_data": self._data_url(source)}
            return [*([_text(head[-1])] if context else []), {"type": "file", "file": file}]
        if kind == "text":
            self._rest_of_source(source, _DATA_SOURCE)
            return [_text("\n".join([*head, string(source.get("data"), "source.data")]))]
        if kind != "content":
            raise self._ruling.kind(kind, f"{_BLOCKS}:document.source", "source.type")
        self._rest_of_source(source, _CONTENT_SOURCE)
        parts = [_text("\n".join(head))] if head else []
        content = source.get("content")
        if isinstance(content, str):
            return [*parts, _text(content)]
        return parts + self._parts(content, "source.content", self._page)

    def _page(self, inner: Json) -> list[Json]:
        if inner.get("type") not in ("text", "image"):
            raise wrong("type", "must be 'text' or 'image' in a document")
        return self._part(inner, _INNER, "a document")

    def _data_url(self, source: Json) -> str:
        self._rest_of_source(source, _DATA_SOURCE)
        media_type = string(source.get("media_type"), "source.media_type")
        return str(DataUrl(media_type, True, string(source.get("data"), "source.data")))

    def _rest_of_source(self, source: Json, known: frozenset[str]) -> None:
        self._ruling.rest(source, known, f"{_BLOCKS}.source", "source")

    # --- the assistant

    def _assistant(self, content: Any) -> None:
        if isinstance(content, str):
            self._out.append({"role": "assistant", "content": content})
            return
        texts: list[str] = []
        calls: list[Json] = []
        thoughts: list[str] = []
        details: list[Json] = []

        def read(block: Json) -> None:
            kind = block.get("type")
            if kind == "text":
                self._ruling.rest(block, _TEXT, _BLOCKS)
                texts.append(string(block.get("text"), "text"))
            elif kind == "tool_use":
                calls.append(self._call(block))
            elif kind == "thinking":
                self._thought(block, thoughts, details)
            elif kind == "redacted_thinking":
                self._redacted(block, details)
            else:
                raise self._misplaced(kind, _BLOCKS, "a message of the assistant")

        _read(content, "content", read)
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
        self._ruling.rest(block, _CALL, _BLOCKS)
        try:
            arguments = orjson.dumps(mapping(block.get("input"), "input")).decode()
        except orjson.JSONEncodeError as error:  # it reads deeper nesting than it writes
            raise wrong("input", f"cannot be written again: {error}") from None
        function = {"name": string(block.get("name"), "name"), "arguments": arguments}
        return {"id": for_chat(string(block.get("id"), "id")), "type": "function", "function": function}

    def _redacted(self, block: Json, details: list[Json]) -> None:
        self._ruling.rest(block, _REDACTED, _BLOCKS)
        data = string(block.get("data"), "data")
        if self._ruling.upstream.is_hub:
            entry = {"type": "reasoning.encrypted", "data": data, "format": ANTHROPIC}
            details.append({**entry, "index": _next_index(details)})
        else:
            self._ruling.drop(f"{_BLOCKS}:redacted_thinking")

    def _thought(self, block: Json, thoughts: list[str], details: list[Json]) -> None:
        self._ruling.rest(block, _THINKING, _BLOCKS)
        text = string(block.get("thinking"), "thinking")
        signature = block.get("signature")
        if signature is not None:
            string(signature, "signature")
        if self._ruling.upstream.is_openai:
            self._ruling.drop(f"{_BLOCKS}:thinking")
            return
        if text:
            thoughts.append(text)
        if self._ruling.upstream.is_hub:
            details += _details(text, signature, _next_index(details))

    def _misplaced(self, kind: Any, place: str, where: str) -> Refusal:
        """For a block that is none of those which may stand here."""
        row = self._ruling.rows.get(f"{_BLOCKS}:{kind}") if isinstance(kind, str) else None
        if row is not None and row.fate is not Fate.REFUSED:
            return wrong("type", f"cannot be {kind!r} in {where}")
        return self._ruling.kind(kind, place, "type")


def _read(content: Any, field: str, read: Callable[[Json], T]) -> list[T]:
    """`read` of every block of a content that is no string."""
    if not isinstance(content, list):
        raise wrong(field, "must be a string or a list of blocks")
    return each(content, field, read)


def _text(words: str) -> Json:
    return {"type": "text", "text": words}


def _is_error(text: str) -> bool:
    """Whether it says so itself."""
    return text.lstrip()[:5].lower() == "error"


def _plain(parts: list[Json]) -> str | list[Json]:
    """A single text as a string, since many templates know nothing else."""
    if len(parts) == 1 and parts[0]["type"] == "text":
        text: str = parts[0]["text"]
        return text
    return parts or ""


def _next_index(details: list[Json]) -> int:
    """Entries of one thought have one index; each thought has another."""
    return details[-1]["index"] + 1 if details else 0


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
