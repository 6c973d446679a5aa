"""The metrics of CONTRACT that exist so far, for Prometheus.

With one worker they live in this process. With several, prometheus-client keeps each process' values in files of the
directory that PROMETHEUS_MULTIPROC_DIR names, and `/metrics` of any worker is the sum of all; the variable must be set
before this module is imported.
"""

from __future__ import annotations

import os
from bisect import bisect_left

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from headgate.relay.record import AttemptRecord, Outcome, RequestRecord

#: Seconds. 0.25 and 2.0 are promised to whoever computes service levels from them.
_LATENCY_BOUNDS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_OVERHEAD_BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0)

#: Clients can invent model names where a provider lists none; past this many targets a new one is counted as "other".
_MAX_TARGETS = 2000
_NO_TARGET = "none"


class _Tally:
    """A counter that is added to in plain Python, and told to Prometheus when somebody looks."""

    __slots__ = ("_counter", "_pending")

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._pending = 0

    def add(self, amount: int) -> None:
        self._pending += amount

    def fold(self) -> None:
        self._counter.inc(self._pending)
        self._pending = 0


class _Direct(_Tally):
    """With several workers: at once, since it may be another worker that is looked at."""

    __slots__ = ()

    def add(self, amount: int) -> None:
        self._counter.inc(amount)

    def fold(self) -> None:
        pass


class _Spread:
    """The same for a histogram. Prometheus' own takes one value at a time, so its buckets are added to here: they are
    private to it, and a test holds that what is folded reads as what was observed."""

    __slots__ = ("_bounds", "_counts", "_histogram", "_sum")

    def __init__(self, histogram: Histogram, bounds: tuple[float, ...]) -> None:
        self._histogram = histogram
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def fold(self) -> None:
        for bucket, count in zip(self._histogram._buckets, self._counts, strict=True):
            if count:
                bucket.inc(count)
        self._histogram._sum.inc(self._sum)
        self._counts = [0] * len(self._counts)
        self._sum = 0.0


class _OfTarget:
    """The series of one target, looked up once."""

    __slots__ = ("first_token", "input_tokens", "latency", "outcomes", "output_tokens")

    def __init__(self, metrics: Metrics, target: str) -> None:
        self.latency = metrics.spread(metrics.latency.labels(target), _LATENCY_BOUNDS)
        self.first_token = metrics.spread(metrics.first_token.labels(target), _LATENCY_BOUNDS)
        self.input_tokens = metrics.tally(metrics.tokens.labels(target, "input"))
        self.output_tokens = metrics.tally(metrics.tokens.labels(target, "output"))
        self.outcomes: dict[Outcome, _Tally] = {}


class Metrics:
    """One registry. `on_request` is called once for each request, when it is over."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.latency = Histogram(
            "ai_request_latency_seconds",
            "Seconds from a request's arrival to the end of its answer.",
            ["target"],
            buckets=_LATENCY_BOUNDS,
            registry=registry,
        )
        self.errors = Counter(
            "ai_request_errors", "Requests that did not get the answer they asked for.", ["target", "reason"],
            registry=registry,
        )  # fmt: skip
        self.attempts = Counter(
            "headgate_attempts", "Physical requests to a target, by how they ended.", ["target", "outcome"],
            registry=registry,
        )  # fmt: skip
        self.skipped = Counter(
            "headgate_skipped", "Targets that a request passed over, by why.", ["target", "reason"],
            registry=registry,
        )  # fmt: skip
        self.tokens = Counter(
            "headgate_tokens", "Tokens that upstreams reported.", ["target", "kind"], registry=registry
        )
        self.first_token = Histogram(
            "headgate_first_token_seconds",
            "Seconds from sending a streamed request upstream to its first content.",
            ["target"],
            buckets=_LATENCY_BOUNDS,
            registry=registry,
        )
        self.overhead = Histogram(
            "headgate_overhead_seconds",
            "Seconds that the gateway itself took of a request that is not streamed, up to the end of the answer.",
            buckets=_OVERHEAD_BOUNDS,
            registry=registry,
        )
        self.provider_health = Gauge(
            "headgate_provider_health",
            "Whether a provider that lists its models did so when it was last asked: 1 or 0.",
            ["provider"],
            registry=registry,
            multiprocess_mode="livemin",
        )
        self._targets: dict[str, _OfTarget] = {}
        self._pending: list[_Tally | _Spread] = []
        self._is_shared = "PROMETHEUS_MULTIPROC_DIR" in os.environ
        self._overhead = self.spread(self.overhead, _OVERHEAD_BOUNDS)

    def on_request(self, record: RequestRecord) -> None:
        for attempt in record.attempts:
            self._on_attempt(attempt)
        for skip in record.skipped:
            self.skipped.labels(self._label(skip.target.name), skip.problem.reason.value).inc()
        last = record.attempts[-1] if record.attempts else None
        name = last.target.name if last is not None else _NO_TARGET
        series = self._of(name)
        series.latency.observe(record.total_s)
        if last is None or not record.stream:
            self._overhead.observe(max(0.0, record.total_s - record.waited_s))
        if record.outcome is not Outcome.COMPLETED:
            reason = record.problem.reason.value if record.problem is not None else record.outcome.value
            self.errors.labels(self._label(name), reason).inc()

    def _on_attempt(self, attempt: AttemptRecord) -> None:
        name = attempt.target.name
        series = self._of(name)
        counter = series.outcomes.get(attempt.outcome)
        if counter is None:
            counter = self.tally(self.attempts.labels(self._label(name), attempt.outcome.value))
            series.outcomes[attempt.outcome] = counter
        counter.add(1)
        if attempt.first_token_s is not None:
            series.first_token.observe(attempt.first_token_s)
        usage = attempt.usage
        if usage is not None:
            series.input_tokens.add(usage.input_tokens or 0)
            series.output_tokens.add(usage.output_tokens or 0)

    def _label(self, target: str) -> str:
        """The target's name, or what stands for all beyond the limit."""
        self._of(target)
        return target if target in self._targets else "other"

    def _of(self, target: str) -> _OfTarget:
        series = self._targets.get(target)
        if series is None:
            if len(self._targets) >= _MAX_TARGETS:
                target = "other"
                if target in self._targets:
                    return self._targets[target]
            series = self._targets[target] = _OfTarget(self, target)
        return series

    def tally(self, counter: Counter) -> _Tally:
        made = _Direct(counter) if self._is_shared else _Tally(counter)
        self._pending.append(made)
        return made

    def spread(self, histogram: Histogram, bounds: tuple[float, ...]) -> _Spread | Histogram:
        if self._is_shared:
            return histogram
        made = _Spread(histogram, bounds)
        self._pending.append(made)
        return made

    def page(self) -> tuple[bytes, str]:
        """The page for Prometheus, and its content type."""
        for pending in self._pending:
            pending.fold()
        registry = self._registry
        if self._is_shared:
            from prometheus_client.multiprocess import MultiProcessCollector

            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry), CONTENT_TYPE_LATEST
