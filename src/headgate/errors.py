"""What can go wrong, sorted by whose fault it is.

Two kinds of thing live here.

A `Problem` is a value: an answer that says no. The wire package writes it in the client's dialect, so every error
body tells its reason, and in `source` who made it: headgate, or the provider named there.

Exceptions are for faults, and branch by whose fault they are:

    HeadgateError
    ├── OperatorFault         the configuration or the machine must change
    │   ├── ConfigError       headgate.yaml, or the environment, is wrong; holds every finding
    │   └── LedgerError       the ledger cannot be opened, or is not one this version can use
    └── UpstreamFault         a provider did not do what HTTP or its dialect promises
        ├── ConnectFailed     nothing was sent: name, connection, TLS or proxy
        ├── UpstreamTimeout   one of the timeouts ran out; `phase` says which
        ├── UpstreamBroken    the connection or the framing broke after something was sent
        └── InvalidAnswer     whole by HTTP's rules, but not an answer in the dialect
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

HEADGATE = "headgate"


class Reason(StrEnum):
    """Why a request was not answered with what it asked for. Each has the status it is sent with in `STATUS`."""

    BAD_REQUEST = "bad_request"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    MODEL_NOT_FOUND = "model_not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    REQUEST_TIMEOUT = "request_timeout"
    TOO_LARGE = "too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    DIALECT_NOT_SPOKEN = "dialect_not_spoken"
    NOT_TRANSLATABLE = "not_translatable"
    RATE_LIMITED = "rate_limited"
    INTERNAL = "internal"
    UPSTREAM_ERROR = "upstream_error"
    UPSTREAM_INVALID = "upstream_invalid"
    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    UPSTREAM_CREDENTIALS = "upstream_credentials"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    STREAM_BROKEN = "stream_broken"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    LEDGER_UNREACHABLE = "ledger_unreachable"
    SHUTTING_DOWN = "shutting_down"


STATUS: dict[Reason, int] = {
    Reason.BAD_REQUEST: 400,
    Reason.UNAUTHORIZED: 401,
    Reason.FORBIDDEN: 403,
    Reason.NOT_FOUND: 404,
    Reason.MODEL_NOT_FOUND: 404,
    Reason.METHOD_NOT_ALLOWED: 405,
    Reason.REQUEST_TIMEOUT: 408,
    Reason.TOO_LARGE: 413,
    Reason.UNSUPPORTED_MEDIA_TYPE: 415,
    Reason.DIALECT_NOT_SPOKEN: 400,
    Reason.NOT_TRANSLATABLE: 400,
    Reason.RATE_LIMITED: 429,
    Reason.INTERNAL: 500,
    Reason.UPSTREAM_ERROR: 502,
    Reason.UPSTREAM_INVALID: 502,
    Reason.UPSTREAM_UNREACHABLE: 502,
    Reason.UPSTREAM_CREDENTIALS: 502,
    Reason.UPSTREAM_TIMEOUT: 504,
    Reason.STREAM_BROKEN: 502,
    Reason.TOO_MANY_CONNECTIONS: 503,
    Reason.LEDGER_UNREACHABLE: 503,
    Reason.SHUTTING_DOWN: 503,
}


@dataclass(frozen=True, slots=True)
class Problem:
    """An answer that says no.

    status: HTTP status it is sent with, when nothing was sent before it.
    param: the field of the request that is meant, in the dialect's own words.
    source: `headgate`, or the name of the provider that said no.
    type, code: a provider's own words for it, kept where it is passed on in the same dialect.
    retry_after_s: seconds after which trying again makes sense; None where it is not known.
    """

    reason: Reason
    message: str
    status: int = 0
    param: str | None = None
    source: str = HEADGATE
    type: str | None = None
    code: str | None = None
    retry_after_s: float | None = None

    def __post_init__(self) -> None:
        if not self.status:
            object.__setattr__(self, "status", STATUS[self.reason])


class HeadgateError(Exception):
    """The root: everything that headgate itself raises."""


class OperatorFault(HeadgateError):
    """Only a change of configuration or of the machine helps."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault in a configuration: where it is, what is wrong, what to do."""

    path: str
    problem: str
    fix: str


class ConfigError(OperatorFault):
    """The configuration cannot be used. Holds every finding, not only the first."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("\n".join(f"{f.path}: {f.problem}. {f.fix}" for f in findings))


class LedgerError(OperatorFault):
    """The ledger's database cannot be opened, or was written by a newer headgate."""


class UpstreamFault(HeadgateError):
    """A provider did not do what HTTP or its dialect promises. `sent` says whether any byte of the request left."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class ConnectFailed(UpstreamFault):
    """The name, the connection, TLS or the proxy failed; nothing of the request was sent."""

    def __init__(self, message: str) -> None:
        super().__init__(message, sent=False)


Phase = Literal["connect", "first_token", "response", "idle", "total"]


class UpstreamTimeout(UpstreamFault):
    """A timeout of the target ran out."""

    def __init__(self, phase: Phase, after_s: float, *, sent: bool) -> None:
        super().__init__(f"no {_WAITED_FOR[phase]} within {after_s:g} s (timeouts.{phase}_s)", sent=sent)
        self.phase = phase


_WAITED_FOR: dict[Phase, str] = {
    "connect": "connection",
    "first_token": "first token",
    "response": "whole response",
    "idle": "further event of the stream",
    "total": "end of the request",
}


class UpstreamBroken(UpstreamFault):
    """The connection closed early, or what came was not HTTP, or broke a limit of size."""

    def __init__(self, message: str) -> None:
        super().__init__(message, sent=True)


class InvalidAnswer(UpstreamFault):
    """A 200 that is not an answer in the dialect that was asked for."""

    def __init__(self, message: str) -> None:
        super().__init__(message, sent=True)
