"""Client keys in the ledger. Every change raises the revision of the table `keys` in its own transaction."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from headgate.access.keys import Key, digest
from headgate.ledger.database import Ledger
from headgate.ledger.tables import keys, revisions

_REVISION = sa.select(revisions.c.revision).where(revisions.c.name == keys.name)
_BUMP = revisions.update().where(revisions.c.name == keys.name).values(revision=revisions.c.revision + 1)


class KeyStore:
    """All methods raise LedgerError where the database does not answer."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def revision(self) -> tuple[int, int]:
        """Another one after every change of a key, and where the ledger became another one."""
        async with self._ledger.read() as connection:
            return self._ledger.generation, await _revision(connection)

    async def load(self) -> tuple[tuple[int, int], list[tuple[bytes, Key]]]:
        """The revision, and every key with the digest of its secret."""
        async with self._ledger.read() as connection:
            # The revision first: what changes between the two reads is then read again, not missed.
            revision = self._ledger.generation, await _revision(connection)
            rows = (await connection.execute(sa.select(keys))).all()
        return revision, [(bytes.fromhex(row.secret_sha256), _key(row)) for row in rows]

    async def all(self) -> list[Key]:
        """Every key, oldest first."""
        async with self._ledger.read() as connection:
            rows = (await connection.execute(sa.select(keys).order_by(keys.c.created_at_s, keys.c.id))).all()
        return [_key(row) for row in rows]

    async def create(self, key: Key, secret: str) -> None:
        """Store a new key with the hash of its secret; the secret itself goes nowhere."""
        async with self._ledger.write() as connection:
            await connection.execute(
                keys.insert().values(
                    id=key.id,
                    name=key.name,
                    team=key.team,
                    secret_sha256=digest(secret).hex(),
                    models=list(key.models),
                    rpm=key.rpm,
                    tpm=key.tpm,
                    created_at_s=key.created_at_s,
                    expires_at_s=key.expires_at_s,
                    revoked_at_s=key.revoked_at_s,
                )
            )
            await connection.execute(_BUMP)

    async def revoke(self, key_id: str, now_s: int) -> tuple[Key, bool] | None:
        """Revoke a key: it, and whether it was this call that did it. None where no key has this id."""
        async with self._ledger.write() as connection:
            done = await connection.execute(
                keys.update().where(keys.c.id == key_id, keys.c.revoked_at_s.is_(None)).values(revoked_at_s=now_s)
            )
            if done.rowcount:
                await connection.execute(_BUMP)
            row = (await connection.execute(sa.select(keys).where(keys.c.id == key_id))).one_or_none()
        return None if row is None else (_key(row), bool(done.rowcount))


async def _revision(connection: AsyncConnection) -> int:
    return int((await connection.execute(_REVISION)).scalar_one())


def _key(row: sa.Row[tuple[object, ...]]) -> Key:
    return Key(
        id=row.id,
        name=row.name,
        team=row.team,
        models=tuple(row.models),
        rpm=row.rpm,
        tpm=row.tpm,
        created_at_s=row.created_at_s,
        expires_at_s=row.expires_at_s,
        revoked_at_s=row.revoked_at_s,
    )
