"""What is known of a request when it is over: the facts that logs, metrics and, later, the ledger are written from.

A request has one record, and one for each attempt in it. They are filled while the request runs and read once, by the
event that the one terminal function emits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from headgate.errors import Problem
from headgate.routing.target import Target
from headgate.wire.dialect import Dialect
from headgate.wire.usage import Usage


class Outcome(StrEnum):
    """How an attempt, or a request, ended."""

    COMPLETED = "completed"
    REFUSED = "refused"  # by headgate, before anything was sent
    UNREACHABLE = "unreachable"  # nothing was sent
    UPSTREAM_ERROR = "upstream_error"  # the upstream said that it failed
    UPSTREAM_INVALID = "upstream_invalid"  # what it said is no answer
    TIMEOUT = "timeout"
    BROKEN = "broken"  # the answer ended before its end
    CLIENT_GONE = "client_gone"
    SHUTDOWN = "shutdown"  # the grace period was over
    INTERNAL = "internal"  # a defect of headgate


@dataclass(slots=True)
class AttemptRecord:
    """One physical request. Times are seconds on the monotonic clock.

    sent: whether any byte of it left; what was not sent cannot cost.
    status: the upstream's HTTP status; None where it gave none.
    first_token_s: from sending to the first content; None where none came, and for answers that are not streamed.
    delivered_bytes: bytes of the answer that were passed on to the client.
    usage: as the upstream told it; None where it did not.
    sequence_number: of the last event, in the dialect that numbers them.
    passed_headers: those of the upstream's headers that the client is shown.
    translated_to: the dialect it was asked in, where that is another than the client's. dropped: the client's fields
    that were left out.
    """

    number: int
    target: Target
    started_s: float
    outcome: Outcome = Outcome.INTERNAL
    sent: bool = False
    status: int | None = None
    problem: Problem | None = None
    usage: Usage | None = None
    first_token_s: float | None = None
    total_s: float = 0.0
    delivered_bytes: int = 0
    upstream_request_id: str | None = None
    sequence_number: int = -1
    passed_headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    translated_to: Dialect | None = None
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Skip:
    """A candidate that was passed over, and why."""

    target: Target
    problem: Problem


@dataclass(slots=True)
class RequestRecord:
    """One client request. `status` is what was sent to the client; None where nothing was."""

    id: str
    dialect: Dialect
    path: str
    started_s: float
    started_wall_s: float
    key_id: str | None = None
    key_name: str | None = None
    team: str | None = None
    model: str | None = None
    stream: bool = False
    attempts: list[AttemptRecord] = field(default_factory=list)
    skipped: list[Skip] = field(default_factory=list)
    outcome: Outcome = Outcome.INTERNAL
    status: int | None = None
    problem: Problem | None = None
    waited_s: float = 0.0
    total_s: float = 0.0

    @property
    def target(self) -> Target | None:
        """The target of the last attempt."""
        return self.attempts[-1].target if self.attempts else None

    @property
    def usage(self) -> Usage | None:
        return self.attempts[-1].usage if self.attempts else None


@dataclass(frozen=True, slots=True)
class RequestFinished:
    """Emitted exactly once for each request, whatever its ending."""

    record: RequestRecord


@dataclass(frozen=True, slots=True)
class Defect:
    """Emitted where headgate itself failed: an exception that nothing was prepared for."""

    request_id: str | None
    error: BaseException
