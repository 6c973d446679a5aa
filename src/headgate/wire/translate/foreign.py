"""Reasoning of one vendor in a request that passes to another untranslated.

A conversation may begin at a local model and go on at Anthropic's: the client then sends back thinking that the vendor
did not sign, and that it would refuse the whole request for. What carries headgate's seal is taken out before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headgate.wire.dialect import Dialect
from headgate.wire.translate.reasoning import SEAL, unseal

if TYPE_CHECKING:
    from headgate.wire.request import Request

_MARK = b'"' + SEAL.encode()
_NOTHING: dict[str, Any] = {}


def without_foreign_reasoning(dialect: Dialect, request: Request) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The fields that must differ, and the names of what is left out; both are empty for nearly every request."""
    if _MARK not in request.raw:
        return _NOTHING, ()
    if dialect is Dialect.MESSAGES:
        return _messages(request.fields)
    if dialect is Dialect.RESPONSES and isinstance(request.fields.get("input"), list):
        given = request.fields["input"]
        kept = [item for item in given if not _is_foreign(item, "reasoning", "encrypted_content")]
        if len(kept) < len(given):
            return {"input": kept}, ("input[]:reasoning",)
    return _NOTHING, ()


def _messages(fields: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    messages: list[Any] = []
    lost = lost_last = False
    for message in fields["messages"]:
        content = message.get("content")
        if message.get("role") == "assistant" and isinstance(content, list):
            kept = [block for block in content if not _is_foreign(block, "thinking", "signature")]
            lost_last = len(kept) < len(content)
            lost = lost or lost_last
            if kept or not lost_last:
                messages.append({**message, "content": kept})
            continue
        messages.append(message)
    if not lost:  # the mark stood in somebody's words
        return _NOTHING, ()
    changes: dict[str, Any] = {"messages": messages}
    thinking = fields.get("thinking")
    if lost_last and isinstance(thinking, dict) and thinking.get("type") == "enabled":
        # With a budget for thinking, a turn that called tools must begin with what was thought in it.
        changes["thinking"] = {"type": "disabled"}
        return changes, ("messages[].content[]:thinking", "thinking")
    return changes, ("messages[].content[]:thinking",)


def _is_foreign(item: Any, kind: str, opaque: str) -> bool:
    return isinstance(item, dict) and item.get("type") == kind and unseal(item.get(opaque)) is not None
