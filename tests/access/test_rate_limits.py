"""Requests and tokens per minute, against a plain log of what was admitted."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.access.keys import Key
from headgate.access.limits import SIZE, Limits, admit, idle, settle
from headgate.errors import Problem, Reason


@dataclass
class Log:
    """The reference: every charge with its second; what is more than 60 whole seconds ago counts no more."""

    rpm: int | None
    tpm: int | None
    charges: list[list[int]] = field(default_factory=list)  # second, requests, tokens

    def used(self, now: float) -> tuple[int, int]:
        inside = [charge for charge in self.charges if int(now) - charge[0] <= 60]
        return sum(charge[1] for charge in inside), sum(charge[2] for charge in inside)

    def has_room(self, tokens: int, now: float) -> bool:
        requests, used = self.used(now)
        return (self.rpm is None or requests + 1 <= self.rpm) and (self.tpm is None or used + tokens <= self.tpm)

    def admit(self, tokens: int, now: float) -> bool:
        room = self.has_room(tokens, now)
        if room:
            self.charges.append([int(now), 1, tokens])
        return room


steps = st.one_of(
    st.sampled_from([0.0, 0.25, 1.0, 59.0, 59.75, 60.0, 60.25, 61.0, 3600.0]),
    st.floats(0, 5, allow_nan=False),
    st.floats(0, 200, allow_nan=False),
)
limits = st.one_of(st.none(), st.integers(1, 5))
token_limits = st.one_of(st.none(), st.integers(1, 300))
arrivals = st.lists(st.tuples(steps, st.integers(0, 120)), max_size=60)


@given(st.floats(0, 10_000), limits, token_limits, arrivals)
def test_it_decides_as_the_log_does(
    start: float, rpm: int | None, tpm: int | None, arriving: list[tuple[float, int]]
) -> None:
    row, log, now = [0] * SIZE, Log(rpm, tpm), start
    for step, tokens in arriving:
        now += step
        refused = admit(row, 0, rpm, tpm, tokens, now)
        assert (refused is None) == log.admit(tokens, now)


@given(st.floats(0, 10_000), st.integers(1, 5), arrivals)
def test_no_sixty_seconds_hold_more_requests_than_the_limit(
    start: float, rpm: int, arriving: list[tuple[float, int]]
) -> None:
    row, now = [0] * SIZE, start
    admitted: list[float] = []
    for step, tokens in arriving:
        now += step
        if admit(row, 0, rpm, None, tokens, now) is None:
            admitted.append(now)
    for first, one_too_many in zip(admitted, admitted[rpm:], strict=False):
        assert one_too_many - first >= 60.0


@given(st.integers(0, 10_000).map(float), limits, token_limits, arrivals)
def test_the_time_to_wait_is_exact_to_the_second(
    start: float, rpm: int | None, tpm: int | None, arriving: list[tuple[float, int]]
) -> None:
    row, log, now = [0] * SIZE, Log(rpm, tpm), start
    for step, tokens in arriving:
        now += round(step * 4) / 4  # quarters, so that sums are exact
        refused = admit(row, 0, rpm, tpm, tokens, now)
        if refused is None:
            log.admit(tokens, now)
        elif tpm is not None and tokens > tpm:
            assert refused.retry_after_s is None
        else:
            assert refused.retry_after_s is not None
            assert refused.retry_after_s == int(refused.retry_after_s)
            assert log.has_room(tokens, now + refused.retry_after_s)
            assert not log.has_room(tokens, now + refused.retry_after_s - 1)


@given(
    st.integers(1, 300),
    st.lists(st.tuples(st.floats(0, 40), st.integers(0, 120), st.integers(0, 200), st.floats(0, 90)), max_size=30),
)
def test_settling_gives_back_to_its_own_second_and_charges_what_was_missing_now(
    tpm: int, requests: list[tuple[float, int, int, float]]
) -> None:
    row, log = [0] * SIZE, Log(None, tpm)
    # Each request: when it arrives after the one before, its estimate, what it used, and how long it took.
    events: list[tuple[float, int, tuple[int, int, float] | int]] = []
    now = 1000.0
    for number, (step, estimate, actual, took) in enumerate(requests):
        now += step
        events.append((now, number, estimate))
        events.append((now + took, number, (estimate, actual, now)))
    charged: dict[int, list[int]] = {}
    for at, number, event in sorted(events, key=lambda event: (event[0], isinstance(event[2], tuple), event[1])):
        if isinstance(event, int):
            refused = admit(row, 0, None, tpm, event, at)
            assert (refused is None) == log.admit(event, at)
            if refused is None:
                charged[number] = log.charges[-1]
        elif number in charged:
            estimate, actual, began = event
            settle(row, 0, estimate, actual, began, at)
            if actual <= estimate:
                charged[number][2] += actual - estimate
            else:
                log.charges.append([int(at), 0, actual - estimate])


def test_a_request_larger_than_the_limit_is_refused_with_no_time_to_wait() -> None:
    row = [0] * SIZE
    refused = admit(row, 0, None, 1000, 1001, 5.0)
    assert isinstance(refused, Problem)
    assert (refused.reason, refused.retry_after_s) == (Reason.RATE_LIMITED, None)
    assert "waiting does not help" in refused.message
    assert admit(row, 0, None, 1000, 1000, 5.0) is None


def test_a_refused_request_is_not_charged() -> None:
    row = [0] * SIZE
    assert admit(row, 0, 1, 100, 60, 5.0) is None
    before = list(row)
    assert admit(row, 0, 1, 100, 10, 5.0) is not None
    assert row == before


@pytest.mark.parametrize(("rpm", "tpm", "words"), [(1, None, "1 requests"), (None, 100, "100 tokens")])
def test_a_refusal_names_the_limit_and_the_wait(rpm: int | None, tpm: int | None, words: str) -> None:
    row = [0] * SIZE
    assert admit(row, 0, rpm, tpm, 100, 5.5) is None
    refused = admit(row, 0, rpm, tpm, 100, 6.25)
    assert refused is not None
    assert words in refused.message
    assert refused.retry_after_s == 60  # what was charged in second 5 is gone at 66.0
    assert "Try again in 60 s" in refused.message
    assert admit(row, 0, rpm, tpm, 100, 65.999) is not None
    assert admit(row, 0, rpm, tpm, 100, 66.0) is None


def test_tokens_that_came_to_light_late_count_from_then_on() -> None:
    row = [0] * SIZE
    assert admit(row, 0, None, 100, 10, 0.0) is None
    settle(row, 0, 10, 95, 0.0, 90.0)
    assert admit(row, 0, None, 100, 20, 90.0) is not None
    assert admit(row, 0, None, 100, 15, 90.0) is None


def test_giving_back_more_than_was_charged_makes_no_room() -> None:
    row = [0] * SIZE
    assert admit(row, 0, None, 100, 10, 0.0) is None
    settle(row, 0, 1000, 0, 0.0, 1.0)
    assert admit(row, 0, None, 100, 100, 1.0) is None
    assert admit(row, 0, None, 100, 1, 1.0) is not None


def test_a_time_from_before_the_newest_charge_counts_as_that() -> None:
    row = [0] * SIZE
    assert admit(row, 0, 2, None, 0, 100.0) is None
    assert admit(row, 0, 2, None, 0, 99.0) is None
    assert admit(row, 0, 2, None, 0, 30.0) is not None
    assert admit(row, 0, 2, None, 0, 160.5) is not None
    assert admit(row, 0, 2, None, 0, 161.0) is None


class Dying(list[int]):
    """A row whose process dies at its nth write."""

    def __init__(self, row: list[int], writes: int) -> None:
        super().__init__(row)
        self.left = writes

    def __setitem__(self, at: object, value: object) -> None:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        super().__setitem__(at, value)  # type: ignore[call-overload]


@given(st.integers(0, 130), st.integers(0, 70), st.sampled_from(["admit", "give back", "charge more"]))
def test_a_worker_that_dies_halfway_leaves_no_lasting_error(writes: int, gap: int, doing: str) -> None:
    row = [0] * SIZE
    for second in range(10):
        assert admit(row, 0, 100, 10_000, 50, float(second)) is None
    dying = Dying(row, writes)
    now = 9.0 + gap
    try:
        if doing == "admit":
            admit(dying, 0, 100, 10_000, 50, now)
        else:
            settle(dying, 0, 50, 20 if doing == "give back" else 90, 9.0, now)
    except KeyboardInterrupt:
        pass
    after = list(dying)
    assert admit(after, 0, None, None, 0, now) is None  # the same second: never too low
    middle = 3 + 61
    assert after[1] >= sum(after[3:middle])
    assert after[2] >= sum(after[middle:])
    assert admit(after, 0, None, None, 0, now + 1) is None  # the next one: exact again
    assert after[1] == sum(after[3:middle])
    assert after[2] == sum(after[middle:])


@given(st.integers(0, 1000), st.integers(0, 200))
def test_a_row_is_idle_once_its_window_is_empty(charged: int, later: int) -> None:
    row = [0] * SIZE
    admit(row, 0, None, 100, 1, float(charged))
    assert idle(row, 0, float(charged + later)) == (later >= 61)


# --- by key


def test_each_key_has_a_window_of_its_own() -> None:
    limits = Limits()
    one, two = Key("key_1", "one", rpm=1), Key("key_2", "two", rpm=1)
    assert limits.admit(one, 0, 0.0) is None
    assert limits.admit(two, 0, 0.0) is None
    assert limits.admit(one, 0, 0.0) is not None


def test_a_key_without_limits_is_not_counted() -> None:
    limits, key = Limits(), Key("key_1", "one")
    assert all(limits.admit(key, 10**12, 0.0) is None for _ in range(1000))
    limits.settle(key, 10**12, 5, 0.0, 1.0)


def test_a_changed_limit_counts_what_was_already_used() -> None:
    limits = Limits()
    assert limits.admit(Key("key_1", "one", rpm=5), 0, 0.0) is None
    assert limits.admit(Key("key_1", "one", rpm=1), 0, 1.0) is not None
    assert limits.admit(Key("key_1", "one", rpm=2), 0, 1.0) is None


def test_a_key_that_is_gone_is_forgotten_and_the_others_are_not() -> None:
    limits = Limits()
    gone, stays = Key("key_1", "one", rpm=1), Key("key_2", "two", rpm=1)
    assert limits.admit(gone, 0, 0.0) is None
    assert limits.admit(stays, 0, 0.0) is None
    limits.keep(frozenset({"key_2"}))
    assert limits.admit(gone, 0, 0.0) is None
    assert limits.admit(stays, 0, 0.0) is not None
    limits.settle(Key("key_3", "never seen", tpm=1), 1, 1, 0.0, 0.0)
