"""Several workers: a parent that owns the socket and what must exist once, and the processes that serve.

The parent serves nothing. It binds, finds or starts what a gateway without a configuration uses, starts the workers on
the one socket, starts one again that has died, and passes signals on. The workers share the counts of each key's limits
in one file, and `/metrics` of any of them is the sum of all. A worker whose parent is gone ends by itself, since its
standard input is a pipe that only the parent holds.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from headgate.access.shared import alive, create
from headgate.app import first_answer, not_too_open, state_home
from headgate.cli.found import SAY_WHY_AFTER_S, discovered, say, say_found, say_try, start_demo, url_of
from headgate.clock import monotonic_s
from headgate.config.settings import ledger_url
from headgate.engines.process import Backoff
from headgate.errors import HeadgateError, OperatorFault
from headgate.relay.upstream.client import UpstreamClient, endpoint
from headgate.server.listen import bind
from headgate.telemetry.events import Telemetry, WorkerEnded
from headgate.telemetry.logs import set_up
from headgate.telemetry.metrics import Metrics
from headgate.wire.models import read_listing

if TYPE_CHECKING:
    from headgate.config.load import Loaded
    from headgate.config.schema import Config
    from headgate.engines.process import EmbeddedEngine

#: The configuration file as it was when it could last be used, for a worker that starts while it cannot.
_LAST_GOOD = "last-good.yaml"
_WORKER = "HEADGATE_WORKER"


def run_workers(loaded: Loaded, options: dict[str, object]) -> int:
    """The parent's whole life; its exit status."""
    return asyncio.run(_Parent(loaded, options).run())


class _Parent:
    def __init__(self, loaded: Loaded, options: dict[str, object]) -> None:
        self._loaded = loaded
        self._options = options
        self._children: set[asyncio.subprocess.Process] = set()
        self._stopping = asyncio.Event()
        log, lines, self._writer = set_up(loaded.config.log.format, loaded.config.log.level)
        self._emit = Telemetry(log, lines, Metrics()).emit

    async def run(self) -> int:
        config = self._loaded.config
        await _see_ledger(config)
        sock = bind(config.server.host, config.server.port)
        url = url_of(sock)
        self._listen_to_signals(sock)
        engine, limits, scratch = None, None, _scratch()
        try:
            if self._loaded.path is not None:
                shutil.copyfile(self._loaded.path, scratch / _LAST_GOOD)
            if self._loaded.path is None and not config.providers:
                self._loaded, found, starts_demo = await discovered(self._loaded, self._options)
                say_found(self._loaded, found, url, starts_demo)
                engine = await self._demo() if starts_demo else None
            else:
                say_found(self._loaded, [], url, False)
            limits = create(scratch.parent)
            keepers = [asyncio.create_task(self._keep(sock, scratch, limits)) for _ in range(config.server.workers)]
            teller = asyncio.create_task(self._tell_when_ready(url))
            await asyncio.gather(*keepers)
            teller.cancel()
        finally:
            if engine is not None:
                await engine.stop()
            shutil.rmtree(scratch, ignore_errors=True)
            if limits is not None:
                limits.unlink(missing_ok=True)
            self._writer.close()
        return 0

    async def _demo(self) -> EmbeddedEngine | None:
        """The embedded engine, once it has answered; None where it does not start, or the stop comes first."""
        starting = asyncio.create_task(self._start_demo())
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not starting.done():
            starting.cancel()
        try:
            engine, self._loaded = await starting
        except asyncio.CancelledError:
            return None
        except (HeadgateError, OSError) as error:
            say(f"Not ready: {error}")
            return None
        return engine

    async def _start_demo(self) -> tuple[EmbeddedEngine, Loaded]:
        engine, loaded = await start_demo(self._loaded, self._options, self._emit)
        try:
            await first_answer(UpstreamClient(), engine.base_url)
        except asyncio.CancelledError:
            await engine.stop()
            raise
        return engine, loaded

    async def _tell_when_ready(self, url: str) -> None:
        """Asks the workers, as a client would, until one of them is ready."""
        upstream = UpstreamClient()
        said_why_s = monotonic_s() + SAY_WHY_AFTER_S
        while True:
            try:
                status, body = await upstream.get(endpoint("GET", f"{url}/ready", []), 5.0, 64 * 1024)
            except HeadgateError:
                status, body = 0, b""
            if status == 200:
                break
            if monotonic_s() >= said_why_s and status:
                say(f"Not ready: {json.loads(body).get('reason')}")
                said_why_s = float("inf")
            await asyncio.sleep(0.1)
        named = [f"{p.name}/{model}" for p in self._loaded.config.providers for model in p.models or ()]
        if not named and self._loaded.config.auth == "open":
            _, body = await upstream.get(endpoint("GET", f"{url}/v1/models", []), 5.0, 16 * 1024 * 1024)
            named = list(read_listing(body) or ())
        say_try(self._loaded.config, url, named)

    def _listen_to_signals(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()

        def stop() -> None:
            self._stopping.set()
            sock.close()  # or who connects would wait for a worker until the last one has ended
            tell_children(signal.SIGTERM)

        def tell_children(number: signal.Signals) -> None:
            for child in self._children:
                if child.returncode is None:
                    child.send_signal(number)

        loop.add_signal_handler(signal.SIGTERM, stop)
        loop.add_signal_handler(signal.SIGINT, stop)
        loop.add_signal_handler(signal.SIGHUP, tell_children, signal.SIGHUP)

    async def _keep(self, sock: socket.socket, scratch: Path, limits: Path) -> None:
        """Keeps one worker running until the stop."""
        backoff = Backoff(first_s=0.1, most_s=10.0)
        while not self._stopping.is_set():
            child = await self._start(sock, scratch, limits)
            backoff.started(monotonic_s())
            if self._stopping.is_set():
                child.terminate()  # the stop came while it was made, and was not passed on to it
            status = await child.wait()
            self._children.discard(child)
            if self._stopping.is_set():
                return
            delay_s = backoff.failed(monotonic_s())
            self._emit(WorkerEnded(child.pid, status, delay_s))
            try:
                await asyncio.wait_for(self._stopping.wait(), delay_s)
            except TimeoutError:
                continue

    async def _start(self, sock: socket.socket, scratch: Path, limits: Path) -> asyncio.subprocess.Process:
        task = {
            "fd": sock.fileno(),
            "config": str(self._loaded.path) if self._loaded.path is not None else None,
            "options": {k: v for k, v in self._options.items() if v is not None},
            "last_good": str(scratch / _LAST_GOOD),
            "limits": str(limits),
            "providers": [_plain(p) for p in self._loaded.config.providers] if self._loaded.path is None else None,
        }
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "from headgate.cli.workers import worker_main; worker_main()",
            stdin=asyncio.subprocess.PIPE,
            pass_fds=[sock.fileno()],
            start_new_session=True,
            env={**os.environ, _WORKER: json.dumps(task), "PROMETHEUS_MULTIPROC_DIR": str(scratch)},
        )
        self._children.add(child)
        return child


def _plain(provider: object) -> dict[str, object]:
    """A provider as it would stand in a file, its key included: it goes to a child of ours, in its environment, where
    the key it was found with stands too."""
    from headgate.config.schema import ProviderSettings

    assert isinstance(provider, ProviderSettings)
    values = provider.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    if provider.api_key is not None:
        values["api_key"] = provider.api_key.get_secret_value().replace("$", "$$")  # it is filled in once more
    return values


async def _see_ledger(config: Config) -> None:
    """Opens the ledger once where it will be needed: each worker would only fail on its own. Raises LedgerError."""
    if config.auth == "keys":
        from headgate.ledger.database import open_ledger

        await (await open_ledger(ledger_url(config))).close()


def _scratch() -> Path:
    """A directory for this parent's workers; those of parents that are gone are removed. Raises OperatorFault."""
    run = state_home() / "run"
    try:
        run.mkdir(mode=0o700, exist_ok=True)
        scratch = run / f"workers-{os.getpid()}"
        for left in run.glob("workers-*"):
            if left == scratch or not alive(left.name.removeprefix("workers-")):
                shutil.rmtree(left, ignore_errors=True)
        scratch.mkdir(mode=0o700)
    except OSError as error:
        raise OperatorFault(
            f"cannot write to {run}: {error.strerror}. Set HEADGATE_HOME to a place that can."
        ) from None
    return scratch


def worker_main() -> None:
    """What a worker runs. Its task comes in the environment, where only the same user can read it."""
    try:
        sys.exit(_work())
    except OperatorFault as fault:
        print(f"headgate: {fault}", file=sys.stderr)
        sys.exit(1)


def _work() -> int:
    import uvloop

    from headgate.cli.found import with_providers
    from headgate.cli.process import Process
    from headgate.config.load import load

    task = json.loads(os.environ.pop(_WORKER))
    options: dict[str, object] = task["options"]
    last_good = Path(task["last_good"])
    sock = socket.socket(fileno=task["fd"])
    if task["config"] is not None:
        loaded = _in_force(Path(task["config"]), last_good, options, sock.getsockname()[0])
    else:
        loaded = load(None, options=options, file_optional=True)
        loaded = with_providers(loaded, options, task["providers"])
    return uvloop.run(Process(loaded, options, sock, Path(task["limits"]), last_good).run())


def _in_force(path: Path, last_good: Path, options: dict[str, object], listens_on: str) -> Loaded:
    """The file as it is, or, where that cannot be used, as it last could: a worker that starts in the place of another
    serves what the others serve."""
    from dataclasses import replace

    from headgate.config.load import fingerprint, load
    from headgate.errors import ConfigError

    try:
        return not_too_open(load(path, options=options), listens_on)
    except ConfigError:
        return replace(load(last_good, options=options), path=path, fingerprint=fingerprint(path))
