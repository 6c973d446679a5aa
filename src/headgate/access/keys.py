"""Client keys: which key a secret belongs to, and what that key may use.

A secret is 256 random bits, so one SHA-256 is enough to store it by: there is nothing to guess, and a slow hash would
cost every request. The digest finds the entry; it is then compared in constant time, so that the time taken says
nothing about the digests that are stored.

A stranger learns only that the key is not known. Whoever holds the secret of a revoked or expired key is told so.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from hashlib import sha256

from headgate.errors import Problem, Reason

#: Every secret begins so, which tells headgate's keys from a provider's.
PREFIX = "hg-"


@dataclass(frozen=True, slots=True)
class Key:
    """A client key, without its secret.

    models: globs over model names; empty allows all.
    rpm, tpm: requests and tokens per minute; None where there is no limit.
    """

    id: str
    name: str
    team: str | None = None
    models: tuple[str, ...] = ()
    rpm: int | None = None
    tpm: int | None = None
    created_at_s: int = 0
    expires_at_s: int | None = None
    revoked_at_s: int | None = None

    def may_use(self, *names: str) -> bool:
        """Whether one of the globs matches one of `names`: the model as the client wrote it, and `provider/model`.

        So a key for the profile `cheap` may use all that is in it, and a key for `local/*` may ask for any profile,
        of which it gets the local targets.
        """
        if not self.models:
            return True
        return any(fnmatchcase(name, glob) for glob in self.models for name in names)


def digest(secret: str) -> bytes:
    """What a secret is stored and found by."""
    return sha256(secret.encode("utf-8", "surrogateescape")).digest()


class KeyRing:
    """Every key by the digest of its secret, revoked and expired ones too. Never changes: a new state is a new ring."""

    __slots__ = ("_by_digest",)

    def __init__(self, entries: Iterable[tuple[bytes, Key]] = ()) -> None:
        self._by_digest = {stored: (stored, key) for stored, key in entries}

    def __len__(self) -> int:
        return len(self._by_digest)

    @property
    def ids(self) -> frozenset[str]:
        return frozenset(key.id for _, key in self._by_digest.values())

    def find(self, secret: str, now_wall_s: float) -> Key | Problem:
        """The key of this secret, or why there is none to use. In this order: unknown, revoked, expired."""
        asked = digest(secret)
        entry = self._by_digest.get(asked)
        if entry is None or not hmac.compare_digest(entry[0], asked):
            return UNKNOWN
        key = entry[1]
        if key.revoked_at_s is not None:
            return Problem(
                Reason.UNAUTHORIZED,
                f"This key ({key.id}) was revoked at {iso(key.revoked_at_s)}. Ask for a new one.",
            )
        if key.expires_at_s is not None and now_wall_s >= key.expires_at_s:
            return Problem(
                Reason.UNAUTHORIZED,
                f"This key ({key.id}) expired at {iso(key.expires_at_s)}. Ask for a new one.",
            )
        return key


UNKNOWN = Problem(
    Reason.UNAUTHORIZED,
    "This key is not known here. Send one that `headgate keys create NAME` made, as `Authorization: Bearer hg-…`.",
)
MISSING = Problem(
    Reason.UNAUTHORIZED,
    "This gateway asks for a key. Send one that `headgate keys create NAME` made, as `Authorization: Bearer hg-…` or "
    "`x-api-key: hg-…`.",
)


def credential(headers: Sequence[tuple[bytes, bytes]]) -> str | None:
    """What the client shows as its key, whatever it begins with; None where it shows nothing.

    `headers` have lower-case names, as ASGI hands them over. `Authorization: Bearer` counts; `x-api-key` is only asked
    where that is absent, is empty, or has another scheme. Of a header that comes twice, the first counts.
    """
    api_key = b""
    authorized = False
    for name, value in headers:
        if name == b"authorization" and not authorized:
            authorized = True
            scheme, _, token = value.partition(b" ")
            if scheme.lower() == b"bearer" and (token := token.strip()):
                return token.decode("latin-1")
        elif name == b"x-api-key" and not api_key:
            api_key = value.strip()
    return api_key.decode("latin-1") if api_key else None


def iso(at_s: float) -> str:
    """A time as people read it: ISO 8601, UTC, whole seconds."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
