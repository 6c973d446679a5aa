"""A chat client, or the chat in the middle, on an upstream that speaks responses.

*Input.* Each message becomes one item or several: what was thought, then what was said, then the tools that were
called, which is the order in which the model wrote them. An assistant's words go as one string, since the list of parts
that the vendor publishes for input has no place for them without the id that they were stored under.

*Reasoning.* Nothing is stored upstream, so the reasoning of earlier turns goes back only in the form that the vendor
encrypted; `include` asks for that form wherever the model reasons.
"""

from __future__ import annotations

from typing import Any

from headgate.wire.translate.chat_to_responses_stream import Stream, answer
from headgate.wire.translate.fields import CHAT_TO_RESPONSES, Fate, refusal, sort_out
from headgate.wire.translate.reasoning import EFFORTS, OPENAI, SEAL, nearest
from headgate.wire.translate.shape import Refusal, items, mapping, string, wrong
from headgate.wire.translate.tool_ids import for_chat
from headgate.wire.translate.upstream import Sampling, Upstream

__all__ = ["NAMES", "Stream", "answer", "request"]

Json = dict[str, Any]

NAMES: dict[str, str] = {
    "input": "messages",
    "max_output_tokens": "max_completion_tokens",
    "text": "response_format",
    "reasoning": "reasoning_effort",
    "include": "logprobs",
}

#: The vendor takes no lower limit.
_MIN_OUTPUT_TOKENS = 16

_AS_THEY_ARE = (
    "metadata",
    "user",
    "safety_identifier",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "moderation",
)

_PROMPT = frozenset({"role", "content"})
_ASSISTANT = frozenset(
    {"role", "content", "refusal", "tool_calls", "reasoning_content", "reasoning", "reasoning_details"}
)
_TOOL = frozenset({"role", "content", "tool_call_id"})
_TEXT_PART = frozenset({"type", "text", "prompt_cache_breakpoint"})
_SAID_PART = frozenset({"type", "text", "refusal", "prompt_cache_breakpoint"})
_IMAGE_PART = frozenset({"type", "image_url", "prompt_cache_breakpoint"})
_IMAGE = frozenset({"url", "detail"})
_FILE_PART = frozenset({"type", "file", "prompt_cache_breakpoint"})
_FILE = frozenset({"filename", "file_data", "file_id"})
_FUNCTION_PART = frozenset({"id", "type", "function"})
_CUSTOM_PART = frozenset({"id", "type", "custom"})
_FUNCTION_CALL = frozenset({"name", "arguments"})
_CUSTOM_CALL = frozenset({"name", "input"})
_FUNCTION = frozenset({"name", "description", "parameters", "strict"})
_CUSTOM = frozenset({"name", "description", "format"})
_FORM = frozenset({"type", "json_schema"})
_SCHEMA = frozenset({"name", "description", "schema", "strict"})

_STREAM_OPTIONS = frozenset({"include_usage", "include_obfuscation"})

#: What a function without `parameters` takes, in chat.
_NO_PARAMETERS: Json = {"type": "object", "properties": {}, "additionalProperties": False}


def request(fields: Json, upstream: Upstream, dropped: list[str]) -> Json:
    sort_out(fields, CHAT_TO_RESPONSES, upstream, dropped)
    sent: Json = {"model": upstream.model, "input": _input(fields.get("messages"), upstream, dropped), "store": False}
    include: list[str] = []
    if upstream.sampling is Sampling.NONE or fields.get("reasoning_effort") is not None:
        include.append("reasoning.encrypted_content")
    _stream(fields, sent, upstream, dropped)
    _limit(fields, sent, dropped)
    _sampling(fields, sent, include, upstream, dropped)
    _text(fields, sent, upstream, dropped)
    _effort(fields, sent, upstream, dropped)
    _tools(fields, sent, upstream, dropped)
    if include:
        sent["include"] = include
    for name in _AS_THEY_ARE:
        value = fields.get(name)
        if value is not None:
            sent[name] = value
    return sent


def _others(given: Json, known: frozenset[str], row: str, upstream: Upstream, dropped: list[str]) -> None:
    """Looks at what is not converted: drops what the table drops, and refuses the rest. row: the path of `given` in the
    table."""
    if given.keys() <= known:
        return
    for name in sorted(given.keys() - known):
        value = given[name]
        if value is None or value is False or value in ([], {}, ""):
            continue
        path = f"{row}.{name}"
        at = CHAT_TO_RESPONSES.get(path)
        if at is not None and at.fate is Fate.DROPPED:
            dropped.append(path)
            continue
        field = path.rpartition("[]")[2].removeprefix(".")  # the path within the message or tool
        if at is not None and at.fate is Fate.REFUSED:
            raise refusal(CHAT_TO_RESPONSES, path, field, upstream)
        raise Refusal(field, f"is not a field that headgate can carry to {upstream.sentence}")


def _unknown(kind: Any, field: str, upstream: Upstream) -> Refusal:
    """A type of part, tool or call that the table does not name."""
    if not isinstance(kind, str):
        return wrong(field, "must be a string")
    return Refusal(field, f"{kind[:50]!r} cannot be carried to {upstream.sentence}")


# Messages.


def _input(messages: Any, upstream: Upstream, dropped: list[str]) -> list[Json]:
    if not isinstance(messages, list):
        raise wrong("messages", "must be a list of objects")
    input_items: list[Json] = []
    customs: set[str] = set()  # ids of calls whose results are of another type
    for index, message in enumerate(messages):
        try:
            if not isinstance(message, dict):
                raise wrong("", "must be an object")
            role = message.get("role")
            if role in ("user", "system", "developer"):
                content = message.get("content")
                if not isinstance(content, str):
                    content = _parts(content, upstream, dropped)
                _others(message, _PROMPT, "messages[]", upstream, dropped)
                input_items.append({"role": role, "content": content})
            elif role == "assistant":
                _assistant(message, input_items, customs, upstream, dropped)
            elif role == "tool":
                input_items.append(_result(message, customs, upstream, dropped))
            elif role == "function":
                raise refusal(CHAT_TO_RESPONSES, "messages[]:function", "role", upstream)
            else:
                raise wrong("role", "must be one of developer, system, user, assistant, tool")
        except Refusal as fault:
            raise fault.within(f"messages[{index}]") from None
    return input_items


def _parts(content: Any, upstream: Upstream, dropped: list[str]) -> list[Json]:
    parts = []
    for index, part in enumerate(items(content, "content")):
        try:
            parts.append(_part(part, upstream, dropped))
        except Refusal as fault:
            raise fault.within(f"content[{index}]") from None
    if not parts:
        raise wrong("content", "must be a string or a list of parts")
    return parts


def _part(part: Json, upstream: Upstream, dropped: list[str]) -> Json:
    kind = part.get("type")
    if kind == "text":
        made: Json = {"type": "input_text", "text": string(part.get("text"), "text")}
        _others(part, _TEXT_PART, "messages[].content[]", upstream, dropped)
    elif kind == "image_url":
        image = mapping(part.get("image_url"), "image_url")
        detail = image.get("detail")
        made = {
            "type": "input_image",
            "image_url": string(image.get("url"), "image_url.url"),
            "detail": "auto" if detail is None else string(detail, "image_url.detail"),
        }
        _others(image, _IMAGE, "messages[].content[].image_url", upstream, dropped)
        _others(part, _IMAGE_PART, "messages[].content[]", upstream, dropped)
    elif kind == "file":
        made = _file(mapping(part.get("file"), "file"), upstream, dropped)
        _others(part, _FILE_PART, "messages[].content[]", upstream, dropped)
    elif kind == "input_audio":
        raise refusal(CHAT_TO_RESPONSES, "messages[].content[]:input_audio", "type", upstream)
    else:
        raise _unknown(kind, "type", upstream)
    mark = part.get("prompt_cache_breakpoint")
    if mark is not None:
        made["prompt_cache_breakpoint"] = mark
    return made


def _file(file: Json, upstream: Upstream, dropped: list[str]) -> Json:
    _others(file, _FILE, "messages[].content[].file", upstream, dropped)
    file_id, name = file.get("file_id"), file.get("filename")
    if file_id is not None:
        if not upstream.is_openai:
            raise Refusal(
                "file.file_id", f"cannot be carried to {upstream.sentence}: the file lies with another vendor"
            )
        return {"type": "input_file", "file_id": string(file_id, "file.file_id")}
    made = {"type": "input_file", "file_data": string(file.get("file_data"), "file.file_data")}
    if name is not None:
        made["filename"] = string(name, "file.filename")
    return made


def _assistant(
    message: Json, input_items: list[Json], customs: set[str], upstream: Upstream, dropped: list[str]
) -> None:
    input_items += _thoughts(message, upstream, dropped)
    content, refused, calls = message.get("content"), message.get("refusal"), message.get("tool_calls")
    texts = [content] if isinstance(content, str) else _said(content, upstream, dropped)
    if refused is not None:
        texts.append(string(refused, "refusal"))
    said = "".join(texts)
    if said or not calls:  # a turn of tool calls only has no words
        input_items.append({"type": "message", "role": "assistant", "content": said})
    for index, call in enumerate(items(calls, "tool_calls")):
        try:
            input_items.append(_call(call, customs, upstream, dropped))
        except Refusal as fault:
            raise fault.within(f"tool_calls[{index}]") from None
    _others(message, _ASSISTANT, "messages[]", upstream, dropped)


def _said(content: Any, upstream: Upstream, dropped: list[str]) -> list[str]:
    texts = []
    for index, part in enumerate(items(content, "content")):
        kind = part.get("type")
        try:
            if kind not in ("text", "refusal"):
                raise _unknown(kind, "type", upstream)
            texts.append(string(part.get(kind), kind))
            if part.get("prompt_cache_breakpoint") is not None:
                dropped.append("messages[].content[].prompt_cache_breakpoint")
            _others(part, _SAID_PART, "messages[].content[]", upstream, dropped)
        except Refusal as fault:
            raise fault.within(f"content[{index}]") from None
    return texts


def _call(call: Json, customs: set[str], upstream: Upstream, dropped: list[str]) -> Json:
    kind = call.get("type")
    call_id = for_chat(string(call.get("id"), "id"))
    if kind == "function" or kind is None:
        function = mapping(call.get("function"), "function")
        arguments = function.get("arguments")
        if arguments is None or not string(arguments, "function.arguments").strip():
            arguments = "{}"
        made = {
            "type": "function_call",
            "call_id": call_id,
            "name": string(function.get("name"), "function.name"),
            "arguments": arguments,
        }
        _others(function, _FUNCTION_CALL, "messages[].tool_calls[].function", upstream, dropped)
        _others(call, _FUNCTION_PART, "messages[].tool_calls[]", upstream, dropped)
        return made
    if kind != "custom":
        raise _unknown(kind, "type", upstream)
    custom = mapping(call.get("custom"), "custom")
    _others(custom, _CUSTOM_CALL, "messages[].tool_calls[].custom", upstream, dropped)
    _others(call, _CUSTOM_PART, "messages[].tool_calls[]", upstream, dropped)
    customs.add(call_id)
    return {
        "type": "custom_tool_call",
        "call_id": call_id,
        "name": string(custom.get("name"), "custom.name"),
        "input": string(custom.get("input"), "custom.input"),
    }


def _result(message: Json, customs: set[str], upstream: Upstream, dropped: list[str]) -> Json:
    call_id = for_chat(string(message.get("tool_call_id"), "tool_call_id"))
    content = message.get("content")
    if content is None or content == []:
        content = ""
    elif not isinstance(content, str):
        content = _parts(content, upstream, dropped)
    _others(message, _TOOL, "messages[]", upstream, dropped)
    kind = "custom_tool_call_output" if call_id in customs else "function_call_output"
    return {"type": kind, "call_id": call_id, "output": content}


def _thoughts(message: Json, upstream: Upstream, dropped: list[str]) -> list[Json]:
    """The reasoning items of an assistant's turn, from `reasoning_details`. What the vendor did not encrypt is left
    out, and so is everything for a model that does not reason, since such a model refuses it. Raw thoughts go to open
    models, which neither sign nor encrypt."""
    details = message.get("reasoning_details")
    if not details:
        if message.get("reasoning_content") or message.get("reasoning"):
            dropped.append("messages[].reasoning_content")
        return []
    groups: dict[tuple[str, Any], dict[str, str]] = {}
    left_out = False
    for entry in items(details, "reasoning_details"):
        item_id, index = entry.get("id"), entry.get("index")
        if entry.get("format") != OPENAI:
            left_out = True
            continue
        if isinstance(item_id, str) and item_id:
            group = groups.setdefault(("id", item_id), {"id": item_id})
        else:
            group = groups.setdefault(("index", index if isinstance(index, int) else None), {})
        for name in ("summary", "text", "data"):  # which may have come in pieces
            if isinstance(entry.get(name), str):
                group[name] = group.get(name, "") + entry[name]
    made = []
    for group in groups.values():
        item: Json = {"type": "reasoning", "summary": []}
        if "id" in group:
            item["id"] = group["id"]
        data = group.get("data", "")
        if data and not data.startswith(SEAL):
            item["encrypted_content"] = data
            if group.get("summary"):
                item["summary"] = [{"type": "summary_text", "text": group["summary"]}]
            made.append(item)
        elif group.get("text") and not upstream.is_openai:
            item["content"] = [{"type": "reasoning_text", "text": group["text"]}]
            made.append(item)
        else:
            left_out = True
    if upstream.is_openai and upstream.sampling is not Sampling.NONE:
        made, left_out = [], True
    if left_out:
        dropped.append("messages[].reasoning_content")
    return made


# Everything else.


def _stream(fields: Json, sent: Json, upstream: Upstream, dropped: list[str]) -> None:
    stream = _boolean(fields, "stream")
    if stream:
        sent["stream"] = True
    options = fields.get("stream_options")
    if options is None:
        return
    hidden = _boolean(mapping(options, "stream_options"), "include_obfuscation", "stream_options.")
    if hidden is False and stream:
        sent["stream_options"] = {"include_obfuscation": False}
    elif hidden:  # it is upstream's own default, and ends here
        dropped.append("stream_options.include_obfuscation")
    _others(options, _STREAM_OPTIONS, "stream_options", upstream, dropped)


def _boolean(fields: Json, name: str, before: str = "") -> bool | None:
    value = fields.get(name)
    if value is None or isinstance(value, bool):
        return value
    raise wrong(before + name, "must be true or false")


def _limit(fields: Json, sent: Json, dropped: list[str]) -> None:
    name = "max_completion_tokens" if fields.get("max_completion_tokens") is not None else "max_tokens"
    limit = fields.get(name)
    if limit is None:
        return
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise wrong(name, "must be a positive integer")
    if limit < _MIN_OUTPUT_TOKENS:
        limit = _MIN_OUTPUT_TOKENS
        dropped.append(name)
    sent["max_output_tokens"] = limit


def _sampling(fields: Json, sent: Json, include: list[str], upstream: Upstream, dropped: list[str]) -> None:
    for name in ("temperature", "top_p"):
        value = fields.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong(name, "must be a number")
        if upstream.sampling is not Sampling.NONE:
            sent[name] = value
        elif value != 1:
            dropped.append(name)
    most = fields.get("top_logprobs")
    if most is not None and (isinstance(most, bool) or not isinstance(most, int)):
        raise wrong("top_logprobs", "must be an integer")
    if _boolean(fields, "logprobs"):
        include.append("message.output_text.logprobs")
        if most is not None:
            sent["top_logprobs"] = most
    elif most:
        raise wrong("top_logprobs", "is only allowed where 'logprobs' is true")


def _text(fields: Json, sent: Json, upstream: Upstream, dropped: list[str]) -> None:
    text: Json = {}
    form = fields.get("response_format")
    if form is not None:
        kind = mapping(form, "response_format").get("type")
        if kind == "json_schema":
            text["format"] = _schema(form, upstream, dropped)
        elif kind in ("text", "json_object"):
            text["format"] = {"type": kind}
        else:
            raise _unknown(kind, "response_format.type", upstream)
        _others(form, _FORM, "response_format", upstream, dropped)
    verbosity = fields.get("verbosity")
    if verbosity is not None:
        text["verbosity"] = string(verbosity, "verbosity")
    if text:
        sent["text"] = text


def _schema(form: Json, upstream: Upstream, dropped: list[str]) -> Json:
    field = "response_format.json_schema"
    given = mapping(form.get("json_schema"), field)
    if given.get("schema") is None:
        raise Refusal(f"{field}.schema", f"cannot be left out on {upstream.sentence}")
    made: Json = {
        "type": "json_schema",
        "name": string(given.get("name"), f"{field}.name"),
        "schema": mapping(given["schema"], f"{field}.schema"),
    }
    strict = _boolean(given, "strict", f"{field}.")
    if strict is not None:
        made["strict"] = strict
    if given.get("description") is not None:
        made["description"] = string(given["description"], f"{field}.description")
    _others(given, _SCHEMA, field, upstream, dropped)
    return made


def _effort(fields: Json, sent: Json, upstream: Upstream, dropped: list[str]) -> None:
    effort = fields.get("reasoning_effort")
    if effort is None:
        return
    if effort not in EFFORTS:
        raise wrong("reasoning_effort", f"must be one of {', '.join(EFFORTS)}")
    level = nearest(effort, upstream.efforts)
    if level is None:
        dropped.append("reasoning_effort")
    else:
        sent["reasoning"] = {"effort": level}


def _tools(fields: Json, sent: Json, upstream: Upstream, dropped: list[str]) -> None:
    tools = []
    for index, tool in enumerate(items(fields.get("tools"), "tools")):
        try:
            tools.append(_tool(tool, upstream, dropped))
        except Refusal as fault:
            raise fault.within(f"tools[{index}]") from None
    if tools:
        sent["tools"] = tools
    choice = fields.get("tool_choice")
    if choice is not None:
        sent["tool_choice"] = _choice(choice, upstream, dropped)
    parallel = _boolean(fields, "parallel_tool_calls")
    if parallel is not None:
        sent["parallel_tool_calls"] = parallel


def _tool(tool: Json, upstream: Upstream, dropped: list[str]) -> Json:
    kind = tool.get("type")
    if kind == "custom":
        made = _custom(mapping(tool.get("custom"), "custom"), upstream, dropped)
        _others(tool, _CUSTOM_PART, "tools[]", upstream, dropped)
        return made
    if kind != "function":
        raise _unknown(kind, "type", upstream)
    function = mapping(tool.get("function"), "function")
    parameters = function.get("parameters")
    made = {
        "type": "function",
        "name": string(function.get("name"), "function.name"),
        "parameters": _NO_PARAMETERS if parameters is None else mapping(parameters, "function.parameters"),
        # Where it is not said, chat takes it for false and responses for true.
        "strict": bool(_boolean(function, "strict", "function.")),
    }
    if function.get("description") is not None:
        made["description"] = string(function["description"], "function.description")
    _others(function, _FUNCTION, "tools[].function", upstream, dropped)
    _others(tool, _FUNCTION_PART, "tools[]", upstream, dropped)
    return made


def _custom(custom: Json, upstream: Upstream, dropped: list[str]) -> Json:
    made: Json = {"type": "custom", "name": string(custom.get("name"), "custom.name")}
    if custom.get("description") is not None:
        made["description"] = string(custom["description"], "custom.description")
    form = custom.get("format")
    if form is not None:
        kind = mapping(form, "custom.format").get("type")
        if kind == "grammar":  # which chat holds one level further in
            grammar = mapping(form.get("grammar"), "custom.format.grammar")
            made["format"] = {
                "type": "grammar",
                "syntax": string(grammar.get("syntax"), "custom.format.grammar.syntax"),
                "definition": string(grammar.get("definition"), "custom.format.grammar.definition"),
            }
        elif kind == "text":
            made["format"] = {"type": "text"}
        else:
            raise _unknown(kind, "custom.format.type", upstream)
    _others(custom, _CUSTOM, "tools[].custom", upstream, dropped)
    return made


def _choice(choice: Any, upstream: Upstream, dropped: list[str]) -> Any:
    if isinstance(choice, str):
        if choice in ("none", "auto", "required"):
            return choice
        raise wrong("tool_choice", "must be one of none, auto, required, or an object")
    kind = mapping(choice, "tool_choice").get("type")
    if kind == "allowed_tools":
        allowed = mapping(choice.get("allowed_tools"), "tool_choice.allowed_tools")
        mode = string(allowed.get("mode"), "tool_choice.allowed_tools.mode")
        field = "tool_choice.allowed_tools.tools"
        tools = items(allowed.get("tools"), field)
        named = [_named(tool, f"{field}[{index}]", upstream) for index, tool in enumerate(tools)]
        made = {"type": kind, "mode": mode, "tools": named}
    else:
        made = _named(choice, "tool_choice", upstream)
    _others(choice, frozenset({"type", str(kind)}), "tool_choice", upstream, dropped)
    return made


def _named(choice: Json, field: str, upstream: Upstream) -> Json:
    """A tool by its name, which chat holds one level further in."""
    kind = choice.get("type")
    if kind not in ("function", "custom"):
        raise _unknown(kind, f"{field}.type", upstream)
    tool = mapping(choice.get(kind), f"{field}.{kind}")
    return {"type": kind, "name": string(tool.get("name"), f"{field}.{kind}.name")}
