"""A chat client, or the chat in the middle, on an upstream that speaks messages.

The conversation, the answer's form and the way back stand in the files beside this one. Here is the rest, of which most
hangs together with thinking: the vendor refuses thinking beside a forced tool, beside sampling parameters, and with a
budget that does not fit below the output's limit. What the client forces or limits wins, and thinking gives way.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final

from headgate.wire.translate.chat_to_messages_form import ANSWER_TOOL, fitted, form_of
from headgate.wire.translate.chat_to_messages_stream import Stream, answer
from headgate.wire.translate.chat_to_messages_turns import Conversation, mark_of, plain, turns_of
from headgate.wire.translate.fields import CHAT_TO_MESSAGES
from headgate.wire.translate.reasoning import EFFORTS, MIN_BUDGET, budget_of, nearest
from headgate.wire.translate.ruling import Ruling
from headgate.wire.translate.shape import Refusal, each, flag, integer, mapping, number, string, wrong
from headgate.wire.translate.upstream import Sampling, Thinking, Upstream

__all__ = ["NAMES", "Stream", "answer", "request"]

Json = dict[str, Any]

NAMES: dict[str, str] = {
    "system": "messages",
    "max_tokens": "max_completion_tokens",
    "stop_sequences": "stop",
    "metadata": "user",
    "thinking": "reasoning_effort",
    "output_config": "response_format",
}

#: The vendor takes no longer one.
_LONGEST_USER: Final = 256
#: What it takes beside thinking.
_LEAST_TOP_P: Final = 0.95

_TOOL: Final = frozenset({"type", "function", "cache_control"})
_FUNCTION: Final = frozenset({"name", "description", "parameters", "strict"})
_OPTIONS: Final = frozenset({"include_usage"})
#: Where a tool is chosen by its name, all that defines it may stand beside that.
_CHOSEN: Final = frozenset({"type", "function"})
_THINKING: Final = frozenset({"type", "budget_tokens", "display"})


def request(fields: Json, upstream: Upstream, dropped: list[str]) -> Json:
    """The messages request. Raises Refusal."""
    ruling = Ruling(CHAT_TO_MESSAGES, upstream, dropped)
    ruling.top(fields)
    conversation = turns_of(fields, ruling)
    sent: Json = {"model": upstream.model, "max_tokens": 0}
    if conversation.system:
        sent["system"] = plain(conversation.system)
    sent["messages"] = conversation.messages
    config: Json = {}
    forced = _tools(fields, sent, config, conversation, ruling)
    thinks = _reasoning(fields, sent, config, forced, conversation, ruling)
    _sampling(fields, sent, thinks, ruling)
    if config:
        sent["output_config"] = config
    _stop(fields, sent, ruling)
    _identify(fields, sent, ruling)
    if flag(fields.get("stream"), "stream"):
        sent["stream"] = True
    options = fields.get("stream_options")
    if options is not None:
        ruling.rest(mapping(options, "stream_options"), _OPTIONS, "stream_options", "stream_options")
    return sent


# --- tools, and the answer's form


def _tools(fields: Json, sent: Json, config: Json, conversation: Conversation, ruling: Ruling) -> bool:
    """Whether a tool must be called.

    A form that is a tool: 1. it is the only one, or the client's may not be called: it must be. 2. The client wants one
    of its own called: so it is, and the form is for a later turn. 3. Else any must be called, this one or a client's.
    """
    tools = each(fields.get("tools"), "tools", lambda tool: _tool(tool, ruling))
    choice = _tool_choice(fields.get("tool_choice"), ruling)
    if not tools:
        choice = None
    parallel = fields.get("parallel_tool_calls")
    flag(parallel, "parallel_tool_calls")
    if parallel is False and tools and choice != {"type": "none"}:
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    form = form_of(fields, ruling)
    if form is not None and form.format is not None:
        config["format"] = form.format
    elif form is not None and form.tool is not None:
        wanted = choice["type"] if choice else "auto"
        if not tools or wanted == "none":  # 1
            choice = {"type": "tool", "name": ANSWER_TOOL, "disable_parallel_tool_use": True}
            tools.append(form.tool)
        elif wanted == "auto":  # 3
            choice = {**(choice or {}), "type": "any"}
            tools.append(form.tool)
    if not tools and conversation.called:  # it does not read of calls of tools that it was not told of
        tools = [{"name": name, "input_schema": {"type": "object"}} for name in conversation.called]
        choice = {"type": "none"}
    if tools:
        sent["tools"] = tools
    if choice is not None:
        sent["tool_choice"] = choice
        return choice["type"] in ("any", "tool")
    return False


def _tool(tool: Json, ruling: Ruling) -> Json:
    kind = tool.get("type")
    if kind != "function":
        raise ruling.kind(kind, "tools[]", "type")
    ruling.rest(tool, _TOOL, "tools[]")
    function = mapping(tool.get("function"), "function")
    ruling.rest(function, _FUNCTION, "tools[].function", "function")
    name = string(function.get("name"), "function.name")
    if name == ANSWER_TOOL:
        raise Refusal("function.name", "is a name that headgate keeps for itself")
    made: Json = {"name": name}
    if function.get("description") is not None:
        made["description"] = string(function["description"], "function.description")
    parameters = function.get("parameters")
    if parameters is None:
        made["input_schema"] = {"type": "object", "properties": {}}
    elif "type" in mapping(parameters, "function.parameters"):
        made["input_schema"] = parameters
    else:  # which the vendor demands
        made["input_schema"] = {"type": "object", **parameters}
    if flag(function.get("strict"), "function.strict"):
        fitting = fitted(made["input_schema"]) if ruling.upstream.schema_output else None
        if fitting is None:
            ruling.drop("tools[].function.strict")
        else:
            made["strict"] = True
            made["input_schema"] = fitting.schema
            if fitting.limits:
                ruling.drop("tools[].function.parameters")
    mark = mark_of(tool, "tools[]", ruling)
    if mark is not None:
        made["cache_control"] = mark
    return made


_CHOICES: Final = {"auto": "auto", "required": "any", "none": "none"}


def _tool_choice(choice: Any, ruling: Ruling) -> Json | None:
    if choice is None:
        return None
    if isinstance(choice, str):
        if choice in _CHOICES:
            return {"type": _CHOICES[choice]}
        raise wrong("tool_choice", "must be one of none, auto, required, or an object")
    kind = mapping(choice, "tool_choice").get("type")
    if kind != "function":
        raise ruling.kind(kind, "tool_choice", "tool_choice.type")
    ruling.rest(choice, _CHOSEN, "tool_choice", "tool_choice")
    field = "tool_choice.function"
    function = mapping(choice.get("function"), field)
    ruling.rest(function, _FUNCTION, field, field)
    return {"type": "tool", "name": string(function.get("name"), f"{field}.name")}


# --- thinking, and what depends on it


def _reasoning(
    fields: Json, sent: Json, config: Json, forced: bool, conversation: Conversation, ruling: Ruling
) -> bool:
    """Whether thinking is asked for. It also sets the limit of the output, of which thinking is a part.

    1. The client's own `thinking` goes as it is, but not beside a tool that must be called.
    2. An effort becomes an effort where the model knows one.
    3. It also becomes thinking, where nothing forbids that: a tool that must be called; for a budget also a turn that
       goes on and did not begin with thinking, and a limit that has no room for the least budget.
    """
    upstream = ruling.upstream
    effort, thinking = fields.get("reasoning_effort"), fields.get("thinking")
    if effort is not None and effort not in EFFORTS:
        raise wrong("reasoning_effort", f"must be one of {', '.join(EFFORTS)}")
    limit = _limit(fields)
    sent["max_tokens"] = upstream.output_tokens if limit is None else limit
    effort = "none" if effort is None else effort
    asks = effort != "none"
    if asks and upstream.takes_effort:  # 2
        config["effort"] = nearest(effort, upstream.efforts)
    if thinking is not None:  # 1
        if asks and not upstream.takes_effort:
            ruling.drop("reasoning_effort")
        return _own_thinking(mapping(thinking, "thinking"), limit, sent, forced, ruling)
    if not asks:
        return False
    adaptive = upstream.thinking is Thinking.ADAPTIVE
    if forced or not (adaptive or (conversation.may_think() and (limit is None or limit > MIN_BUDGET))):  # 3
        ruling.drop("reasoning_effort")
        return False
    if adaptive:  # the newer models show nothing of it unless they are asked
        sent["thinking"] = {"type": "adaptive", "display": "summarized"}
        return True
    budget = budget_of(effort)
    if limit is None:
        limit = sent["max_tokens"] = min(upstream.output_tokens + budget, upstream.most_output_tokens)
    if budget >= limit:
        budget = max(MIN_BUDGET, limit // 2)
    sent["thinking"] = {"type": "enabled", "budget_tokens": budget}
    return True


def _own_thinking(thinking: Json, limit: int | None, sent: Json, forced: bool, ruling: Ruling) -> bool:
    ruling.rest(thinking, _THINKING, "thinking", "thinking")
    thinks = thinking.get("type") in ("enabled", "adaptive")
    if thinks and forced:
        ruling.drop("thinking")
        return False
    sent["thinking"] = thinking
    budget = thinking.get("budget_tokens")
    if limit is None and thinks and isinstance(budget, int) and budget > 0:
        upstream = ruling.upstream
        most = max(upstream.output_tokens, upstream.most_output_tokens)
        sent["max_tokens"] = min(upstream.output_tokens + budget, most)
    return thinks


def _limit(fields: Json) -> int | None:
    newer = integer(fields.get("max_completion_tokens"), "max_completion_tokens", 1)
    older = integer(fields.get("max_tokens"), "max_tokens", 1)
    return older if newer is None else newer


def _sampling(fields: Json, sent: Json, thinks: bool, ruling: Ruling) -> None:
    sampling = ruling.upstream.sampling
    none = sampling is Sampling.NONE
    temperature = number(fields.get("temperature"), "temperature")
    if temperature is not None:
        taken = not (none or thinks)
        if temperature > 1 or (temperature != 1 and not taken):
            ruling.drop("temperature")
        if taken:
            sent["temperature"] = min(temperature, 1)
    top_p = number(fields.get("top_p"), "top_p")
    if top_p is not None:
        both = sampling is Sampling.ONE and "temperature" in sent
        if none or both or (thinks and top_p < _LEAST_TOP_P):
            if top_p != 1:
                ruling.drop("top_p")
        else:
            sent["top_p"] = top_p
    top_k = number(fields.get("top_k"), "top_k")
    if top_k is not None:
        if none or thinks:
            ruling.drop("top_k")
        else:
            sent["top_k"] = top_k


# --- the rest


def _stop(fields: Json, sent: Json, ruling: Ruling) -> None:
    stop = fields.get("stop")
    if stop is None or stop == []:
        return
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or not all(isinstance(one, str) for one in stops):
        raise wrong("stop", "must be a string or a list of strings")
    if any(not one or one.isspace() for one in stops):
        raise ruling.cannot("stop", "a sequence must hold more than white space")
    sent["stop_sequences"] = stops


def _identify(fields: Json, sent: Json, ruling: Ruling) -> None:
    user, safety = fields.get("user"), fields.get("safety_identifier")
    name = string(user, "user") if user is not None else ""
    if safety is not None and string(safety, "safety_identifier"):
        if name and name != safety:
            ruling.drop("user")
        name = safety
    if len(name) > _LONGEST_USER:
        name = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    if name:
        sent["metadata"] = {"user_id": name}
