"""How many tokens an answer took, in one form for all dialects.

The vendors count differently, and the difference is money: OpenAI's `prompt_tokens` include what came from the cache,
Anthropic's `input_tokens` leave out both what was read from it and what was written to it. Here `input_tokens` is
always the whole prompt, and the cached parts are said beside it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

#: A count above this is a mistake of the upstream, not a count.
_LARGEST = 10**12


class Usage(NamedTuple):
    """Token counts. None means that the upstream did not say.

    input_tokens: the whole prompt, cached parts included.
    cached_input_tokens: the part of it that was read from the vendor's cache.
    cache_write_tokens: the part of it that was written to the vendor's cache.
    reasoning_tokens: the part of output_tokens that the model thought with.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None

    @property
    def total_tokens(self) -> int:
        return (self.input_tokens or 0) + (self.output_tokens or 0)


def _count(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST:
        return value
    return None


def _inside(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def from_openai(usage: Any) -> Usage | None:
    """The `usage` object of chat, completions and embeddings; None where it is none."""
    if not isinstance(usage, dict):
        return None
    prompt = _count(usage.get("prompt_tokens"))
    completion = _count(usage.get("completion_tokens"))
    if prompt is None and completion is None:
        return None
    details = usage.get("prompt_tokens_details")
    return Usage(
        input_tokens=prompt,
        output_tokens=completion,
        cached_input_tokens=_count(_inside(details, "cached_tokens")),
        cache_write_tokens=_count(_inside(details, "cache_write_tokens")),
        reasoning_tokens=_count(_inside(usage.get("completion_tokens_details"), "reasoning_tokens")),
    )


def from_responses(usage: Any) -> Usage | None:
    """The `usage` object of the responses API; None where it is none."""
    if not isinstance(usage, dict):
        return None
    given, made = _count(usage.get("input_tokens")), _count(usage.get("output_tokens"))
    if given is None and made is None:
        return None
    details = usage.get("input_tokens_details")
    return Usage(
        input_tokens=given,
        output_tokens=made,
        cached_input_tokens=_count(_inside(details, "cached_tokens")),
        cache_write_tokens=_count(_inside(details, "cache_write_tokens")),
        reasoning_tokens=_count(_inside(usage.get("output_tokens_details"), "reasoning_tokens")),
    )


def from_anthropic(usage: Any, before: Usage | None = None) -> Usage | None:
    """The `usage` object of messages. In a stream the later object adds to, and overrides, the one `before`."""
    if not isinstance(usage, dict):
        return before
    uncached = _count(usage.get("input_tokens"))
    read = _count(usage.get("cache_read_input_tokens"))
    written = _count(usage.get("cache_creation_input_tokens"))
    made = _count(usage.get("output_tokens"))
    thought = _count(_inside(usage.get("output_tokens_details"), "thinking_tokens"))
    if before is None:
        before = Usage()
    if uncached is None and before.input_tokens is not None:
        uncached = before.input_tokens - (before.cached_input_tokens or 0) - (before.cache_write_tokens or 0)
    if read is None:
        read = before.cached_input_tokens
    if written is None:
        written = before.cache_write_tokens
    whole = None if uncached is None else uncached + (read or 0) + (written or 0)
    if whole is None and made is None and before.output_tokens is None:
        return None
    return Usage(
        input_tokens=whole,
        output_tokens=before.output_tokens if made is None else made,
        cached_input_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=before.reasoning_tokens if thought is None else thought,
    )


def to_openai(usage: Usage) -> dict[str, Any]:
    """As the `usage` object of chat. A count that was not told is written as 0, since the clients demand a number."""
    given, made = usage.input_tokens or 0, usage.output_tokens or 0
    return {
        "prompt_tokens": given,
        "completion_tokens": made,
        "total_tokens": given + made,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_input_tokens or 0,
            "cache_write_tokens": usage.cache_write_tokens or 0,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
    }


def to_responses(usage: Usage) -> dict[str, Any]:
    """As the `usage` object of the responses API."""
    given, made = usage.input_tokens or 0, usage.output_tokens or 0
    return {
        "input_tokens": given,
        "input_tokens_details": {
            "cached_tokens": usage.cached_input_tokens or 0,
            "cache_write_tokens": usage.cache_write_tokens or 0,
        },
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": given + made,
    }


def to_anthropic(usage: Usage) -> dict[str, Any]:
    """As the `usage` object of messages, whose `input_tokens` leave out what the cache read and wrote."""
    read, written = usage.cached_input_tokens or 0, usage.cache_write_tokens or 0
    counts: dict[str, Any] = {
        "input_tokens": max(0, (usage.input_tokens or 0) - read - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": usage.output_tokens or 0,
    }
    if usage.reasoning_tokens is not None:
        counts["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return counts
