"""A JSON object kept as the bytes it came in, of which single top-level members can be replaced.

Unknown fields, the order of keys and the spelling of numbers must reach the upstream as the client wrote them, so a
body is never parsed and written again: it is checked by a real parser, and patched in place. A key that stands twice
is refused, because two parsers may disagree on which one counts, and one of the two may set the price.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

_STRING_OR_BRACKET = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]]', re.DOTALL)
_COLON = re.compile(rb"[ \t\r\n]*+:[ \t\r\n]*+")
_WHITE = b" \t\r\n"
_QUOTE, _OPEN_OBJECT, _OPEN_LIST = b'"'[0], b"{"[0], b"["[0]


class NotAnObject(ValueError):
    """The bytes are not one JSON object; the message says why, in words for whoever wrote them."""


class JsonObject:
    """raw: the bytes. fields: the same, parsed."""

    __slots__ = ("_spans", "fields", "raw")

    def __init__(self, raw: bytes) -> None:
        """Raises NotAnObject for anything but one JSON object with distinct keys."""
        try:
            fields = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise NotAnObject(f"the body is not valid JSON: {error}") from None
        except RecursionError:
            raise NotAnObject("the body is nested too deeply") from None
        if not isinstance(fields, dict):
            raise NotAnObject(f"the body must be a JSON object, not {_json_type(fields)}")
        self.raw = raw
        self.fields: dict[str, Any] = fields
        self._spans = _spans(raw)

    def replaced(self, changes: Mapping[str, Any]) -> bytes:
        """The bytes with these top-level members set: in place where they stand, else put first."""
        raw = self.raw
        pieces: list[bytes] = []
        inserted = b""
        done = 0
        for key in sorted(changes, key=lambda k: self._spans.get(k, (0, 0))):
            value = orjson.dumps(changes[key])
            span = self._spans.get(key)
            if span is None:
                inserted += orjson.dumps(key) + b":" + value + b","
                continue
            pieces += (raw[done : span[0]], value)
            done = span[1]
        pieces.append(raw[done:])
        whole = b"".join(pieces)
        if not inserted:
            return whole
        start = whole.index(b"{") + 1
        if not self._spans:
            inserted = inserted[:-1]
        return whole[:start] + inserted + whole[start:]


def _spans(raw: bytes) -> dict[str, tuple[int, int]]:
    """Where each top-level member's value stands, in a text that is known to be one valid JSON object."""
    spans: dict[str, tuple[int, int]] = {}
    depth = 0
    key: str | None = None
    value_start = 0
    last_bracket = 0
    for match in _STRING_OR_BRACKET.finditer(raw):
        first = raw[match.start()]
        if first == _QUOTE:
            if depth != 1:
                continue
            colon = _COLON.match(raw, match.end())
            if colon is None:
                continue
            if key is not None:
                spans[key] = (value_start, _end_before(raw, match.start()))
            key = orjson.loads(match[0])
            if key in spans:
                raise NotAnObject(f"the field {key!r} stands twice")
            value_start = colon.end()
        elif first in (_OPEN_OBJECT, _OPEN_LIST):
            depth += 1
        else:
            depth -= 1
            last_bracket = match.start()
    if key is not None:
        spans[key] = (value_start, len(raw[:last_bracket].rstrip(_WHITE)))
    return spans


def _end_before(raw: bytes, next_key: int) -> int:
    """The end of the value that stands before the comma before the key at `next_key`."""
    comma = raw.rindex(b",", 0, next_key)
    end = comma
    while raw[end - 1] in _WHITE:
        end -= 1
    return end


def _json_type(value: object) -> str:
    return {list: "a list", str: "a string", bool: "a boolean", type(None): "null"}.get(type(value), "a number")
