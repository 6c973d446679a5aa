"""Reasoning across dialects: how much is asked for, and how what was thought comes back in the next turn.

*Effort and budget.* OpenAI asks by level, Anthropic's older models by a number of tokens (1,024 at least). A level up
to `high` that becomes a budget and a level again is the same level.

*What was thought.* In chat it stands in `reasoning_content`, as text, and in `reasoning_details`, a list whose entries
keep what the vendor needs to take it back. Entries of one `index` belong together:

    {"type": "reasoning.text", "text", "signature", "format": "anthropic-claude-v1", "index"}
    {"type": "reasoning.encrypted", "data", "format": "anthropic-claude-v1", "index"}            a redacted block
    {"type": "reasoning.summary", "summary", "id", "format": "openai-responses-v1", "index"}
    {"type": "reasoning.encrypted", "data", "id", "format": "openai-responses-v1", "index"}

*Seals.* A client of one vendor is handed another vendor's reasoning in its own form, whose opaque field (`signature`,
`encrypted_content`) then holds a sealed entry: it can be opened again here, and told from the vendor's own. A vendor
must never be shown a seal, since it refuses what it did not sign.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

import orjson

ANTHROPIC: Final = "anthropic-claude-v1"
OPENAI: Final = "openai-responses-v1"

#: Weakest first.
EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_BUDGETS: Final = {"minimal": 1024, "low": 4096, "medium": 8192, "high": 24_576, "xhigh": 32_768, "max": 49_152}
_LEVELS: Final = (("minimal", 1024), ("low", 4096), ("medium", 16_384))
MIN_BUDGET: Final = 1024

SEAL: Final = "hg1."
_LARGEST_SEAL = 4 * 1024 * 1024


def budget_of(effort: str) -> int:
    """Tokens of thinking for a level other than `none`; an unknown level counts as medium."""
    return _BUDGETS.get(effort, _BUDGETS["medium"])


def effort_of(budget: int) -> str:
    """The level for a number of tokens; never above `high`, which not every model knows."""
    return next((level for level, most in _LEVELS if budget <= most), "high")


def nearest(effort: str, levels: tuple[str, ...]) -> str | None:
    """The level among `levels` that is closest, the weaker of two; None where there are none, or it is no level. Who
    asks for some effort is never given `none`."""
    if effort not in EFFORTS or not levels:
        return None
    at = EFFORTS.index(effort)
    some = [level for level in levels if level == effort or level != "none"]
    return min(some or levels, key=lambda level: (abs(EFFORTS.index(level) - at), EFFORTS.index(level)))


def with_inherited(details: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Entries with the `format` and `id` of the first of their index, which alone says them in a stream."""
    firsts: dict[int, dict[str, Any]] = {}
    made = []
    for entry in details:
        index = entry.get("index")
        first = firsts.setdefault(index, entry) if isinstance(index, int) else entry
        own: dict[str, Any] = {name: first[name] for name in ("format", "id") if name in first and name not in entry}
        made.append({**entry, **own} if own else entry)
    return made


def seal(entry: dict[str, Any]) -> str:
    """An entry (without its text, which stands beside it in the open) as a string for an opaque field."""
    return SEAL + base64.urlsafe_b64encode(orjson.dumps(entry)).decode()


#: For reasoning that nobody signed: it is marked as ours, so that no vendor is shown it as its own.
UNSIGNED: Final = seal({})


def unseal(opaque: Any) -> dict[str, Any] | None:
    """What `seal` was given; None for anything else, such as a vendor's own signature."""
    if not isinstance(opaque, str) or not opaque.startswith(SEAL) or len(opaque) > _LARGEST_SEAL:
        return None
    try:
        entry = orjson.loads(base64.b64decode(opaque[len(SEAL) :], b"-_", validate=True))
    except (binascii.Error, ValueError):
        return None
    return entry if isinstance(entry, dict) else None


_OPEN, _CLOSE = "<think>", "</think>"


class ThinkTags:
    """Takes the reasoning out of a text that begins with `<think>`, piece by piece as it comes.

    Some local servers leave the tags of their model in the content. Only a text that begins so counts: later the tag
    is something that was quoted. No more is held back than what may still turn out to be a tag.
    """

    __slots__ = ("_held", "_state")

    def __init__(self) -> None:
        self._held: list[str] = []
        self._state = 0  # 0 before the first word, 1 inside the tags, 2 just after them, 3 in plain text

    def feed(self, text: str) -> tuple[str, str]:
        """(reasoning, content) that this piece makes known; both may be empty."""
        if self._state == 3:
            return "", text
        if self._state == 0 and text.isspace():  # nothing can be told from it, however much comes
            self._held.append(text)
            return "", ""
        text = "".join([*self._held, text])
        self._held.clear()
        if self._state == 0:
            start = text.lstrip()
            if not start.startswith(_OPEN):
                if _OPEN.startswith(start):
                    self._held.append(text)
                    return "", ""
                self._state = 3
                return "", text
            self._state = 1
            text = start[len(_OPEN) :]
        thought = ""
        if self._state == 1:
            thought, closed, text = text.partition(_CLOSE)
            if not closed:
                keep = next((n for n in range(len(_CLOSE) - 1, 0, -1) if thought.endswith(_CLOSE[:n])), 0)
                if keep:
                    self._held.append(thought[len(thought) - keep :])
                return thought[: len(thought) - keep], ""
            self._state = 2
        text = text.lstrip()  # the empty lines between the tags and the answer
        if text:
            self._state = 3
        return thought, text

    def finish(self) -> tuple[str, str]:
        """What was held back when the text ended."""
        held = "".join(self._held)
        self._held.clear()
        return (held, "") if self._state == 1 else ("", held)
