"""`headgate check`: is headgate.yaml valid, and if not, everything that is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from headgate.config.load import Loaded
    from headgate.errors import ConfigError


def check(
    config: Annotated[Path | None, typer.Option("--config", help="The file to check.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of the file instead.")] = False,
) -> None:
    """Validate a configuration: every problem, with its place in the file and a fix.

    Looks where `headgate serve` looks, with the environment's overrides. Nothing is contacted.

    Example: headgate check --config headgate.yaml
    """
    if schema:
        from headgate.config.jsonschema import json_schema

        typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
        return
    from headgate.config.load import find, load
    from headgate.errors import ConfigError

    try:
        loaded = load(config)
    except ConfigError as error:
        path = find(config)
        typer.echo(_json(False, path, error) if as_json else _report(path, error))
        raise typer.Exit(1) from None
    typer.echo(_json(True, loaded.path, None) if as_json else _summary(loaded))


def _json(valid: bool, path: Path | None, error: ConfigError | None) -> str:
    from headgate.config.findings import as_json

    findings = [as_json(finding) for finding in error.findings] if error else []
    shape = {"valid": valid, "path": str(path) if path else None, "findings": findings}
    return json.dumps(shape, indent=2, ensure_ascii=False)


def _report(path: Path | None, error: ConfigError) -> str:
    from headgate.config.findings import text_of

    count = len(error.findings)
    head = f"{_shown(path)} is not valid: {count} finding{'' if count == 1 else 's'}\n" if path else ""
    return head + "\n".join(text_of(finding) for finding in error.findings)


def _summary(loaded: Loaded) -> str:
    count = len(loaded.config.providers)
    return f"{_shown(loaded.path)} is valid: {count} provider{'' if count == 1 else 's'}, auth {loaded.config.auth}"


def _shown(path: Path | None) -> str:
    """A path as short as it can be read from here."""
    if path is None:
        return "headgate.yaml"
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
