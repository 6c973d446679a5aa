"""The table of `fields.py` as a page for people: `python -m headgate.wire.translate.fields_page` prints what stands in
docs/translation.md below its marker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from headgate.wire.dialect import Dialect
from headgate.wire.translate.fields import TABLE, Fate, Row, Rows
from headgate.wire.translate.translation import names_of

_TITLES = {Dialect.CHAT: "OpenAI chat", Dialect.MESSAGES: "Anthropic messages", Dialect.RESPONSES: "OpenAI responses"}
_JOINED = ((Dialect.MESSAGES, Dialect.RESPONSES), (Dialect.RESPONSES, Dialect.MESSAGES))


def page() -> str:
    """Markdown: a table for each ordered pair."""
    parts = [*(_direct(client, upstream) for client, upstream in TABLE), *(_joined(*pair) for pair in _JOINED)]
    return "\n".join(parts)


def _direct(client: Dialect, upstream: Dialect) -> str:
    lines = [f"## {_TITLES[client]} to {_TITLES[upstream]}", "", *_HEAD]
    lines += [_line(name, row) for name, row in TABLE[client, upstream].items()]
    return "\n".join(lines) + "\n"


_HEAD = ("| field | | |", "|---|---|---|")


def _line(name: str, row: Row) -> str:
    note = row.note
    if row.idle and row.fate is not Fate.CARRIED:
        passing = ", ".join(f"`{_shown(value)}`" for value in dict.fromkeys(_shown(v) for v in row.idle))
        note += f" ({passing} passes)"
    fate = f"**{row.fate}**" if row.fate in (Fate.DROPPED, Fate.REFUSED) else row.fate
    return f"| `{name}` | {fate} | {note} |"


def _shown(value: object) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value)


def _joined(client: Dialect, upstream: Dialect) -> str:
    title = f"## {_TITLES[client]} to {_TITLES[upstream]}"
    through = f"Through chat: as {_TITLES[client]} to chat, and of what is carried there:"
    rows = [_line(name, row) for name, row in _second_step(client, upstream)]
    return "\n".join([title, "", through, "", *_HEAD, *rows]) + "\n"


def _second_step(client: Dialect, upstream: Dialect) -> Iterator[tuple[str, Row]]:
    """The client's fields that the first step carries and the second does not."""
    first, second = TABLE[client, Dialect.CHAT], TABLE[Dialect.CHAT, upstream]
    names = names_of(client, Dialect.CHAT)
    for chat_name, row in second.items():
        name = names.get(chat_name, chat_name)
        if row.fate is not Fate.CARRIED and _is_carried(first, name) and _is_written(chat_name, name, names, first):
            yield name, row


def _is_carried(rows: Rows, name: str) -> bool:
    return name in rows and rows[name].fate is Fate.CARRIED


def _is_written(chat_name: str, name: str, names: Mapping[str, str], first: Rows) -> bool:
    """Whether the first step ever writes this field of chat."""
    return chat_name in names or (chat_name == name and name in first and name not in names.values())


if __name__ == "__main__":
    print(page(), end="")
