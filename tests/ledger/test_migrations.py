"""The schema, and how a ledger comes to it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from headgate.errors import LedgerError
from headgate.ledger import migrations
from headgate.ledger.database import open_ledger
from headgate.ledger.tables import metadata


async def test_the_migrated_schema_is_the_one_in_the_tables(ledger_url: str) -> None:
    def differences(connection: sa.Connection) -> object:
        options = {"compare_type": True, "compare_server_default": True, "version_table": migrations.VERSION_TABLE}
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)

    def names(connection: sa.Connection) -> set[str | None]:
        inspector = sa.inspect(connection)
        return {
            constraint["name"]
            for table in metadata.tables
            for constraint in [
                inspector.get_pk_constraint(table),
                *inspector.get_unique_constraints(table),
                *inspector.get_foreign_keys(table),
                *inspector.get_check_constraints(table),
            ]
        }

    ledger = await open_ledger(ledger_url)
    async with ledger.read() as connection:
        assert await connection.run_sync(differences) == []
        migrated = await connection.run_sync(names)
    await ledger.close()
    assert migrated == {str(constraint.name) for table in metadata.tables.values() for constraint in table.constraints}


async def test_every_polled_table_has_its_revision(ledger_url: str) -> None:
    ledger = await open_ledger(ledger_url)
    async with ledger.read() as connection:
        rows = (await connection.execute(sa.text("SELECT name, revision FROM revisions"))).all()
    await ledger.close()
    assert [tuple(row) for row in rows] == [("keys", 0)]


def test_the_steps_are_those_that_the_program_says_it_knows() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    script = ScriptDirectory.from_config(config)
    assert script.get_heads() == [migrations.HEAD]
    assert tuple(step.revision for step in script.walk_revisions())[::-1] == migrations.REVISIONS


async def test_a_step_that_fails_leaves_nothing_behind(ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade = migrations.upgrade

    def upgrade_and_fail(connection: sa.Connection) -> None:
        upgrade(connection)
        raise LedgerError("the power is gone")

    monkeypatch.setattr(migrations, "upgrade", upgrade_and_fail)
    for _ in range(2):
        with pytest.raises(LedgerError, match="the power is gone"):
            await open_ledger(ledger_url)
    monkeypatch.undo()
    await (await open_ledger(ledger_url)).close()


async def test_openings_at_once_in_one_process_migrate_once(ledger_url: str) -> None:
    ledgers = await asyncio.gather(*(open_ledger(ledger_url) for _ in range(4)))
    async with ledgers[0].read() as connection:
        stored = (await connection.execute(sa.text(f"SELECT version_num FROM {migrations.VERSION_TABLE}"))).all()
    for ledger in ledgers:
        await ledger.close()
    assert [tuple(row) for row in stored] == [(migrations.HEAD,)]


async def test_processes_that_start_at_once_migrate_once(ledger_url: str) -> None:
    script = (
        "import asyncio, sys\n"
        "import alembic.command\n"
        "from headgate.ledger.database import open_ledger\n"
        "async def main():\n"
        "    await (await open_ledger(sys.argv[1])).close()\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "asyncio.run(main())\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, ledger_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    ledger = await open_ledger(ledger_url)
    async with ledger.read() as connection:
        stored = (await connection.execute(sa.text(f"SELECT version_num FROM {migrations.VERSION_TABLE}"))).all()
    await ledger.close()
    assert [tuple(row) for row in stored] == [(migrations.HEAD,)]
