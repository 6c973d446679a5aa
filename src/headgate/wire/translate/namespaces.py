"""Tools in namespaces, which responses has and chat has not: there a function is called by both names joined.

The joined name is made from the request alone, so the way back looks it up in the tools that were offered and needs no
state. A name may have 64 characters; a longer one ends in a digest of itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

_LONGEST = 64


class Named(NamedTuple):
    namespace: str
    name: str


def joined(namespace: str, name: str) -> str:
    whole = f"{namespace}__{name}"
    if len(whole) <= _LONGEST:
        return whole
    digest = blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
    return f"{whole[: _LONGEST - len(digest) - 1]}_{digest}"


def offered(tools: Any) -> Mapping[str, Named]:
    """The functions in namespaces of a request's checked `tools`, by their joined names."""
    return {
        joined(tool["name"], function["name"]): Named(tool["name"], function["name"])
        for tool in tools or ()
        if tool["type"] == "namespace"
        for function in tool.get("tools") or ()
    }
