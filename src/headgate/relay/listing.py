"""Asks the providers that name no models which ones they have, and keeps asking.

What a provider has listed stays known while it does not answer: a request for such a model then fails at the provider,
with the provider's name, which says more than that the model is unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from headgate.errors import HeadgateError
from headgate.relay import headers as crossing
from headgate.relay.upstream.client import UpstreamClient, endpoint
from headgate.routing.target import Provider
from headgate.wire.models import read_listing

EVERY_S = 60.0
_FIRST_RETRY_S = 1.0
_TIMEOUT_S = 10.0
_MAX_BYTES = 16 * 1024 * 1024
#: How long a request for a model that is not known yet waits for the first round.
PATIENCE_S = 3.0


@dataclass(frozen=True, slots=True)
class ProviderListed:
    """Emitted when a provider's list changed, or came back. models: how many."""

    provider: str
    models: int


@dataclass(frozen=True, slots=True)
class ProviderSilent:
    """Emitted once when a provider stops listing its models, or never did."""

    provider: str
    why: str


class Listing:
    """Follows the lists of these providers between `start` and `stop`.

    known: what has been learned before, by provider name. listed: what is known now. silent: why a provider does not
    answer, by name. on_change is called after each change of `listed`.
    """

    def __init__(
        self,
        upstream: UpstreamClient,
        providers: tuple[Provider, ...],
        on_change: Callable[[], None],
        emit: Callable[[object], None],
        known: dict[str, tuple[str, ...]] | None = None,
    ) -> None:
        self._upstream = upstream
        self._providers = [p for p in providers if p.models is None]
        self._on_change = on_change
        self._emit = emit
        names = {p.name for p in self._providers}
        self.listed: dict[str, tuple[str, ...]] = {n: m for n, m in (known or {}).items() if n in names}
        self.silent: dict[str, str] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._asked: list[asyncio.Event] = []

    def start(self) -> None:
        for provider in self._providers:
            asked = asyncio.Event()
            self._asked.append(asked)
            self._tasks.append(asyncio.create_task(self._follow(provider, asked), name=f"models of {provider.name}"))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def known(self) -> None:
        """Returns when every provider has been asked once, or after `PATIENCE_S`."""
        waiting = [asked for asked in self._asked if not asked.is_set()]
        if not waiting:
            return
        try:
            async with asyncio.timeout(PATIENCE_S):
                for asked in waiting:
                    await asked.wait()
        except TimeoutError:
            return

    async def _follow(self, provider: Provider, asked: asyncio.Event) -> None:
        retry_s = _FIRST_RETRY_S
        while True:
            models, why = await self._ask(provider)
            if models is not None:
                self._learn(provider.name, models)
                retry_s = EVERY_S
            else:
                if provider.name not in self.silent:
                    self._emit(ProviderSilent(provider.name, why))
                self.silent[provider.name] = why
                retry_s = min(EVERY_S, retry_s * 2 if retry_s < EVERY_S else _FIRST_RETRY_S)
            asked.set()
            await asyncio.sleep(retry_s)

    def _learn(self, name: str, models: tuple[str, ...]) -> None:
        came_back = self.silent.pop(name, None) is not None
        changed = self.listed.get(name) != models
        self.listed[name] = models
        if changed:
            self._on_change()
        if changed or came_back:
            self._emit(ProviderListed(name, len(models)))

    async def _ask(self, provider: Provider) -> tuple[tuple[str, ...] | None, str]:
        """The provider's models, or None and why not."""
        headers = crossing.fixed(provider)
        path = "/models"
        if provider.kind == "anthropic":
            headers.append((b"anthropic-version", crossing.ANTHROPIC_VERSION))
            path = "/models?limit=1000"
        try:
            to = endpoint("GET", provider.base_url + path, headers)
            status, body = await self._upstream.get(to, _TIMEOUT_S, _MAX_BYTES)
        except HeadgateError as fault:
            return None, str(fault)
        if status != 200:
            return None, f"answered {status} to GET {path}"
        models = read_listing(body)
        return (models, "") if models is not None else (None, "what it answers is no list of models")
