"""`headgate serve`: reads the configuration, and becomes a serving process or the parent of several."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Annotated

import typer


def serve(
    config: Annotated[Path | None, typer.Option("--config", help="The configuration.", show_default=False)] = None,
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="Port to listen on.", show_default="4000")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, max=256, help="Number of processes.", show_default="1")
    ] = None,
) -> None:
    """Run the gateway. With no configuration file it uses what it finds on this machine.

    Example: headgate serve --config headgate.yaml --port 4000
    """
    import signal

    from headgate.config.load import find, load
    from headgate.errors import ConfigError

    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to reload

    options: dict[str, object] = {"server.host": host, "server.port": port, "server.workers": workers}
    try:
        loaded = load(config, options=options, file_optional=True)
    except ConfigError as error:
        from headgate.config.findings import text_of

        typer.echo(f"{find(config) or 'These settings'}: not valid, so nothing was started.", err=True)
        for finding in error.findings:
            typer.echo(text_of(finding), err=True)
        raise typer.Exit(1) from None
    _raise_file_limit()
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)  # some other program's; the workers get one of their own
    if loaded.config.server.workers > 1:
        from headgate.cli.workers import run_workers

        raise typer.Exit(run_workers(loaded, options))
    import uvloop

    from headgate.cli.process import Process

    raise typer.Exit(uvloop.run(Process(loaded, options).run()))


def _raise_file_limit() -> None:
    """Each stream takes two descriptors; the usual soft limit of 1,024 would be reached at 500 streams."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else max(soft, 65536), hard))
