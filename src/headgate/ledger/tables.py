"""The tables of the ledger, as the newest migration leaves them; a test holds the two together.

Times are whole seconds since 1970 (UTC), and say so in their names. A table that processes keep a copy of has a row in
`revisions`: whoever changes the table raises that number in the same transaction, so a poller reads one integer to
learn whether its copy is still good.
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData(
    # Constraints have the same names on both databases, so that a later migration can name what it changes.
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: Client keys. `secret_sha256` is in hexadecimal digits; `models` is a list of globs, and an empty one allows all.
keys = sa.Table(
    "keys",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("team", sa.String(200)),
    sa.Column("secret_sha256", sa.String(64), nullable=False, unique=True),
    sa.Column("models", sa.JSON, nullable=False),
    sa.Column("rpm", sa.BigInteger),
    sa.Column("tpm", sa.BigInteger),
    sa.Column("created_at_s", sa.BigInteger, nullable=False),
    sa.Column("expires_at_s", sa.BigInteger),
    sa.Column("revoked_at_s", sa.BigInteger),
)

#: One row for each table that is polled; `name` is that table's.
revisions = sa.Table(
    "revisions",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("revision", sa.BigInteger, nullable=False),
)
