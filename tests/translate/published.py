"""Random bodies made from the types that the vendors publish in their SDKs."""

from __future__ import annotations

import collections.abc
import random
import types
import typing
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin

import typing_extensions
from pydantic import BaseModel

from headgate.wire.dialect import Dialect

_TEXTS = ("a", "What is this? \U0001f30a", "{}", '{"a": 1}', "call_1", "read_gauge", "low", "auto", "", " \n")
_LINKS = ("https://example.com/a.png", "data:image/png;base64,iVBORw0KGgo=", "data:application/pdf;base64,JVBERi0=")
_MODELS = ("gpt-4o-mini", "gpt-5.2", "claude-haiku-4-5", "claude-opus-5", "claude-3-haiku-20240307", "qwen3-8b")
#: Objects below this hold only what they must.
_DEEP = 7


def request_type(dialect: Dialect) -> Any:
    if dialect is Dialect.MESSAGES:
        from anthropic.types.message_create_params import MessageCreateParamsNonStreaming

        return MessageCreateParamsNonStreaming
    if dialect is Dialect.RESPONSES:
        from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming

        return ResponseCreateParamsNonStreaming
    from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming

    return CompletionCreateParamsNonStreaming


def body(rng: random.Random, dialect: Dialect) -> dict[str, Any]:
    """A request that its vendor's types allow. What the types leave open (an empty list of messages) is not."""
    made: dict[str, Any] = _object(rng, request_type(dialect), 0)
    made["model"] = rng.choice(_MODELS)
    turns = "input" if dialect is Dialect.RESPONSES else "messages"
    if not made.get(turns):
        made[turns] = [{"role": "user", "content": "?"}]
    made.pop("stream", None)
    return made


def _object(rng: random.Random, kind: Any, depth: int) -> dict[str, Any]:
    made = {}
    for name, hint, required in _members(kind):
        if required or (rng.random() < (0.12 if depth == 0 else 0.3) and depth < _DEEP):
            value = _value(rng, hint, depth + 1, name)
            if value is not _SKIP:
                made[name] = value
    return made


@cache
def _members(kind: Any) -> list[tuple[str, Any, bool]]:
    """Name, type, and whether it must be there: the types' own list of those does not see annotations in strings."""
    hints = typing_extensions.get_type_hints(kind, include_extras=True)
    return [(name, hint, get_origin(hint) is typing_extensions.Required) for name, hint in hints.items()]


_SKIP = object()
_PLAIN = {int: (0, 1, 17, 4096), float: (0.0, 0.5, 1.0, 1.7), bool: (True, False), type(None): (None,), bytes: ("x",)}


def _value(rng: random.Random, hint: Any, depth: int, name: str) -> Any:
    origin = get_origin(hint)
    if origin in (typing_extensions.Required, typing_extensions.NotRequired, typing.Annotated):
        return _value(rng, get_args(hint)[0], depth, name)
    if origin in (Union, types.UnionType):
        options = [one for one in get_args(hint) if not (isinstance(one, type) and issubclass(one, BaseModel))]
        for _ in range(4 if options else 0):
            value = _value(rng, rng.choice(options), depth, name)
            if value is not _SKIP:
                return value
        return _SKIP
    if origin is Literal:
        return rng.choice(get_args(hint))
    if origin in (dict, collections.abc.Mapping):
        return (
            {rng.choice(("a", "b", "type")): _value(rng, get_args(hint)[1], depth + 1, name)} if depth < _DEEP else {}
        )
    if origin is not None and get_args(hint):  # a list, by whatever name
        if depth > _DEEP:
            return []
        values = [_value(rng, get_args(hint)[0], depth + 1, name) for _ in range(rng.randrange(4))]
        return [value for value in values if value is not _SKIP]
    if typing_extensions.is_typeddict(hint):
        return _object(rng, hint, depth)
    if hint is str:
        return rng.choice(_LINKS) if name in ("url", "image_url", "file_data") else rng.choice(_TEXTS)
    if hint is object or hint is Any:
        return rng.choice(("x", 1, {}, {"type": "object", "properties": {}}, []))
    if hint in _PLAIN:
        return rng.choice(_PLAIN[hint])
    return _SKIP  # a model of an answer, or a handle of the SDK's own
