"""What the table says of one request, asked field by field.

A converter makes one `Ruling` and shows it every object before it reads it: what is refused is raised, what is dropped
is noted, and what has no row is refused, at every depth alike. Null, and a row's `idle` values, ask for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from headgate.wire.translate.fields import Fate, Row, Rows
from headgate.wire.translate.shape import Refusal, wrong
from headgate.wire.translate.upstream import Upstream

_LONGEST_KIND = 50
#: In a row's name, the sign of a path into a field; a field that is called so is none that has a row.
_IS_NESTED = re.compile(r"[\[.:]")


class Ruling:
    """rows: the pair's table. dropped: the rows of what is left out, in the order found; the caller's list."""

    __slots__ = ("dropped", "rows", "upstream")

    def __init__(self, rows: Rows, upstream: Upstream, dropped: list[str]) -> None:
        self.rows = rows
        self.upstream = upstream
        self.dropped = dropped

    def top(self, fields: Mapping[str, Any]) -> None:
        """Looks at every top-level field. Raises Refusal."""
        for name, value in fields.items():
            row = None if _IS_NESTED.search(name) else self.rows.get(name)
            if row is None or row.fate is Fate.DROPPED or row.fate is Fate.REFUSED:
                self._judge(row, name, name, value)

    def rest(self, given: Mapping[str, Any], known: frozenset[str], place: str, field: str = "") -> None:
        """Looks at what an object holds beside what its reader knows. place: the object's path as rows write it
        (`messages[].content[]`). field: its path as refusals name it, from where they are given the rest of it; empty
        for the object that is being read. Raises Refusal."""
        if given.keys() <= known:
            return
        for name, value in given.items():
            if name not in known:
                row = f"{place}.{name}"
                self._judge(self.rows.get(row), row, f"{field}.{name}" if field else name, value)

    def _judge(self, row: Row | None, name: str, field: str, value: Any) -> None:
        if value is None:
            return
        if row is None:
            raise self.cannot(field or '""', "it is not a field that headgate knows there")
        if any(value == idle and type(value) is type(idle) for idle in row.idle):
            return
        if row.fate is Fate.REFUSED:
            raise self.refused(name, field)
        if row.fate is Fate.DROPPED:
            self.dropped.append(name)

    def refused(self, row: str, field: str) -> Refusal:
        """The refusal that a row stands for. field: where it was found."""
        return self.cannot(field, self.rows[row].note)

    def kind(self, kind: Any, place: str, field: str) -> Refusal:
        """The refusal of a part, an item or a tool by its `type`. place: as rows write it, without the colon. field:
        where the type was found."""
        if not isinstance(kind, str):
            return wrong(field, "must be a string")
        row = self.rows.get(f"{place}:{kind}")
        why = row.note if row is not None and row.fate is Fate.REFUSED else "it is not a type that headgate knows there"
        return Refusal(field, f"of type {kind[:_LONGEST_KIND]!r} cannot be carried to {self.upstream.sentence}: {why}")

    def cannot(self, field: str, why: str) -> Refusal:
        """The refusal of something valid, in words of its own."""
        return Refusal(field, f"cannot be carried to {self.upstream.sentence}: {why}")

    def drop(self, row: str) -> None:
        """Notes that this is left out. A converter decides so where its row says `carried`, to some upstreams only."""
        assert row in self.rows, row
        self.dropped.append(row)
