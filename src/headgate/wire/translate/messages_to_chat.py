"""A client that speaks messages, on an upstream that speaks chat, or on the chat in the middle.

The conversation is put into chat's words in `messages_to_chat_turns.py`, and the way back of a stream stands in
`messages_to_chat_stream.py`. A whole answer is read as a stream of one chunk, so that both say the same.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import orjson

from headgate.wire.translate.asked import Asked
from headgate.wire.translate.chat_stream import as_chunk
from headgate.wire.translate.fields import MESSAGES_TO_CHAT, sort_out
from headgate.wire.translate.messages_to_chat_stream import Stream
from headgate.wire.translate.messages_to_chat_turns import Turns, flag, rest
from headgate.wire.translate.reasoning import EFFORTS, effort_of, nearest
from headgate.wire.translate.shape import Refusal, is_object, items, mapping, string, wrong
from headgate.wire.translate.tool_choice import only_the_chosen
from headgate.wire.translate.upstream import Sampling, Upstream

__all__ = ["NAMES", "Stream", "answer", "request"]

Json = dict[str, Any]

NAMES: dict[str, str] = {
    "max_completion_tokens": "max_tokens",
    "stop": "stop_sequences",
    "stream_options": "stream",
    "reasoning_effort": "thinking",
    "response_format": "output_config",
    "parallel_tool_calls": "tool_choice",
    "messages[].reasoning_content": "messages[].content[]:thinking",
    "user": "metadata",
}

#: OpenAI takes no more.
_MOST_STOPS = 4
_LONGEST_USER = 64

#: What each object may hold that is carried; `rest` sees to what else stands in it.
_TOOL = frozenset({"type", "name", "description", "input_schema", "strict"})
_CHOICE = frozenset({"type", "name", "disable_parallel_tool_use"})
_THINK = frozenset({"type", "budget_tokens"})
_CONFIG = frozenset({"effort", "format"})
_FORMAT = frozenset({"type", "schema"})


def request(fields: Json, upstream: Upstream, dropped: list[str]) -> Json:
    sort_out(fields, MESSAGES_TO_CHAT, upstream, dropped)
    sent: Json = {"model": upstream.model, "messages": Turns(upstream, dropped).all(fields)}
    limit = fields.get("max_tokens")
    if limit is not None:
        if _whole(limit, "max_tokens") < 0:
            raise wrong("max_tokens", "must be a positive integer")
        if limit == 0:
            raise Refusal("max_tokens", f"of 0 cannot be carried to {upstream.sentence}: no cache is filled in advance")
        sent[upstream.limit_field] = limit
    if flag(fields.get("stream"), "stream"):
        sent["stream"] = True
        sent["stream_options"] = {"include_usage": True}
    _sample(fields, upstream, sent, dropped)
    stops = _strings(fields.get("stop_sequences"), "stop_sequences")
    if stops:
        if upstream.is_openai and len(stops) > _MOST_STOPS:
            raise Refusal("stop_sequences", f"cannot be carried to {upstream.sentence}: it takes {_MOST_STOPS} at most")
        sent["stop"] = stops
    tools = items(fields.get("tools"), "tools")
    if tools:
        sent["tools"] = _tools(tools, upstream, dropped)
    _choose(fields.get("tool_choice"), upstream, sent, dropped)
    _think(fields, upstream, sent, dropped)
    _shape(fields, upstream, sent)
    _identify(fields.get("metadata"), upstream, sent, dropped)
    only_the_chosen(sent, upstream)
    return sent


def answer(value: Json, asked: Asked) -> Json:
    stream = Stream(asked)
    events = stream.on(as_chunk(value)) + stream.end()
    message: Json = {**events[0]["message"], **events[-2]["delta"], "usage": events[-2]["usage"]}
    message["content"] = [block for block in _blocks(events) if block is not None]
    return message


def _blocks(events: list[Json]) -> list[Json | None]:
    """The blocks that a stream's events add up to; None for a call whose arguments were cut off."""
    blocks: list[Json | None] = []
    block: Json = {}
    pieces: dict[str, list[str]] = {}
    for event in events:
        kind = event["type"]
        if kind == "content_block_start":
            block, pieces = {**event["content_block"]}, {}
            blocks.append(block)
        elif kind == "content_block_delta":
            for name, piece in event["delta"].items():
                if name != "type":
                    pieces.setdefault(name, []).append(piece)
        elif kind == "content_block_stop":
            joined = {name: "".join(several) for name, several in pieces.items()}
            arguments = joined.pop("partial_json", "")
            block.update(joined)
            if arguments and is_object(arguments):
                block["input"] = orjson.loads(arguments)
            elif arguments:
                blocks[-1] = None
    return blocks


def _sample(fields: Json, upstream: Upstream, sent: Json, dropped: list[str]) -> None:
    for name in ("temperature", "top_p", "top_k"):
        value = fields.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong(name, "must be a number")
        if (
            upstream.sampling is Sampling.NONE
            or (name == "top_k" and upstream.is_openai)
            or (name == "top_p" and upstream.sampling is Sampling.ONE and "temperature" in sent)
        ):
            if name == "top_k" or value != 1:
                dropped.append(name)
        else:
            sent[name] = value


def _tools(tools: list[Json], upstream: Upstream, dropped: list[str]) -> list[Json]:
    made: list[Json] = []
    for index, tool in enumerate(tools):
        try:
            kind = tool.get("type")
            if kind is not None and kind != "custom":
                why = MESSAGES_TO_CHAT["tools[]:server"].note
                said = f"of type '{string(kind, 'type')[:50]}' cannot be carried to {upstream.sentence}: {why}"
                raise Refusal("", said)
            rest(tool, _TOOL, "tools[]", upstream, dropped)
            function: Json = {"name": string(tool.get("name"), "name")}
            if tool.get("description") is not None:
                function["description"] = string(tool["description"], "description")
            function["parameters"] = mapping(tool.get("input_schema"), "input_schema")
            if flag(tool.get("strict"), "strict"):
                function["strict"] = True
            made.append({"type": "function", "function": function})
        except Refusal as refused:
            raise refused.within(f"tools[{index}]") from None
    return made


_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def _choose(choice: Any, upstream: Upstream, sent: Json, dropped: list[str]) -> None:
    if choice is None:
        return
    choice = mapping(choice, "tool_choice")
    kind = string(choice.get("type"), "tool_choice.type")
    try:
        rest(choice, _CHOICE, "tool_choice", upstream, dropped)
    except Refusal as refused:
        raise refused.within("tool_choice") from None
    alone = flag(choice.get("disable_parallel_tool_use"), "tool_choice.disable_parallel_tool_use")
    if kind == "tool":
        chosen: Any = {"type": "function", "function": {"name": string(choice.get("name"), "tool_choice.name")}}
    elif kind in _CHOICES:
        chosen = _CHOICES[kind]
    else:
        raise wrong("tool_choice.type", "must be 'auto', 'any', 'tool' or 'none'")
    if "tools" in sent:
        sent["tool_choice"] = chosen
        if alone:
            sent["parallel_tool_calls"] = False


def _config(fields: Json) -> Json:
    config = fields.get("output_config")
    return {} if config is None else mapping(config, "output_config")


def _think(fields: Json, upstream: Upstream, sent: Json, dropped: list[str]) -> None:
    effort = _config(fields).get("effort")
    if effort is not None and string(effort, "output_config.effort") not in EFFORTS:
        raise Refusal("output_config.effort", f"is not a level that headgate can carry to {upstream.sentence}")
    wanted, kind = effort, None
    thinking = fields.get("thinking")
    if thinking is not None:
        kind = string(mapping(thinking, "thinking").get("type"), "thinking.type")
        try:
            rest(thinking, _THINK, "thinking", upstream, dropped)
        except Refusal as refused:
            raise refused.within("thinking") from None
        if kind == "enabled":
            budget = _whole(thinking.get("budget_tokens"), "thinking.budget_tokens")
            wanted = effort or effort_of(budget)
        elif kind == "disabled":
            wanted = "none" if upstream.is_hub else None
            if effort is not None:
                dropped.append("output_config.effort")
                effort = None
        elif kind not in ("adaptive", "between_tools"):
            raise Refusal("thinking.type", f"is not one that headgate can carry to {upstream.sentence}")
    # OpenAI refuses an effort to those of its models that do not reason.
    if not upstream.efforts or (upstream.is_openai and upstream.sampling is not Sampling.NONE):
        if kind in ("enabled", "adaptive"):
            dropped.append("thinking")
        if effort is not None:
            dropped.append("output_config.effort")
    elif wanted is not None:
        sent["reasoning_effort"] = nearest(wanted, upstream.efforts)
    try:
        rest(_config(fields), _CONFIG, "output_config", upstream, dropped)
    except Refusal as refused:
        raise refused.within("output_config") from None


def _shape(fields: Json, upstream: Upstream, sent: Json) -> None:
    for field, shape in (
        ("output_config.format", _config(fields).get("format")),
        ("output_format", fields.get("output_format")),
    ):
        if shape is None:
            continue
        kind = string(mapping(shape, field).get("type"), f"{field}.type")
        if kind != "json_schema":
            raise Refusal(field, f"of type '{kind[:50]}' cannot be carried to {upstream.sentence}")
        schema = mapping(shape.get("schema"), f"{field}.schema")
        try:
            rest(shape, _FORMAT, field, upstream, [])
        except Refusal as refused:
            raise refused.within(field) from None
        described = {"name": "answer", "schema": schema, "strict": True}
        sent.setdefault("response_format", {"type": "json_schema", "json_schema": described})


def _identify(metadata: Any, upstream: Upstream, sent: Json, dropped: list[str]) -> None:
    if metadata is None:
        return
    for name, value in mapping(metadata, "metadata").items():
        if value is None:
            continue
        if name != "user_id":
            dropped.append("metadata.*")
            continue
        user = string(value, "metadata.user_id")
        if upstream.is_openai and len(user) > _LONGEST_USER:
            user = blake2b(user.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        sent["user"] = user


def _whole(value: Any, field: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise wrong(field, "must be an integer")


def _strings(value: Any, field: str) -> list[str]:
    if value is None:
        return []
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return value
    raise wrong(field, "must be a list of strings")
