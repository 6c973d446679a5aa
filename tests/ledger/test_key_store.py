"""Keys in the ledger, and how fast a revocation holds in another process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from headgate.access.keys import Key, KeyRing, digest
from headgate.access.service import Access
from headgate.access.store import KeyStore
from headgate.errors import Problem
from headgate.ledger.database import open_ledger
from headgate.ledger.tables import keys

FULL = Key(
    id="key_1",
    name="Zoë",
    team="research",
    models=("local/*", "gpt-4o*"),
    rpm=60,
    tpm=5_000_000_000,
    created_at_s=1_700_000_000,
    expires_at_s=4_000_000_000,
)


async def test_a_key_comes_back_as_it_was_stored(ledger_url: str) -> None:
    ledger = await open_ledger(ledger_url)
    store = KeyStore(ledger)
    bare = Key(id="key_2", name="bare", created_at_s=1_700_000_001)
    await store.create(FULL, "hg-full")
    await store.create(bare, "hg-bare")
    assert await store.all() == [FULL, bare]
    _, entries = await store.load()
    assert dict(entries) == {digest("hg-full"): FULL, digest("hg-bare"): bare}
    await ledger.close()


async def test_the_secret_itself_is_stored_nowhere(ledger_url: str) -> None:
    ledger = await open_ledger(ledger_url)
    await KeyStore(ledger).create(FULL, "hg-very-secret")
    async with ledger.read() as connection:
        (row,) = (await connection.execute(sa.select(keys))).all()
    await ledger.close()
    assert "very-secret" not in repr(row)
    assert row.secret_sha256 == digest("hg-very-secret").hex()


async def test_each_change_and_nothing_else_raises_the_revision(ledger_url: str) -> None:
    ledger = await open_ledger(ledger_url)
    store = KeyStore(ledger)
    revisions = [await store.revision()]
    await store.create(FULL, "hg-full")
    revisions.append(await store.revision())
    await store.revoke("key_1", 5)
    revisions.append(await store.revision())
    await store.revoke("key_1", 6)
    await store.revoke("key_unknown", 6)
    await store.all()
    with pytest.raises(IntegrityError):
        await store.create(FULL, "hg-again")
    revisions.append(await store.revision())
    assert revisions == [0, 1, 2, 2]
    assert (await store.load())[0] == 2
    await ledger.close()


async def test_a_key_is_revoked_once_and_keeps_that_time(ledger_url: str) -> None:
    ledger = await open_ledger(ledger_url)
    store = KeyStore(ledger)
    await store.create(FULL, "hg-full")
    first = await store.revoke("key_1", 5)
    second = await store.revoke("key_1", 6)
    assert first is not None
    assert second is not None
    assert (first[0].revoked_at_s, first[1]) == (5, True)
    assert (second[0].revoked_at_s, second[1]) == (5, False)
    assert await store.revoke("key_unknown", 6) is None
    assert isinstance(KeyRing((await store.load())[1]).find("hg-full", 0), Problem)
    await ledger.close()


async def test_two_keys_cannot_have_one_secret(ledger_url: str) -> None:
    ledger = await open_ledger(ledger_url)
    store = KeyStore(ledger)
    await store.create(FULL, "hg-full")
    with pytest.raises(IntegrityError):
        await store.create(Key(id="key_2", name="other"), "hg-full")
    await ledger.close()


OTHER_PROCESS = """
import asyncio, sys, time
from headgate.access.keys import Key
from headgate.access.service import Access
from headgate.access.store import KeyStore
from headgate.ledger.database import open_ledger

async def main():
    ledger = await open_ledger(sys.argv[1])
    access = Access(KeyStore(ledger), emit=lambda event: None)
    await access.start()
    headers = [(b"authorization", b"Bearer hg-full")]
    assert isinstance(access.authenticate(headers, 0.0), Key)
    print("in", flush=True)
    async with asyncio.timeout(10):
        while isinstance(access.authenticate(headers, 0.0), Key):
            await asyncio.sleep(0.005)
    print(time.monotonic(), flush=True)
    await access.stop()
    await ledger.close()

asyncio.run(main())
"""


async def test_a_revocation_holds_in_another_process_within_a_second(ledger_url: str) -> None:
    ledger = await open_ledger(ledger_url)
    store = KeyStore(ledger)
    await store.create(FULL, "hg-full")
    with subprocess.Popen(
        [sys.executable, "-c", OTHER_PROCESS, ledger_url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert await asyncio.to_thread(other.stdout.readline) == "in\n"
        await store.revoke("key_1", 5)
        revoked_at_s = time.monotonic()
        out, errors = await asyncio.to_thread(other.communicate, None, 20)
    await ledger.close()
    assert other.returncode == 0, errors
    assert float(out) - revoked_at_s < 1.0


async def test_a_key_that_was_just_made_is_taken_after_the_next_look(ledger_url: str) -> None:
    ledger = await open_ledger(ledger_url)
    store = KeyStore(ledger)
    access = Access(store, emit=lambda event: None, poll_s=3600)
    await access.start()
    headers = [(b"x-api-key", b"hg-full")]
    assert isinstance(access.authenticate(headers, 0.0), Problem)
    await store.create(FULL, "hg-full")
    await access.refresh()
    assert access.authenticate(headers, 0.0) == FULL
    await access.stop()
    await ledger.close()
