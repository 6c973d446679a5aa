"""Identifiers: random, prefixed by what they name, safe in headers, logs and file names."""

from __future__ import annotations

import os

_REQUEST_BYTES = 12
_pool = b""
_taken = 0


def request_id() -> str:
    """A new request's id, `req_` and 24 hexadecimal digits (96 random bits).

    The bits are fetched from the system for many ids at once. Processes are started, never forked after the first id,
    so no two share what was fetched.
    """
    global _pool, _taken  # noqa: PLW0603 - one supply for the process
    if _taken == len(_pool):
        _pool, _taken = os.urandom(_REQUEST_BYTES * 256), 0
    _taken += _REQUEST_BYTES
    return "req_" + _pool[_taken - _REQUEST_BYTES : _taken].hex()


def key_id() -> str:
    """A new client key's public id, `key_` and 12 hexadecimal digits."""
    return "key_" + os.urandom(6).hex()


def key_secret() -> str:
    """A new client key: `hg-` and 43 characters of base64url (256 random bits)."""
    import base64

    return "hg-" + base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=").decode()
