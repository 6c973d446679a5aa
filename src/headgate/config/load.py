"""From a file and the environment to a configuration, or to every reason why not.

1. Find the file: `--config`, $HEADGATE_CONFIG, ./headgate.yaml, $HEADGATE_HOME/headgate.yaml.
2. Read its text to plain values (`document.py`).
3. Lay the environment and the command line over them (`environment.py`).
4. Validate (`schema.py`), with each error put in words (`findings.py`).

Where step 2 fails on its syntax there is nothing to go on with; else the findings of all steps come together.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from headgate.config import findings as words
from headgate.config.document import MAX_BYTES, Document, parse
from headgate.config.environment import overlay
from headgate.config.findings import FileFinding
from headgate.config.schema import Config, home
from headgate.errors import ConfigError

FILE_NAME = "headgate.yaml"


class Fingerprint(NamedTuple):
    """What changes when a file is edited, replaced, or its link is pointed elsewhere."""

    mtime_ns: int
    inode: int
    size: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that is valid, and the file it came from as it then was; None where there was no file."""

    config: Config
    path: Path | None
    fingerprint: Fingerprint | None


def fingerprint(path: Path) -> Fingerprint | None:
    """The file's fingerprint, through links; None where it cannot be seen."""
    try:
        seen = path.stat()
    except (OSError, ValueError):
        return None
    return Fingerprint(seen.st_mtime_ns, seen.st_ino, seen.st_size)


def find(explicit: Path | str | None = None, environ: Mapping[str, str] | None = None) -> Path | None:
    """The configuration file as an absolute path; None where there is none and none was named."""
    environ = os.environ if environ is None else environ
    if explicit is not None:
        return Path(explicit).absolute()
    if environ.get("HEADGATE_CONFIG"):
        return Path(environ["HEADGATE_CONFIG"]).expanduser().absolute()
    for place in (Path.cwd(), home(environ)):
        if fingerprint(place / FILE_NAME) is not None:
            return place / FILE_NAME
    return None


def load(
    explicit: Path | str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    options: Mapping[str, object] | None = None,
    file_optional: bool = False,
) -> Loaded:
    """The configuration in force for this file, environment and command line.

    options: settings from the command line by their path, such as `{"server.port": 4001}`; they win over all else.
        A value of None was not given.
    file_optional: no file, where none was named, means the defaults; else it is a finding.
    Raises ConfigError with every finding.
    """
    environ = os.environ if environ is None else environ
    path = find(explicit, environ)
    if path is None:
        if not file_optional:
            fix = f"Write ./{FILE_NAME}, or name another file with --config or HEADGATE_CONFIG."
            raise ConfigError([FileFinding(FILE_NAME, "is not here, nor in HEADGATE_HOME", fix)])
        return Loaded(build(Document(), environ, options or {}), None, None)
    seen = fingerprint(path)  # before the reading: a change during it is then seen as one
    document = parse(_read(path, "--config" if explicit is not None else "HEADGATE_CONFIG"))
    return Loaded(build(document, environ, options or {}), path, seen)


def _read(path: Path, named_by: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as wrong:
        reason = getattr(wrong, "strerror", None) or "not a path"
    fix = f"Correct the path ({named_by}), or let this user read the file."
    raise ConfigError([FileFinding(str(path), f"cannot be read: {reason}", fix)])


def build(document: Document, environ: Mapping[str, str], options: Mapping[str, object]) -> Config:
    """The configuration of a parsed document. Raises ConfigError with every finding."""
    if document.findings and not document.values:
        raise ConfigError(document.findings)
    values, laid = overlay(document.values, document.lines, environ, options)
    found = [*document.findings, *laid.findings]
    config, errors = _validated(_with_ledger(values, environ))
    known = {(finding.path, finding.line) for finding in found}
    for error in errors:
        path, problem, fix = words.in_words(error)
        name = next((laid.names[path[:end]] for end in range(len(path), 0, -1) if path[:end] in laid.names), None)
        line = None if name else words.line_of(path, document.lines)
        finding = FileFinding(name or words.shown(path), problem, fix, line)
        if (finding.path, finding.line) not in known:  # said already, and better, where the value was made
            found.append(finding)
    if config is None or found:
        found.sort(key=lambda finding: finding.line or 0)
        raise ConfigError(found)
    return config


def _with_ledger(values: dict[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """The default ledger lies in the HEADGATE_HOME of this environment."""
    ledger = values.get("ledger")
    if ledger is None or (isinstance(ledger, dict) and ledger.get("url") is None):
        return {**values, "ledger": {**(ledger or {}), "url": f"sqlite:///{home(environ)}/ledger.db"}}
    return values


def _validated(values: dict[str, Any]) -> tuple[Config | None, list[Any]]:
    """The configuration, or pydantic's errors. The exception ends here: it holds the values."""
    try:
        return Config.model_validate(values), []
    except ValidationError as wrong:
        errors = wrong.errors(include_url=False)
    return None, errors + _hidden_by(errors, values)


def _hidden_by(errors: list[Any], values: dict[str, Any]) -> list[Any]:
    """What a fault elsewhere in `server` keeps from being seen: that open mode is not for the host that it names."""
    server = values.get("server")
    seen = {error["loc"][0] for error in errors if error["loc"]}
    if "server" not in seen or "auth" in seen or not isinstance(server, dict) or "host" not in server:
        return []
    try:
        Config.model_validate({"server": {"host": server["host"]}, "auth": values.get("auth", "open")})
    except ValidationError as wrong:
        return [error for error in wrong.errors(include_url=False) if error["loc"] == ("auth",)]
    return []
