"""Ids of tool calls, which one vendor makes and another is to take.

An id survives as it is wherever the other side takes it. Where it does not (Anthropic allows letters, digits, `_` and
`-`; OpenAI 40 characters in chat), the same id always becomes the same other one, so that a call and its result, which
both go through here, still belong together.
"""

from __future__ import annotations

import re
from hashlib import blake2b

_ANTHROPIC = re.compile(r"[a-zA-Z0-9_-]{1,128}\Z")
_CHAT_LENGTH = 40


def for_messages(tool_id: str) -> str:
    return tool_id if _ANTHROPIC.match(tool_id) else "toolu_" + _digest(tool_id)


def for_chat(tool_id: str) -> str:
    return tool_id if 0 < len(tool_id) <= _CHAT_LENGTH else "call_" + _digest(tool_id)


def made_up(answer_id: str, index: int) -> str:
    """An id for a call that came without one: distinct within a conversation, and the same each time it is asked."""
    return "call_" + _digest(f"{answer_id}\0{index}")


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
