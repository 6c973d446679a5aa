"""A client that speaks messages, on an upstream that speaks chat, or on the chat in the middle.

The conversation is put into chat's words in `messages_to_chat_turns.py`, and the way back of a stream stands in
`messages_to_chat_stream.py`. A whole answer is read as a stream of one chunk, so that both say the same.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final

import orjson

from headgate.wire.translate.asked import Asked
from headgate.wire.translate.chat_stream import as_chunk
from headgate.wire.translate.fields import MESSAGES_TO_CHAT
from headgate.wire.translate.messages_to_chat_stream import Stream
from headgate.wire.translate.messages_to_chat_turns import turns_of
from headgate.wire.translate.reasoning import EFFORTS, effort_of, nearest
from headgate.wire.translate.ruling import Ruling
from headgate.wire.translate.shape import each, flag, integer, is_object, mapping, number, string, wrong
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
_MOST_STOPS: Final = 4
_LONGEST_USER: Final = 64

#: What each object may hold that is carried; the ruling sees to what else stands in it.
_TOOL: Final = frozenset({"type", "name", "description", "input_schema", "strict"})
_CHOICE: Final = frozenset({"type", "name", "disable_parallel_tool_use"})
_THINKING: Final = frozenset({"type", "budget_tokens"})
_CONFIG: Final = frozenset({"effort", "format"})
_FORMAT: Final = frozenset({"type", "schema"})


def request(fields: Json, upstream: Upstream, dropped: list[str]) -> Json:
    """The chat request. Raises Refusal."""
    ruling = Ruling(MESSAGES_TO_CHAT, upstream, dropped)
    ruling.top(fields)
    sent: Json = {"model": upstream.model, "messages": turns_of(fields, ruling)}
    limit = integer(fields.get("max_tokens"), "max_tokens")
    if limit is not None:
        if limit == 0:
            raise ruling.cannot("max_tokens", "no cache is filled in advance by a limit of 0")
        sent[upstream.limit_field] = limit
    if flag(fields.get("stream"), "stream"):
        sent["stream"] = True
        sent["stream_options"] = {"include_usage": True}
    _sampling(fields, sent, ruling)
    _stop(fields, sent, ruling)
    tools = each(fields.get("tools"), "tools", lambda tool: _tool(tool, ruling))
    if tools:
        sent["tools"] = tools
    _tool_choice(fields.get("tool_choice"), sent, ruling)
    config = fields.get("output_config")
    if config is None:
        config = {}
    ruling.rest(mapping(config, "output_config"), _CONFIG, "output_config", "output_config")
    _reasoning(fields.get("thinking"), config.get("effort"), sent, ruling)
    _response_format(config.get("format"), fields.get("output_format"), sent, ruling)
    _identify(fields.get("metadata"), sent, ruling)
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


def _sampling(fields: Json, sent: Json, ruling: Ruling) -> None:
    upstream = ruling.upstream
    for name in ("temperature", "top_p", "top_k"):
        value = number(fields.get(name), name)
        if value is None:
            continue
        if (
            upstream.sampling is Sampling.NONE
            or (name == "top_k" and upstream.is_openai)
            or (name == "top_p" and upstream.sampling is Sampling.ONE and "temperature" in sent)
        ):
            if name == "top_k" or value != 1:
                ruling.drop(name)
        else:
            sent[name] = value


def _stop(fields: Json, sent: Json, ruling: Ruling) -> None:
    stops = fields.get("stop_sequences")
    if stops is None:
        return
    if not isinstance(stops, list) or not all(isinstance(one, str) for one in stops):
        raise wrong("stop_sequences", "must be a list of strings")
    if ruling.upstream.is_openai and len(stops) > _MOST_STOPS:
        raise ruling.cannot("stop_sequences", f"it takes {_MOST_STOPS} at most")
    if stops:
        sent["stop"] = stops


# --- tools


def _tool(tool: Json, ruling: Ruling) -> Json:
    kind = tool.get("type")
    if kind is not None and kind != "custom":
        raise ruling.kind(kind, "tools[]", "type")
    ruling.rest(tool, _TOOL, "tools[]")
    function: Json = {"name": string(tool.get("name"), "name")}
    if tool.get("description") is not None:
        function["description"] = string(tool["description"], "description")
    function["parameters"] = mapping(tool.get("input_schema"), "input_schema")
    if flag(tool.get("strict"), "strict"):
        function["strict"] = True
    return {"type": "function", "function": function}


_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}


def _tool_choice(choice: Any, sent: Json, ruling: Ruling) -> None:
    if choice is None:
        return
    kind = string(mapping(choice, "tool_choice").get("type"), "tool_choice.type")
    ruling.rest(choice, _CHOICE, "tool_choice", "tool_choice")
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


# --- reasoning, the answer's form, and who asks


def _reasoning(thinking: Any, effort: Any, sent: Json, ruling: Ruling) -> None:
    upstream = ruling.upstream
    if effort is not None and string(effort, "output_config.effort") not in EFFORTS:
        raise ruling.cannot("output_config.effort", "it is not a level of effort that headgate knows")
    wanted, kind = effort, None
    if thinking is not None:
        kind = string(mapping(thinking, "thinking").get("type"), "thinking.type")
        ruling.rest(thinking, _THINKING, "thinking", "thinking")
        if kind == "enabled":
            budget = integer(thinking.get("budget_tokens"), "thinking.budget_tokens")
            if budget is None:
                raise wrong("thinking.budget_tokens", "must be an integer")
            wanted = effort or effort_of(budget)
        elif kind == "disabled":
            wanted = "none" if upstream.takes_none else None
            if effort is not None:
                ruling.drop("output_config.effort")
                effort = None
        elif kind not in ("adaptive", "between_tools"):
            raise ruling.kind(kind, "thinking", "thinking.type")
    if not upstream.takes_effort:
        if kind in ("enabled", "adaptive"):
            ruling.drop("thinking")
        if effort is not None:
            ruling.drop("output_config.effort")
    elif wanted is not None:
        sent["reasoning_effort"] = nearest(wanted, upstream.efforts)


def _response_format(newer: Any, older: Any, sent: Json, ruling: Ruling) -> None:
    """newer, older: what stands in `output_config.format` and in `output_format`."""
    for field, form in (("output_config.format", newer), ("output_format", older)):
        if form is None:
            continue
        kind = mapping(form, field).get("type")
        if kind != "json_schema":
            raise ruling.kind(kind, field, f"{field}.type")
        ruling.rest(form, _FORMAT, field, field)
        described = {"name": "answer", "schema": mapping(form.get("schema"), f"{field}.schema"), "strict": True}
        made = {"type": "json_schema", "json_schema": described}
        if sent.setdefault("response_format", made) != made:
            raise ruling.cannot(field, "'output_config.format' asks for another form")


def _identify(metadata: Any, sent: Json, ruling: Ruling) -> None:
    if metadata is None:
        return
    if any(name != "user_id" and value is not None for name, value in mapping(metadata, "metadata").items()):
        ruling.drop("metadata.*")  # labels cannot change the answer, and their names are the client's own
    if metadata.get("user_id") is None:
        return
    user = string(metadata["user_id"], "metadata.user_id")
    if ruling.upstream.is_openai and len(user) > _LONGEST_USER:
        user = blake2b(user.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    sent["user"] = user
