"""One serving process, from its configuration to its end: the only one, or one of several workers."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from headgate.cli.found import DEMO, SAY_WHY_AFTER_S, discovered, say, say_found, say_try, start_demo, url_of
from headgate.clock import monotonic_s
from headgate.errors import HeadgateError

if TYPE_CHECKING:
    from headgate.app import App
    from headgate.config.discover import Found
    from headgate.config.load import Loaded
    from headgate.engines.process import EmbeddedEngine
    from headgate.server.listen import Server
    from headgate.telemetry.events import Telemetry


def _calm_collector() -> None:
    """What has been imported stays for good, and requests leave hardly a cycle behind: looking through all of it after
    every 700 allocations, as is the default, takes a twentieth of the gateway's time."""
    import gc

    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


class Process:
    """One serving process: the only one, or a worker (which is given its socket)."""

    def __init__(
        self,
        loaded: Loaded,
        options: dict[str, object],
        sock: socket.socket | None = None,
        shared_limits: Path | None = None,
        last_good: Path | None = None,
    ) -> None:
        self._loaded = loaded
        self._options = options
        self._sock = sock
        self._is_worker = sock is not None
        self._shared_limits = shared_limits
        self._last_good = last_good
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
        app = App(
            self._loaded,
            telemetry,
            listens_on=sock.getsockname()[0],
            options=self._options,
            shared_limits=self._shared_limits,
            last_good=self._last_good,
        )
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
            self._listen_to_signals(app, server, telemetry)
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

    def _listen_to_signals(self, app: App, server: Server, telemetry: Telemetry) -> None:
        loop = asyncio.get_running_loop()

        from headgate.telemetry.events import Stopping

        def stop() -> None:
            if app.stopping:
                server.force_exit = True
            else:
                telemetry.emit(Stopping(len(server.server_state.tasks), self._loaded.config.server.grace_s))
            app.stopping = True
            server.should_exit = True

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
                self._engine, loaded = await start_demo(self._loaded, self._options, telemetry.emit)
            except (HeadgateError, OSError) as error:
                app.expect_demo(str(error))
                say(f"Not ready: {error}")
                say("Mend that and start headgate again; or start an engine, or write a headgate.yaml with a provider.")
                return
            await app.take_demo(loaded, DEMO)
        said_why_s = monotonic_s() + SAY_WHY_AFTER_S
        while (why := app.not_ready()) is not None:
            if monotonic_s() >= said_why_s:
                say(f"Not ready: {why}")
                said_why_s = float("inf")
            await asyncio.sleep(0.1)
        say_try(app.config, url, app.listed())
