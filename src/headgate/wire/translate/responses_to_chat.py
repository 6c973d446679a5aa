"""A responses client on an upstream that speaks chat: the request, and the whole answer. The conversation in `input`,
and the stream, stand in the two files beside this one.

The whole answer is read as a stream of one chunk, so that both ways to ask give the same response.
"""

from __future__ import annotations

from typing import Any, Final

from headgate.wire.translate.asked import Asked
from headgate.wire.translate.chat_stream import as_chunk
from headgate.wire.translate.fields import RESPONSES_TO_CHAT, sort_out
from headgate.wire.translate.namespaces import joined
from headgate.wire.translate.reasoning import EFFORTS, nearest
from headgate.wire.translate.responses_to_chat_input import NO_FREEFORM, messages_of, name_of, of_type, refused
from headgate.wire.translate.responses_to_chat_stream import ENCRYPTED_REASONING, LOGPROBS, Stream
from headgate.wire.translate.shape import Refusal, items, mapping, string, wrong
from headgate.wire.translate.upstream import Sampling, Upstream

__all__ = ["NAMES", "Stream", "answer", "request"]

Json = dict[str, Any]

NAMES: dict[str, str] = {
    "messages": "input",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "response_format": "text",
    "verbosity": "text.verbosity",
    "reasoning_effort": "reasoning",
    "logprobs": "include[]:message.output_text.logprobs",
    "messages[].reasoning_content": "input[]:reasoning",
}

#: Responses has more.
_CHAT_TIERS: Final = ("auto", "default", "flex", "scale", "priority", "fast")
_FUNCTION_FIELDS: Final = frozenset(("type", "name", "description", "parameters", "strict"))
_NAMESPACE_FIELDS: Final = frozenset(("type", "name", "description", "tools"))
_CUSTOM_FIELDS: Final = frozenset(("type", "name", "description", "format"))


def request(fields: Json, upstream: Upstream, dropped: list[str]) -> Json:
    """The chat request. Raises Refusal."""
    sort_out(fields, RESPONSES_TO_CHAT, upstream, dropped)
    sent: Json = {"model": upstream.model, "messages": messages_of(fields, upstream, dropped)}
    _tools(fields, upstream, dropped, sent)
    _sampling(fields, upstream, dropped, sent)
    _text(fields, upstream, dropped, sent)
    _reasoning(fields, upstream, dropped, sent)
    _labels(fields, upstream, dropped, sent)
    if _boolean(fields, "stream"):
        sent["stream"] = True
        sent["stream_options"] = {"include_usage": True}
    return sent


def answer(value: Json, asked: Asked) -> Json:
    """The `response` object. Raises Malformed."""
    stream = Stream(asked, whole=True)
    stream.on(as_chunk(value))
    response: Json = stream.end()[-1]["response"]
    return response


# --- tools


def _tools(fields: Json, upstream: Upstream, dropped: list[str], sent: Json) -> None:
    tools = []
    for index, tool in enumerate(items(fields.get("tools"), "tools")):
        try:
            tools += (
                _namespace(tool, upstream, dropped)
                if tool.get("type") == "namespace"
                else ([_tool(tool, upstream, dropped)])
            )
        except Refusal as fault:
            raise fault.within(f"tools[{index}]") from None
    choice = fields.get("tool_choice")
    if choice is not None:
        try:
            choice = _tool_choice(choice, upstream)
        except Refusal as fault:
            raise fault.within("tool_choice") from None
    parallel = _boolean(fields, "parallel_tool_calls")
    if not tools:  # without them chat refuses the other two
        return
    sent["tools"] = tools
    if choice is not None:
        sent["tool_choice"] = choice
    if parallel is not None:
        sent["parallel_tool_calls"] = parallel


def _namespace(space: Json, upstream: Upstream, dropped: list[str]) -> list[Json]:
    """Its functions, each by its joined name and with what is said of them all."""
    _check_tool_fields(space, _NAMESPACE_FIELDS, upstream, dropped)
    name, about = name_of(space), space.get("description")
    about = "" if about is None else string(about, "description")
    tools = []
    for index, tool in enumerate(items(space.get("tools"), "tools")):
        try:
            if tool.get("type") != "function":
                raise of_type(tool.get("type"), upstream, "tools[]")
            made = _tool(tool, upstream, dropped)
        except Refusal as fault:
            raise fault.within(f"tools[{index}]") from None
        function = made["function"]
        function["name"] = joined(name, function["name"])
        if about:
            function["description"] = "\n\n".join(filter(None, (about, function.get("description"))))
        tools.append(made)
    return tools


def _tool(tool: Json, upstream: Upstream, dropped: list[str]) -> Json:
    kind = tool.get("type")
    if kind == "function":
        _check_tool_fields(tool, _FUNCTION_FIELDS, upstream, dropped)
        parameters = tool.get("parameters")
        function: Json = {"name": name_of(tool)}
        if tool.get("description") is not None:
            function["description"] = string(tool["description"], "description")
        function["parameters"] = (
            {"type": "object", "properties": {}} if parameters is None else mapping(parameters, "parameters")
        )
        if _boolean(tool, "strict"):
            function["strict"] = True
        return {"type": "function", "function": function}
    if kind == "custom":
        if not upstream.is_openai:
            raise refused(kind, upstream, NO_FREEFORM)
        _check_tool_fields(tool, _CUSTOM_FIELDS, upstream, dropped)
        custom: Json = {"name": name_of(tool)}
        if tool.get("description") is not None:
            custom["description"] = string(tool["description"], "description")
        if tool.get("format") is not None:
            custom["format"] = _custom_format(tool["format"])
        return {"type": "custom", "custom": custom}
    raise of_type(kind, upstream, "tools[]")


def _check_tool_fields(tool: Json, known: frozenset[str], upstream: Upstream, dropped: list[str]) -> None:
    """What is not known of a tool is refused, as what is not known of a request is."""
    if tool.keys() <= known:
        return
    for name, value in tool.items():
        if name in known or value is None:
            continue
        row = RESPONSES_TO_CHAT.get(f"tools[].{name}")
        if row is None:
            raise Refusal(name or '""', f"is not a field that headgate can carry to {upstream.sentence}")
        if value not in row.idle:
            dropped.append(f"tools[].{name}")


def _custom_format(form: Any) -> Json:
    kind = mapping(form, "format").get("type")
    if kind == "text":
        return {"type": "text"}
    if kind != "grammar":
        raise wrong("format.type", "must be 'text' or 'grammar'")
    grammar = {name: string(form.get(name), f"format.{name}") for name in ("syntax", "definition")}
    if grammar["syntax"] not in ("lark", "regex"):
        raise wrong("format.syntax", "must be 'lark' or 'regex'")
    return {"type": "grammar", "grammar": grammar}


def _tool_choice(choice: Any, upstream: Upstream) -> str | Json:
    if isinstance(choice, str):
        if choice not in ("auto", "none", "required"):
            raise wrong("", "must be 'auto', 'none', 'required' or an object")
        return choice
    if not isinstance(choice, dict):
        raise wrong("", "must be a string or an object")
    kind = choice.get("type")
    if kind == "function":
        return {"type": "function", "function": {"name": name_of(choice)}}
    if kind == "custom":
        if not upstream.is_openai:
            raise refused(kind, upstream, NO_FREEFORM)
        return {"type": "custom", "custom": {"name": name_of(choice)}}
    if kind != "allowed_tools":
        raise of_type(kind, upstream, "tool_choice")
    if not upstream.is_openai:
        raise refused(kind, upstream, "it cannot choose among some of its tools")
    if choice.get("mode") not in ("auto", "required"):
        raise wrong("mode", "must be 'auto' or 'required'")
    tools = []
    for index, tool in enumerate(items(choice.get("tools"), "tools")):
        if tool.get("type") not in ("function", "custom"):
            raise of_type(tool.get("type"), upstream, "tools[]").within(f"tools[{index}]")
        try:
            tools.append(_tool_choice(tool, upstream))
        except Refusal as fault:
            raise fault.within(f"tools[{index}]") from None
    return {"type": "allowed_tools", "allowed_tools": {"mode": choice["mode"], "tools": tools}}


# --- the rest


def _sampling(fields: Json, upstream: Upstream, dropped: list[str], sent: Json) -> None:
    limit = _integer(fields, "max_output_tokens")
    if limit is not None:
        sent[upstream.limit_field] = limit
    for name in ("temperature", "top_p"):
        value = fields.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong(name, "must be a number")
        if upstream.sampling is Sampling.NONE:
            if value != 1:
                dropped.append(name)
        elif name == "top_p" and upstream.sampling is Sampling.ONE and "temperature" in sent:
            dropped.append(name)
        else:
            sent[name] = value


def _text(fields: Json, upstream: Upstream, dropped: list[str], sent: Json) -> None:
    text = fields.get("text")
    if text is None:
        return
    for name, value in mapping(text, "text").items():
        if value is None:
            continue
        if name == "format":
            form = _response_format(mapping(value, "text.format"), upstream)
            if form is not None:
                sent["response_format"] = form
        elif name == "verbosity":
            _one_of(value, "text.verbosity", ("low", "medium", "high"))
            if upstream.is_openai:
                sent["verbosity"] = value
            elif value != "medium":
                dropped.append("text.verbosity")
        else:
            raise Refusal(f"text.{name}", f"is not a field that headgate can carry to {upstream.sentence}")


def _response_format(form: Json, upstream: Upstream) -> Json | None:
    kind = form.get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": "json_object"}
    if kind != "json_schema":
        raise of_type(kind, upstream, "text.format").within("text.format")
    try:
        schema: Json = {"name": name_of(form)}
        if form.get("description") is not None:
            schema["description"] = string(form["description"], "description")
        schema["schema"] = mapping(form.get("schema"), "schema")
        strict = _boolean(form, "strict")
    except Refusal as fault:
        raise fault.within("text.format") from None
    if strict is not None:
        schema["strict"] = strict
    return {"type": "json_schema", "json_schema": schema}


def _reasoning(fields: Json, upstream: Upstream, dropped: list[str], sent: Json) -> None:
    reasoning = fields.get("reasoning")
    if reasoning is None:
        return
    for name, value in mapping(reasoning, "reasoning").items():
        if value is None:
            continue
        if name == "effort":
            _one_of(value, "reasoning.effort", EFFORTS)
            # OpenAI's models that do not reason refuse to be asked for it.
            mute = upstream.is_openai and upstream.sampling is not Sampling.NONE
            effort = None if mute else nearest(value, upstream.efforts)
            if effort is not None:
                sent["reasoning_effort"] = effort
            elif value != "none":
                dropped.append("reasoning.effort")
        elif name in ("summary", "generate_summary"):  # it is given wherever there is something to read
            _one_of(value, f"reasoning.{name}", ("auto", "concise", "detailed"))
        elif f"reasoning.{name}" in RESPONSES_TO_CHAT:
            dropped.append(f"reasoning.{name}")
        else:
            raise Refusal(f"reasoning.{name}", f"is not a field that headgate can carry to {upstream.sentence}")


def _labels(fields: Json, upstream: Upstream, dropped: list[str], sent: Json) -> None:
    """What asks for more to be told, and what says who asks."""
    most = _integer(fields, "top_logprobs")
    if most:  # first, so that a refusal names what the client wrote
        sent["top_logprobs"] = most
        sent["logprobs"] = True
    asked = fields.get("include")
    if asked is not None:
        if not isinstance(asked, list) or not all(isinstance(name, str) for name in asked):
            raise wrong("include", "must be a list of strings")
        if LOGPROBS in asked:
            sent["logprobs"] = True
        if any(name not in (LOGPROBS, ENCRYPTED_REASONING) for name in asked):
            dropped.append("include")
    if fields.get("user") is not None:
        sent["user"] = string(fields["user"], "user")
    for name in ("safety_identifier", "service_tier", "prompt_cache_key", "prompt_cache_retention"):
        value = fields.get(name)
        if value is None:
            continue
        string(value, name)
        known = name != "service_tier" or value in _CHAT_TIERS
        if (upstream.is_openai and known) or (upstream.is_hub and name == "safety_identifier"):
            sent[name] = value
        elif value not in RESPONSES_TO_CHAT[name].idle:
            dropped.append(name)
    metadata = mapping(fields.get("metadata") or {}, "metadata")
    if not all(isinstance(value, str) for value in metadata.values()):
        raise wrong("metadata", "must be an object of strings")


# --- checks


def _boolean(given: Json, field: str) -> bool | None:
    value = given.get(field)
    if value is None or isinstance(value, bool):
        return value
    raise wrong(field, "must be true or false")


def _integer(given: Json, field: str) -> int | None:
    value = given.get(field)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise wrong(field, "must be an integer")


def _one_of(value: Any, field: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise wrong(field, f"must be one of {', '.join(map(repr, allowed))}")
