"""`headgate serve`: finds or reads a configuration, listens, and says what it found."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from headgate.app import App
    from headgate.config.discover import Found
    from headgate.config.load import Loaded
    from headgate.engines.process import EmbeddedEngine
    from headgate.telemetry.events import Telemetry

DEMO = "demo"


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
    from headgate.config.load import find, load
    from headgate.errors import ConfigError

    options: dict[str, object] = {"server.host": host, "server.port": port, "server.workers": workers}
    try:
        loaded = load(config, options=options, file_optional=True)
    except ConfigError as error:
        from headgate.config.findings import text_of

        typer.echo(f"{find(config) or 'The settings in the environment'}: not valid, so nothing was started.", err=True)
        for finding in error.findings:
            typer.echo(text_of(finding), err=True)
        raise typer.Exit(1) from None
    _raise_file_limit()
    if loaded.config.server.workers > 1:
        from headgate.cli.workers import run_workers

        raise typer.Exit(run_workers(loaded, options))
    import uvloop

    raise typer.Exit(uvloop.run(_Process(loaded, options).run()))


def _raise_file_limit() -> None:
    """Each stream takes two descriptors; the usual soft limit of 1,024 would be reached at 500 streams."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else max(soft, 65536), hard))


def _calm_collector() -> None:
    """What has been imported stays for good, and requests leave hardly a cycle behind: looking through all of it after
    every 700 allocations, as is the default, takes a twentieth of the gateway's time."""
    import gc

    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


class _Process:
    """One serving process: the only one, or a worker (which is given its socket)."""

    def __init__(
        self,
        loaded: Loaded,
        options: dict[str, object],
        sock: socket.socket | None = None,
        shared_limits: Path | None = None,
    ) -> None:
        self._loaded = loaded
        self._options = options
        self._sock = sock
        self._is_worker = sock is not None
        self._shared_limits = shared_limits
        self._engine: EmbeddedEngine | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Serves until a signal; the exit status."""
        from headgate.app import App
        from headgate.server.listen import Server, bind
        from headgate.server.protocol import HeadLimits
        from headgate.telemetry.events import Telemetry
        from headgate.telemetry.logs import set_up
        from headgate.telemetry.metrics import Metrics

        settings = self._loaded.config.server
        sock = self._sock or bind(settings.host, settings.port)
        log, lines, writer = set_up(self._loaded.config.log.format, self._loaded.config.log.level)
        telemetry = Telemetry(log, lines, Metrics())
        found: list[Found] = []
        starts_demo = False
        if self._loaded.path is None and not self._loaded.config.providers and not self._is_worker:
            self._loaded, found, starts_demo = await discovered(self._loaded, self._options)
        app = App(self._loaded, telemetry, options=self._options, shared_limits=self._shared_limits)
        try:
            await app.start()
            if starts_demo:
                app.expect_demo("the embedded engine is starting")
            server = Server(
                app.gateway,
                HeadLimits(header_timeout_s=settings.header_timeout_s),
                settings.keep_alive_s,
                settings.grace_s,
            )
            self._listen_to_signals(app, server)
            _calm_collector()

            def on_started() -> None:
                if not self._is_worker:
                    say_found(self._loaded, found, url_of(sock), starts_demo)
                    self._spawn(self._get_ready(app, telemetry, url_of(sock), starts_demo))

            await server.run_on(sock, on_started)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await app.stop()
            if self._engine is not None:
                await self._engine.stop()
            writer.close()
        return 0

    def _listen_to_signals(self, app: App, server: object) -> None:
        loop = asyncio.get_running_loop()

        def stop() -> None:
            if app.stopping:
                server.force_exit = True  # type: ignore[attr-defined]
            app.stopping = True
            server.should_exit = True  # type: ignore[attr-defined]

        def orphaned() -> None:
            loop.remove_reader(sys.stdin.fileno())
            stop()

        loop.add_signal_handler(signal.SIGTERM, stop)
        loop.add_signal_handler(signal.SIGINT, stop)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._spawn(app.reload()))
        if self._is_worker:
            # The parent holds the other end; when it is gone, however it went, its workers follow in order.
            loop.add_reader(sys.stdin.fileno(), orphaned)

    def _spawn(self, work: object) -> None:
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _get_ready(self, app: App, telemetry: Telemetry, url: str, starts_demo: bool) -> None:
        """Brings the demonstration up where there is one, and prints a line to try when it will work."""
        if starts_demo:
            try:
                self._engine, loaded = await start_demo(self._loaded, self._options, telemetry)
            except Exception as error:
                app.expect_demo(f"the embedded engine did not start: {error}")
                say(f"The embedded engine did not start: {error}")
                return
            await app.take_demo(loaded, DEMO)
        while app.not_ready() is not None:  # noqa: ASYNC110 - many parts decide it, and nothing waits for this
            await asyncio.sleep(0.1)
        name = next(iter(app.gateway.serving.router().visible(lambda _: True)), None) if app.gateway else None
        if name is not None:
            say_try(app.config.auth, url, name)


async def discovered(loaded: Loaded, options: dict[str, object]) -> tuple[Loaded, list[Found], bool]:
    """What there is on this machine as a configuration, and whether the demonstration is needed."""
    from headgate.config import discover
    from headgate.engines.process import available
    from headgate.relay.upstream.client import UpstreamClient

    upstream = UpstreamClient()
    found = [*await discover.engines(upstream), *discover.keys(os.environ)]
    upstream.close()
    return with_providers(loaded, options, [f.provider for f in found]), found, not found and bool(available())


def with_providers(loaded: Loaded, options: dict[str, object], providers: list[dict[str, object]]) -> Loaded:
    """The settings of the environment and the command line, with these providers."""
    from headgate.config.document import Document
    from headgate.config.load import Loaded, build

    return Loaded(build(Document(values={"providers": providers}), os.environ, options), None, None)


async def start_demo(loaded: Loaded, options: dict[str, object], telemetry: Telemetry) -> tuple[EmbeddedEngine, Loaded]:
    """The embedded engine on the demonstration model, and the configuration with it as a provider."""
    from headgate.app import state_home
    from headgate.engines import demo_model
    from headgate.engines.process import EmbeddedEngine

    model = await asyncio.to_thread(demo_model.ensure, state_home())
    engine = EmbeddedEngine(model, emit=telemetry.emit)
    await engine.start()
    provider: dict[str, object] = {
        "name": DEMO,
        "kind": "llamacpp",
        "base_url": engine.base_url,
        "models": [engine.alias],
        "dialects": [
            "openai.chat",
            "openai.completions",
            "openai.embeddings",
            "openai.responses",
            "anthropic.messages",
        ],
    }
    return engine, with_providers(loaded, options, [provider])


def url_of(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(host, host)  # noqa: S104 - how it is shown
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def say(line: str) -> None:
    with contextlib.suppress(OSError):
        print(line, flush=True)


def say_found(loaded: Loaded, found: list[Found], url: str, starts_demo: bool) -> None:
    """What the gateway serves, and where. Never a key."""
    from headgate import __version__
    from headgate.engines.process import available

    say(f"headgate {__version__} listens on {url}")
    if loaded.path is not None:
        names = ", ".join(p.name for p in loaded.config.providers) or "none"
        say(f"  configuration: {loaded.path}")
        say(f"  providers:     {names}")
    elif found:
        say("  no configuration file; found:")
        for thing in found:
            say(f"    {thing.provider['name']:<12} {thing.where}{' (paid)' if thing.paid else ''}")
        if any(thing.paid for thing in found):
            say("  This version keeps no budget yet: what you send to a paid provider, you pay for without a limit.")
    elif starts_demo:
        say("  no configuration file, no engine on its usual port, no API key in the environment")
        say("  starting the embedded llama.cpp engine on a demonstration model with random weights: it is a real")
        say("  engine and a real model, but what it says means nothing")
    elif not loaded.config.providers:
        say("  no configuration file, no engine on its usual port, no API key in the environment")
        say(f"  and no demonstration: {available().reason}")
        say("  Write a headgate.yaml with a provider, or start an engine, and start headgate again.")
    if loaded.config.auth == "keys":
        say("  clients need a key: headgate keys create NAME")


def say_try(auth: str, url: str, model: str) -> None:
    """A line to paste. It is printed once it works."""
    key = " -H 'Authorization: Bearer hg-…'" if auth == "keys" else ""
    say("Ready. Try it:")
    say(
        f"  curl {url}/v1/chat/completions -H 'Content-Type: application/json'{key} "
        f'-d \'{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello!"}}]}}\''
    )
