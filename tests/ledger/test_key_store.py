"""Keys in the ledger, and how fast a revocation holds in another process."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from headgate.access.keys import Key, KeyRing, digest
from headgate.access.service import Access
from headgate.access.store import KeyStore
from headgate.errors import LedgerError, Problem
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
    assert [number for _, number in revisions] == [0, 1, 2, 2]
    assert len(set(revisions)) == 3
    assert (await store.load())[0] == revisions[-1]
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


HEADERS = [(b"x-api-key", b"hg-full")]


async def test_a_deleted_ledger_is_unhealthy_and_its_keys_stay_until_a_new_one_is_there(tmp_path: Path) -> None:
    url, path = f"sqlite:///{tmp_path}/ledger.db", tmp_path / "ledger.db"
    ledger = await open_ledger(url)
    await KeyStore(ledger).create(FULL, "hg-full")
    access = Access(KeyStore(ledger), emit=lambda event: None, poll_s=3600)
    await access.start()
    path.unlink()
    await access.refresh()
    assert access.why_unhealthy is not None
    assert f"{path} is gone" in access.why_unhealthy
    assert access.authenticate(HEADERS, 0.0) == FULL
    assert not path.exists()
    await (await open_ledger(url)).close()
    await access.refresh()
    assert access.healthy
    assert isinstance(access.authenticate(HEADERS, 0.0), Problem)
    await access.stop()
    await ledger.close()


@pytest.mark.parametrize("within_the_file", [False, True])
async def test_a_revocation_in_the_file_that_was_put_in_its_place_holds(tmp_path: Path, within_the_file: bool) -> None:
    ledger = await open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    await KeyStore(ledger).create(FULL, "hg-full")
    await KeyStore(ledger).create(Key(id="key_2", name="other"), "hg-other")
    access = Access(KeyStore(ledger), emit=lambda event: None, poll_s=3600)
    await access.start()
    new = await open_ledger(f"sqlite:///{tmp_path}/new.db")
    await KeyStore(new).create(FULL, "hg-full")
    await KeyStore(new).revoke("key_1", 5)
    assert (await KeyStore(new).revision())[1] == (await KeyStore(ledger).revision())[1]
    await new.close()
    if within_the_file:
        await ledger._empty_log()  # as a checkpoint does: what is in the log would come back over the copy
        (tmp_path / "ledger.db").write_bytes((tmp_path / "new.db").read_bytes())
    else:
        os.replace(tmp_path / "new.db", tmp_path / "ledger.db")  # with a log of the old one left beside it
    await access.refresh()
    assert access.healthy
    assert isinstance(access.authenticate(HEADERS, 0.0), Problem)
    assert [key.id for key in await KeyStore(ledger).all()] == ["key_1"]
    await access.stop()
    await ledger.close()


async def test_a_file_that_is_overwritten_with_something_else_is_unhealthy_until_it_is_put_right(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.db"
    ledger = await open_ledger(f"sqlite:///{path}")
    await KeyStore(ledger).create(FULL, "hg-full")
    await ledger.close()
    whole = path.read_bytes()
    ledger = await open_ledger(f"sqlite:///{path}")
    access = Access(KeyStore(ledger), emit=lambda event: None, poll_s=3600)
    await access.start()
    path.write_bytes(b"not a database" * 3000)
    for _ in range(2):
        await access.refresh()
        assert access.why_unhealthy is not None
        assert "is not a database file" in access.why_unhealthy
    path.write_bytes(b"")
    await access.refresh()
    assert access.why_unhealthy is not None
    path.write_bytes(whole)
    await access.refresh()
    assert access.healthy
    assert access.authenticate(HEADERS, 0.0) == FULL
    await access.stop()
    await ledger.close()


async def test_a_ledger_that_was_moved_away_is_whole_there(tmp_path: Path) -> None:
    ledger = await open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    await KeyStore(ledger).create(FULL, "hg-full")
    (tmp_path / "ledger.db").rename(tmp_path / "old.db")
    with pytest.raises(LedgerError, match="is gone"):
        await KeyStore(ledger).revision()
    await ledger.close()
    old = await open_ledger(f"sqlite:///{tmp_path}/old.db")
    assert await KeyStore(old).all() == [FULL]
    await old.close()
