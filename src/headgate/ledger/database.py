"""Opens the ledger, keeps its schema at `HEAD`, and says in an operator's words what is wrong with it.

The same statements run on SQLite and PostgreSQL, through `read` and `write`: one transaction each.

SQLite. Write-ahead log, so that readers never wait; `synchronous=FULL`, since what is granted must survive a power cut;
`BEGIN IMMEDIATE` for writes, since a transaction that reads first and locks later can fail where it should have waited.
The directory and the file are made for their owner alone.

A SQLite file can be deleted, moved or replaced while it is open, and open connections would follow the old one. So the
path is looked at before every transaction:

1. It is what it was: go on.
2. The same file, written beside the log (a checkpoint does that, and so does a copy over it): read it anew, from disk.
3. Nothing is there: a fault, until something is. SQLite may never make a file here; only `open_ledger` does.
4. Another file is there: let go of the old one and take the new one, if its schema is at `HEAD`.

In 2 and 4, `generation` counts up: what was kept in memory may be of another ledger. In 3 and 4, the old log is first
written into the old file, wherever that is now, and emptied: it lies beside the new file, and SQLite would mix the two.

Starting up. A ledger at `HEAD` is opened without importing Alembic. Any other is migrated under a lock that every
process takes (SQLite's write lock, an advisory lock in PostgreSQL), and the revision is read anew once it is held: of
two processes that start at once, the second finds nothing left to do. A revision that this program does not know was
written by a newer one, and nothing is touched then.

Faults of the database leave here as `LedgerError`: where, what, and what to do. Broken constraints and bad statements
are the caller's business and pass as they are.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qs, urlsplit

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from headgate.errors import LedgerError
from headgate.ledger import migrations
from headgate.ledger.tables import metadata

#: How long a statement waits for another process' transaction on SQLite before it gives up.
BUSY_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 10.0
#: PostgreSQL's advisory lock for migrations: the ASCII codes of "headgate".
MIGRATION_LOCK = int.from_bytes(b"headgate", "big")

_WRITES = "headgate_writes"


class _Seen(NamedTuple):
    """A file as it was when it was looked at."""

    file: tuple[int, int]
    """The device and the inode."""
    written: tuple[int, int]
    """The size, and the time of the last change."""


class Ledger:
    """An open ledger. `where` names it in messages and holds no password.

    generation: another number where the database at `where` may have become another one; it holds while a transaction
    is open. file: the path of a SQLite file, which exists.
    """

    def __init__(
        self, engine: AsyncEngine, kind: Literal["sqlite", "postgresql"], where: str, file: Path | None = None
    ) -> None:
        self.kind = kind
        self.where = where
        self.generation = 0
        self._file = file
        #: What the open connections have; None where that is nothing, or not yet known to be a ledger.
        self._seen = None if file is None else _look_at(file)
        self._looking = asyncio.Lock()
        self._under_way = 0
        self._reader = engine
        self._writer = engine.execution_options(**{_WRITES: True})

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads: on SQLite, one unchanging view. Raises LedgerError."""
        async with self._transaction(self._reader) as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that changes something; committed at the end, undone by an exception. Raises LedgerError."""
        async with self._transaction(self._writer) as connection:
            yield connection

    async def close(self) -> None:
        await self._reader.dispose()

    @asynccontextmanager
    async def _transaction(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        if self._file is not None:
            known = self._seen is not None and not self._looking.locked()
            if not known or _look_at(self._file) != self._seen:
                async with self._looking:
                    await self._follow(self._file)
        self._under_way += 1  # nothing is awaited since the look
        try:
            async with self._connected(engine) as connection:
                yield connection
        finally:
            self._under_way -= 1

    async def _follow(self, file: Path) -> None:
        """Take up what is at the path now; the numbers are those of the module's text. Raises LedgerError."""
        now, before = _look_at(file), self._seen
        if now is not None and now == before:  # 1: whoever looked before this one has taken it up
            return
        moved = before is not None and (now is None or now.file != before.file)
        if self._under_way:
            if now is not None and not moved:  # 2, once nothing is open any more
                return
            # The old file must be closed before the new one is opened: they share SQLite's index of the log.
            if now is None:
                raise _gone(file)
            raise LedgerError(f"The ledger {file} was replaced while a transaction was open in it. Try again.")
        if moved:  # 3, 4
            await self._empty_log()
        self._seen = None
        await self._reader.dispose()
        now = _look_at(file)  # again: closing may have written
        if now is None:
            raise _gone(file)
        async with self._connected(self._reader) as connection:
            revision = await connection.run_sync(_revision)
        if revision != migrations.HEAD:
            holds = "no ledger of headgate" if revision is None else f"a ledger whose schema is {revision}"
            raise LedgerError(
                f"The file {file} was replaced while headgate ran, and holds {holds} (this headgate works on "
                f"{migrations.HEAD}). Put the right file there, or restart headgate, which brings it up to date if it "
                "can."
            )
        self._seen = now
        self.generation += 1

    async def _empty_log(self) -> None:
        """Write SQLite's log into the file that the open connections have, and empty it, unless others are in the way.

        Nothing is opened for it: the path may already be another file's.
        """
        pool = self._reader.pool
        if not isinstance(pool, sa.pool.QueuePool) or not pool.checkedin():
            return
        with suppress(sqlite3.Error, DBAPIError):
            async with self._reader.connect() as connection:
                raw = await connection.get_raw_connection()
                assert raw.driver_connection is not None
                await (await raw.driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")).close()

    @asynccontextmanager
    async def _connected(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        try:
            connection = await engine.connect()
        except Exception as exc:  # a driver's own: asyncpg does not wrap what fails while connecting
            raise self._explain(exc) from exc
        try:
            async with connection.begin():
                yield connection
        except (IntegrityError, ProgrammingError):
            raise
        except DBAPIError as exc:
            raise self._explain(exc) from exc
        finally:
            await connection.close()

    def _explain(self, exc: Exception) -> LedgerError:
        cause = exc.orig if isinstance(exc, DBAPIError) and exc.orig is not None else exc
        if self.kind == "sqlite":
            return _sqlite_fault(cause, self.where)
        # While connecting, and not of a certificate: it is the URL itself, and the text may quote a part of it.
        if isinstance(exc, ValueError) and not isinstance(exc, OSError):
            return _unreadable_url()
        said = " ".join(str(cause).split()) or type(cause).__name__
        return LedgerError(
            f"The ledger at {self.where} does not answer: {said}. Check that PostgreSQL runs there, and that the user, "
            "password and database in ledger.url are right."
        )


async def open_ledger(url: str) -> Ledger:
    """Open the ledger at `url` (`sqlite:///path` or `postgresql://…`), made or migrated where it must be.

    Raises LedgerError with what to do about it.
    """
    ledger = await _connect(url)
    try:
        async with ledger.read() as connection:
            revision = await connection.run_sync(_revision)
        if revision != migrations.HEAD:
            async with ledger.write() as connection:
                if ledger.kind == "postgresql":
                    await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
                await connection.run_sync(_migrate, ledger.where)
            if ledger.kind == "sqlite":
                # What is only in the log would hide damage to the file for as long as the log is there.
                await ledger._empty_log()
    except BaseException:
        await ledger.close()
        raise
    return ledger


async def _connect(url: str) -> Ledger:
    scheme, colon, rest = url.partition(":")
    match scheme.partition("+")[0]:
        case "sqlite" if rest.startswith("///") and rest[3:] and rest != "///:memory:":
            return _sqlite(await asyncio.to_thread(_prepare_file, Path(rest[3:])))
        case "postgresql" | "postgres" if colon:
            return _postgresql("postgresql:" + rest)
    raise LedgerError(
        "ledger.url names no ledger. Write sqlite:///PATH (four slashes for an absolute path) for a file on "
        "this machine, or postgresql://USER:PASSWORD@HOST/DATABASE."
    )


# --- SQLite


def _look_at(path: Path) -> _Seen | None:
    """None where nothing is. Raises LedgerError."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise LedgerError(
            f"The ledger {path} cannot be looked at: {os.strerror(exc.errno or 0)}. Let the user that runs headgate "
            f"into the directory {path.parent}, and check the disk that it is on."
        ) from exc
    return _Seen((found.st_dev, found.st_ino), (found.st_size, found.st_mtime_ns))


def _gone(path: Path) -> LedgerError:
    return LedgerError(
        f"The ledger {path} is gone: the file was deleted or moved while headgate ran. Put it back, or a backup of it; "
        "headgate takes it up by itself. To begin a new one instead, without any of its keys: headgate keys create NAME"
    )


def _prepare_file(path: Path) -> Path:
    """Make the directory and the file, for their owner alone, and see that it is a database in write-ahead mode.

    Returns the absolute path.
    """
    path = path.expanduser().absolute()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # O_EXCL: to open and close a file that is there would drop the locks that this process may have on it.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        if path.is_dir():
            raise LedgerError(f"{path} is a directory. Name a file in it: {path / 'ledger.db'}.") from None
        if not path.parent.is_dir():
            raise LedgerError(f"{path.parent} is not a directory. Set ledger.url to a file in a directory.") from None
    except OSError as exc:
        raise _file_fault(exc, path) from exc
    try:
        mode = _write_ahead(path)
    except sqlite3.Error as exc:
        raise _sqlite_fault(exc, str(path)) from exc
    if mode != "wal":
        raise LedgerError(
            f"The file system of {path} cannot hold SQLite's write-ahead log (a network file system?). Set ledger.url "
            "to a file on a local disk, or to a PostgreSQL database."
        )
    return path


def _write_ahead(path: Path) -> str:
    connection = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    try:
        deadline_s = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            try:
                return str(connection.execute("PRAGMA journal_mode=WAL").fetchone()[0])
            except sqlite3.OperationalError as exc:
                # The change of mode does not wait for other connections by itself, as statements do.
                if not _is(exc, sqlite3.SQLITE_BUSY) or time.monotonic() >= deadline_s:
                    raise
                time.sleep(0.02)
    finally:
        connection.close()


def _sqlite(path: Path) -> Ledger:
    engine = create_async_engine(
        sa.URL.create("sqlite+aiosqlite", database=path.as_uri(), query={"uri": "true", "mode": "rw"}),
        # isolation_level None: the driver leaves transactions to us.
        connect_args={"timeout": BUSY_TIMEOUT_S, "isolation_level": None},
    )

    @sa.event.listens_for(engine.sync_engine, "connect")
    def set_up(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @sa.event.listens_for(engine.sync_engine, "begin")
    def begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return Ledger(engine, "sqlite", str(path), path)


def _is(exc: BaseException, *codes: int) -> bool:
    """Whether SQLite's error is one of these primary codes; the extended ones have more in their upper bits."""
    return getattr(exc, "sqlite_errorcode", 0) & 0xFF in codes


def _sqlite_fault(exc: BaseException, where: str) -> LedgerError:
    directory = os.path.dirname(where)
    if _is(exc, sqlite3.SQLITE_FULL):
        return LedgerError(f"The disk of {where} is full. Free some space there; nothing that was written is lost.")
    if _is(exc, sqlite3.SQLITE_NOTADB):
        return LedgerError(f"{where} is not a database file. Set ledger.url to another file, or move this one away.")
    if _is(exc, sqlite3.SQLITE_CORRUPT):
        return LedgerError(
            f"The ledger {where} is damaged ({exc}). Stop headgate, and put a backup in its place or save what can be "
            f"read with: sqlite3 {where} .recover"
        )
    if _is(exc, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return LedgerError(
            f"The ledger {where} cannot be written ({exc}). Let the user that runs headgate write to that file and to "
            f"the directory {directory}, or set ledger.url to another place."
        )
    if _is(exc, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return LedgerError(
            f"The ledger {where} was locked by another process for {BUSY_TIMEOUT_S:g} s. Find who holds it (fuser "
            f"{where}), or try again."
        )
    return LedgerError(f"The ledger {where} failed: {exc}. Check the disk that it is on.")


def _file_fault(exc: OSError, path: Path) -> LedgerError:
    said = os.strerror(exc.errno) if exc.errno else str(exc)
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return LedgerError(f"The disk of {path} is full ({said}). Free some space there.")
    return LedgerError(
        f"The ledger {path} cannot be made: {said}. Let the user that runs headgate write to the directory "
        f"{path.parent}, or set ledger.url (or HEADGATE_HOME) to another place."
    )


# --- PostgreSQL


def _postgresql(url: str) -> Ledger:
    where = _postgresql_place(url)
    try:
        import asyncpg
    except ImportError:
        raise LedgerError(
            f"The ledger at {where} needs the driver for PostgreSQL, which is not installed. Install it with: "
            "pip install 'headgate[postgres]'"
        ) from None

    async def connect() -> Any:
        # The driver reads the URL itself, so every option that it knows can stand there (sslmode, host, …).
        return await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, pool_pre_ping=True)
    return Ledger(engine, "postgresql", where)


#: The hosts and what follows, with user and password (which hold none of these characters raw) left out.
_POSTGRESQL_URL = re.compile(r"postgresql://(?:[^@/?#\s]*@)?([^@/?#\s]*)(/[^@?#\s]*)?(?:\?([^@#\s]*))?")
_HOST = re.compile(r"(?:\[[^\[\]]+\]|[^\[\]:]*)(?::[0-9]{1,5})?")


def _postgresql_place(url: str) -> str:
    """The URL without user, password and options. Raises LedgerError, which quotes nothing of it."""
    parts = _POSTGRESQL_URL.fullmatch(url)
    if parts is None or not all(map(_HOST.fullmatch, parts[1].split(","))):
        raise _unreadable_url()
    try:
        urlsplit(url)  # the driver will
        host = parts[1] or (parse_qs(parts[3] or "").get("host") or ["localhost"])[0]
    except ValueError:
        raise _unreadable_url() from None
    return f"postgresql://{host}{parts[2] or ''}"


def _unreadable_url() -> LedgerError:
    return LedgerError(
        "ledger.url cannot be read as the address of a PostgreSQL database. Write "
        "postgresql://USER:PASSWORD@HOST:PORT/DATABASE, and in user and password / as %2F, # as %23, ? as %3F, "
        "@ as %40, [ as %5B, ] as %5D and a space as %20."
    )


# --- the schema


def _revision(connection: sa.Connection) -> str | None:
    """The revision that the database is at; None where headgate has made no table yet."""
    if not sa.inspect(connection).has_table(migrations.VERSION_TABLE):
        return None
    stored = connection.execute(sa.text(f"SELECT version_num FROM {migrations.VERSION_TABLE}")).scalar()  # noqa: S608
    return None if stored is None else str(stored)


def _migrate(connection: sa.Connection, where: str) -> None:
    """Under the lock: look again, and take the steps that are missing."""
    revision = _revision(connection)
    if revision == migrations.HEAD:
        return
    if revision is None:
        strangers = sorted(set(metadata.tables) & set(sa.inspect(connection).get_table_names()))
        if strangers:
            raise LedgerError(
                f"The database {where} has a table {strangers[0]!r} that headgate did not make. Give headgate a "
                "database of its own in ledger.url."
            )
    elif revision not in migrations.REVISIONS:
        raise LedgerError(
            f"The ledger {where} was written by a newer headgate (its schema is {revision}; this one knows up to "
            f"{migrations.HEAD}). Upgrade headgate, or set ledger.url to another ledger."
        )
    migrations.upgrade(connection)
