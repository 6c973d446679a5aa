"""The `headgate` command."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from headgate import __version__
from headgate.cli.check import check
from headgate.cli.keys import keys_app
from headgate.cli.serve import serve

app = typer.Typer(
    name="headgate",
    help="A gateway for LLM traffic that cannot overspend and will not let a local model swamp the machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(serve)
app.command()(check)
app.add_typer(keys_app, name="keys")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"headgate {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    from headgate.errors import OperatorFault

    try:
        app()
    except OperatorFault as fault:
        typer.echo(f"headgate: {fault}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
