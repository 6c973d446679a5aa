"""`headgate keys`: make, list and revoke client keys, in the ledger, whether or not a gateway runs."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import typer

from headgate import clock, ids
from headgate.access.keys import Key, iso

if TYPE_CHECKING:
    from headgate.access.store import KeyStore

T = TypeVar("T")

keys_app = typer.Typer(
    help="Client keys: make, list and revoke them. Example: headgate keys create alice --team research --expires 30d",
    no_args_is_help=True,
)

_SECONDS = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
#: A hundred years: longer than that is a typing error.
_LONGEST_S = 36_525 * 86_400

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="The configuration file that names the ledger.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _duration(written: str) -> int:
    """Seconds in `30d`, `12h`, `90m`, `2w`."""
    match = re.fullmatch(r"([1-9][0-9]{0,8})([mhdw])", written.strip().lower())
    if match is None or (seconds := int(match[1]) * _SECONDS[match[2]]) > _LONGEST_S:
        raise typer.BadParameter(f"{written!r} is no time from now. Write a number and a unit: 90m, 12h, 30d or 2w.")
    return seconds


def _words(value: str | None) -> str | None:
    """A name as it is stored; wrong usage where there is nothing in it, or what a terminal cannot show."""
    if value is None:
        return None
    value = value.strip()
    if not value or len(value) > 200 or not value.isprintable():
        raise typer.BadParameter("It must be 1 to 200 printable characters.")
    return value


# What follows the name without an option of its own are further globs of --models, so that it takes several at once.
@keys_app.command(no_args_is_help=True, context_settings={"allow_extra_args": True})
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is; for people to read.", callback=_words)],
    team: Annotated[
        str | None, typer.Option(help="The team that it belongs to.", callback=_words, show_default=False)
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB …",
            help="Models that it may use, by name or provider/model; several, or once for each. Default: all.",
            show_default=False,
        ),
    ] = None,
    rpm: Annotated[
        int | None, typer.Option(min=1, help="Requests per minute. Default: no limit.", show_default=False)
    ] = None,
    tpm: Annotated[
        int | None, typer.Option(min=1, help="Tokens per minute. Default: no limit.", show_default=False)
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="When it ends, from now: 90m, 12h, 30d, 2w. Default: never.", show_default=False
        ),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key. Its secret is shown this once; headgate keeps only a hash of it.

    Example: headgate keys create alice --team research --models 'local/*' 'openai/gpt-4o*' --rpm 60 --expires 30d
    """
    if context.args and not models:
        raise typer.BadParameter(f"Put quotes around a name of several words: '{' '.join([name, *context.args])}'.")
    globs = tuple(glob.strip() for glob in [*(models or []), *context.args])
    if not all(globs):
        raise typer.BadParameter("An empty glob matches nothing. Leave --models out to allow all models.")
    now_s = int(clock.wall_s())
    key = Key(
        id=ids.key_id(),
        name=name,
        team=team,
        models=globs,
        rpm=rpm,
        tpm=tpm,
        created_at_s=now_s,
        expires_at_s=None if expires is None else now_s + _duration(expires),
    )
    secret = ids.key_secret()
    _with_keys(config, lambda store: store.create(key, secret))
    if as_json:
        _print_json({**_as_json(key, now_s), "secret": secret})
        return
    of_team = f" of team {team}" if team else ""
    until = f", until {iso(key.expires_at_s)}" if key.expires_at_s is not None else ""
    typer.echo(f"Made key {key.id} for {name}{of_team}{until}. This is its secret; it is not shown again:\n")
    typer.echo(f"  {secret}\n")
    typer.echo("Send it as `Authorization: Bearer hg-…` or `x-api-key: hg-…`: give it to an SDK as its API key,")
    typer.echo("in OPENAI_API_KEY or ANTHROPIC_API_KEY. A running gateway takes it within a second.")
    typer.echo("Clients must have one where headgate.yaml says `auth: keys`.")


@keys_app.command("list")
def list_(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List every key, oldest first, without its secret.

    Example: headgate keys list --json
    """
    found = _with_keys(config, lambda store: store.all())
    now_s = clock.wall_s()
    if as_json:
        _print_json([_as_json(key, now_s) for key in found])
    elif not found:
        typer.echo("No keys yet. Make one: headgate keys create NAME")
    else:
        _print_table(
            ("ID", "NAME", "TEAM", "MODELS", "RPM", "TPM", "CREATED", "EXPIRES", "STATE"),
            [
                (
                    key.id,
                    key.name,
                    key.team or "-",
                    " ".join(key.models) or "all",
                    "-" if key.rpm is None else str(key.rpm),
                    "-" if key.tpm is None else str(key.tpm),
                    iso(key.created_at_s),
                    "never" if key.expires_at_s is None else iso(key.expires_at_s),
                    _state(key, now_s),
                )
                for key in found
            ],
        )


@keys_app.command(no_args_is_help=True)
def revoke(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `headgate keys list` shows it.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Revoke a key: within a second, no gateway on this ledger takes it.

    Example: headgate keys revoke key_0123456789ab
    """
    now_s = int(clock.wall_s())

    async def change(store: KeyStore) -> tuple[Key, bool] | list[Key]:
        return await store.revoke(id_, now_s) or await store.all()

    outcome = _with_keys(config, change)
    if isinstance(outcome, list):
        _fail(f"There is no key {id_}. {_near(id_, outcome)}")
    key, changed = outcome
    assert key.revoked_at_s is not None
    if as_json:
        _print_json({**_as_json(key, now_s), "changed": changed})
    elif changed:
        typer.echo(f"Revoked {key.id} ({key.name}). Gateways that run stop taking it within a second.")
    else:
        typer.echo(f"{key.id} ({key.name}) was already revoked at {iso(key.revoked_at_s)}. Nothing changed.")


def _near(written: str, keys: list[Key]) -> str:
    """Which key was meant, perhaps: one of that name, or of a similar id."""
    import difflib

    asked = written.lower()
    named = [key for key in keys if key.name.lower() == asked]
    similar = difflib.get_close_matches(asked, [key.id for key in keys], n=3, cutoff=0.6)
    near = named or [key for key in keys if key.id in similar]
    if near:
        return "Did you mean " + " or ".join(f"{key.id} ({key.name})" for key in near[:3]) + "?"
    return "`headgate keys list` shows what there is."


def _state(key: Key, now_s: float) -> str:
    if key.revoked_at_s is not None:
        return "revoked"
    return "expired" if key.expires_at_s is not None and now_s >= key.expires_at_s else "active"


def _as_json(key: Key, now_s: float) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "team": key.team,
        "models": list(key.models),
        "rpm": key.rpm,
        "tpm": key.tpm,
        "created_at": iso(key.created_at_s),
        "expires_at": None if key.expires_at_s is None else iso(key.expires_at_s),
        "revoked_at": None if key.revoked_at_s is None else iso(key.revoked_at_s),
        "state": _state(key, now_s),
    }


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _print_table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """A table on a terminal; elsewhere a line of tab-separated fields for each row, whole, for other programs."""
    if not sys.stdout.isatty():
        for row in (head, *rows):
            typer.echo("\t".join(row))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    # 80 columns do not hold two times: when a key was made is in --json.
    shown = [at for at, title in enumerate(head) if title != "CREATED"]
    for at in shown:
        table.add_column(head[at], overflow="fold", min_width=len(head[at]), no_wrap=head[at] in ("ID", "STATE"))
    for row in rows:
        table.add_row(*(Text(row[at]) for at in shown))  # Text: a bracket in a name is no markup
    Console().print(table)


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)


def _ledger_url(config: Path | None) -> str:
    """The ledger that the configuration names, or the default one where there is no configuration."""
    from headgate.config.load import load

    return load(config, file_optional=True).config.ledger.url.get_secret_value()


def _with_keys(config: Path | None, work: Callable[[KeyStore], Awaitable[T]]) -> T:
    """Do `work` on the keys of the ledger. What an operator must mend ends the command with its message."""
    from headgate.errors import OperatorFault

    async def run(url: str) -> T:
        from headgate.access.store import KeyStore
        from headgate.ledger.database import open_ledger

        ledger = await open_ledger(url)
        try:
            return await work(KeyStore(ledger))
        finally:
            await ledger.close()

    try:
        return asyncio.run(run(_ledger_url(config)))
    except OperatorFault as fault:
        typer.echo(str(fault), err=True)
        raise typer.Exit(1) from None
