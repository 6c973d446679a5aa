"""Opening the ledger, its transactions, and what an operator is told when something is wrong with it."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import create_async_engine

from headgate.errors import LedgerError
from headgate.ledger import database, migrations
from headgate.ledger.database import open_ledger
from headgate.ledger.tables import revisions

READ = sa.select(revisions.c.revision).where(revisions.c.name == "keys")


def _set(value: int) -> sa.Update:
    return revisions.update().where(revisions.c.name == "keys").values(revision=value)


async def _fault(url: str) -> str:
    with pytest.raises(LedgerError) as raised:
        await open_ledger(url)
    return str(raised.value)


# --- opening


async def test_what_is_written_is_there_when_the_ledger_is_opened_again(ledger_url: str) -> None:
    ledger = await open_ledger(ledger_url)
    async with ledger.write() as connection:
        await connection.execute(_set(7))
    await ledger.close()
    again = await open_ledger(ledger_url)
    async with again.read() as connection:
        assert (await connection.execute(READ)).scalar() == 7
    await again.close()


async def test_a_ledger_that_is_up_to_date_is_opened_without_alembic(ledger_url: str) -> None:
    await (await open_ledger(ledger_url)).close()
    script = (
        "import asyncio, sys\n"
        "from headgate.ledger.database import open_ledger\n"
        "async def main():\n"
        "    await (await open_ledger(sys.argv[1])).close()\n"
        "asyncio.run(main())\n"
        "sys.exit('alembic' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, ledger_url], timeout=60).returncode == 0


async def test_the_directory_and_the_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    ledger = await open_ledger(f"sqlite:///{tmp_path}/home/ledger.db")
    async with ledger.write() as connection:
        await connection.execute(_set(1))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "home").iterdir()}
    await ledger.close()
    assert stat.S_IMODE((tmp_path / "home").stat().st_mode) == 0o700
    assert modes == {"ledger.db": 0o600, "ledger.db-wal": 0o600, "ledger.db-shm": 0o600}


async def test_a_relative_path_is_taken_from_here_and_a_tilde_from_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    await (await open_ledger("sqlite:///here.db")).close()
    await (await open_ledger("sqlite:///~/there.db")).close()
    assert (tmp_path / "here.db").is_file()
    assert (tmp_path / "me" / "there.db").is_file()


@pytest.mark.parametrize(
    ("pragma", "value"), [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 5000)]
)
async def test_every_sqlite_connection_is_durable_and_patient(tmp_path: Path, pragma: str, value: object) -> None:
    ledger = await open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    async with ledger.read() as first, ledger.read() as second:
        for connection in (first, second):
            assert (await connection.execute(sa.text(f"PRAGMA {pragma}"))).scalar() == value
    await ledger.close()


# --- transactions


async def test_an_exception_undoes_the_whole_transaction(ledger_url: str) -> None:
    ledger = await open_ledger(ledger_url)
    with pytest.raises(ZeroDivisionError):
        async with ledger.write() as connection:
            await connection.execute(_set(5))
            raise ZeroDivisionError
    async with ledger.read() as connection:
        assert (await connection.execute(READ)).scalar() == 0
    await ledger.close()


async def test_a_reader_does_not_wait_for_a_writer(ledger_url: str) -> None:
    ledger = await open_ledger(ledger_url)
    async with ledger.write() as writer:
        await writer.execute(_set(5))
        async with asyncio.timeout(3), ledger.read() as reader:
            assert (await reader.execute(READ)).scalar() == 0
    await ledger.close()


async def test_writers_that_read_first_wait_for_each_other_on_sqlite(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    ledgers = [await open_ledger(url) for _ in range(3)]

    async def raise_it(ledger: database.Ledger) -> None:
        for _ in range(10):
            async with ledger.write() as connection:
                value = (await connection.execute(READ)).scalar_one()
                await connection.execute(_set(value + 1))

    await asyncio.gather(*map(raise_it, ledgers))
    async with ledgers[0].read() as connection:
        assert (await connection.execute(READ)).scalar() == 30
    for ledger in ledgers:
        await ledger.close()


# --- a file that changes under an open ledger


async def test_only_a_file_that_became_another_one_counts_as_another_generation(tmp_path: Path) -> None:
    ledger = await open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    async with ledger.read():
        before = ledger.generation
    for value in range(3):
        async with ledger.write() as connection:
            await connection.execute(_set(value))
    async with ledger.read():
        assert ledger.generation == before
    shutil.copy(tmp_path / "ledger.db", tmp_path / "copy.db")
    os.replace(tmp_path / "copy.db", tmp_path / "ledger.db")
    async with ledger.read():
        assert ledger.generation > before
    await ledger.close()


@pytest.mark.parametrize("name", ["ledger.db", "a b?c#d%41ü.db"])
async def test_a_write_to_a_deleted_ledger_is_refused_and_makes_no_file(tmp_path: Path, name: str) -> None:
    ledger = await open_ledger(f"sqlite:///{tmp_path}/{name}")
    (tmp_path / name).unlink()
    for _ in range(2):
        with pytest.raises(LedgerError, match=r"is gone.*Put it back"):
            async with ledger.write() as connection:
                await connection.execute(_set(1))
    await ledger.close()
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize(("version", "said"), [("9999", "whose schema is 9999"), (None, "no ledger of headgate")])
async def test_a_file_of_another_schema_is_not_taken_up(tmp_path: Path, version: str | None, said: str) -> None:
    ledger = await open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    if version is not None:
        new = await open_ledger(f"sqlite:///{tmp_path}/new.db")
        async with new.write() as connection:
            await connection.execute(sa.text(f"UPDATE {migrations.VERSION_TABLE} SET version_num = '{version}'"))
        await new.close()
    else:
        other = sqlite3.connect(tmp_path / "new.db")
        other.execute("CREATE TABLE mine (x)")
        other.close()
    whole = (tmp_path / "new.db").read_bytes()
    os.replace(tmp_path / "new.db", tmp_path / "ledger.db")
    for _ in range(2):
        with pytest.raises(LedgerError, match=said):
            async with ledger.read():
                pass
    await ledger.close()
    assert (tmp_path / "ledger.db").read_bytes() == whole


async def test_a_replaced_file_waits_for_the_transactions_in_the_old_one(tmp_path: Path) -> None:
    ledger = await open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    async with ledger.read() as connection:
        shutil.copy(tmp_path / "ledger.db", tmp_path / "copy.db")
        os.replace(tmp_path / "copy.db", tmp_path / "ledger.db")
        with pytest.raises(LedgerError, match="Try again"):
            async with ledger.read():
                pass
        assert (await connection.execute(READ)).scalar() == 0
    async with ledger.read() as connection:
        assert (await connection.execute(READ)).scalar() == 0
    await ledger.close()


async def test_a_broken_constraint_is_the_callers_business(ledger_url: str) -> None:
    ledger = await open_ledger(ledger_url)
    with pytest.raises(IntegrityError):
        async with ledger.write() as connection:
            await connection.execute(revisions.insert().values(name="keys", revision=1))
    await ledger.close()


# --- what an operator is told


@pytest.fixture
def closed_directory() -> Iterator[Path]:
    """A directory that this process may read but not write; root is somebody else meanwhile."""
    directory = Path(tempfile.mkdtemp(prefix="hgdir"))
    directory.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield directory
    finally:
        if root:
            os.seteuid(0)
        directory.chmod(0o700)
        shutil.rmtree(directory)


async def test_a_directory_that_cannot_be_written_is_named(closed_directory: Path) -> None:
    said = await _fault(f"sqlite:///{closed_directory}/ledger.db")
    assert f"{closed_directory}/ledger.db" in said
    assert "Permission denied" in said
    assert f"write to the directory {closed_directory}" in said


async def test_a_path_through_a_file_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert f"{tmp_path}/file is not a directory" in await _fault(f"sqlite:///{tmp_path}/file/ledger.db")


async def test_a_directory_in_the_place_of_the_file_is_told_so(tmp_path: Path) -> None:
    assert f"{tmp_path} is a directory" in await _fault(f"sqlite:///{tmp_path}")


async def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"not a database, but long enough to look at " * 100)
    before = path.read_bytes()
    said = await _fault(f"sqlite:///{path}")
    assert f"{path} is not a database file" in said
    assert "Set ledger.url to another file" in said
    assert path.read_bytes() == before


async def test_a_damaged_ledger_is_named_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    await (await open_ledger(f"sqlite:///{path}")).close()
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"\xff" * (len(whole) - 100))
    said = await _fault(f"sqlite:///{path}")
    assert f"The ledger {path} is damaged" in said
    assert "backup" in said


async def test_a_full_disk_is_named_and_undoes_the_transaction(tmp_path: Path) -> None:
    ledger = await open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    with pytest.raises(LedgerError, match=r"The disk of .*ledger\.db is full\. Free some space"):
        async with ledger.write() as connection:
            pages = (await connection.execute(sa.text("PRAGMA page_count"))).scalar()
            await connection.execute(sa.text(f"PRAGMA max_page_count={pages}"))
            await connection.execute(revisions.insert(), [{"name": f"{n:060}", "revision": n} for n in range(1000)])
    async with ledger.read() as connection:
        assert (await connection.execute(sa.select(sa.func.count()).select_from(revisions))).scalar() == 1
    await ledger.close()


async def test_a_lock_that_is_held_too_long_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.05)
    ledger = await open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerError, match="locked by another process"):
        async with ledger.write() as connection:
            await connection.execute(_set(1))
    other.close()
    async with ledger.write() as connection:
        await connection.execute(_set(1))
    await ledger.close()


async def test_a_ledger_of_a_newer_headgate_is_not_touched(ledger_url: str) -> None:
    ledger = await open_ledger(ledger_url)
    async with ledger.write() as connection:
        await connection.execute(sa.text(f"UPDATE {migrations.VERSION_TABLE} SET version_num = '9999'"))
    await ledger.close()
    said = await _fault(ledger_url)
    assert "was written by a newer headgate (its schema is 9999" in said
    assert "Upgrade headgate" in said


async def test_a_table_of_another_program_is_not_taken_over(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "other.db")
    connection.execute("CREATE TABLE keys (mine)")
    connection.close()
    said = await _fault(f"sqlite:///{tmp_path}/other.db")
    assert "has a table 'keys' that headgate did not make" in said


@pytest.mark.parametrize(
    "url",
    ["", "ledger.db", "sqlite:", "sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite://x/y.db", "mysql://h/d"],
)
async def test_a_url_that_names_no_ledger_is_refused_with_both_forms(url: str) -> None:
    said = await _fault(url)
    assert "sqlite:///PATH" in said
    assert "postgresql://USER:PASSWORD@HOST/DATABASE" in said


async def test_a_missing_driver_for_postgresql_is_named_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    said = await _fault("postgresql://me:hunter2@db.example/headgate")
    assert "pip install 'headgate[postgres]'" in said
    assert "postgresql://db.example/headgate" in said


async def test_a_postgresql_that_is_not_there_is_named_without_its_password() -> None:
    pytest.importorskip("asyncpg", reason="asyncpg is not installed (extra `postgres`)")
    said = await _fault("postgresql://me:hunter2@127.0.0.1:1/headgate?password=hunter2")
    assert "The ledger at postgresql://127.0.0.1:1/headgate does not answer" in said
    assert "ledger.url" in said


@pytest.mark.parametrize(
    "url",
    [
        "mysql://me:hunter2@h/d",
        "mysql://h/d?password=hunter2",
        "postgresql://me:hunter2@h:port/d",
        "postgresql://me:hunter2/x@h/d",
        "postgresql://me:hunter2?x@h/d",
        "postgresql://me:hunter2#x@h/d",
        "postgresql://me:hunter2@x@h/d",
        "postgresql://me:hunter2[x@h/d",
        "postgresql://me:hunter2\uff20x@h/d",
        "postgresql://me:hunter2 x@h/d",
        "http://hunter2@h:x/",
    ],
)
async def test_no_message_holds_a_password(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    assert "hunter2" not in await _fault(url)


async def test_what_the_driver_says_of_a_url_is_not_passed_on() -> None:
    async def connect() -> None:
        raise ValueError("Port could not be cast to integer value as 'hunter2'")

    engine = create_async_engine("sqlite+aiosqlite://", async_creator=connect)
    with pytest.raises(LedgerError) as raised:
        async with database.Ledger(engine, "postgresql", "postgresql://h/d").read():
            pass
    said = str(raised.value)
    assert "ledger.url cannot be read" in said
    assert "hunter2" not in said


async def test_what_is_wrong_in_a_url_is_said_without_the_words_of_a_parser() -> None:
    said = await _fault("postgresql://user:se/cretPW@host/db")
    assert "se/" not in said and "'se'" not in said and "cret" not in said and "cast" not in said
    assert "/ as %2F" in said
