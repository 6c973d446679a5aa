"""The real gateway on a thread of its own, and what a test wants to know of it.

`RunningGateway` is the whole program but for its command line: App, uvicorn, sockets, logs and metrics, on its own
event loop, from a configuration file. A test talks to it over TCP and reads here what it said of each request.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from headgate.app import App
from headgate.config.load import load
from headgate.relay.record import Defect, RequestFinished, RequestRecord
from headgate.server.listen import Server, bind
from headgate.server.protocol import HeadLimits
from headgate.telemetry.events import Telemetry
from headgate.telemetry.logs import set_up
from headgate.telemetry.metrics import Metrics
from headgate.testing import ScriptedUpstream

T = TypeVar("T")
Json = dict[str, Any]

#: For everything that should come at once; a test that waits this long has failed.
PATIENCE_S = 10.0

PROVIDER_KEY = "sk-provider-0123456789abcdef"

EVERY_DIALECT = ["openai.chat", "openai.completions", "openai.embeddings", "openai.responses", "anthropic.messages"]


def provider(up: ScriptedUpstream | str, **changes: Any) -> Json:
    """A provider's entry in headgate.yaml: `up` speaks every dialect and has the model `m`."""
    base_url = up if isinstance(up, str) else up.base_url
    entry = {
        "name": "up",
        "kind": "openai",
        "base_url": base_url,
        "api_key": PROVIDER_KEY,
        "models": ["m"],
        "dialects": EVERY_DIALECT,
        **changes,
    }
    return {key: value for key, value in entry.items() if value is not None}


def close_kept(up: ScriptedUpstream) -> None:
    """Lets the upstream close its kept connections, and waits until none is open: one in use stays, and fails this."""

    async def close() -> None:
        while up.open_connections:
            up.close_idle()
            await asyncio.sleep(0.002)

    up.run(close())


class _Watched(Telemetry):
    """Telemetry that keeps what it was told."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.events: list[object] = []
        self.changed = threading.Condition()

    def emit(self, event: object) -> None:
        super().emit(event)
        with self.changed:
            self.events.append(event)
            self.changed.notify_all()


class RunningGateway:
    """Between `start` and `stop`. `port`, `origin` and `base_url` are where it listens."""

    def __init__(self, config: Json, home: Path, stall_s: float = 300.0) -> None:
        self.home = home
        self._stall_s = stall_s
        self._path = home / "headgate.json"
        self._log_path = home / "gateway.log"
        self.write(config)
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="gateway", daemon=True)
        self._started = threading.Event()
        self._failed: BaseException | None = None
        self.app: App
        self.port = 0
        self._telemetry: _Watched
        self._server: Server

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        return f"{self.origin}/v1"

    def write(self, config: Json) -> None:
        """Puts another configuration into the file; `reload` takes it, or the gateway's own watch does."""
        whole = {"log": {"format": "json", "level": "debug"}, **config}
        beside = self._path.with_suffix(".new")
        beside.write_text(json.dumps(whole))
        os.replace(beside, self._path)

    def reload(self, config: Json) -> None:
        self.write(config)
        self.run(self.app.reload())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the gateway's loop and waits for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    # --- what it said ---------------------------------------------------------------------------------------------

    @property
    def events(self) -> list[object]:
        return list(self._telemetry.events)

    def wait_for(self, condition: Callable[[list[object]], T]) -> T:
        """Waits until the events so far fulfil the condition, and gives what it gave."""
        found: list[T] = []

        def look() -> bool:
            found[:] = [condition(self._telemetry.events)]
            return bool(found[0])

        with self._telemetry.changed:
            assert self._telemetry.changed.wait_for(look, PATIENCE_S), f"not among the events: {self.events}"
        return found[0]

    def records(self, count: int = 1) -> list[RequestRecord]:
        """The records of all requests that are over, when there are so many. More than that are a failure too."""
        self.wait_for(lambda events: len([e for e in events if isinstance(e, RequestFinished)]) >= count)
        found = [event.record for event in self.events if isinstance(event, RequestFinished)]
        assert len(found) == count, found
        return found

    def record(self) -> RequestRecord:
        return self.records()[0]

    @property
    def defects(self) -> list[BaseException]:
        return [event.error for event in self.events if isinstance(event, Defect)]

    @property
    def open_connections(self) -> int:
        """Clients that are connected."""
        return len(self._server.server_state.connections)

    @property
    def requests_under_way(self) -> int:
        return len(self._server.server_state.tasks)

    def forget(self) -> None:
        """Forgets the events so far."""
        with self._telemetry.changed:
            self._telemetry.events.clear()

    def log(self) -> str:
        """All that was logged, once it has stopped."""
        assert not self._thread.is_alive(), "stop it first"
        return self._log_path.read_text()

    def errors_logged(self) -> list[str]:
        """The lines of the log that are errors, once it has stopped; none of them is a client's or an upstream's."""
        lines = map(json.loads, self.log().splitlines())
        return [str(line) for line in lines if line["level"] == "error" and line["event"] != "config refused"]

    # --- starting and stopping ------------------------------------------------------------------------------------

    def start(self) -> RunningGateway:
        self._thread.start()
        assert self._started.wait(PATIENCE_S), "the gateway did not start"
        if self._failed is not None:
            self._thread.join()
            raise self._failed
        return self

    def ask_to_stop(self) -> None:
        """Returns at once; `stop` waits until it has."""
        if self._failed is None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(setattr, self._server, "should_exit", True)

    def stop(self) -> None:
        self.ask_to_stop()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "the gateway did not stop"

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:
            self._failed = error
        finally:
            self._started.set()
            self._loop.close()

    async def _serve(self) -> None:
        loaded = load(self._path)
        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        log_file = self._log_path.open("wb")
        *parts, writer = set_up("json", "debug", log_file)
        root.handlers[:], root.level = handlers, level  # pytest's own stay in their place
        self._telemetry = _Watched(*parts, Metrics())
        self.app = App(loaded, self._telemetry, listens_on="127.0.0.1")
        sock = bind("127.0.0.1", 0)
        self.port = sock.getsockname()[1]
        try:
            await self.app.start()
            server = loaded.config.server
            limits = HeadLimits(header_timeout_s=server.header_timeout_s, stall_s=self._stall_s)
            self._server = Server(self.app.gateway, limits, server.keep_alive_s, server.grace_s)
            await self._server.run_on(sock, self._started.set)
        finally:
            await self.app.stop()
            writer.close()
            log_file.close()


def new_key(home: Path, name: str, **settings_of_key: Any) -> str:
    """Makes a client key in the ledger of this home, and gives its secret."""
    from headgate import ids
    from headgate.access.keys import Key
    from headgate.access.store import KeyStore
    from headgate.ledger.database import open_ledger

    secret = ids.key_secret()

    async def make() -> None:
        ledger = await open_ledger(f"sqlite:///{home}/ledger.db")
        try:
            await KeyStore(ledger).create(Key(ids.key_id(), name, **settings_of_key), secret)
        finally:
            await ledger.close()

    asyncio.run(make())
    return secret
