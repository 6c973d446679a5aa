"""The table of `fields.py` as a page for people: `python -m headgate.wire.translate.fields_page` prints what stands in
docs/translation.md below its marker."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from headgate.wire.dialect import Dialect
from headgate.wire.translate.fields import TABLE, Fate, Row, Rows
from headgate.wire.translate.translation import names_of

_TITLES = {Dialect.CHAT: "OpenAI chat", Dialect.MESSAGES: "Anthropic messages", Dialect.RESPONSES: "OpenAI responses"}
_JOINED = ((Dialect.MESSAGES, Dialect.RESPONSES), (Dialect.RESPONSES, Dialect.MESSAGES))
_HEAD = ("| field | | |", "|---|---|---|")


def page() -> str:
    """Markdown: a table for each ordered pair."""
    return "\n".join([*(_direct(*pair) for pair in TABLE), *(_joined(*pair) for pair in _JOINED)])


def _direct(client: Dialect, upstream: Dialect) -> str:
    rows = TABLE[client, upstream]
    plain = [f"`{name}`" for name, row in rows.items() if row.fate is Fate.CARRIED and not row.note]
    rest = [(name, row) for name, row in rows.items() if row.fate is not Fate.CARRIED or row.note]
    said = f"Carried as it stands: {', '.join(plain)}."
    return "\n".join([f"## {_TITLES[client]} to {_TITLES[upstream]}", "", said, "", *_HEAD, *_lines(rest)]) + "\n"


def _lines(rows: Iterable[tuple[str, Row]]) -> list[str]:
    """A line for each, but one for neighbours of which the same is said."""
    alike: list[tuple[list[str], Row]] = []
    for name, row in rows:
        if alike and alike[-1][1] == row:
            alike[-1][0].append(name)
        else:
            alike.append(([name], row))
    return [_line(names, row) for names, row in alike]


def _line(names: list[str], row: Row) -> str:
    note = row.note
    if row.idle and row.fate is not Fate.CARRIED:
        idle = dict.fromkeys(value if isinstance(value, str) else json.dumps(value) for value in row.idle)
        note += f" ({', '.join(f'`{value}`' for value in idle)}: asks for nothing)"
    fate = f"**{row.fate}**" if row.fate in (Fate.DROPPED, Fate.REFUSED) else row.fate
    return f"| {', '.join(f'`{name}`' for name in names)} | {fate} | {note} |"


def _joined(client: Dialect, upstream: Dialect) -> str:
    title = f"## {_TITLES[client]} to {_TITLES[upstream]}"
    through = f"Through chat: as {_TITLES[client]} to chat, but of what is carried there:"
    return "\n".join([title, "", through, "", *_HEAD, *_lines(_second_step(client, upstream))]) + "\n"


def _second_step(client: Dialect, upstream: Dialect) -> Iterator[tuple[str, Row]]:
    """The client's fields that the first step carries, and the second does not."""
    first, second = TABLE[client, Dialect.CHAT], TABLE[Dialect.CHAT, upstream]
    names = names_of(client, Dialect.CHAT)
    for chat_name, row in second.items():
        if row.fate is Fate.CARRIED:
            continue
        # What the first step calls by another name, it does not write under its own.
        own = None if chat_name in names.values() else chat_name
        name = names.get(chat_name, own)
        if name is not None and _is_carried(first, name):
            yield name, row


def _is_carried(rows: Rows, name: str) -> bool:
    return name in rows and rows[name].fate is Fate.CARRIED


if __name__ == "__main__":
    print(page(), end="")
