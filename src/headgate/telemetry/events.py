"""The table: what each event becomes. A request is a line and counts; a rare event is a line with its fields."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

from headgate.access.service import KeysUnreadable
from headgate.engines.events import EngineExited
from headgate.relay.listing import ProviderListed, ProviderSilent
from headgate.relay.record import Defect, Outcome, RequestFinished, RequestRecord
from headgate.telemetry.logs import Lines, Log
from headgate.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class ConfigReloaded:
    """A changed configuration has come into force. needs_restart: the sections that wait for a restart."""

    path: str
    providers: int
    needs_restart: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WorkerEnded:
    """A worker has ended that was not asked to. status: negative for a signal."""

    pid: int
    status: int
    restart_in_s: float


@dataclass(frozen=True, slots=True)
class Stopping:
    """A signal has come. requests: still under way, for up to `grace_s`; a second signal ends them at once."""

    requests: int
    grace_s: float


@dataclass(frozen=True, slots=True)
class ConfigRefused:
    """A changed configuration cannot be used; the old one stays in force."""

    path: str
    findings: tuple[str, ...]


_CAPITAL = re.compile("[A-Z]")

#: The level of each rare event that is not just news.
_LEVELS: dict[type, str] = {
    ConfigRefused: "error",
    WorkerEnded: "error",
    ProviderSilent: "warning",
    KeysUnreadable: "error",
    EngineExited: "warning",
}

#: Endings that are nobody's mistake.
_QUIET = (Outcome.COMPLETED, Outcome.CLIENT_GONE, Outcome.REFUSED)


class Telemetry:
    """`emit` is handed to every feature. It never raises and never waits."""

    def __init__(self, log: Log, lines: Lines, metrics: Metrics) -> None:
        self._log = log
        self._lines = lines
        self.metrics = metrics
        self._table: dict[type, Callable[[Any], None]] = {
            RequestFinished: self._request,
            Defect: self._defect,
            ProviderListed: self._health,
            ProviderSilent: self._health,
        }

    def emit(self, event: object) -> None:
        handler = self._table.get(type(event))
        try:
            if handler is not None:
                handler(event)
            else:
                self._rare(event)
        except Exception as error:
            self._log.error("an event could not be told", event_type=type(event).__name__, exc_info=error)

    def _request(self, event: RequestFinished) -> None:
        record = event.record
        self.metrics.on_request(record)
        self._lines.write("info" if record.outcome in _QUIET else "warning", "request", request_fields(record))

    def _defect(self, event: Defect) -> None:
        self._log.error("headgate failed", request_id=event.request_id, exc_info=event.error)

    def _health(self, event: ProviderListed | ProviderSilent) -> None:
        self.metrics.provider_health.labels(event.provider).set(isinstance(event, ProviderListed))
        self._rare(event)

    def _rare(self, event: object) -> None:
        """Every other event is its name in words, and its fields."""
        assert is_dataclass(event) and not isinstance(event, type)
        level = _LEVELS.get(type(event), "info")
        if isinstance(event, ConfigReloaded) and event.needs_restart:
            level = "warning"
        words = _CAPITAL.sub(lambda m: f" {m[0].lower()}", type(event).__name__).strip()
        getattr(self._log, level)(
            words, **{name: _plain(value) for name, value in asdict(event).items() if value != ()}
        )


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    return list(value) if isinstance(value, tuple) else value


def request_fields(record: RequestRecord) -> dict[str, Any]:
    """One line for one request. Names keep their unit; what is unknown is left out."""
    fields: dict[str, Any] = {
        "request_id": record.id,
        "dialect": record.dialect,
        "model": record.model,
        "status": record.status,
        "outcome": record.outcome,
        "attempts": len(record.attempts),
        "total_ms": round(record.total_s * 1000, 2),
        "overhead_ms": round(max(0.0, record.total_s - record.waited_s) * 1000, 2),
    }
    if record.key_name is not None:
        fields["key"] = record.key_name
        if record.team is not None:
            fields["team"] = record.team
    if record.stream:
        fields["stream"] = True
        del fields["overhead_ms"]
    attempt = record.attempts[-1] if record.attempts else None
    if attempt is not None:
        fields["target"] = attempt.target.name
        if attempt.first_token_s is not None:
            fields["first_token_ms"] = round(attempt.first_token_s * 1000, 2)
        usage = attempt.usage
        if usage is not None:
            fields["input_tokens"] = usage.input_tokens
            fields["output_tokens"] = usage.output_tokens
            if usage.cached_input_tokens:
                fields["cached_input_tokens"] = usage.cached_input_tokens
        if attempt.translated_to is not None:
            fields["translated_to"] = attempt.translated_to
        if attempt.dropped:
            fields["dropped"] = attempt.dropped
        if attempt.upstream_request_id is not None:
            fields["upstream_request_id"] = attempt.upstream_request_id
    if record.skipped:
        fields["skipped"] = [
            {"target": skip.target.name, "reason": skip.problem.reason, "field": skip.problem.param}
            for skip in record.skipped
        ]
    if record.problem is not None:
        fields["reason"] = record.problem.reason.value
        fields["error"] = record.problem.message[:500]
        fields["error_source"] = record.problem.source
    return fields
