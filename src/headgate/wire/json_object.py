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

# Atomic groups, and no possessive repeats of groups: before 3.11.5 Python matched the latter wrongly. These are for a
# text whose escapes are masked, so that a string ends at the next quote.
_STRING = rb'"[^"]*"'
#: A member's key and colon, and its value too where that is no object or list.
_MEMBER = re.compile(rb"(?>[\s,]*)(" + _STRING + rb")(?>\s*:\s*)(?:(" + _STRING + rb"|(?>[^\s,{}\[\]\"]+))|(?=[{\[]))")
_PLAIN = rb'(?>(?:[^"{}\[\]]+|' + _STRING + rb")*)"
#: From inside a nested value to its next bracket, over strings, and over objects and lists that hold no others.
_TO_BRACKET = re.compile(rb'(?>(?:[^"{}\[\]]+|' + _STRING + rb"|\{" + _PLAIN + rb"\}|\[" + _PLAIN + rb"\])*)[{}\[\]]")
_OPENING = b"{["

#: From this size on a body is looked at for how much it holds before it is parsed: a few megabytes can hold millions
#: of empty objects or strings, which take a hundred times their room, and seconds.
_LARGE = 1024 * 1024
_MAX_BRACKETS = 500_000
_MAX_STRINGS = 1_000_000


class NotAnObject(ValueError):
    """The bytes are not one JSON object; the message says why, in words for whoever wrote them."""


class JsonObject:
    """raw: the bytes. fields: the same, parsed."""

    __slots__ = ("_spans", "fields", "raw")

    def __init__(self, raw: bytes) -> None:
        """Raises NotAnObject for anything but one JSON object with distinct keys."""
        if len(raw) > _LARGE:
            if raw.count(b"{") + raw.count(b"[") > _MAX_BRACKETS:
                raise NotAnObject(f"the body holds more than {_MAX_BRACKETS} objects and lists")
            if raw.count(b'"') > 2 * _MAX_STRINGS:
                raise NotAnObject(f"the body holds more than {_MAX_STRINGS} strings")
        try:
            fields = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise NotAnObject(f"the body is not valid JSON: {error}") from None
        if not isinstance(fields, dict):
            raise NotAnObject(f"the body must be a JSON object, not {_json_type(fields)}")
        self.raw = raw
        self.fields: dict[str, Any] = fields
        self._spans = _spans(raw)

    def member(self, name: str) -> bytes:
        """One top-level member's value, as it was written. Raises KeyError."""
        start, end = self._spans[name]
        return self.raw[start:end]

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
    masked = raw
    if b"\\" in raw:  # a run of backslashes pairs off from its left, and a quote after the pairs is escaped
        masked = raw.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    member = _MEMBER.match(masked, masked.index(b"{") + 1)
    while member is not None:
        start, end = member.span(2)
        if start < 0:  # an object or a list begins: to its end
            start = member.end()
            end = start + 1
            depth = 1
            while depth:
                bracket = _TO_BRACKET.match(masked, end)
                assert bracket is not None, "the parser has seen that brackets match"
                end = bracket.end()
                depth += 1 if masked[end - 1] in _OPENING else -1
        key = orjson.loads(raw[member.start(1) : member.end(1)])
        if key in spans:
            raise NotAnObject(f"the field {key[:100]!r} stands twice")
        spans[key] = (start, end)
        member = _MEMBER.match(masked, end)
    return spans


def _json_type(value: object) -> str:
    return {list: "a list", str: "a string", bool: "a boolean", type(None): "null"}.get(type(value), "a number")
