"""How many tokens a prompt takes, where nobody who knows can be asked.

Tokenizers make one token of about four characters of English, of about one and a half of Chinese, Japanese or Korean,
and of about two and a half of other scripts. A picture is taken for 1,600 tokens, the most that Anthropic's documented
width x height / 750 gives after its own scaling. An estimate is for showing and for rate limits, never for money.
"""

from __future__ import annotations

import re
from typing import Any

_CJK = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]")
_PICTURE_TOKENS = 1600
_PER_MESSAGE = 4
_PER_TOOL = 16

#: Values under these keys are data or names of the protocol, not text that a model reads.
_SILENT = frozenset({"type", "data", "media_type", "id", "tool_use_id", "signature", "cache_control"})


def prompt_tokens(fields: dict[str, Any]) -> int:
    """An estimate for a request in any dialect: all its texts, with a little for each message and tool."""
    tokens = 0
    for name in ("system", "instructions", "messages", "input", "prompt", "tools"):
        value = fields.get(name)
        if isinstance(value, list) and name != "system":
            tokens += len(value) * (_PER_TOOL if name == "tools" else _PER_MESSAGE)
        tokens += _of(value)
    return max(1, tokens)


def _of(root: Any) -> int:
    tokens = 0.0
    waiting = [root]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            tokens += text_tokens(value)
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            if value.get("type") in ("image", "image_url", "input_image"):
                tokens += _PICTURE_TOKENS
                continue
            waiting.extend(v for k, v in value.items() if k not in _SILENT)
            tokens += sum(len(k) for k in value) / 16
        elif value is not None:
            tokens += 1
    return round(tokens)


def text_tokens(text: str) -> float:
    if text.isascii():
        return len(text) / 4
    cjk = len(_CJK.findall(text))
    ascii_count = sum(character < "\x80" for character in text)
    return ascii_count / 4 + cjk / 1.5 + (len(text) - ascii_count - cjk) / 2.5
