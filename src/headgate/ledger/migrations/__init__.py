"""The ledger's schema, step by step, forward only.

A step is a file in `versions/`, named for its revision: four digits that count up. A new one is written together with
the change to `tables.py`, and its revision is appended to `REVISIONS`, which says what this program knows without
importing Alembic: a ledger that is up to date is opened without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: Every revision that this program can read, oldest first.
REVISIONS = ("0001",)
HEAD = REVISIONS[-1]

#: Alembic's table, under a name of our own: a PostgreSQL database may hold another program's tables too.
VERSION_TABLE = "headgate_revision"


def upgrade(connection: Connection) -> None:
    """Bring the schema to `HEAD` inside the transaction that `connection` is in. The caller holds the lock."""
    from pathlib import Path

    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    # The configuration interpolates percent signs, which a path may have.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    command.upgrade(config, "head")
