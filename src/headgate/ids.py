"""Identifiers: random, prefixed by what they name, safe in headers, logs and file names."""

from __future__ import annotations

import os


def request_id() -> str:
    """A new request's id, `req_` and 24 hexadecimal digits (96 random bits)."""
    return "req_" + os.urandom(12).hex()


def key_id() -> str:
    """A new client key's public id, `key_` and 12 hexadecimal digits."""
    return "key_" + os.urandom(6).hex()


def key_secret() -> str:
    """A new client key: `hg-` and 43 characters of base64url (256 random bits)."""
    import base64

    return "hg-" + base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=").decode()
