"""Which headers cross the gateway, each way. What is not named here stays on its own side.

A client's credentials never go upstream, and a provider's key, cookies and account names never go to a client.
"""

from __future__ import annotations

import re

from headgate.routing.target import Provider
from headgate.wire.dialect import Dialect

Headers = list[tuple[bytes, bytes]]

#: From the client to the upstream: what changes the answer, and what says whose program or trace it is.
_TO_UPSTREAM = frozenset(
    {
        b"anthropic-version",
        b"anthropic-beta",
        b"openai-beta",
        b"http-referer",
        b"x-title",
        b"user-agent",
        b"traceparent",
        b"tracestate",
    }
)
_OF_A_VENDOR = frozenset({b"anthropic-version", b"anthropic-beta", b"openai-beta"})
#: From the upstream to the client: identifiers for its support, and its advice on pace.
_TO_CLIENT = frozenset({b"request-id", b"x-request-id", b"retry-after", b"retry-after-ms", b"openai-processing-ms"})
_REQUEST_IDS = (b"x-request-id", b"request-id")
_TO_CLIENT_PREFIXES = (b"x-ratelimit-", b"anthropic-ratelimit-")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

#: Advice to wait for longer than a month is a mistake.
_LONGEST_ADVICE_S = 31 * 86_400.0

#: The version of the vendor's interface, where the client names none.
ANTHROPIC_VERSION = b"2023-06-01"


def fixed(provider: Provider) -> Headers:
    """What every request to this provider carries."""
    headers = [(b"content-type", b"application/json")]
    if provider.api_key:
        key = provider.api_key.encode("latin-1")
        headers.append((b"x-api-key", key) if provider.kind == "anthropic" else (b"authorization", b"Bearer " + key))
    return headers


def to_upstream(client: Headers, dialect: Dialect, body_size: int, *, translated: bool) -> bytes:
    """The rest of a request's head, up to the empty line. dialect: the upstream's. translated: the client's is another
    one, so that what it says of its own vendor's interface stays here."""
    lines = [b"content-length: %d" % body_size]
    versioned = False
    for name, value in client:
        if name in _TO_UPSTREAM and not (translated and name in _OF_A_VENDOR):
            lines.append(name + b": " + value)
            versioned = versioned or name == b"anthropic-version"
    if dialect.is_anthropic and not versioned:
        lines.append(b"anthropic-version: " + ANTHROPIC_VERSION)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def to_client(upstream: Headers, provider: Provider) -> Headers:
    """The upstream's headers that are passed on; one that quotes the provider's key is not."""
    passed = [h for h in upstream if h[0] in _TO_CLIENT or h[0].startswith(_TO_CLIENT_PREFIXES)]
    if not passed:
        return passed
    key = provider.api_key.encode("latin-1") if provider.api_key else None
    return [(n, v) for n, v in passed if not _CONTROL.search(v) and (key is None or key not in v)]


def upstream_request_id(passed: Headers) -> str | None:
    """The upstream's own id for the request, among the headers that are passed on."""
    for name, value in passed:
        if name in _REQUEST_IDS:
            return value[:200].decode("latin-1")
    return None


def value_of(headers: Headers, name: bytes) -> bytes | None:
    return next((value for key, value in headers if key == name), None)


def retry_after_s(headers: Headers, now_wall_s: float) -> float | None:
    """The upstream's advice in seconds, from `retry-after-ms` or `retry-after` (seconds or a date); None without."""
    milliseconds = value_of(headers, b"retry-after-ms")
    seconds = value_of(headers, b"retry-after")
    for value, unit in ((milliseconds, 0.001), (seconds, 1.0)):
        try:
            given = float(value) * unit if value is not None else -1.0
        except ValueError:
            continue
        if 0 <= given < _LONGEST_ADVICE_S:
            return given
    if seconds is not None:
        from email.utils import parsedate_to_datetime

        try:
            given = parsedate_to_datetime(seconds.decode("latin-1")).timestamp() - now_wall_s
        except (ValueError, TypeError, OverflowError):
            return None
        return min(max(0.0, given), _LONGEST_ADVICE_S)
    return None
