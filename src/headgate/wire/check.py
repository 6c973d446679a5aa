"""Checks of a client's fields that several dialects share. Each gives a Problem to send, or None.

Only what headgate itself must understand is checked; the rest is the upstream's to judge.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headgate.errors import Problem, Reason

Fields = Mapping[str, Any]

#: More choices than this are a mistake or an attack; the vendors stop at 128.
MAX_CHOICES = 128


def bad(param: str, message: str) -> Problem:
    return Problem(Reason.BAD_REQUEST, message, param=param)


def model(fields: Fields) -> Problem | None:
    value = fields.get("model")
    if value is None:
        return bad("model", "you must provide a model")
    if not isinstance(value, str) or not value.strip():
        return bad("model", "'model' must be a non-empty string")
    if len(value) > 512:
        return bad("model", "'model' is longer than 512 characters")
    if not value.isprintable():
        return bad("model", "'model' holds control characters")
    return None


def boolean(fields: Fields, name: str) -> Problem | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        return bad(name, f"'{name}' must be true or false")
    return None


def positive(fields: Fields, name: str, most: int | None = None) -> Problem | None:
    """A positive integer, or absent. Zero is the vendors' to judge where it means something."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        return bad(name, f"'{name}' must be a positive integer")
    if most is not None and not 1 <= value <= most:
        return bad(name, f"'{name}' must be between 1 and {most}")
    return None


def messages(fields: Fields) -> Problem | None:
    value = fields.get("messages")
    if value is None:
        return bad("messages", "you must provide 'messages'")
    if not isinstance(value, list):
        return bad("messages", "'messages' must be a list")
    if not value:
        return bad("messages", "'messages' must hold at least one message")
    for index, message in enumerate(value):
        # The common case first and quickly: this is every message of every request.
        if isinstance(message, dict) and isinstance(message.get("role"), str):
            content = message.get("content")
            if content is None or isinstance(content, str | list):
                continue
            return bad(f"messages[{index}].content", f"'messages[{index}].content' must be a string or a list of parts")
        if isinstance(message, dict):
            return bad(f"messages[{index}].role", f"'messages[{index}].role' must be a string")
        return bad(f"messages[{index}]", f"'messages[{index}]' must be an object")
    return None


def objects(fields: Fields, name: str) -> Problem | None:
    """A list of objects, or absent."""
    value = fields.get(name)
    if value is not None and not (isinstance(value, list) and all(isinstance(item, dict) for item in value)):
        return bad(name, f"'{name}' must be a list of objects")
    return None


def stream_options(fields: Fields) -> Problem | None:
    value = fields.get("stream_options")
    if value is None:
        return None
    if not isinstance(value, dict):
        return bad("stream_options", "'stream_options' must be an object")
    if not isinstance(value.get("include_usage"), bool | None):
        return bad("stream_options.include_usage", "'stream_options.include_usage' must be true or false")
    return None
