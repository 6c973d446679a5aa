"""Requests and tokens per minute of one key, over a sliding window.

The window is made of buckets of one second. At a moment `now` it holds the running second and the 60 whole ones before
it: 61 buckets, since with 60 a request late in one second and another early in the 60th after it would be less than a
minute apart and yet not see each other. So no 60 seconds, wherever they begin, hold more than `rpm` requests, and what
was charged is let go within 61 seconds.

Two limits, one answer. A request is charged with its estimated tokens when it is admitted, and a refused one is not
charged. When the true number is known, `settle` corrects it: what was estimated too high is given back to the second
it was charged in, what was too low is charged now, when it became known. So a stream that outlives the window does not
get its tokens for nothing.

A request whose estimate alone exceeds `tpm` is refused even by an empty window: no waiting would let it in, and to let
it through would make `tpm` no limit for the largest requests. Its refusal says so, and names no time to wait.

The state is a row of integers (`SIZE` of them) in any mutable sequence: a list in one process, a view of shared memory
with several workers. A caller that shares it holds a lock around each call. A worker that dies in the middle of one
leaves a row that the next second's first call puts right: the totals are recounted whenever the second changes, and
they are raised before the buckets and lowered after them, so that until then the count can only be too high.

Time is monotonic seconds, the same for all who share a row. A `now` from before the newest charge counts as that one.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil
from typing import Protocol, overload

from headgate.access.keys import Key
from headgate.errors import Problem, Reason

WINDOW_S = 60
_BUCKETS = WINDOW_S + 1

# The row: the newest second that was looked at (plus one, so that zeros are an empty row), the totals, the buckets.
_NEWEST, _REQUESTS, _TOKENS, _HEAD = 0, 1, 2, 3
SIZE = _HEAD + 2 * _BUCKETS


class Row(Protocol):
    """What a window needs of a mutable sequence of integers; a list has it, and so has a view of memory."""

    @overload
    def __getitem__(self, at: int, /) -> int: ...
    @overload
    def __getitem__(self, at: slice, /) -> Iterable[int]: ...
    def __setitem__(self, at: int, value: int, /) -> None: ...


def admit(row: Row, base: int, rpm: int | None, tpm: int | None, tokens_estimate: int, now: float) -> Problem | None:
    """Charge one request and its estimated tokens to the row at `row[base]`, or say why not and when to come again."""
    if tpm is not None and tokens_estimate > tpm:
        return Problem(
            Reason.RATE_LIMITED,
            f"This request counts as about {tokens_estimate} tokens, and its key may use {tpm} in a minute: waiting "
            "does not help. Send less, ask for a lower output limit, or have the key's tokens per minute raised.",
        )
    second = _advance(row, base, now)
    requests = row[base + _REQUESTS] + 1
    tokens = row[base + _TOKENS] + tokens_estimate
    if (rpm is not None and requests > rpm) or (tpm is not None and tokens > tpm):
        return _refusal(row, base, rpm, tpm, requests, tokens, now)
    row[base + _REQUESTS] = requests
    row[base + _TOKENS] = tokens
    bucket = base + _HEAD + second % _BUCKETS
    row[bucket] += 1
    row[bucket + _BUCKETS] += tokens_estimate
    return None


def settle(row: Row, base: int, estimate: int, actual: int, at: float, now: float) -> None:
    """Put the tokens that a request used in the place of those it was charged with when it was admitted, at `at`."""
    second = _advance(row, base, now)
    change = actual - estimate
    if change < 0:
        charged = int(at)
        if second - charged >= _BUCKETS:
            return
        bucket = base + _HEAD + _BUCKETS + charged % _BUCKETS
        change = -min(-change, row[bucket])
        row[bucket] += change
        row[base + _TOKENS] += change
    else:
        bucket = base + _HEAD + _BUCKETS + second % _BUCKETS
        row[base + _TOKENS] += change
        row[bucket] += change


def idle(row: Row, base: int, now: float) -> bool:
    """Whether nothing that was charged to this row is still in its window."""
    return int(now) - (row[base + _NEWEST] - 1) >= _BUCKETS


def _advance(row: Row, base: int, now: float) -> int:
    """Let go of what fell out of the window; the second that counts as now."""
    second = int(now)
    newest = row[base + _NEWEST] - 1
    if second <= newest:
        return newest
    first = base + _HEAD
    middle = first + _BUCKETS
    end = middle + _BUCKETS
    # Repeating this after a crash in it does the same again: the second is written last.
    for gone in range(max(newest + 1, second - WINDOW_S), second + 1):
        row[first + gone % _BUCKETS] = 0
        row[middle + gone % _BUCKETS] = 0
    row[base + _REQUESTS] = sum(row[first:middle])
    row[base + _TOKENS] = sum(row[middle:end])
    row[base + _NEWEST] = second + 1
    return second


def _refusal(row: Row, base: int, rpm: int | None, tpm: int | None, requests: int, tokens: int, now: float) -> Problem:
    """Find the first second at which enough has fallen out. `requests` and `tokens` include what is asked for."""
    newest = row[base + _NEWEST] - 1
    over = f"{rpm} requests" if rpm is not None and requests > rpm else f"{tpm} tokens"
    for second in range(newest - WINDOW_S, newest + 1):
        bucket = base + _HEAD + second % _BUCKETS
        requests -= row[bucket]
        tokens -= row[bucket + _BUCKETS]
        if (rpm is None or requests <= rpm) and (tpm is None or tokens <= tpm):
            wait_s = ceil(second + _BUCKETS - now)
            return Problem(
                Reason.RATE_LIMITED,
                f"This key may use {over} in a minute, and has used them. Try again in {wait_s} s.",
                retry_after_s=float(wait_s),
            )
    # Only a limit of no requests at all is never met by waiting.
    return Problem(Reason.RATE_LIMITED, f"This key may use {over} in a minute.")


class Limits:
    """The windows of every key that has a limit, in this process."""

    def __init__(self) -> None:
        self._rows: dict[str, list[int]] = {}

    def admit(self, key: Key, tokens_estimate: int, now: float) -> Problem | None:
        """Charge a request to its key, or say why not. Call it right before the request is carried out."""
        if key.rpm is None and key.tpm is None:
            return None
        row = self._rows.get(key.id)
        if row is None:
            row = self._rows[key.id] = [0] * SIZE
        return admit(row, 0, key.rpm, key.tpm, tokens_estimate, now)

    def settle(self, key: Key, estimate: int, actual: int, at: float, now: float) -> None:
        """Correct the tokens of a request that was admitted at `at` with `estimate`. Once per request."""
        row = self._rows.get(key.id)
        if row is not None:
            settle(row, 0, estimate, actual, at, now)

    def keep(self, ids: frozenset[str]) -> None:
        """Forget the keys that are gone."""
        self._rows = {id_: row for id_, row in self._rows.items() if id_ in ids}

    def close(self) -> None:
        """Nothing to close: the same verbs as the shared ones."""
