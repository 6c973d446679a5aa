"""The pump: events of one upstream stream, shown to the dialect's meter, on to the client.

Four ways out. The dialect's end has passed: completed. The connection ended and the meter calls the answer whole: what
the end still lacks is added. It ended and the answer is not whole, or the upstream said that it failed, after content:
the client gets an error event. The same before any content: nothing was sent, and the problem is returned.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from headgate import clock
from headgate.errors import Problem, Reason, UpstreamFault, UpstreamTimeout
from headgate.relay import faults
from headgate.relay.client import Client
from headgate.relay.record import AttemptRecord, Outcome
from headgate.relay.upstream.connection import Connection
from headgate.routing.target import Provider
from headgate.wire import problems, sse
from headgate.wire.outgoing import Outgoing
from headgate.wire.sse import EventSplitter, EventTooLarge
from headgate.wire.stream import Step, StreamMeter
from headgate.wire.translate.translation import Meter

#: One event; a picture in a stream has a few megabytes.
MAX_EVENT_BYTES = 16 * 1024 * 1024
#: Role chunks, pings and comments before the first content.
MAX_HELD_BYTES = 1024 * 1024


class _Pump:
    """One stream's state. `take` is a plain function of what has arrived; the coroutine below does the waiting."""

    def __init__(self, meter: StreamMeter) -> None:
        self.meter = meter
        self._translating = meter if isinstance(meter, Meter) else None
        self.started = False
        self.ended = False
        self.problem: Problem | None = None
        self._splitter = EventSplitter(MAX_EVENT_BYTES)
        self._held: list[bytes] = []
        self._held_bytes = 0

    def take(self, chunk: bytes) -> bytes:
        """The bytes to pass on now; `started`, `ended` and `problem` say what else is known."""
        try:
            events = self._splitter.feed(chunk)
        except EventTooLarge as error:
            self.problem = Problem(Reason.UPSTREAM_INVALID, f"sent {error}")
            return b""
        out: list[bytes] = []
        for event in events:
            step = self.meter.on(sse.parse(event))
            raw = event if self._translating is None else self._translating.out
            if step is Step.CONTENT or step is Step.END:
                if not self.started:
                    out.append(self._release())
                out.append(raw)
                if step is Step.END:
                    self.ended = True
                    break
            elif step is Step.OPENING:
                if self.started:
                    out.append(raw)
                elif not self._hold(raw, len(event)):
                    break
            elif step is not Step.WITHHELD:
                self.problem = self.meter.problem
                break
        return out[0] if len(out) == 1 else b"".join(out)

    def at_end(self) -> bytes:
        """The connection has ended. A last event that lacks only its empty line counts, if it can be read; one that
        cannot be read was cut, and is left out."""
        out = b""
        if sse.parse(self._splitter.rest()).data is not None:
            out = self.take(b"\n\n")
        if self.ended or (self.problem is not None and self.problem.reason is Reason.UPSTREAM_ERROR):
            return out
        closing = self.meter.closing()
        if closing is None:
            self.problem = Problem(Reason.STREAM_BROKEN, "ended its stream before the answer was whole")
            return out
        self.problem = None
        self.ended = True
        return out + self._release() + closing

    def _release(self) -> bytes:
        """What was held back until there is something to say; empty from then on."""
        self.started = True
        held = b"".join(self._held)
        self._held.clear()
        return held

    def _hold(self, raw: bytes, came: int) -> bool:
        """came: the upstream's bytes that it was made of, which are what is limited."""
        self._held.append(raw)
        self._held_bytes += came
        if self._held_bytes <= MAX_HELD_BYTES:
            return True
        self.problem = Problem(Reason.UPSTREAM_INVALID, f"sent more than {MAX_HELD_BYTES} bytes without content")
        return False


async def pump(
    to_send: Outgoing,
    client: Client,
    attempt: AttemptRecord,
    connection: Connection,
    until_s: float,
    start: Callable[[], Awaitable[None]],
) -> Problem | None:
    """Relays one stream. start: sends the head to the client, with the first content. A Problem means that nothing has
    reached the client. The attempt's record is filled in either way."""
    timeouts = attempt.target.provider.timeouts
    meter = to_send.meter()
    state = _Pump(meter)
    first_until_s = attempt.started_s + timeouts.first_token_s
    too_long = Problem(
        Reason.UPSTREAM_TIMEOUT, f"did not end its answer within {timeouts.total_s:g} s (timeouts.total_s)"
    )
    sent_head = False
    while True:
        try:
            if sent_head:
                chunk = await connection.chunk("idle", timeouts.idle_s, until_s)
            else:
                left_s = max(0.0, first_until_s - clock.monotonic_s())
                chunk = await connection.chunk("first_token", left_s, until_s)
            out = state.take(chunk) if chunk else state.at_end()
        except UpstreamFault as fault:
            out = _after_fault(state, fault, attempt.target.provider)
        attempt.usage = meter.usage
        attempt.sequence_number = meter.sequence_number
        if clock.monotonic_s() >= until_s and not state.ended and state.problem is None:
            # Where the client is the slow one there is always something to read, and no wait that could time out.
            state.problem = too_long
        if out:
            if not sent_head:
                sent_head = True
                attempt.first_token_s = clock.monotonic_s() - attempt.started_s
                await start()
            try:
                await client.write(out)
                attempt.delivered_bytes += len(out)
            except TimeoutError:
                state.ended = False
                state.problem = too_long
        if state.ended:
            attempt.outcome = Outcome.COMPLETED
            connection.answered()
            await client.end()
            return None
        if state.problem is not None:
            problem = faults.no_answer(attempt, state.problem)
            if not sent_head:
                return problem
            attempt.problem = problem
            connection.close()
            await client.end(problems.event(to_send.request.dialect, problem, meter.sequence_number + 1))
            return None


def _after_fault(state: _Pump, fault: UpstreamFault, provider: Provider) -> bytes:
    """The upstream broke off or fell silent: that may have been after the last word of a whole answer."""
    out = state.at_end()
    if state.problem is not None and state.problem.reason is Reason.STREAM_BROKEN:
        timed_out = isinstance(fault, UpstreamTimeout)
        reason = Reason.UPSTREAM_TIMEOUT if timed_out else Reason.STREAM_BROKEN
        state.problem = Problem(reason, ("gave " if timed_out else "") + faults.words_of(fault, provider))
    return out
