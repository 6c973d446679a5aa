"""The conversation of a responses client as chat's messages.

Responses has a flat list of items where chat has messages. What one turn of the assistant left behind (reasoning, a
message, calls) stands in several items in a row and becomes one message again, since chat demands that the results
follow the message which holds their calls. Chat's results hold only text: their images and files follow in a message
of the user, after the last result of the row. (On the hub they stay where they are.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from headgate.wire.translate.namespaces import joined
from headgate.wire.translate.reasoning import ANTHROPIC, OPENAI, SEAL, UNSIGNED, unseal
from headgate.wire.translate.ruling import Ruling
from headgate.wire.translate.shape import each, is_object, string, wrong
from headgate.wire.translate.tool_ids import for_chat
from headgate.wire.translate.upstream import Upstream

Json = dict[str, Any]

#: Why what OpenAI calls a custom tool goes to no other upstream.
NO_FREEFORM: Final = "a freeform tool cannot be asked of it"

#: What an item may hold that is carried, or that only keeps its vendor's books.
_BOOKS: Final = frozenset({"type", "id", "status", "created_by"})
_MESSAGE: Final = _BOOKS | {"role", "content"}
_REASONING: Final = _BOOKS | {"summary", "content", "encrypted_content"}
_FUNCTION_CALL: Final = _BOOKS | {"call_id", "name", "namespace", "arguments"}
_CUSTOM_CALL: Final = _BOOKS | {"call_id", "name", "input"}
_FUNCTION_OUTPUT: Final = _BOOKS | {"call_id", "output", "name", "namespace"}  # its call says the names, too
_CUSTOM_OUTPUT: Final = _BOOKS | {"call_id", "output", "name"}
_THOUGHT: Final = frozenset({"type", "text"})


def turns_of(fields: Json, ruling: Ruling) -> list[Json]:
    """`messages`. Raises Refusal."""
    conversation = _Conversation(ruling)
    instructions = fields.get("instructions")
    if instructions is not None and string(instructions, "instructions"):
        conversation.system("system", instructions)
    given = fields.get("input")
    if isinstance(given, str):
        conversation.messages.append({"role": "user", "content": given})
    else:
        each(given, "input", conversation.add)
    messages = conversation.whole()
    if not messages:
        raise wrong("input", "must hold an item that is not empty")
    return messages


class _Conversation:
    """`messages`, as the items come. The last one stays open while items of the same turn may follow it."""

    __slots__ = ("_attached", "_prompt", "_ruling", "_thoughts", "_turn", "_unsaid", "_upstream", "messages")

    def __init__(self, ruling: Ruling) -> None:
        self.messages: list[Json] = []
        self._ruling = ruling
        self._upstream = ruling.upstream
        self._turn: Json | None = None  # the assistant's message that is open
        self._thoughts: list[str] = []  # what was thought in it
        self._unsaid: list[Json] = []  # reasoning items whose turn has not begun
        self._prompt: list[str] = []  # what makes up the first message, where that is the one system prompt
        self._attached: list[Json] = []  # images and files of results

    def add(self, item: Json) -> None:
        kind = item.get("type")
        if kind is None:
            kind = "item_reference" if "id" in item and "role" not in item else "message"
        known = _ITEMS.get(kind) if isinstance(kind, str) else None
        if known is None:
            raise self._ruling.kind(kind, "input[]", "type")
        read, fields = known
        self._ruling.rest(item, fields, "input[]")
        read(self, item)

    def finish(self) -> None:
        """Closes what is open: the assistant's turn, and the results that wait for their images."""
        self._end_turn()
        self._end_results()

    def whole(self) -> list[Json]:
        """The messages, once the last item has come."""
        self.finish()
        if self._prompt:
            self.messages[0]["content"] = "\n\n".join(self._prompt)
        return self.messages

    def message(self, item: Json) -> None:
        role, content = item.get("role"), item.get("content")
        if content is None:
            content = []
        if role == "user":
            self.finish()
            if content != []:
                self.messages.append({"role": "user", "content": self._content(content, _USER_PARTS, role)})
        elif role == "assistant":
            self._end_results()
            self._say(self._content(content, _ASSISTANT_PARTS, role))
        elif role in ("system", "developer"):
            self.finish()
            if content != []:
                self.system(role, self._content(content, _SYSTEM_PARTS, role))
        else:
            raise wrong("role", "must be 'user', 'assistant', 'system' or 'developer'")

    def system(self, role: str, content: str | list[Json]) -> None:
        upstream = self._upstream
        if upstream.is_openai or upstream.is_hub:
            role = role if upstream.is_openai else "system"
            self.messages.append({"role": role, "content": content})
            return
        # The templates of many local models take one system message, at the beginning, and fail on a second.
        text = content if isinstance(content, str) else "\n\n".join([part["text"] for part in content])
        if not self.messages or (self._prompt and len(self.messages) == 1):
            self._prompt.append(text)
            self.messages[:] = [{"role": "system"}]
        else:
            self.messages.append({"role": "system", "content": text})

    def function_call(self, item: Json) -> None:
        arguments = item.get("arguments")
        if arguments is None or not string(arguments, "arguments").strip():
            arguments = "{}"
        elif not is_object(arguments):
            raise self._ruling.cannot("arguments", "they are not the JSON of an object")
        name = name_of(item)
        if item.get("namespace") is not None:
            name = joined(string(item["namespace"], "namespace"), name)
        function = {"name": name, "arguments": arguments}
        self._call({"id": _call_id(item), "type": "function", "function": function})

    def custom_tool_call(self, item: Json) -> None:
        if not self._upstream.is_openai:
            raise self._ruling.cannot("type", NO_FREEFORM)
        custom = {"name": name_of(item), "input": string(item.get("input"), "input")}
        self._call({"id": _call_id(item), "type": "custom", "custom": custom})

    def result(self, item: Json) -> None:
        if item["type"] == "custom_tool_call_output" and not self._upstream.is_openai:
            raise self._ruling.cannot("type", NO_FREEFORM)
        self._end_turn()
        call_id, output = _call_id(item), item.get("output")
        if not isinstance(output, str):
            if not isinstance(output, list):
                raise wrong("output", "must be a string or a list of parts")
            parts = self._parts(output, "output", _USER_PARTS, "user")
            output = parts if self._upstream.is_hub and parts else self._without_images(parts, call_id)
        self.messages.append({"role": "tool", "tool_call_id": call_id, "content": output})

    def _without_images(self, parts: list[Json], call_id: str) -> str:
        """The text of a result. What is no text is put by."""
        attached = [part for part in parts if part["type"] != "text"]
        texts = [part["text"] for part in parts if part["type"] == "text"]
        if attached:
            self._attached.append({"type": "text", "text": f"What the tool call {call_id} gave back:"})
            self._attached += attached
            texts = texts or ["What it gave back follows in the next message of the user."]
        return "\n".join(texts)

    def reasoning(self, item: Json) -> None:
        thought = self._thought(item)
        if self._upstream.is_openai:
            self._ruling.drop("input[]:reasoning")
        elif self._turn is None:
            self._unsaid.append(thought)
        else:
            self._think(self._turn, thought)

    def _thought(self, item: Json) -> Json:
        """{"text": what may be read of it, "entries": its `reasoning_details`, without their index}."""
        text = self._read(item, "content", ("reasoning_text", "text"))
        text = text or self._read(item, "summary", ("summary_text",))
        opaque = item.get("encrypted_content")
        if not opaque or opaque == UNSIGNED:
            return {"text": text, "entries": []}
        if string(opaque, "encrypted_content").startswith(SEAL):
            return {"text": text, "entries": _unsealed(text, opaque)}
        own: Json = {"format": OPENAI}
        if item.get("id") is not None:
            own["id"] = string(item["id"], "id")
        entries: list[Json] = [{"type": "reasoning.summary", "summary": text, **own}] if text else []
        entries.append({"type": "reasoning.encrypted", "data": opaque, **own})
        return {"text": text, "entries": entries}

    def _read(self, item: Json, field: str, kinds: tuple[str, ...]) -> str:
        """The text of what was thought. kinds: what its parts may be called."""

        def read(part: Json) -> str:
            if part.get("type") not in kinds:
                raise wrong("type", f"must be {kinds[0]!r}")
            self._ruling.rest(part, _THOUGHT, f"input[].{field}[]")
            return string(part.get("text"), "text")

        return "\n\n".join(each(item.get(field), field, read))

    def _content(self, content: Any, kinds: frozenset[str], role: str) -> str | list[Json]:
        if isinstance(content, str):
            return content
        if not isinstance(content, list):
            raise wrong("content", "must be a string or a list of parts")
        if len(content) == 1:
            text = _lone_text(content[0])
            if text is not None:
                return text
        parts = self._parts(content, "content", kinds, role)
        if len(parts) == 1 and parts[0]["type"] == "text":  # what was refused, told as text
            told: str = parts[0]["text"]
            return told
        return parts or ""

    def _parts(self, content: list[Any], field: str, kinds: frozenset[str], role: str) -> list[Json]:
        """Of a message, or of a result, whose parts have the same rows."""
        return each(content, field, lambda part: self._part(part, kinds, role))

    def _part(self, part: Json, kinds: frozenset[str], role: str) -> Json:
        kind = part.get("type")
        if not isinstance(kind, str) or kind not in _PARTS:
            raise self._ruling.kind(kind, "input[].content[]", "type")
        if kind not in kinds:
            raise self._ruling.cannot("type", f"chat's messages of role {role!r} hold no such part")
        read, fields = _PARTS[kind]
        self._ruling.rest(part, fields, "input[].content[]")
        return read(part, self._upstream)

    def _open_turn(self) -> Json:
        turn = self._turn
        if turn is None:
            turn = self._turn = {"role": "assistant", "content": None}
            self.messages.append(turn)
            for thought in self._unsaid:
                self._think(turn, thought)
            self._unsaid = []
        return turn

    def _say(self, content: str | list[Json]) -> None:
        turn = self._open_turn()
        before = turn["content"]
        # Two messages of one turn stay two parts: nothing says what should stand between them.
        if before is None:
            turn["content"] = content
        else:
            parts = turn["content"] = _as_parts(before)
            parts += _as_parts(content)

    def _call(self, call: Json) -> None:
        self._end_results()
        self._open_turn().setdefault("tool_calls", []).append(call)

    def _think(self, turn: Json, thought: Json) -> None:
        text, entries = thought["text"], thought["entries"]
        if text:
            turn["reasoning_content"] = ""  # joined when the turn ends
            self._thoughts.append(text)
        if entries and self._upstream.is_hub:
            details = turn.setdefault("reasoning_details", [])
            index = details[-1]["index"] + 1 if details else 0
            details += [{**entry, "index": index} for entry in entries]
        elif not text:  # only the vendor that encrypted it could read it
            self._ruling.drop("input[]:reasoning")

    def _end_turn(self) -> None:
        if self._turn is not None and self._thoughts:
            self._turn["reasoning_content"] = "\n\n".join(self._thoughts)
            self._thoughts = []
        self._turn = None
        if self._unsaid:  # chat has no message that says nothing
            self._unsaid = []
            self._ruling.drop("input[]:reasoning")

    def _end_results(self) -> None:
        if self._attached:
            self.messages.append({"role": "user", "content": self._attached})
            self._attached = []


_ITEMS: Final[Mapping[str, tuple[Callable[[_Conversation, Json], None], frozenset[str]]]] = {
    "message": (_Conversation.message, _MESSAGE),
    "function_call": (_Conversation.function_call, _FUNCTION_CALL),
    "function_call_output": (_Conversation.result, _FUNCTION_OUTPUT),
    "custom_tool_call": (_Conversation.custom_tool_call, _CUSTOM_CALL),
    "custom_tool_call_output": (_Conversation.result, _CUSTOM_OUTPUT),
    "reasoning": (_Conversation.reasoning, _REASONING),
}


def _unsealed(text: str, opaque: str) -> list[Json]:
    """What headgate sealed in an answer; nothing where that was unsigned, or no longer is what it was."""
    entry = unseal(opaque)
    if entry is None or entry.get("format") != ANTHROPIC:
        return []
    if isinstance(entry.get("signature"), str):
        return [{"type": "reasoning.text", "text": text, "signature": entry["signature"], "format": ANTHROPIC}]
    if isinstance(entry.get("data"), str):
        return [{"type": "reasoning.encrypted", "data": entry["data"], "format": ANTHROPIC}]
    return []


# --- parts


def _text_part(part: Json, upstream: Upstream) -> Json:
    return {"type": "text", "text": string(part.get("text"), "text")}


def _lone_text(part: Any) -> str | None:
    """The text of a part that holds nothing else: as a plain string every engine takes it, and most content is one."""
    if isinstance(part, dict):
        kind = part.get("type")
        if kind in ("input_text", "output_text") and part.keys() <= _PARTS[kind][1]:
            text = part.get("text")
            return text if isinstance(text, str) else None
    return None


def _refusal_part(part: Json, upstream: Upstream) -> Json:
    said = string(part.get("refusal"), "refusal")
    # The engines know no such part.
    if upstream.is_openai or upstream.is_hub:
        return {"type": "refusal", "refusal": said}
    return {"type": "text", "text": said}


def _image_part(part: Json, upstream: Upstream) -> Json:
    image: Json = {"url": string(part.get("image_url"), "image_url")}
    if part.get("detail") is not None:
        image["detail"] = string(part["detail"], "detail")
    return {"type": "image_url", "image_url": image}


def _file_part(part: Json, upstream: Upstream) -> Json:
    data = string(part.get("file_data"), "file_data")
    file: Json = {}
    if part.get("filename") is not None:
        file["filename"] = string(part["filename"], "filename")
    file["file_data"] = data if data.startswith("data:") else "data:application/pdf;base64," + data
    return {"type": "file", "file": file}


_PARTS: Final[Mapping[str, tuple[Callable[[Json, Upstream], Json], frozenset[str]]]] = {
    "input_text": (_text_part, frozenset({"type", "text"})),
    "output_text": (_text_part, frozenset({"type", "text", "annotations", "logprobs"})),
    "refusal": (_refusal_part, frozenset({"type", "refusal"})),
    "input_image": (_image_part, frozenset({"type", "image_url", "detail"})),
    "input_file": (_file_part, frozenset({"type", "file_data", "filename"})),
}
_SYSTEM_PARTS: Final = frozenset(("input_text", "output_text"))
_USER_PARTS: Final = _SYSTEM_PARTS | {"input_image", "input_file"}
_ASSISTANT_PARTS: Final = _SYSTEM_PARTS | {"refusal"}


def _as_parts(content: str | list[Json]) -> list[Json]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return content


# --- names


def name_of(given: Json) -> str:
    name = string(given.get("name"), "name")
    if not name:
        raise wrong("name", "must not be empty")
    return name


def _call_id(item: Json) -> str:
    return for_chat(string(item.get("call_id"), "call_id"))
