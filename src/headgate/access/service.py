"""Owns the keys and limits of this process: answers at once from memory, and follows the ledger beside the requests.

A task asks the ledger for the revision of the keys every `POLL_S`, and loads them where it changed; so a revocation
holds within a second in every worker and replica. No request waits for the ledger. While it does not answer, the last
keys that were read stay in force: those who could use the gateway still can, and what changed meanwhile is learned
when it answers again. A ledger that was replaced by another is a change too, whatever its revision. `emit` is told of
each change of that state once, not at every attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from headgate.access.keys import MISSING, Key, KeyRing, credential
from headgate.access.limits import Limits
from headgate.errors import LedgerError, Problem

POLL_S = 0.4
#: After this long without an answer, the ledger counts as unreachable.
ANSWER_S = 5.0


@dataclass(frozen=True, slots=True)
class KeysLoaded:
    """The keys were read, or read anew after a change: as many as `count`, revoked and expired ones included."""

    count: int
    revision: int


@dataclass(frozen=True, slots=True)
class KeysUnreadable:
    """The ledger stopped answering; the keys that were read last stay in force."""

    why: str


@dataclass(frozen=True, slots=True)
class KeysReadable:
    """The ledger answers again."""


#: Which database it is, counted from its opening, and the revision of the keys in it.
Revision = tuple[int, int]

Event = KeysLoaded | KeysUnreadable | KeysReadable


class KeySource(Protocol):
    """Where the keys are read from; `store.KeyStore` is the one there is."""

    async def revision(self) -> Revision: ...

    async def load(self) -> tuple[Revision, list[tuple[bytes, Key]]]: ...


class Limiter(Protocol):
    """Where requests are counted: `limits.Limits` in one process, `shared.SharedLimits` for several."""

    def admit(self, key: Key, tokens_estimate: int, now: float) -> Problem | None: ...

    def settle(self, key: Key, estimate: int, actual: int, at: float, now: float) -> None: ...

    def keep(self, ids: frozenset[str]) -> None: ...

    def close(self) -> None: ...


class Access:
    """Between `start` and `stop`, answers who a request comes from and whether its key has room for it."""

    def __init__(
        self,
        source: KeySource,
        *,
        emit: Callable[[Event], None],
        limits: Limiter | None = None,
        poll_s: float = POLL_S,
    ) -> None:
        self._source = source
        self._emit = emit
        self._poll_s = poll_s
        self._limits = limits if limits is not None else Limits()
        self._ring = KeyRing()
        self._revision: Revision | None = None
        self._why: str | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def healthy(self) -> bool:
        """Whether the ledger answered when it was last asked."""
        return self._why is None

    @property
    def why_unhealthy(self) -> str | None:
        return self._why

    async def start(self) -> None:
        """Load the keys and begin to follow their changes. Raises LedgerError where they cannot be read at all."""
        assert self._task is None, "started twice"
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._load()
        except TimeoutError:
            raise LedgerError(
                f"The ledger did not answer within {ANSWER_S:g} s. Check that it can be reached."
            ) from None
        self._task = asyncio.create_task(self._follow(), name="headgate-keys")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        self._limits.close()

    def authenticate(self, headers: Sequence[tuple[bytes, bytes]], now_wall_s: float) -> Key | Problem:
        """The key that a request with these (lower-case) headers comes with, or why it may not pass."""
        secret = credential(headers)
        return MISSING if secret is None else self._ring.find(secret, now_wall_s)

    def admit(self, key: Key, tokens_estimate: int, now: float) -> Problem | None:
        """Charge a request to its key's limits, or say why it is too much for now. `now`: monotonic seconds."""
        return self._limits.admit(key, tokens_estimate, now)

    def settle(self, key: Key, estimate: int, actual: int, at: float, now: float) -> None:
        """Correct the tokens of a request that was admitted at `at` with `estimate`. Once per request."""
        self._limits.settle(key, estimate, actual, at, now)

    async def refresh(self) -> None:
        """Ask the ledger once whether the keys changed, and load them if so. Does not raise where it fails."""
        try:
            async with asyncio.timeout(ANSWER_S):
                if await self._source.revision() != self._revision:
                    await self._load()
        except Exception as exc:  # whatever it is: without this task, no revocation would be seen again
            if self._why is None:
                self._why = str(exc) or f"The ledger did not answer ({type(exc).__name__})."
                self._emit(KeysUnreadable(self._why))
            return
        if self._why is not None:
            self._why = None
            self._emit(KeysReadable())

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._poll_s)
            await self.refresh()

    async def _load(self) -> None:
        self._revision, entries = await self._source.load()
        self._ring = KeyRing(entries)
        self._limits.keep(self._ring.ids)
        self._emit(KeysLoaded(len(self._ring), self._revision[1]))
