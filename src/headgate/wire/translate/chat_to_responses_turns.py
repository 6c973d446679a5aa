"""The conversation of a chat client as the items of responses.

Each message becomes one item or several: what was thought, then what was said, then the tools that were called, which
is the order in which the model wrote them. An assistant's words go as one string, since the list of parts that the
vendor publishes for input has no place for them without the id that they were stored under.
"""

from __future__ import annotations

from typing import Any, Final

from headgate.wire.translate.reasoning import OPENAI, SEAL, with_inherited
from headgate.wire.translate.ruling import Ruling
from headgate.wire.translate.shape import each, is_object, items, mapping, string, wrong
from headgate.wire.translate.tool_ids import for_chat

Json = dict[str, Any]

_PROMPT: Final = frozenset({"role", "content"})
_ASSISTANT: Final = frozenset(
    {"role", "content", "refusal", "tool_calls", "reasoning_content", "reasoning", "reasoning_details"}
)
_TOOL: Final = frozenset({"role", "content", "tool_call_id"})
_ANY_ROLE: Final = _ASSISTANT | _TOOL
_USER_PARTS: Final = {
    "text": frozenset({"type", "text", "prompt_cache_breakpoint"}),
    "image_url": frozenset({"type", "image_url", "prompt_cache_breakpoint"}),
    "file": frozenset({"type", "file", "prompt_cache_breakpoint"}),
}
_ASSISTANT_PARTS: Final = {
    "text": frozenset({"type", "text", "prompt_cache_breakpoint"}),
    "refusal": frozenset({"type", "refusal"}),
}
_IMAGE: Final = frozenset({"url", "detail"})
_FILE: Final = frozenset({"filename", "file_data", "file_id"})
_FUNCTION_CALL: Final = frozenset({"id", "type", "function"})
_FUNCTION: Final = frozenset({"name", "arguments"})
_CUSTOM_CALL: Final = frozenset({"id", "type", "custom"})
_CUSTOM: Final = frozenset({"name", "input"})


def turns_of(fields: Json, ruling: Ruling) -> list[Json]:
    """`input`. Raises Refusal."""
    customs: set[str] = set()  # ids of calls whose results are of another type
    turns = each(fields.get("messages"), "messages", lambda message: _turn(message, customs, ruling))
    made = [item for turn in turns for item in turn]
    if not made:
        raise wrong("messages", "must hold a message that is not empty")
    return made


def _turn(message: Json, customs: set[str], ruling: Ruling) -> list[Json]:
    role = message.get("role")
    if role in ("user", "system", "developer"):
        _look(message, _PROMPT, role, ruling)
        content = message.get("content")
        if content is None or content == []:
            return []
        return [{"role": role, "content": content if isinstance(content, str) else _parts(content, ruling)}]
    if role == "assistant":
        return _assistant(message, customs, ruling)
    if role == "tool":
        return [_result(message, customs, ruling)]
    if role == "function":
        raise ruling.refused("messages[]:function", "role")
    raise wrong("role", "must be one of developer, system, user, assistant, tool")


def _look(message: Json, known: frozenset[str], role: str, ruling: Ruling) -> None:
    """What only another role's messages hold has a row that says `carried`, which is not true here."""
    if message.keys() <= known:
        return
    for name, value in message.items():
        if name not in known and name in _ANY_ROLE and value is not None:
            raise ruling.cannot(name, f"a message of role {role!r} holds no such field")
    ruling.rest(message, known, "messages[]")


def _known(part: Json, kinds: dict[str, frozenset[str]], ruling: Ruling) -> str:
    """The type of a part, all of whose fields were looked at."""
    kind = part.get("type")
    if not isinstance(kind, str) or kind not in kinds:
        raise ruling.kind(kind, "messages[].content[]", "type")
    ruling.rest(part, kinds[kind], "messages[].content[]")
    return kind


def _parts(content: Any, ruling: Ruling) -> list[Json]:
    return each(content, "content", lambda part: _part(part, ruling))


def _part(part: Json, ruling: Ruling) -> Json:
    kind = _known(part, _USER_PARTS, ruling)
    if kind == "text":
        made: Json = {"type": "input_text", "text": string(part.get("text"), "text")}
    elif kind == "image_url":
        made = _image(mapping(part.get("image_url"), "image_url"), ruling)
    else:
        made = _file(mapping(part.get("file"), "file"), ruling)
    mark = part.get("prompt_cache_breakpoint")
    if mark is not None:
        made["prompt_cache_breakpoint"] = mark
    return made


def _image(image: Json, ruling: Ruling) -> Json:
    ruling.rest(image, _IMAGE, "messages[].content[].image_url", "image_url")
    detail = image.get("detail")
    return {
        "type": "input_image",
        "image_url": string(image.get("url"), "image_url.url"),
        "detail": "auto" if detail is None else string(detail, "image_url.detail"),
    }


def _file(file: Json, ruling: Ruling) -> Json:
    ruling.rest(file, _FILE, "messages[].content[].file", "file")
    file_id, name = file.get("file_id"), file.get("filename")
    if file_id is not None:
        if not ruling.upstream.is_openai:
            raise ruling.cannot("file.file_id", "the file lies with another vendor")
        return {"type": "input_file", "file_id": string(file_id, "file.file_id")}
    made = {"type": "input_file", "file_data": string(file.get("file_data"), "file.file_data")}
    if name is not None:
        made["filename"] = string(name, "file.filename")
    return made


def _assistant(message: Json, customs: set[str], ruling: Ruling) -> list[Json]:
    _look(message, _ASSISTANT, "assistant", ruling)
    turn = _thoughts(message, ruling)
    content, refused, calls = message.get("content"), message.get("refusal"), message.get("tool_calls")
    texts = [content] if isinstance(content, str) else each(content, "content", lambda part: _said(part, ruling))
    if refused is not None:
        texts.append(string(refused, "refusal"))
    said = "".join(texts)
    if said or not calls:  # a turn of tool calls only has no words
        turn.append({"type": "message", "role": "assistant", "content": said})
    turn += each(calls, "tool_calls", lambda call: _call(call, customs, ruling))
    return turn


def _said(part: Json, ruling: Ruling) -> str:
    kind = _known(part, _ASSISTANT_PARTS, ruling)
    if part.get("prompt_cache_breakpoint") is not None:
        ruling.drop("messages[].content[].prompt_cache_breakpoint")
    return string(part.get(kind), kind)


def _call(call: Json, customs: set[str], ruling: Ruling) -> Json:
    kind = call.get("type")
    call_id = for_chat(string(call.get("id"), "id"))
    if kind == "function" or kind is None:
        ruling.rest(call, _FUNCTION_CALL, "messages[].tool_calls[]")
        function = mapping(call.get("function"), "function")
        ruling.rest(function, _FUNCTION, "messages[].tool_calls[].function", "function")
        arguments = function.get("arguments")
        if arguments is None or not string(arguments, "function.arguments").strip():
            arguments = "{}"
        elif not is_object(arguments):
            raise ruling.cannot("function.arguments", "they are not the JSON of an object")
        name = string(function.get("name"), "function.name")
        return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}
    if kind != "custom":
        raise ruling.kind(kind, "messages[].tool_calls[]", "type")
    ruling.rest(call, _CUSTOM_CALL, "messages[].tool_calls[]")
    custom = mapping(call.get("custom"), "custom")
    ruling.rest(custom, _CUSTOM, "messages[].tool_calls[].custom", "custom")
    customs.add(call_id)
    return {
        "type": "custom_tool_call",
        "call_id": call_id,
        "name": string(custom.get("name"), "custom.name"),
        "input": string(custom.get("input"), "custom.input"),
    }


def _result(message: Json, customs: set[str], ruling: Ruling) -> Json:
    _look(message, _TOOL, "tool", ruling)
    call_id = for_chat(string(message.get("tool_call_id"), "tool_call_id"))
    content = message.get("content")
    if content is None or content == []:
        content = ""
    elif not isinstance(content, str):
        content = _parts(content, ruling)
    kind = "custom_tool_call_output" if call_id in customs else "function_call_output"
    return {"type": kind, "call_id": call_id, "output": content}


def _thoughts(message: Json, ruling: Ruling) -> list[Json]:
    """The reasoning items of an assistant's turn, from `reasoning_details`. What the vendor did not encrypt is left
    out, and so is everything for a model that does not reason, since such a model refuses it. Raw thoughts go to open
    models, which neither sign nor encrypt."""
    details = message.get("reasoning_details")
    if not details:
        if message.get("reasoning_content") or message.get("reasoning"):
            ruling.drop("messages[].reasoning_content")
        return []
    groups: dict[tuple[str, Any], dict[str, list[str]]] = {}
    left_out = False
    for entry in with_inherited(items(details, "reasoning_details")):
        item_id, index = entry.get("id"), entry.get("index")
        if entry.get("format") != OPENAI:
            left_out = True
            continue
        if isinstance(item_id, str) and item_id:
            group = groups.setdefault(("id", item_id), {"id": [item_id]})
        else:
            group = groups.setdefault(("index", index if isinstance(index, int) else None), {})
        for name in ("summary", "text", "data"):  # which may have come in pieces
            if isinstance(entry.get(name), str):
                group.setdefault(name, []).append(entry[name])
    made = []
    for pieces in groups.values():
        whole = {name: "".join(texts) for name, texts in pieces.items()}
        item: Json = {"type": "reasoning", "summary": []}
        if "id" in whole:
            item["id"] = whole["id"]
        data = whole.get("data", "")
        if data and not data.startswith(SEAL):
            item["encrypted_content"] = data
            if whole.get("summary"):
                item["summary"] = [{"type": "summary_text", "text": whole["summary"]}]
            made.append(item)
        elif whole.get("text") and not ruling.upstream.is_openai:
            item["content"] = [{"type": "reasoning_text", "text": whole["text"]}]
            made.append(item)
        else:
            left_out = True
    if not ruling.upstream.takes_effort:
        made, left_out = [], True
    if left_out:
        ruling.drop("messages[].reasoning_content")
    return made
