"""What is counted quickly reads as what Prometheus' own client would have counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from headgate.errors import Problem, Reason
from headgate.relay.record import AttemptRecord, Outcome, RequestRecord, Skip
from headgate.routing.target import Provider, Target
from headgate.telemetry.metrics import _LATENCY_BOUNDS, Metrics, _Spread
from headgate.wire.dialect import Dialect
from headgate.wire.usage import Usage


def histogram() -> tuple[Histogram, CollectorRegistry]:
    registry = CollectorRegistry()
    return Histogram("x", "y", buckets=_LATENCY_BOUNDS, registry=registry), registry


def shown(registry: CollectorRegistry) -> list[str]:
    lines = generate_latest(registry).decode().splitlines()
    return [line for line in lines if not line.startswith("#") and "_created" not in line and "_sum" not in line]


@given(st.lists(st.one_of(st.sampled_from(_LATENCY_BOUNDS), st.floats(0, 1000)), max_size=30))
def test_what_is_folded_reads_as_what_was_observed(values: list[float]) -> None:
    (ours, ours_in), (theirs, theirs_in) = histogram(), histogram()
    spread = _Spread(ours, _LATENCY_BOUNDS)
    for value in values:
        spread.observe(value)
        theirs.observe(value)
        if value > 1:
            spread.fold()
    spread.fold()
    spread.fold()
    assert shown(ours_in) == shown(theirs_in)


def record(model: str = "m") -> RequestRecord:
    target = Target(Provider("p", "openai", "http://x/v1", frozenset(Dialect)), model)
    attempt = AttemptRecord(1, target, 0.0, Outcome.COMPLETED, True, 200, usage=Usage(7, 5))
    made = RequestRecord("req_1", Dialect.CHAT, "/v1/chat/completions", 0.0, 0.0, total_s=0.1, waited_s=0.09)
    made.attempts.append(attempt)
    made.outcome = Outcome.COMPLETED
    return made


def test_a_page_counts_each_request_once_however_often_it_is_read() -> None:
    metrics = Metrics()
    for _ in range(3):
        metrics.on_request(record())
    for _ in range(2):
        page = metrics.page()[0].decode()
        assert 'headgate_attempts_total{outcome="completed",target="p/m"} 3.0' in page
        assert 'headgate_tokens_total{kind="input",target="p/m"} 21.0' in page
        assert 'ai_request_latency_seconds_bucket{le="0.25",target="p/m"} 3.0' in page
        assert "headgate_overhead_seconds_count 3.0" in page


def test_what_was_passed_over_is_counted_by_why() -> None:
    metrics = Metrics()
    made = record()
    other = Target(made.attempts[0].target.provider, "other-model")
    made.skipped.append(Skip(other, Problem(Reason.NOT_TRANSLATABLE, "why", param="n")))
    metrics.on_request(made)
    assert 'headgate_skipped_total{reason="not_translatable",target="p/other-model"} 1.0' in metrics.page()[0].decode()


def test_invented_model_names_do_not_grow_the_page_without_end() -> None:
    metrics = Metrics()
    for number in range(2500):
        metrics.on_request(record(f"m{number}"))
    page = metrics.page()[0].decode()
    assert page.count("headgate_attempts_total{") <= 2002
    assert 'headgate_attempts_total{outcome="completed",target="other"}' in page
