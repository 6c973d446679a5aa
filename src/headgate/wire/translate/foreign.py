"""Reasoning of one vendor in a request that passes to another untranslated.

A conversation may begin at a local model and go on at Anthropic's: the client then sends back thinking that the vendor
did not sign, and that it would refuse the whole request for. What carries headgate's seal is taken out before, whole or
damaged; and OpenAI's own chat, which knows no reasoning of others, is not shown what Anthropic signed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from headgate.wire.dialect import Dialect
from headgate.wire.translate.reasoning import ANTHROPIC, SEAL

Json = dict[str, Any]

#: What is left out of a request: the top-level fields that must differ, and the rows of what was taken out.
Taken = tuple[Json, tuple[str, ...]]

_NOTHING: Taken = ({}, ())
#: A body without its dialect's mark has nothing of the kind, unless an escape hides it.
_MARKS = {
    Dialect.MESSAGES: SEAL.encode(),
    Dialect.RESPONSES: SEAL.encode(),
    Dialect.CHAT: b'"reasoning_details"',
}


def without_foreign_reasoning(
    dialect: Dialect, raw: bytes, fields: Mapping[str, Any], is_openai: Callable[[], bool]
) -> Taken:
    """What must differ from the client's body; nothing for nearly every request. is_openai: whether it goes to OpenAI
    itself."""
    mark = _MARKS.get(dialect)
    if mark is None or (mark not in raw and not (b"\\" in raw and b"\\u00" in raw)):
        return _NOTHING
    if dialect is Dialect.MESSAGES:
        return _messages(fields)
    if dialect is Dialect.RESPONSES:
        return _responses(fields)
    return _chat(fields) if is_openai() else _NOTHING


def _messages(fields: Mapping[str, Any]) -> Taken:
    messages: list[Any] = []
    lost = lost_last = False
    for message in fields["messages"]:
        content = message.get("content")
        if message.get("role") == "assistant" and isinstance(content, list):
            kept = [block for block in content if not _is_sealed_block(block)]
            lost_last = len(kept) < len(content)
            lost = lost or lost_last
            if kept or not lost_last:
                messages.append({**message, "content": kept})
        else:
            messages.append(message)
    if not lost:
        return _NOTHING
    changes: Json = {"messages": messages}
    thinking = fields.get("thinking")
    if lost_last and isinstance(thinking, dict) and thinking.get("type") == "enabled":
        # With a budget for thinking, a turn that called tools must begin with what was thought in it.
        changes["thinking"] = {"type": "disabled"}
        return changes, ("messages[].content[]:thinking", "thinking")
    return changes, ("messages[].content[]:thinking",)


def _responses(fields: Mapping[str, Any]) -> Taken:
    given = fields.get("input")
    if not isinstance(given, list):
        return _NOTHING
    kept = [item for item in given if not _is_sealed_item(item)]
    return ({"input": kept}, ("input[]:reasoning",)) if len(kept) < len(given) else _NOTHING


def _chat(fields: Mapping[str, Any]) -> Taken:
    messages = [_unsigned(message) for message in fields["messages"]]
    if all(one is other for one, other in zip(messages, fields["messages"], strict=True)):
        return _NOTHING
    return {"messages": messages}, ("messages[].reasoning_details",)


def _unsigned(message: Json) -> Json:
    """The message without reasoning, where Anthropic signed some of it."""
    details = message.get("reasoning_details")
    signed = isinstance(details, list) and any(
        isinstance(entry, dict) and entry.get("format") == ANTHROPIC for entry in details
    )
    if not signed:
        return message
    return {name: value for name, value in message.items() if name not in ("reasoning_details", "reasoning_content")}


def _is_sealed_block(block: Any) -> bool:
    if not isinstance(block, dict):
        return False
    kind = block.get("type")
    return (kind == "thinking" and _is_sealed(block.get("signature"))) or (
        kind == "redacted_thinking" and _is_sealed(block.get("data"))
    )


def _is_sealed_item(item: Any) -> bool:
    return isinstance(item, dict) and item.get("type") == "reasoning" and _is_sealed(item.get("encrypted_content"))


def _is_sealed(opaque: Any) -> bool:
    return isinstance(opaque, str) and opaque.startswith(SEAL)
