"""A responses client on an upstream that speaks chat: the request, and the whole answer. The conversation in `input`,
and the stream, stand in `responses_to_chat_turns.py` and `responses_to_chat_stream.py`.

The whole answer is read as a stream of one chunk, so that both ways to ask give the same response.
"""

from __future__ import annotations

from typing import Any, Final

from headgate.wire.translate.asked import Asked
from headgate.wire.translate.chat_stream import as_chunk
from headgate.wire.translate.fields import RESPONSES_TO_CHAT
from headgate.wire.translate.namespaces import joined
from headgate.wire.translate.reasoning import EFFORTS, nearest
from headgate.wire.translate.responses_to_chat_stream import ENCRYPTED_REASONING, LOGPROBS, Stream
from headgate.wire.translate.responses_to_chat_turns import NO_FREEFORM, name_of, turns_of
from headgate.wire.translate.ruling import Ruling
from headgate.wire.translate.shape import Refusal, each, flag, integer, mapping, number, string, wrong
from headgate.wire.translate.tool_choice import only_the_chosen
from headgate.wire.translate.upstream import Sampling, Upstream

__all__ = ["NAMES", "Stream", "answer", "request"]

Json = dict[str, Any]

NAMES: dict[str, str] = {
    "messages": "input",
    "messages[].reasoning_content": "input[]:reasoning",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "response_format": "text",
    "response_format.type": "text.format.type",
    "response_format.json_schema": "text.format",
    "verbosity": "text.verbosity",
    "reasoning_effort": "reasoning",
    "logprobs": "include[]:message.output_text.logprobs",
    "tools[].function": "tools[]",
    "tools[].custom": "tools[]",
    "tools[].custom.format.grammar": "tools[].format",
    "tool_choice.function": "tool_choice",
    "tool_choice.custom": "tool_choice",
    "tool_choice.allowed_tools": "tool_choice",
}

#: Responses has more.
_CHAT_TIERS: Final = ("auto", "default", "flex", "scale", "priority", "fast")
_IDLE_TIERS: Final = ("auto", "default")

_TYPE: Final = frozenset({"type"})
_FUNCTION: Final = frozenset({"type", "name", "description", "parameters", "strict"})
_NAMESPACE: Final = frozenset({"type", "name", "description", "tools"})
_CUSTOM: Final = frozenset({"type", "name", "description", "format"})
_GRAMMAR: Final = frozenset({"type", "syntax", "definition"})
_ALLOWED: Final = frozenset({"type", "mode", "tools"})
_TEXT: Final = frozenset({"format", "verbosity"})
_SCHEMA: Final = frozenset({"type", "name", "description", "schema", "strict"})
_REASONING: Final = frozenset({"effort", "summary", "generate_summary"})
_STREAM_OPTIONS: Final = frozenset({"include_obfuscation", "include_usage"})


def request(fields: Json, upstream: Upstream, dropped: list[str]) -> Json:
    """The chat request. Raises Refusal."""
    ruling = Ruling(RESPONSES_TO_CHAT, upstream, dropped)
    ruling.top(fields)
    sent: Json = {"model": upstream.model, "messages": turns_of(fields, ruling)}
    _tools(fields, sent, ruling)
    _sampling(fields, sent, ruling)
    _text(fields, sent, ruling)
    _reasoning(fields, sent, ruling)
    _include(fields, sent, ruling)
    _labels(fields, sent, ruling)
    _stream(fields, sent, ruling)
    only_the_chosen(sent, upstream)
    return sent


def answer(value: Json, asked: Asked) -> Json:
    """The `response` object. Raises Malformed."""
    stream = Stream(asked, whole=True)
    stream.on(as_chunk(value))
    response: Json = stream.end()[-1]["response"]
    return response


# --- tools


def _tools(fields: Json, sent: Json, ruling: Ruling) -> None:
    taken: dict[str, bool] = {}
    tools = [made for offer in each(fields.get("tools"), "tools", lambda t: _offer(t, taken, ruling)) for made in offer]
    choice, parallel = fields.get("tool_choice"), fields.get("parallel_tool_calls")
    chosen = None if choice is None else _tool_choice(choice, ruling)
    at_once = flag(parallel, "parallel_tool_calls")
    if not tools:  # without them chat refuses the other two
        return
    sent["tools"] = tools
    if chosen is not None:
        sent["tool_choice"] = chosen
    if parallel is not None:
        sent["parallel_tool_calls"] = at_once


def _offer(tool: Json, taken: dict[str, bool], ruling: Ruling) -> list[Json]:
    """One tool, or those of a namespace. taken: the names so far, and whether a namespace has a part in them."""
    is_namespace = tool.get("type") == "namespace"
    offer = _namespace(tool, ruling) if is_namespace else [_tool(tool, ruling)]
    for made in offer:
        name = made[made["type"]]["name"]
        if name in taken and (is_namespace or taken[name]):  # a call of that name could not be told whose it is
            raise wrong("", f"must not give a second tool the name {name!r}, which joins a namespace's and a tool's")
        taken[name] = is_namespace
    return offer


def _namespace(space: Json, ruling: Ruling) -> list[Json]:
    """Its functions, each by its joined name and with what is said of them all."""
    ruling.rest(space, _NAMESPACE, "tools[]")
    name, about = name_of(space), space.get("description")
    about = "" if about is None else string(about, "description")

    def read(tool: Json) -> Json:
        if tool.get("type") != "function":
            raise ruling.kind(tool.get("type"), "tools[].tools[]", "type")
        made = _tool(tool, ruling)
        function = made["function"]
        function["name"] = joined(name, function["name"])
        if about:
            function["description"] = "\n\n".join(filter(None, (about, function.get("description"))))
        return made

    return each(space.get("tools"), "tools", read)


def _tool(tool: Json, ruling: Ruling) -> Json:
    kind = tool.get("type")
    if kind == "function":
        ruling.rest(tool, _FUNCTION, "tools[]")
        parameters = tool.get("parameters")
        function: Json = {"name": name_of(tool)}
        if tool.get("description") is not None:
            function["description"] = string(tool["description"], "description")
        function["parameters"] = (
            {"type": "object", "properties": {}} if parameters is None else mapping(parameters, "parameters")
        )
        if flag(tool.get("strict"), "strict"):
            function["strict"] = True
        return {"type": "function", "function": function}
    if kind != "custom":
        raise ruling.kind(kind, "tools[]", "type")
    if not ruling.upstream.is_openai:
        raise ruling.cannot("type", NO_FREEFORM)
    ruling.rest(tool, _CUSTOM, "tools[]")
    custom: Json = {"name": name_of(tool)}
    if tool.get("description") is not None:
        custom["description"] = string(tool["description"], "description")
    if tool.get("format") is not None:
        custom["format"] = _custom_format(mapping(tool["format"], "format"), ruling)
    return {"type": "custom", "custom": custom}


def _custom_format(form: Json, ruling: Ruling) -> Json:
    kind = form.get("type")
    if kind == "text":
        ruling.rest(form, _TYPE, "tools[].format", "format")
        return {"type": "text"}
    if kind != "grammar":
        raise wrong("format.type", "must be 'text' or 'grammar'")
    ruling.rest(form, _GRAMMAR, "tools[].format", "format")
    grammar = {name: string(form.get(name), f"format.{name}") for name in ("syntax", "definition")}
    if grammar["syntax"] not in ("lark", "regex"):
        raise wrong("format.syntax", "must be 'lark' or 'regex'")
    return {"type": "grammar", "grammar": grammar}


def _tool_choice(choice: Any, ruling: Ruling) -> str | Json:
    if isinstance(choice, str):
        if choice not in ("auto", "none", "required"):
            raise wrong("tool_choice", "must be 'auto', 'none', 'required' or an object")
        return choice
    if not isinstance(choice, dict):
        raise wrong("tool_choice", "must be a string or an object")
    try:
        return _allowed(choice, ruling) if choice.get("type") == "allowed_tools" else _chosen(choice, ruling)
    except Refusal as refusal:
        raise refusal.within("tool_choice") from None


def _allowed(choice: Json, ruling: Ruling) -> Json:
    if not ruling.upstream.is_openai:
        raise ruling.cannot("type", "it cannot choose among some of its tools")
    ruling.rest(choice, _ALLOWED, "tool_choice")
    if choice.get("mode") not in ("auto", "required"):
        raise wrong("mode", "must be 'auto' or 'required'")
    tools = each(choice.get("tools"), "tools", lambda tool: _chosen(tool, ruling))
    return {"type": "allowed_tools", "allowed_tools": {"mode": choice["mode"], "tools": tools}}


def _chosen(choice: Json, ruling: Ruling) -> Json:
    """A tool by its name, beside which all that defines it may stand."""
    kind = choice.get("type")
    if kind not in ("function", "custom"):
        raise ruling.kind(kind, "tool_choice", "type")
    if kind == "custom" and not ruling.upstream.is_openai:
        raise ruling.cannot("type", NO_FREEFORM)
    ruling.rest(choice, _FUNCTION if kind == "function" else _CUSTOM, "tool_choice")
    return {"type": kind, kind: {"name": name_of(choice)}}


# --- the rest


def _sampling(fields: Json, sent: Json, ruling: Ruling) -> None:
    upstream = ruling.upstream
    limit = integer(fields.get("max_output_tokens"), "max_output_tokens", 1)
    if limit is not None:
        sent[upstream.limit_field] = limit
    for name in ("temperature", "top_p"):
        value = number(fields.get(name), name)
        if value is None:
            continue
        if upstream.sampling is Sampling.NONE:
            if value != 1:
                ruling.drop(name)
        elif name == "top_p" and upstream.sampling is Sampling.ONE and "temperature" in sent:
            ruling.drop(name)
        else:
            sent[name] = value


def _text(fields: Json, sent: Json, ruling: Ruling) -> None:
    text = fields.get("text")
    if text is None:
        return
    ruling.rest(mapping(text, "text"), _TEXT, "text", "text")
    if text.get("format") is not None:
        try:
            form = _response_format(mapping(text["format"], ""), ruling)
        except Refusal as refusal:
            raise refusal.within("text.format") from None
        if form is not None:
            sent["response_format"] = form
    verbosity = text.get("verbosity")
    if verbosity is not None:
        _one_of(verbosity, "text.verbosity", ("low", "medium", "high"))
        if ruling.upstream.is_openai:
            sent["verbosity"] = verbosity
        elif verbosity != "medium":
            ruling.drop("text.verbosity")


def _response_format(form: Json, ruling: Ruling) -> Json | None:
    kind = form.get("type")
    if kind in ("text", "json_object"):
        ruling.rest(form, _TYPE, "text.format")
        return None if kind == "text" else {"type": "json_object"}
    if kind != "json_schema":
        raise ruling.kind(kind, "text.format", "type")
    ruling.rest(form, _SCHEMA, "text.format")
    schema: Json = {"name": name_of(form)}
    if form.get("description") is not None:
        schema["description"] = string(form["description"], "description")
    schema["schema"] = mapping(form.get("schema"), "schema")
    strict = form.get("strict")
    if strict is not None:
        schema["strict"] = flag(strict, "strict")
    return {"type": "json_schema", "json_schema": schema}


def _reasoning(fields: Json, sent: Json, ruling: Ruling) -> None:
    reasoning = fields.get("reasoning")
    if reasoning is None:
        return
    ruling.rest(mapping(reasoning, "reasoning"), _REASONING, "reasoning", "reasoning")
    for name in ("summary", "generate_summary"):  # it is given wherever there is something to read
        if reasoning.get(name) is not None:
            _one_of(reasoning[name], f"reasoning.{name}", ("auto", "concise", "detailed"))
    effort = reasoning.get("effort")
    if effort is None:
        return
    _one_of(effort, "reasoning.effort", EFFORTS)
    if ruling.upstream.takes_effort:
        sent["reasoning_effort"] = nearest(effort, ruling.upstream.efforts)
    elif effort != "none":
        ruling.drop("reasoning.effort")


def _include(fields: Json, sent: Json, ruling: Ruling) -> None:
    """What asks for more to be told."""
    most = integer(fields.get("top_logprobs"), "top_logprobs")
    if most:  # first, so that a refusal names what the client wrote
        sent["top_logprobs"] = most
        sent["logprobs"] = True
    included = fields.get("include")
    if included is None:
        return
    if not isinstance(included, list):
        raise wrong("include", "must be a list of strings")
    for index, name in enumerate(included):
        row = f"include[]:{name}" if isinstance(name, str) else ""
        if name == LOGPROBS:
            sent["logprobs"] = True
        elif row not in ruling.rows:
            raise ruling.kind(name, "include[]", f"include[{index}]")
        elif name != ENCRYPTED_REASONING:
            ruling.drop(row)


def _labels(fields: Json, sent: Json, ruling: Ruling) -> None:
    """Who asks, and how the vendor is to treat it."""
    upstream = ruling.upstream
    if fields.get("user") is not None:
        sent["user"] = string(fields["user"], "user")
    for name in ("safety_identifier", "service_tier", "prompt_cache_key", "prompt_cache_retention"):
        value = fields.get(name)
        if value is None:
            continue
        string(value, name)
        is_tier = name == "service_tier"
        taken = upstream.is_openai or (upstream.is_hub and name == "safety_identifier")
        if taken and (not is_tier or value in _CHAT_TIERS):
            sent[name] = value
        elif not (is_tier and value in _IDLE_TIERS):
            ruling.drop(name)
    metadata = mapping(fields.get("metadata") or {}, "metadata")
    if not all(isinstance(value, str) for value in metadata.values()):
        raise wrong("metadata", "must be an object of strings")


def _stream(fields: Json, sent: Json, ruling: Ruling) -> None:
    options = fields.get("stream_options")
    if options is not None:
        ruling.rest(mapping(options, "stream_options"), _STREAM_OPTIONS, "stream_options", "stream_options")
        for name in _STREAM_OPTIONS:
            flag(options.get(name), f"stream_options.{name}")
    if flag(fields.get("stream"), "stream"):
        sent["stream"] = True
        sent["stream_options"] = {"include_usage": True}


def _one_of(value: Any, field: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise wrong(field, f"must be one of {', '.join(map(repr, allowed))}")
