"""Puts the rooms together: the only file that knows all of them.

A configuration becomes a `Serving` (what requests are served with). A reload builds the next one beside the first and
swaps it in: requests under way keep the one they began with, and nothing that a new one needs is torn down before.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headgate import __version__, clock
from headgate.config import load as config_load
from headgate.config import settings
from headgate.config.address import is_loopback
from headgate.config.load import Loaded
from headgate.config.schema import Config, home
from headgate.errors import ConfigError, Finding, HeadgateError
from headgate.relay.listing import Listing
from headgate.relay.relay import Relay
from headgate.relay.upstream.client import UpstreamClient, endpoint
from headgate.routing.plan import Catalog, Router
from headgate.routing.target import Provider
from headgate.server.client import BodyLimits
from headgate.server.gateway import Gateway, Serving
from headgate.server.operations import operations
from headgate.telemetry.events import ConfigRefused, ConfigReloaded, Telemetry

if TYPE_CHECKING:
    from headgate.access.service import Access
    from headgate.ledger.database import Ledger

#: How often the configuration file is looked at.
WATCH_S = 1.0
_PROBE_EVERY_S = 0.1


class App:
    """One process' gateway. listens_on: the address of its socket.

    options: settings from the command line, which win over the file at a reload too. shared_limits: a file in which
    several workers count the requests of each key together; None where there is one worker. last_good: where a
    configuration file that has come into force is copied to, for workers to come.
    """

    def __init__(
        self,
        loaded: Loaded,
        telemetry: Telemetry,
        *,
        listens_on: str,
        options: dict[str, object] | None = None,
        shared_limits: Path | None = None,
        last_good: Path | None = None,
    ) -> None:
        self._loaded = loaded
        self._telemetry = telemetry
        self._emit = telemetry.emit
        self._options = options or {}
        self._demo: str | None = None
        self._demo_state: str | None = None
        self._shared_limits = shared_limits
        self._last_good = last_good
        self._upstream = UpstreamClient()
        self._listing: Listing | None = None
        self._router = Router(Catalog((), {}))
        self._ledger: Ledger | None = None
        self._access: Access | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._reloading = asyncio.Lock()
        self._opening = asyncio.Lock()
        self._listens_on = listens_on
        limits = loaded.config.server
        self._body_limits = BodyLimits(limits.max_body_mib * 1024 * 1024, limits.body_timeout_s)
        self._started_s = clock.monotonic_s()
        self.stopping = False
        self.gateway: Gateway | None = None

    @property
    def config(self) -> Config:
        return self._loaded.config

    async def start(self) -> None:
        """Raises LedgerError where keys are asked for and cannot be read."""
        not_too_open(self._loaded, self._listens_on)
        serving = await self._serving(self.config)
        pages = operations(self.health, self.not_ready, self._telemetry.metrics.page)
        self.gateway = Gateway(serving, pages, self._emit)
        if self._loaded.path is not None:
            self._tasks.append(asyncio.create_task(self._watch(), name="configuration watch"))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._listing is not None:
            await self._listing.stop()
        if self._access is not None:
            await self._access.stop()
        if self._ledger is not None:
            await self._ledger.close()
        self._upstream.close()

    async def _serving(self, config: Config) -> Serving:
        """What this configuration serves with. The old listing goes on until the new one stands."""
        providers = settings.providers(config)
        if config.auth == "keys":
            await self._keys()
        old = self._listing
        listing = Listing(self._upstream, providers, lambda: self._relist(listing, providers), self._emit,
                          old.listed if old is not None else None)  # fmt: skip
        self._relist(listing, providers)
        listing.start()
        self._listing = listing
        if old is not None:
            await old.stop()
        return Serving(
            router=lambda: self._router,
            models_known=listing.known,
            relay=Relay(self._upstream, self._emit),
            keys=self._keys,
            access=self._access if config.auth == "keys" else None,
            body_limits=self._body_limits,
        )

    def _relist(self, listing: Listing, providers: tuple[Provider, ...]) -> None:
        self._router = Router(Catalog(providers, dict(listing.listed)))

    async def _keys(self) -> Access:
        """The client keys; opened when they are first needed, and then kept. Raises LedgerError."""
        async with self._opening:
            if self._access is None:
                from headgate.access.service import Access
                from headgate.access.store import KeyStore
                from headgate.ledger.database import open_ledger

                ledger = await open_ledger(settings.ledger_url(self.config))
                access = Access(KeyStore(ledger), emit=self._emit, limits=self._limits())
                try:
                    await access.start()
                except BaseException:
                    await access.stop()
                    await ledger.close()
                    raise
                self._ledger, self._access = ledger, access
            return self._access

    def _limits(self) -> Any:
        if self._shared_limits is None:
            return None
        from headgate.access.shared import SharedLimits

        return SharedLimits(self._shared_limits)

    # --- reload ---------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        path, seen = self._loaded.path, self._loaded.fingerprint
        assert path is not None
        while True:
            await asyncio.sleep(WATCH_S)
            now = config_load.fingerprint(path)
            if now == seen:
                continue
            seen = now
            if now is None:
                self._emit(ConfigRefused(str(path), ("the file is gone; what it said stays in force",)))
            else:
                await self.reload()

    async def reload(self) -> None:
        """Takes the configuration file as it is now, if it can be used. Never raises."""
        path = self._loaded.path
        if path is None or self.gateway is None:
            return
        async with self._reloading:
            try:
                loaded = await asyncio.to_thread(config_load.load, path, options=self._options)
                not_too_open(loaded, self._listens_on)
                serving = await self._serving(loaded.config)
            except ConfigError as error:
                found = tuple(f"{f.path}: {f.problem}. {f.fix}" for f in error.findings)
                self._emit(ConfigRefused(str(path), found))
                return
            except HeadgateError as error:
                self._emit(ConfigRefused(str(path), (str(error),)))
                return
            restart = settings.needs_restart(self.config, loaded.config)
            self._loaded = loaded
            self.gateway.serving = serving
            if self._last_good is not None:
                _copy(path, self._last_good)
            self._emit(ConfigReloaded(str(path), len(loaded.config.providers), restart))

    # --- what is known of it --------------------------------------------------------------------------------------

    def expect_demo(self, state: str) -> None:
        """The embedded engine is on its way, or failed; `state` is what `/ready` says of it."""
        self._demo_state = state

    async def take_demo(self, loaded: Loaded, name: str) -> None:
        """The embedded engine runs, as the provider `name` of this configuration. Returns when it has answered once."""
        assert self.gateway is not None
        self._loaded = loaded
        self.gateway.serving = await self._serving(loaded.config)
        provider = next(p for p in self._router.catalog.providers if p.name == name)
        self._demo, self._demo_state = name, "the embedded engine has not answered yet"
        await first_answer(self._upstream, provider.base_url)
        self._demo_state = None

    def not_ready(self) -> str | None:
        """Why requests cannot be served; None when they can."""
        if self.stopping:
            return "headgate is stopping"
        if self._demo_state is not None:
            return self._demo_state
        if not self.config.providers:
            return "no providers are configured"
        if not self._router.catalog.targets():
            silent = self._listing.silent if self._listing is not None else {}
            why = "; ".join(f"{name}: {reason}" for name, reason in silent.items())
            return f"no provider has a model to ask for{': ' + why if why else ' yet'}"
        return None

    def listed(self) -> list[str]:
        """Every model that can be asked for, as `provider/model`."""
        return [target.name for target in self._router.catalog.targets()]

    def health(self) -> dict[str, Any]:
        catalog = self._router.catalog
        silent = self._listing.silent if self._listing is not None else {}
        providers = [
            {
                "name": p.name,
                "kind": p.kind,
                # Where the file names the models nobody has asked yet whether the provider is there.
                "state": "silent" if p.name in silent else "unknown" if p.models is not None else "ok",
                "models": len(catalog.models_of(p)),
                **({"why": silent[p.name]} if p.name in silent else {}),
            }
            for p in catalog.providers
        ]
        ledger: dict[str, Any] = {"state": "unused"}
        if self._access is not None:
            ledger = {"state": "ok"} if self._access.healthy else {"state": "unreachable"}
        reason = self.not_ready()
        return {
            "status": "ok" if reason is None else "not ready",
            **({"reason": reason} if reason is not None else {}),
            "version": __version__,
            "uptime_s": round(clock.monotonic_s() - self._started_s, 1),
            "pid": os.getpid(),
            "ledger": ledger,
            "providers": providers,
            "engines": [] if self._demo is None else [{"name": self._demo, "answered": self._demo_state is None}],
            "nodes": [],
        }


def _copy(path: Path, to: Path) -> None:
    """In one piece: another worker may do the same at this moment."""
    beside = to.with_name(f"{to.name}.{os.getpid()}")
    try:
        beside.write_bytes(path.read_bytes())
        beside.replace(to)
    except OSError:
        beside.unlink(missing_ok=True)  # the copy before it still serves


async def first_answer(upstream: UpstreamClient, base_url: str) -> None:
    """Asks an engine for one token until it gives one: that it listens does not mean that it can."""
    to = endpoint("POST", f"{base_url}/completions", [(b"content-type", b"application/json")])
    while True:
        try:
            status, _ = await upstream.call(to, b'{"prompt":"hello","max_tokens":1}', 10.0, 1024 * 1024)
            if status == 200:
                return
        except HeadgateError:
            pass
        await asyncio.sleep(_PROBE_EVERY_S)


def not_too_open(loaded: Loaded, listens_on: str) -> Loaded:
    """The configuration as it is. Raises ConfigError for open mode on a socket that others can reach: the file may say
    another host by now, but the socket is the one of the start."""
    if loaded.config.auth == "open" and not is_loopback(listens_on):
        why = f"is open, and headgate listens on {listens_on} until it is restarted"
        raise ConfigError([Finding("auth", why, "Restart headgate, or leave auth at keys.")])
    return loaded


def state_home() -> Path:
    """$HEADGATE_HOME, made where it does not exist; only its owner may look into it."""
    place = home()
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    return place
