"""A chat client, or the chat in the middle, on an upstream that speaks responses: the request but for its conversation,
which stands in `chat_to_responses_turns.py`, and the way back in `chat_to_responses_stream.py`.

*Reasoning.* Nothing is stored upstream, so the reasoning of earlier turns goes back only in the form that the vendor
encrypted; `include` asks for that form wherever the model reasons.
"""

from __future__ import annotations

from typing import Any, Final

from headgate.wire.translate.chat_to_responses_stream import Stream, answer
from headgate.wire.translate.chat_to_responses_turns import turns_of
from headgate.wire.translate.fields import CHAT_TO_RESPONSES
from headgate.wire.translate.reasoning import EFFORTS, nearest
from headgate.wire.translate.ruling import Ruling
from headgate.wire.translate.shape import each, flag, integer, mapping, number, string, wrong
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

_AS_THEY_ARE: Final = (
    "metadata",
    "user",
    "safety_identifier",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "moderation",
)

_STREAM_OPTIONS: Final = frozenset({"include_usage", "include_obfuscation"})
_TYPE: Final = frozenset({"type"})
_SCHEMA_FORM: Final = frozenset({"type", "json_schema"})
_SCHEMA: Final = frozenset({"name", "description", "schema", "strict"})
_FUNCTION_TOOL: Final = frozenset({"type", "function"})
_FUNCTION: Final = frozenset({"name", "description", "parameters", "strict"})
_CUSTOM_TOOL: Final = frozenset({"type", "custom"})
_CUSTOM: Final = frozenset({"name", "description", "format"})
_GRAMMAR_FORMAT: Final = frozenset({"type", "grammar"})
_GRAMMAR: Final = frozenset({"syntax", "definition"})
_ALLOWED_CHOICE: Final = frozenset({"type", "allowed_tools"})
_ALLOWED: Final = frozenset({"mode", "tools"})
#: Where a tool is chosen by its name, all that defines it may stand beside that.
_CHOSEN: Final = {"function": (_FUNCTION_TOOL, _FUNCTION), "custom": (_CUSTOM_TOOL, _CUSTOM)}

#: What a function without `parameters` takes, in chat.
_NO_PARAMETERS: Final[Json] = {"type": "object", "properties": {}, "additionalProperties": False}


def request(fields: Json, upstream: Upstream, dropped: list[str]) -> Json:
    """The responses request. Raises Refusal."""
    ruling = Ruling(CHAT_TO_RESPONSES, upstream, dropped)
    ruling.top(fields)
    sent: Json = {"model": upstream.model, "input": turns_of(fields, ruling), "store": False}
    _stream(fields, sent, ruling)
    _sampling(fields, sent, ruling)
    _text(fields, sent, ruling)
    _reasoning(fields, sent, ruling)
    _tools(fields, sent, ruling)
    _include(fields, sent, ruling)
    _labels(fields, sent)
    return sent


def _stream(fields: Json, sent: Json, ruling: Ruling) -> None:
    stream = flag(fields.get("stream"), "stream")
    if stream:
        sent["stream"] = True
    options = fields.get("stream_options")
    if options is None:
        return
    ruling.rest(mapping(options, "stream_options"), _STREAM_OPTIONS, "stream_options", "stream_options")
    padding = options.get("include_obfuscation")
    if flag(padding, "stream_options.include_obfuscation"):  # it is upstream's own default, and ends here
        ruling.drop("stream_options.include_obfuscation")
    elif padding is False and stream:
        sent["stream_options"] = {"include_obfuscation": False}


def _sampling(fields: Json, sent: Json, ruling: Ruling) -> None:
    newer = integer(fields.get("max_completion_tokens"), "max_completion_tokens", 1)
    older = integer(fields.get("max_tokens"), "max_tokens", 1)
    limit = older if newer is None else newer
    if limit is not None:
        if limit < _MIN_OUTPUT_TOKENS:
            limit = _MIN_OUTPUT_TOKENS
            ruling.drop("max_tokens" if newer is None else "max_completion_tokens")
        sent["max_output_tokens"] = limit
    for name in ("temperature", "top_p"):
        value = number(fields.get(name), name)
        if value is None:
            continue
        if ruling.upstream.sampling is not Sampling.NONE:
            sent[name] = value
        elif value != 1:
            ruling.drop(name)
    most = integer(fields.get("top_logprobs"), "top_logprobs")
    if flag(fields.get("logprobs"), "logprobs"):
        if most is not None:
            sent["top_logprobs"] = most
    elif most:
        raise wrong("top_logprobs", "is only allowed where 'logprobs' is true")


def _text(fields: Json, sent: Json, ruling: Ruling) -> None:
    text: Json = {}
    form = fields.get("response_format")
    if form is not None:
        text["format"] = _response_format(mapping(form, "response_format"), ruling)
    verbosity = fields.get("verbosity")
    if verbosity is not None:
        text["verbosity"] = string(verbosity, "verbosity")
    if text:
        sent["text"] = text


def _response_format(form: Json, ruling: Ruling) -> Json:
    kind = form.get("type")
    if kind in ("text", "json_object"):
        ruling.rest(form, _TYPE, "response_format", "response_format")
        return {"type": kind}
    if kind != "json_schema":
        raise ruling.kind(kind, "response_format", "response_format.type")
    ruling.rest(form, _SCHEMA_FORM, "response_format", "response_format")
    field = "response_format.json_schema"
    given = mapping(form.get("json_schema"), field)
    ruling.rest(given, _SCHEMA, field, field)
    if given.get("schema") is None:
        raise ruling.cannot(f"{field}.schema", "there it must not be left out")
    made: Json = {
        "type": "json_schema",
        "name": string(given.get("name"), f"{field}.name"),
        "schema": mapping(given["schema"], f"{field}.schema"),
    }
    strict = given.get("strict")
    if strict is not None:
        made["strict"] = flag(strict, f"{field}.strict")
    if given.get("description") is not None:
        made["description"] = string(given["description"], f"{field}.description")
    return made


def _reasoning(fields: Json, sent: Json, ruling: Ruling) -> None:
    effort = fields.get("reasoning_effort")
    if effort is None:
        return
    if effort not in EFFORTS:
        raise wrong("reasoning_effort", f"must be one of {', '.join(EFFORTS)}")
    if ruling.upstream.takes_effort:
        sent["reasoning"] = {"effort": nearest(effort, ruling.upstream.efforts)}
    elif effort != "none":
        ruling.drop("reasoning_effort")


def _tools(fields: Json, sent: Json, ruling: Ruling) -> None:
    tools = each(fields.get("tools"), "tools", lambda tool: _tool(tool, ruling))
    choice, parallel = fields.get("tool_choice"), fields.get("parallel_tool_calls")
    chosen = None if choice is None else _tool_choice(choice, ruling)
    at_once = flag(parallel, "parallel_tool_calls")
    if not tools:  # without them the other two mean nothing
        return
    sent["tools"] = tools
    if chosen is not None:
        sent["tool_choice"] = chosen
    if parallel is not None:
        sent["parallel_tool_calls"] = at_once


def _tool(tool: Json, ruling: Ruling) -> Json:
    kind = tool.get("type")
    if kind == "custom":
        ruling.rest(tool, _CUSTOM_TOOL, "tools[]")
        return _custom(mapping(tool.get("custom"), "custom"), ruling)
    if kind != "function":
        raise ruling.kind(kind, "tools[]", "type")
    ruling.rest(tool, _FUNCTION_TOOL, "tools[]")
    function = mapping(tool.get("function"), "function")
    ruling.rest(function, _FUNCTION, "tools[].function", "function")
    parameters = function.get("parameters")
    made = {
        "type": "function",
        "name": string(function.get("name"), "function.name"),
        "parameters": _NO_PARAMETERS if parameters is None else mapping(parameters, "function.parameters"),
        # Where it is not said, chat takes it for false and responses for true.
        "strict": flag(function.get("strict"), "function.strict"),
    }
    if function.get("description") is not None:
        made["description"] = string(function["description"], "function.description")
    return made


def _custom(custom: Json, ruling: Ruling) -> Json:
    ruling.rest(custom, _CUSTOM, "tools[].custom", "custom")
    made: Json = {"type": "custom", "name": string(custom.get("name"), "custom.name")}
    if custom.get("description") is not None:
        made["description"] = string(custom["description"], "custom.description")
    if custom.get("format") is not None:
        made["format"] = _custom_format(mapping(custom["format"], "custom.format"), ruling)
    return made


def _custom_format(form: Json, ruling: Ruling) -> Json:
    kind, field = form.get("type"), "custom.format"
    if kind == "text":
        ruling.rest(form, _TYPE, "tools[].custom.format", field)
        return {"type": "text"}
    if kind != "grammar":
        raise ruling.kind(kind, "tools[].custom.format", f"{field}.type")
    ruling.rest(form, _GRAMMAR_FORMAT, "tools[].custom.format", field)
    grammar = mapping(form.get("grammar"), f"{field}.grammar")  # which responses has one level further out
    ruling.rest(grammar, _GRAMMAR, "tools[].custom.format.grammar", f"{field}.grammar")
    return {
        "type": "grammar",
        "syntax": string(grammar.get("syntax"), f"{field}.grammar.syntax"),
        "definition": string(grammar.get("definition"), f"{field}.grammar.definition"),
    }


def _tool_choice(choice: Any, ruling: Ruling) -> str | Json:
    if isinstance(choice, str):
        if choice in ("none", "auto", "required"):
            return choice
        raise wrong("tool_choice", "must be one of none, auto, required, or an object")
    kind = mapping(choice, "tool_choice").get("type")
    if kind != "allowed_tools":
        return _chosen(choice, "tool_choice", ruling)
    field = "tool_choice.allowed_tools"
    ruling.rest(choice, _ALLOWED_CHOICE, "tool_choice", "tool_choice")
    allowed = mapping(choice.get("allowed_tools"), field)
    ruling.rest(allowed, _ALLOWED, field, field)
    mode = string(allowed.get("mode"), f"{field}.mode")
    tools = each(allowed.get("tools"), f"{field}.tools", lambda tool: _chosen(tool, "", ruling))
    return {"type": kind, "mode": mode, "tools": tools}


def _chosen(choice: Json, field: str, ruling: Ruling) -> Json:
    """A tool by its name, which chat holds one level further in. field: the path of the choice."""
    kind, joint = choice.get("type"), f"{field}." if field else ""
    if kind not in ("function", "custom"):
        raise ruling.kind(kind, "tool_choice", f"{joint}type")
    outer, inner = _CHOSEN[kind]
    ruling.rest(choice, outer, "tool_choice", field)
    tool = mapping(choice.get(kind), f"{joint}{kind}")
    ruling.rest(tool, inner, f"tool_choice.{kind}", f"{joint}{kind}")
    return {"type": kind, "name": string(tool.get("name"), f"{joint}{kind}.name")}


def _include(fields: Json, sent: Json, ruling: Ruling) -> None:
    upstream, include = ruling.upstream, []
    if upstream.takes_effort and (upstream.sampling is Sampling.NONE or "reasoning" in sent):
        include.append("reasoning.encrypted_content")
    if fields.get("logprobs"):
        include.append("message.output_text.logprobs")
    if include:
        sent["include"] = include


def _labels(fields: Json, sent: Json) -> None:
    """Who asks, and how the vendor is to treat it."""
    for name in _AS_THEY_ARE:
        value = fields.get(name)
        if value is not None:
            sent[name] = value
