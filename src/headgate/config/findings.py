"""Where a finding is, and how it reads: paths, lines, and pydantic's errors in a user's words.

No text here holds a value from the file or the environment: it could be a secret, and a finding ends up in logs. Names
of keys are shown, unless they look like a secret that was put in the wrong place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from headgate.config.places import Path, place_at, sections_with
from headgate.errors import Finding

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_PLAIN_KEY = re.compile(r"[A-Za-z_<][A-Za-z0-9_.<-]{0,39}")


@dataclass(frozen=True, slots=True)
class FileFinding(Finding):
    """A finding with its line in the file, counted from 1; None where it is not in the file or not known."""

    line: int | None = None


def shown_key(key: str) -> str:
    """A key's name, or `…` where it does not look like one."""
    plain = _PLAIN_KEY.fullmatch(key) and not (len(key) >= 16 and any(character.isdigit() for character in key))
    return key if plain else "…"


def shown(path: Path) -> str:
    """A path as people write it: `providers[1].timeouts.connect_s`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{shown_key(step)}" if text else shown_key(step)
    return text or "(file)"


def line_of(path: Path, lines: Mapping[Path, int]) -> int | None:
    """The line of a place, or of the nearest place around it that the file has."""
    for end in range(len(path), -1, -1):
        if path[:end] in lines:
            return lines[path[:end]]
    return None


def text_of(finding: Finding) -> str:
    """One finding in two lines: where and what, then the fix."""
    line = getattr(finding, "line", None)
    where = finding.path if line is None else f"{finding.path} (line {line})"
    return f"{where}: {finding.problem}\n  fix: {finding.fix}"


def as_json(finding: Finding) -> dict[str, object]:
    """One finding for programs."""
    return {
        "path": finding.path,
        "line": getattr(finding, "line", None),
        "problem": finding.problem,
        "fix": finding.fix,
    }


def in_words(error: ErrorDetails) -> tuple[Path, str, str]:
    """(path, problem, fix) of one of pydantic's errors."""
    # The branch of `price` is in pydantic's path, and in nobody's file.
    loc = error["loc"]
    path = tuple(step for at, step in enumerate(loc) if not (at and loc[at - 1] == "price" and step in _BRANCHES))
    context: dict[str, Any] = error.get("ctx") or {}
    kind = error["type"]
    if kind == "headgate":
        return path, context["problem"], context["fix"]
    if kind == "extra_forbidden":
        return path, *_unknown(path)
    if kind in ("literal_error", "enum"):
        return path, *_not_a_choice(re.findall(r"'([^']*)'", str(context.get("expected", ""))), error["input"])
    if kind in _BOUNDS:
        return path, "is out of range", f"Write a value {_BOUNDS[kind]} {next(iter(context.values()))}."
    for types, problem, fix in _WORDS:
        if kind in types:
            return path, problem, fix
    return path, "is not valid", "See the configuration reference for what it can be."


_BRANCHES = ("<rates>", "<word>")  # as tagged in schema.py

_BOUNDS = {
    "greater_than": "above",
    "greater_than_equal": "of at least",
    "less_than": "below",
    "less_than_equal": "of at most",
}

_INT = frozenset({"int_type", "int_parsing", "int_from_float", "int_parsing_size"})
_FLOAT = frozenset({"float_type", "float_parsing", "decimal_type", "decimal_parsing", "finite_number"})
_BOOL = frozenset({"bool_type", "bool_parsing"})
_LIST = frozenset({"tuple_type", "list_type", "set_type", "frozen_set_type"})
_MAPPING = frozenset({"model_type", "model_attributes_type", "dict_type", "mapping_type"})
_WORDS: tuple[tuple[frozenset[str], str, str], ...] = (
    (frozenset({"missing"}), "is missing", "Add it."),
    (_INT, "is not a whole number", "Write a whole number, such as 2."),
    (_FLOAT, "is not a number", "Write a plain number, such as 2.5."),
    (_BOOL, "is neither true nor false", "Write true or false."),
    (frozenset({"string_type"}), "is not text", 'Write text; what looks like a number needs quotes, as in "42".'),
    (frozenset({"string_unicode"}), "is not valid Unicode text", "Write it in UTF-8."),
    (_LIST, "is not a list", "Write a list: one entry per line, each after `- `."),
    (_MAPPING, "is not a mapping", "Write `key: value` lines, indented below it."),
    (frozenset({"too_short", "string_too_short"}), "is empty", "Leave it out, or write at least one."),
    (frozenset({"too_long", "string_too_long"}), "is too long", "Shorten it."),
    (
        frozenset({"string_pattern_mismatch"}),
        "is not a plain name",
        "Use letters, digits, dots, dashes and underscores, and start with a letter or a digit.",
    ),
)


def _not_a_choice(choices: Sequence[str], given: object) -> tuple[str, str]:
    near = get_close_matches(given.lower(), choices, n=1) if isinstance(given, str) else []
    listed = ", ".join(choices[:-1]) + f" or {choices[-1]}" if len(choices) > 1 else "".join(choices)
    return "is not one of the choices", f"Did you mean {near[0]}? Write {listed}." if near else f"Write {listed}."


def _unknown(path: Path) -> tuple[str, str]:
    """What to say of a key that the schema does not have: of a later version, misspelt, misplaced, or unknown."""
    key = str(path[-1])
    around = place_at(path[:-1])
    models = around.models if around is not None else ()
    later = {name for model in models for name in model.later()}
    if key in later:
        return "is not in this version of headgate yet, so it would protect or change nothing", "Take it out for now."
    if key == "<<":
        return "is a merge key, which YAML 1.2 no longer has", "Write the settings out, or alias a whole mapping."
    known = [name for model in models for name in model.model_fields]
    near = get_close_matches(key.lower().replace("-", "_"), [*known, *sorted(later)], n=1, cutoff=0.6)
    if near and near[0] in later:
        return "is not a known setting", f"`{near[0]}` is near, but not in this version of headgate yet: take it out."
    if near:
        return "is not a known setting", f"Did you mean `{near[0]}`?"
    at_home = [name for name in sections_with(key) if path[:-1] != (name,)]
    if at_home:
        return "is not a known setting here", f"It belongs below `{at_home[0]}`."
    return "is not a known setting", f"Take it out. Known here: {', '.join(known)}."
