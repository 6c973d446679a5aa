"""The keys of a running gateway: answered from memory, followed in the ledger."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from headgate.access import service
from headgate.access.keys import MISSING, UNKNOWN, Key, digest
from headgate.access.service import Access, Event, KeysLoaded, KeysReadable, KeysUnreadable
from headgate.errors import LedgerError, Problem

HEADERS = [(b"authorization", b"Bearer hg-a")]


class Source:
    """A ledger in memory that can be made to fail or hang."""

    def __init__(self) -> None:
        self.keys = {"hg-a": Key("key_a", "a", rpm=1)}
        self.number = 1
        self.database = 0
        self.fault: BaseException | None = None
        self.hangs = False
        self.loads = 0
        self.asked = asyncio.Event()

    def put(self, secret: str, key: Key) -> None:
        self.keys[secret] = key
        self.number += 1

    async def revision(self) -> tuple[int, int]:
        self.asked.set()
        await self._answer()
        return self.database, self.number

    async def load(self) -> tuple[tuple[int, int], list[tuple[bytes, Key]]]:
        self.loads += 1
        await self._answer()
        return (self.database, self.number), [(digest(secret), key) for secret, key in self.keys.items()]

    async def _answer(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.fault is not None:
            raise self.fault


def _access(source: Source, events: list[Event] | None = None, poll_s: float = 3600) -> Access:
    return Access(source, emit=(events if events is not None else []).append, poll_s=poll_s)


async def test_the_keys_are_known_once_it_has_started() -> None:
    source, events = Source(), list[Event]()
    access = _access(source, events)
    await access.start()
    assert access.authenticate(HEADERS, 0.0) == source.keys["hg-a"]
    assert access.authenticate([(b"authorization", b"Bearer hg-b")], 0.0) is UNKNOWN
    assert access.authenticate([], 0.0) is MISSING
    assert access.healthy
    assert events == [KeysLoaded(1, 1)]
    await access.stop()


async def test_it_does_not_start_without_the_ledger() -> None:
    source = Source()
    source.fault = LedgerError("gone")
    with pytest.raises(LedgerError, match="gone"):
        await _access(source).start()


async def test_a_ledger_that_hangs_at_the_start_is_a_fault_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "ANSWER_S", 0.01)
    source = Source()
    source.hangs = True
    with pytest.raises(LedgerError, match="did not answer within"):
        await _access(source).start()


async def test_nothing_is_loaded_while_the_revision_stays() -> None:
    source, events = Source(), list[Event]()
    access = _access(source, events)
    await access.start()
    for _ in range(3):
        await access.refresh()
    assert source.loads == 1
    assert len(events) == 1
    await access.stop()


async def test_a_revocation_holds_from_the_next_look_on() -> None:
    source, events = Source(), list[Event]()
    access = _access(source, events)
    await access.start()
    source.put("hg-a", Key("key_a", "a", revoked_at_s=5))
    await access.refresh()
    refused = access.authenticate(HEADERS, 0.0)
    assert isinstance(refused, Problem)
    assert "revoked" in refused.message
    assert events[-1] == KeysLoaded(1, 2)
    await access.stop()


async def test_a_revision_that_went_back_is_a_change_too() -> None:
    source = Source()
    source.number = 9
    access = _access(source)
    await access.start()
    source.keys.clear()
    source.number = 3
    await access.refresh()
    assert access.authenticate(HEADERS, 0.0) is UNKNOWN
    await access.stop()


async def test_another_database_with_the_same_revision_is_a_change_too() -> None:
    source = Source()
    access = _access(source)
    await access.start()
    source.keys.clear()
    source.database += 1
    await access.refresh()
    assert access.authenticate(HEADERS, 0.0) is UNKNOWN
    assert access.healthy
    await access.stop()


@pytest.mark.parametrize("fault", [LedgerError("the disk is full"), OSError("no route"), RuntimeError("a bug")])
async def test_the_last_keys_stay_in_force_while_the_ledger_does_not_answer(fault: Exception) -> None:
    source, events = Source(), list[Event]()
    access = _access(source, events)
    await access.start()
    source.fault = fault
    for _ in range(3):
        await access.refresh()
    assert isinstance(access.authenticate(HEADERS, 0.0), Key)
    assert not access.healthy
    assert access.why_unhealthy == str(fault)
    assert events[1:] == [KeysUnreadable(str(fault))]
    source.fault = None
    source.put("hg-b", Key("key_b", "b"))
    for _ in range(3):
        await access.refresh()
    assert access.healthy
    assert access.why_unhealthy is None
    assert events[2:] == [KeysLoaded(2, 2), KeysReadable()]
    await access.stop()


async def test_a_ledger_that_hangs_counts_as_one_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    source, events = Source(), list[Event]()
    access = _access(source, events)
    await access.start()
    monkeypatch.setattr(service, "ANSWER_S", 0.01)
    source.hangs = True
    await access.refresh()
    assert not access.healthy
    assert isinstance(events[-1], KeysUnreadable)
    assert events[-1].why
    await access.stop()


async def test_the_task_goes_on_looking_after_a_fault() -> None:
    source = Source()
    access = _access(source, poll_s=0.001)
    await access.start()
    source.fault = RuntimeError("a bug")
    async with asyncio.timeout(10):
        while access.healthy:
            source.asked.clear()
            await source.asked.wait()
        source.fault = None
        source.put("hg-b", Key("key_b", "b"))
        while not access.healthy:
            source.asked.clear()
            await source.asked.wait()
    assert isinstance(access.authenticate([(b"x-api-key", b"hg-b")], 0.0), Key)
    await access.stop()


async def test_after_the_stop_nobody_looks_any_more() -> None:
    source = Source()
    access = _access(source, poll_s=0.0)
    await access.start()
    await source.asked.wait()
    await access.stop()
    source.asked.clear()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not source.asked.is_set()
    await access.stop()


async def test_the_limits_of_a_key_outlive_a_change_of_another() -> None:
    source = Source()
    access = _access(source)
    await access.start()
    key = access.authenticate(HEADERS, 0.0)
    assert isinstance(key, Key)
    assert access.admit(key, 10, 100.0) is None
    source.put("hg-b", Key("key_b", "b"))
    await access.refresh()
    assert access.admit(key, 10, 101.0) is not None
    access.settle(key, 10, 20, 100.0, 102.0)
    assert access.admit(key, 10, 161.0) is None
    await access.stop()


def test_the_way_of_a_request_loads_no_database_code() -> None:
    script = (
        "import sys\n"
        "import headgate.access.service, headgate.access.shared, headgate.access.trust\n"
        "sys.exit(any(name.split('.')[0] in ('sqlalchemy', 'alembic', 'aiosqlite') for name in sys.modules))\n"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 0
