"""The guard of a gateway that asks for no key (`auth: open`).

It listens on loopback only, so other machines cannot reach it; but a web page that its user opens can make the user's
own browser send requests to it, and must not be able to spend. What a browser says about a request that a page made,
the page cannot forge. A request passes when all four hold, in this order of precedence:

1. `Host` is there once, and names this machine. Otherwise the page may have come from a name that its owner pointed at
   127.0.0.1 after it was loaded; such a request looks like the page's own origin to the browser.
2. `Origin`, where there is one, is a page from this machine. `null` is not: a sandboxed frame of any site sends it.
3. `Sec-Fetch-Site`, where there is one, is `same-origin` or `none` (the user typed the address); or `same-site`, and
   the `Origin` is there: then it is a page from another port of the same local name.
4. A request with a body says `application/json`, once. The types that a page may send to another site without asking
   first (`text/plain`, forms) are none of it; for JSON the browser asks first, and headgate does not say yes.

Only the usual spelling of an address passes: `localhost`, `*.localhost`, `127.x.y.z`, `[::1]`. Browsers and clients
send these; each other spelling of the same address (`127.1`, `localhost.`, `[::ffff:127.0.0.1]`) would be one more
way for a parser to be wrong.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from headgate.errors import Problem, Reason

_OCTET = rb"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_NAME = rb"(?:(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)*localhost|127(?:\." + _OCTET + rb"){3}|\[::1\])"
_PORT = rb"(?::[0-9]{1,5})?"
_HOST = re.compile(_NAME + _PORT)
_ORIGIN = re.compile(rb"https?://" + _NAME + _PORT)

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})

_INSTEAD = (
    "With `auth: open`, headgate answers only to programs and pages on its own machine. To let others in, set "
    "`auth: keys` in headgate.yaml, make a key with `headgate keys create NAME`, and send it as `Authorization: Bearer "
    "hg-…`."
)


def refuse(method: str, headers: Sequence[tuple[bytes, bytes]]) -> Problem | None:
    """Why a request must not be served in open mode; None where it may. `headers` have lower-case names (ASGI)."""
    hosts: list[bytes] = []
    origins: list[bytes] = []
    sites: list[bytes] = []
    types: list[bytes] = []
    for name, value in headers:
        if name == b"host":
            hosts.append(value)
        elif name == b"content-type":
            types.append(value)
        elif name == b"origin":
            origins.append(value)
        elif name == b"sec-fetch-site":
            sites.append(value)

    # 1
    if len(hosts) != 1:
        return _forbidden("The request has no Host header" if not hosts else "The request has several Host headers")
    if not _HOST.fullmatch(hosts[0].lower()):
        return _forbidden(f"The request was sent to {_shown(hosts[0])}, which is no name of this machine")
    # 2
    for origin in origins:
        if not _ORIGIN.fullmatch(origin.lower()):
            return _forbidden(f"The request was made by a web page of another site (Origin: {_shown(origin)})")
    # 3
    for site in sites:
        if site not in (b"same-origin", b"none") and not (site == b"same-site" and origins):
            return _forbidden(f"The request was made by a web page of another site (Sec-Fetch-Site: {_shown(site)})")
    # 4
    if method in _WITH_BODY and not (len(types) == 1 and _is_json(types[0])):
        said = ", ".join(map(_shown, types)) if types else "none"
        return Problem(
            Reason.UNSUPPORTED_MEDIA_TYPE,
            f"Send the body as JSON, with `Content-Type: application/json` (it was {said}).",
        )
    return None


def _is_json(content_type: bytes) -> bool:
    return content_type.partition(b";")[0].strip(b" \t").lower() == b"application/json"


def _forbidden(why: str) -> Problem:
    return Problem(Reason.FORBIDDEN, f"{why}. {_INSTEAD}")


def _shown(value: bytes) -> str:
    """A header's value as it can be shown: short, and nothing in it that is not printable ASCII."""
    text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "?" for byte in value[:100])
    return f"{text}…" if len(value) > 100 else text or "empty"
