"""YAML text to plain values, with the line of each, and a finding for each of YAML's traps.

The rules are those of YAML 1.2, as editors have them: only `true` and `false` are truth values (so `no` is a word),
`2024-05-13` is a word, `010` is ten. There are no merge keys and no tags beyond the plain ones.

The text is not trusted: its size, depth and number of values (aliases counted at each use) are limited, and no finding
quotes it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from headgate.config.findings import FileFinding, shown
from headgate.config.places import Path

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_VALUES = 100_000

_TAG = "tag:yaml.org,2002:"


@dataclass(slots=True)
class Document:
    """values: what the text says. lines: the line of each place, from 1. findings: what could not be read."""

    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[Path, int] = field(default_factory=dict)
    findings: list[FileFinding] = field(default_factory=list)


class _Loader(yaml.SafeLoader):
    """Parses to nodes only; the values are made below."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (the base class declares it so)


for _name, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(f"^(?:{_pattern})$"), _first)


class _Refused(Exception):
    """The document cannot be read on."""

    def __init__(self, finding: FileFinding) -> None:
        self.finding = finding


def parse(data: bytes) -> Document:
    """The document in `data`. Raises nothing: what is wrong is in `findings`."""
    document = Document()
    try:
        node = _compose(data)
        if not isinstance(node, yaml.MappingNode):
            raise _Refused(
                _finding("holds a list or a bare value at its top", "Start with a section, as in `server:`.")
            )
        reader = _Reader(document)
        document.values = reader.mapping(node, ())
    except _Refused as refused:
        document.findings.append(refused.finding)
    except RecursionError:
        document.findings.append(_finding("is nested too deeply", f"Keep to {MAX_DEPTH} levels."))
    return document


def _finding(problem: str, fix: str, *, line: int | None = None, path: Path = ()) -> FileFinding:
    return FileFinding(shown(path), problem, fix, line)


def _compose(data: bytes) -> yaml.Node:
    if len(data) > MAX_BYTES:
        raise _Refused(_finding(f"is larger than {MAX_BYTES // 1024} KiB", "Is this the right file?"))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        line = data.count(b"\n", 0, wrong.start) + 1
        raise _Refused(_finding("is not UTF-8 text", "Save it as UTF-8.", line=line)) from None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as wrong:
        raise _Refused(_syntax(wrong)) from None
    except yaml.reader.ReaderError as wrong:
        line = text.count("\n", 0, wrong.position) + 1
        raise _Refused(_finding("holds a control character", "Take it out.", line=line)) from None
    except (ValueError, OverflowError):  # a \U escape beyond Unicode
        raise _Refused(_finding("is not YAML: an escape in it names no character", "Correct the escape.")) from None
    if node is None:
        raise _Refused(_finding("is empty", "Write at least `providers:` with one entry."))
    return node


def _syntax(wrong: yaml.MarkedYAMLError) -> FileFinding:
    """A syntax error in words of our own: the parser's can quote the text."""
    problem = wrong.problem or ""
    mark = wrong.problem_mark or wrong.context_mark
    line, at = (mark.line + 1, f" at column {mark.column + 1}") if mark else (None, "")
    for part, meaning, fix in (
        ("'\\t'", "a tab", "Indent with spaces: YAML takes no tabs there."),
        ("mapping values are not allowed", "a second `:`", "Put the value in quotes, or start a new line for the key."),
        ("another document", "a second document", "Keep one document: take out the line `---` and what follows it."),
        ("alias", "an alias of nothing", "A value that starts with `*` needs quotes."),
        ("anchor", "an anchor that is there twice, or nameless", "A value that starts with `&` needs quotes."),
        ("end of stream", "the end of the file inside a quote or bracket", "Close it."),
        ("could not find expected ':'", "a key without `:`", "Write `key: value`."),
        ("<block end>", "something that does not line up", "Give all keys of one mapping the same indent."),
    ):
        if part in problem:
            return _finding(f"is not YAML: {meaning}{at}", fix, line=line)
    return _finding(f"is not YAML: it cannot be read{at}", "Check quotes, brackets and indents there.", line=line)


class _Reader:
    """Makes values from nodes, and notes their lines."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._count = 0

    def value(self, node: yaml.Node, path: Path) -> Any:
        self._count += 1
        line = node.start_mark.line + 1
        if self._count > MAX_VALUES:
            raise _Refused(_finding(f"has more than {MAX_VALUES} values, aliases counted", "Write less.", line=line))
        if len(path) > MAX_DEPTH:
            raise _Refused(_finding("is nested too deeply", f"Keep to {MAX_DEPTH} levels.", line=line))
        self._document.lines.setdefault(path, line)
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            if node.tag == _TAG + "seq":
                return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        elif isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        return self._refuse(path, "has a tag", "Take out the `!` and the word after it.", line)

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        self._document.lines.setdefault(path, node.start_mark.line + 1)
        if node.tag != _TAG + "map":
            self._refuse(path, "has a tag", "Take out the `!` and the word after it.", node.start_mark.line + 1)
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._refuse(path, "has a key that is a list or a mapping", "Write names as keys.", line)
                continue
            key = str(key_node.value)
            here = (*path, key)
            if key in values:
                first = self._document.lines[here]
                self._refuse(here, f"is there twice, first on line {first}", "Keep one of the two.", line)
                continue
            self._document.lines[here] = line
            values[key] = self.value(value_node, here)
        return values

    def _refuse(self, path: Path, problem: str, fix: str, line: int) -> None:
        self._document.findings.append(_finding(problem, fix, path=path, line=line))

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        text, tag = str(node.value), node.tag.removeprefix(_TAG)
        line = node.start_mark.line + 1
        if tag == "str":
            return text
        if tag == "null":
            return None
        try:
            if tag == "bool":
                return {"true": True, "false": False}[text.lower()]
            if tag == "int":
                return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
            if tag == "float":
                return float(re.sub(r"^([-+]?)\.(inf|nan)$", r"\1\2", text.lower()))
        except (ValueError, KeyError):
            return self._refuse(path, "is not the number or truth value that its form says", "Write it plainly.", line)
        return self._refuse(path, "has a tag", "Take out the `!` and the word after it.", line)
