"""What the environment adds to the file: `${NAME}` inside values, and `HEADGATE_<SECTION>__<KEY>` over them.

Both work on values that are already parsed, so what a variable holds is never read as YAML structure or as another
reference. An override is taken as it stands; where the setting is a list or a mapping it is written in JSON (or YAML).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from headgate.config.document import parse
from headgate.config.findings import FileFinding, line_of, shown
from headgate.config.places import Path, Place, is_later, place_at
from headgate.config.schema import home

PREFIX = "HEADGATE_"
_REFERENCE = re.compile(r"\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{")


@dataclass(slots=True)
class Overlay:
    """names: what set each place that is not from the file. findings: what could not be set or filled in."""

    names: dict[Path, str] = field(default_factory=dict)
    findings: list[FileFinding] = field(default_factory=list)


def overlay(
    values: dict[str, Any], lines: Mapping[Path, int], environ: Mapping[str, str], options: Mapping[str, object]
) -> tuple[dict[str, Any], Overlay]:
    """`values` with the environment's overrides, then the command line's `options` (`{"server.port": 4001}`), and
    with the references that are left filled in."""
    laid = Overlay()
    for name, path in sorted(_overrides(environ), key=lambda item: [(isinstance(s, str), s) for s in item[1]]):
        _override(values, name, path, environ[name], laid)
    for dotted, value in options.items():
        if value is None:
            continue
        steps = tuple(dotted.split("."))
        _put(values, steps, value)
        laid.names[steps] = "--" + steps[-1].replace("_", "-")
    known = {**environ, "HEADGATE_HOME": str(home(environ))}
    return _filled(values, (), lines, known, laid), laid


def _overrides(environ: Mapping[str, str]) -> list[tuple[str, Path]]:
    """The variables that set something: HEADGATE_AUTH, and all with two underscores. Other names are left alone, as
    container platforms put HEADGATE_PORT and the like there by themselves."""
    found: list[tuple[str, Path]] = []
    for name in environ:
        if not name.startswith(PREFIX) or ("__" not in name and name != "HEADGATE_AUTH"):
            continue
        steps = name.removeprefix(PREFIX).lower().split("__")
        found.append((name, tuple(int(step) if re.fullmatch("[0-9]{1,4}", step) else step for step in steps)))
    return found


def _override(values: dict[str, Any], name: str, path: Path, text: str, laid: Overlay) -> None:
    place = place_at(path)
    if place is None:
        if is_later(path):
            problem = "sets what is not in this version of headgate yet, so it would protect or change nothing"
            laid.findings.append(FileFinding(name, problem, "Unset it for now."))
        else:
            laid.findings.append(FileFinding(name, "names no setting", _nearest(path)))
        return
    try:
        value = _parsed(text, place)
    except ValueError:
        laid.findings.append(FileFinding(name, "is not JSON or YAML", 'Write it in JSON, such as \'["a", "b"]\'.'))
        return
    gap = _put(values, path, value)
    if gap:
        laid.findings.append(FileFinding(name, gap, "Number the entries from 0, and leave no number out."))
        return
    laid.names[path] = name


def _nearest(path: Path) -> str:
    around = place_at(path[:-1])
    known = [one for model in (around.models if around else ()) for one in model.model_fields]
    near = get_close_matches(str(path[-1]), known, n=1)
    if near:
        return f"Did you mean {PREFIX}{'__'.join(str(step) for step in (*path[:-1], near[0])).upper()}?"
    return "Unset it, or correct it: HEADGATE_SERVER__PORT sets server.port."


def _parsed(text: str, place: Place) -> Any:
    """The value of an override: text where a bare value may stand, which the schema reads as it needs."""
    if (place.models or place.item is not None) and not (place.word and not text.lstrip().startswith("{")):
        document = parse(b"value: " + text.encode("utf-8", "surrogateescape"))
        if document.findings or list(document.values) != ["value"]:
            raise ValueError
        return document.values["value"]
    return text


def _put(values: dict[str, Any], path: Path, value: object) -> str:
    """Sets one place, making the mappings and lists on the way. Returns why it cannot, or an empty string.

    A value in the way that is no container is left: the file is wrong there, and validation says so. Only where the
    schema takes a bare value or a mapping (`price: auto`) the mapping replaces it.
    """
    around: Any = values
    for index, step in enumerate(path):
        last = index == len(path) - 1
        if isinstance(step, int):
            if not isinstance(around, list):
                return ""
            if step > len(around):
                return f"sets entry {step} of a list of {len(around)}"
            if step == len(around):
                around.append(None)
        elif not isinstance(around, dict):
            return ""
        if last:
            around[step] = value
            return ""
        inner = around[step] if isinstance(step, int) else around.get(step)
        place = place_at(path[: index + 1])
        if inner is None or (place is not None and place.word and not isinstance(inner, dict | list)):
            inner = [] if isinstance(path[index + 1], int) else {}
            around[step] = inner
        around = inner
    return ""


def _filled(value: Any, path: Path, lines: Mapping[Path, int], known: Mapping[str, str], laid: Overlay) -> Any:
    if path in laid.names:
        return value
    if isinstance(value, dict):
        return {key: _filled(held, (*path, key), lines, known, laid) for key, held in value.items()}
    if isinstance(value, list):
        return [_filled(held, (*path, index), lines, known, laid) for index, held in enumerate(value)]
    return _fill(value, path, lines, known, laid) if isinstance(value, str) and "$" in value else value


def _fill(text: str, path: Path, lines: Mapping[Path, int], known: Mapping[str, str], laid: Overlay) -> str:
    """`text` with its references replaced. `${NAME:-default}` takes the default where NAME is unset or empty."""

    def finding(problem: str, fix: str) -> str:
        laid.findings.append(FileFinding(shown(path), problem, fix, line_of(path, lines)))
        return ""

    def replaced(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        name, default = match[1], match[2]
        if name is None or (default is not None and "${" in default):
            return finding(
                "holds a `${` that is no reference", "Write `${NAME}` or `${NAME:-default}`; `$$` is a plain dollar."
            )
        if default is not None:
            return known.get(name) or default
        if name not in known:
            return finding(
                f"takes the environment variable {name}, which is not set",
                f"Set {name}, or write `${{{name}:-default}}`.",
            )
        return known[name]

    return _REFERENCE.sub(replaced, text)
