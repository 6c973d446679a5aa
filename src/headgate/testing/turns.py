"""What a fake model says, in no vendor's words: the vendors' modules put it on the wire."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

Json = dict[str, Any]

#: When every fake answer was made, seconds since 1970: answers must not differ from run to run.
CREATED_S = 1_760_000_000


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call. `arguments`: an object, or the text of one (also a broken one). `id`: made up where None."""

    name: str
    arguments: Mapping[str, Any] | str = ""
    id: str | None = None

    def text(self) -> str:
        return self.arguments if isinstance(self.arguments, str) else orjson.dumps(self.arguments).decode()


@dataclass(frozen=True, slots=True)
class Turn:
    """What one choice says. `finish`: the vendor's word for why it ended; None lets the content decide."""

    text: str = ""
    calls: Sequence[Call] = ()
    refusal: str | None = None
    reasoning: str | None = None
    signature: str = "c2lnbmF0dXJlLW9mLWEtZmFrZQ=="
    finish: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer. `input`: those neither read from nor written to a cache. `output` includes `reasoning`."""

    input: int = 11
    output: int = 7
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0

    @property
    def whole_input(self) -> int:
        return self.input + self.cached + self.cache_write


#: What is said and reported where a test does not care.
HELLO = Turn("Hello.")
SOME_USAGE = Usage()


def make_id(prefix: str, length: int = 24) -> str:
    """A random id in the shape that vendors use."""
    return prefix + os.urandom(length).hex()[:length]


def pieces(text: str) -> list[str]:
    """The text cut before each word, as models stream it. Joined they are the text."""
    return re.findall(r"\s*\S+(?:\s+$)?|^\s+$", text)


def fragments(text: str, size: int = 9) -> list[str]:
    """The text cut without regard to its meaning, as arguments of tools are streamed."""
    return [text[at : at + size] for at in range(0, len(text), size)]


def example(schema: Mapping[str, Any]) -> Any:
    """A value that a JSON Schema allows, of those that structured output accepts."""
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    if schema.get("anyOf"):
        return example(schema["anyOf"][0])
    if "$ref" in schema:
        return {}
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return {name: example(part) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        return [example(schema.get("items", {"type": "string"}))]
    return {"string": "a word", "integer": 3, "number": 1.5, "boolean": True}.get(kind)
