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
from headgate.wire.translate.chat_to_messages_turns import Conversation, plain, rest, unknown
from headgate.wire.translate.fields import CHAT_TO_MESSAGES, refusal, sort_out
from headgate.wire.translate.reasoning import EFFORTS, MIN_BUDGET, budget_of, nearest
from headgate.wire.translate.shape import Refusal, items, mapping, string, wrong
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


def request(fields: Json, upstream: Upstream, dropped: list[str]) -> Json:
    sort_out(fields, CHAT_TO_MESSAGES, upstream, dropped)
    talk = Conversation(fields.get("messages"), upstream, dropped)
    sent: Json = {"model": upstream.model, "max_tokens": 0}
    if talk.system:
        sent["system"] = plain(talk.system)
    sent["messages"] = talk.messages
    config: Json = {}
    forced = _tools(fields, sent, config, talk, upstream, dropped)
    thinks = _think(fields, sent, config, forced, talk, upstream, dropped)
    _sample(fields, sent, thinks, upstream, dropped)
    if config:
        sent["output_config"] = config
    _stop(fields, sent, upstream)
    _identify(fields, sent, dropped)
    if _flag(fields, "stream"):
        sent["stream"] = True
    options = fields.get("stream_options")
    if options is not None:
        rest(mapping(options, "stream_options"), _OPTIONS, "stream_options", upstream, dropped)
    return sent


# --- tools, and the answer's form


def _tools(fields: Json, sent: Json, config: Json, talk: Conversation, upstream: Upstream, dropped: list[str]) -> bool:
    """Whether a tool must be called.

    A form that is a tool: 1. it is the only one, or the client's may not be called: it must be. 2. The client wants one
    of its own called: so it is, and the form is for a later turn. 3. Else any must be called, this one or a client's.
    """
    tools = []
    for index, tool in enumerate(items(fields.get("tools"), "tools")):
        try:
            tools.append(_tool(tool, upstream, dropped))
        except Refusal as fault:
            raise fault.within(f"tools[{index}]") from None
    choice = _choice(fields.get("tool_choice"), upstream)
    if not tools:
        choice = None
    if _flag(fields, "parallel_tool_calls") is False and tools and choice != {"type": "none"}:
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    form = form_of(fields, upstream, dropped)
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
    if not tools and talk.called:  # it does not read of calls of tools that it was not told of
        tools = [{"name": name, "input_schema": {"type": "object"}} for name in talk.called]
        choice = {"type": "none"}
    if tools:
        sent["tools"] = tools
    if choice is not None:
        sent["tool_choice"] = choice
        return choice["type"] in ("any", "tool")
    return False


def _tool(tool: Json, upstream: Upstream, dropped: list[str]) -> Json:
    kind = tool.get("type")
    if kind == "custom":
        raise refusal(CHAT_TO_MESSAGES, "tools[]:custom", "type", upstream)
    if kind != "function":
        raise unknown(kind, "type", upstream)
    function = mapping(tool.get("function"), "function")
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
    if _flag(function, "strict", "function."):
        fitting = fitted(made["input_schema"]) if upstream.schema_output else None
        if fitting is None:
            dropped.append("tools[].function.strict")
        else:
            made["strict"] = True
            made["input_schema"] = fitting.schema
            if fitting.limits:
                dropped.append("tools[].function.parameters")
    if tool.get("cache_control") is not None:
        made["cache_control"] = mapping(tool["cache_control"], "cache_control")
    rest(function, _FUNCTION, "tools[].function", upstream, dropped)
    rest(tool, _TOOL, "tools[]", upstream, dropped)
    return made


_CHOICES: Final = {"auto": "auto", "required": "any", "none": "none"}


def _choice(choice: Any, upstream: Upstream) -> Json | None:
    if choice is None:
        return None
    if isinstance(choice, str):
        if choice in _CHOICES:
            return {"type": _CHOICES[choice]}
        raise wrong("tool_choice", "must be one of none, auto, required, or an object")
    kind = mapping(choice, "tool_choice").get("type")
    if kind == "function":
        function = mapping(choice.get("function"), "tool_choice.function")
        return {"type": "tool", "name": string(function.get("name"), "tool_choice.function.name")}
    if kind in ("allowed_tools", "custom"):
        raise refusal(CHAT_TO_MESSAGES, f"tool_choice:{kind}", "tool_choice", upstream)
    raise unknown(kind, "tool_choice.type", upstream)


# --- thinking, and what depends on it


def _think(
    fields: Json, sent: Json, config: Json, forced: bool, talk: Conversation, upstream: Upstream, dropped: list[str]
) -> bool:
    """Whether thinking is asked for. It also sets the limit of the output, of which thinking is a part.

    1. The client's own `thinking` goes as it is, but not beside a tool that must be called.
    2. An effort becomes an effort where the model knows one.
    3. It also becomes thinking, where nothing forbids that: a tool that must be called; for a budget also a turn that
       goes on and did not begin with thinking, and a limit that has no room for the least budget.
    """
    effort, thinking = fields.get("reasoning_effort"), fields.get("thinking")
    if effort is not None and effort not in EFFORTS:
        raise wrong("reasoning_effort", f"must be one of {', '.join(EFFORTS)}")
    limit = _limit(fields)
    sent["max_tokens"] = upstream.output_tokens if limit is None else limit
    effort = "none" if effort is None else effort
    asks = effort != "none"
    if asks and upstream.efforts:  # 2
        config["effort"] = nearest(effort, upstream.efforts)
    if thinking is not None:  # 1
        if asks and not upstream.efforts:
            dropped.append("reasoning_effort")
        return _own_thinking(mapping(thinking, "thinking"), limit, sent, forced, upstream, dropped)
    if not asks:
        return False
    adaptive = upstream.thinking is Thinking.ADAPTIVE
    if forced or not (adaptive or (talk.may_think() and (limit is None or limit > MIN_BUDGET))):  # 3
        dropped.append("reasoning_effort")
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


def _own_thinking(
    thinking: Json, limit: int | None, sent: Json, forced: bool, upstream: Upstream, dropped: list[str]
) -> bool:
    thinks = thinking.get("type") in ("enabled", "adaptive")
    if thinks and forced:
        dropped.append("thinking")
        return False
    sent["thinking"] = thinking
    budget = thinking.get("budget_tokens")
    if limit is None and thinks and isinstance(budget, int) and budget > 0:
        most = max(upstream.output_tokens, upstream.most_output_tokens)
        sent["max_tokens"] = min(upstream.output_tokens + budget, most)
    return thinks


def _limit(fields: Json) -> int | None:
    name = "max_completion_tokens" if fields.get("max_completion_tokens") is not None else "max_tokens"
    limit = fields.get(name)
    if limit is None:
        return None
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise wrong(name, "must be a positive integer")
    return limit


def _sample(fields: Json, sent: Json, thinks: bool, upstream: Upstream, dropped: list[str]) -> None:
    none = upstream.sampling is Sampling.NONE
    temperature = _number(fields, "temperature")
    if temperature is not None:
        if none or thinks:
            if temperature != 1:
                dropped.append("temperature")
        else:
            sent["temperature"] = min(temperature, 1)
    top_p = _number(fields, "top_p")
    if top_p is not None:
        both = upstream.sampling is Sampling.ONE and "temperature" in sent
        if none or both or (thinks and top_p < _LEAST_TOP_P):
            if top_p != 1:
                dropped.append("top_p")
        else:
            sent["top_p"] = top_p
    top_k = _number(fields, "top_k")
    if top_k is not None:
        if none or thinks:
            dropped.append("top_k")
        else:
            sent["top_k"] = top_k


# --- the rest


def _stop(fields: Json, sent: Json, upstream: Upstream) -> None:
    stop = fields.get("stop")
    if stop is None or stop == []:
        return
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or not all(isinstance(one, str) for one in stops):
        raise wrong("stop", "must be a string or a list of strings")
    if any(not one or one.isspace() for one in stops):
        why = f"cannot be carried to {upstream.sentence}: a sequence must hold more than white space"
        raise Refusal("stop", why)
    sent["stop_sequences"] = stops


def _identify(fields: Json, sent: Json, dropped: list[str]) -> None:
    user, safety = fields.get("user"), fields.get("safety_identifier")
    name = string(user, "user") if user is not None else ""
    if safety is not None and string(safety, "safety_identifier"):
        if name and name != safety:
            dropped.append("user")
        name = safety
    if len(name) > _LONGEST_USER:
        name = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    if name:
        sent["metadata"] = {"user_id": name}


def _flag(given: Json, name: str, before: str = "") -> bool | None:
    value = given.get(name)
    if value is None or isinstance(value, bool):
        return value
    raise wrong(before + name, "must be true or false")


def _number(fields: Json, name: str) -> int | float | None:
    value = fields.get(name)
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise wrong(name, "must be a number")
