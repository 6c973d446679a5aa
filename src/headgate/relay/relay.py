"""One client request from start to finish. Read this file first.

    plan ─> for each candidate: one attempt ─> the client
                                            └> one record, emitted once, whatever the ending

An attempt is one physical request to one target. It ends in one of two ways. Either the client has been answered
(whole, or with a stream that was started), and then nothing else can be tried; or it returns a `Problem`, nothing has
reached the client, and the next candidate may be tried. When none is left the last problem is the answer.

Rules that hold whatever happens:

1. A stream is started towards the client only with the first content. Openings are held back until then, so that a
   target that fails early can still be replaced, and its failure has a proper status.
2. A stream that does not end as its dialect demands is never ended cleanly: its client gets an error event.
3. Every request comes to `finish` once, and every connection is released where it was taken.
4. A byte that was sent upstream is never sent again to the same target.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from headgate import clock
from headgate.errors import ConnectFailed, Phase, Problem, Reason, UpstreamFault, UpstreamTimeout
from headgate.relay import faults
from headgate.relay import headers as crossing
from headgate.relay.client import Client, Headers
from headgate.relay.record import AttemptRecord, Defect, Outcome, RequestFinished, RequestRecord, Skip
from headgate.relay.stream import pump
from headgate.relay.upstream.client import Endpoint, UpstreamClient, endpoint
from headgate.relay.upstream.connection import Connection
from headgate.routing.plan import Plan
from headgate.routing.target import Provider, Target
from headgate.wire import anthropic_messages, problems
from headgate.wire.answer import NotAnAnswer
from headgate.wire.dialect import COUNT_TOKENS_PATH, PATHS
from headgate.wire.outgoing import Outgoing, outgoing
from headgate.wire.request import Request
from headgate.wire.usage import Usage

#: An answer that is not streamed is held whole: it is checked before its status is passed on.
MAX_ANSWER_BYTES = 128 * 1024 * 1024
MAX_ERROR_BYTES = 1024 * 1024

Emit = Callable[[object], None]


@dataclass(slots=True)
class Exchange:
    """One client request on its way. record: what becomes known of it. headers: the client's, names in lower case.
    until_s: the request's own deadline on the monotonic clock. count_only: a count of tokens is asked for."""

    request: Request
    client: Client
    record: RequestRecord
    headers: Headers
    until_s: float
    count_only: bool = False


class Relay:
    """Serves requests over one configuration of providers; a reload makes a new one over the same upstream client."""

    def __init__(self, upstream: UpstreamClient, emit: Emit) -> None:
        self._upstream = upstream
        self._emit = emit
        self._endpoints: dict[tuple[str, str], Endpoint] = {}

    async def serve(self, exchange: Exchange, plan: Plan) -> None:
        """Answers the client from the plan's candidates. Never raises; leaves the record emitted."""
        record = exchange.record
        try:
            problem = await self._try_candidates(exchange, plan)
            if problem is None:
                pass
            elif exchange.count_only and record.attempts and faults.cannot_count(record.attempts[-1]):
                await answer_estimate(exchange)
            else:
                record.problem = problem
                await refuse(exchange.client, record, problem)
        except asyncio.CancelledError:
            await self._cancelled(exchange)
        except Exception as error:
            await self._failed(exchange, error)
        finally:
            self.finish(record)

    async def _try_candidates(self, exchange: Exchange, plan: Plan) -> Problem | None:
        """The attempt loop. None when the client has been answered, else why not."""
        problem: Problem | None = None
        record = exchange.record
        for target in plan.candidates:
            to_send = _outgoing(exchange, target)
            if isinstance(to_send, Problem):
                # What cannot be carried to one target may be carried to the next; the first of them says why.
                record.skipped.append(Skip(target, to_send))
                problem = problem or to_send
                record.outcome = Outcome.REFUSED
                continue
            attempt = AttemptRecord(len(record.attempts) + 1, target, clock.monotonic_s())
            attempt.translated_to, attempt.dropped = to_send.translated_to, to_send.dropped
            record.attempts.append(attempt)
            try:
                problem = await self._attempt(exchange, attempt, to_send)
            except asyncio.CancelledError:
                attempt.outcome = _why_cancelled(exchange)
                raise
            finally:
                attempt.total_s = clock.monotonic_s() - attempt.started_s
                record.outcome = attempt.outcome
            attempt.problem = attempt.problem or problem
            if problem is None:
                record.problem = attempt.problem
                return None
            break  # a failure is not tried again elsewhere: which ones may be is the profiles' to say
        return problem

    async def _attempt(self, exchange: Exchange, attempt: AttemptRecord, to_send: Outgoing) -> Problem | None:
        """One physical request. A Problem means that nothing has reached the client."""
        target = attempt.target
        provider = target.provider
        body = to_send.body
        path = COUNT_TOKENS_PATH if exchange.count_only else PATHS[to_send.dialect]
        record = exchange.record
        try:
            to = self._endpoint(provider, path)
            asked_s = clock.monotonic_s()
            connection = await self._upstream.connect(
                to, max(0.0, min(provider.timeouts.connect_s, exchange.until_s - asked_s))
            )
        except (ConnectFailed, UpstreamTimeout) as fault:
            attempt.outcome = Outcome.UNREACHABLE
            record.waited_s += clock.monotonic_s() - asked_s
            return faults.unreachable(provider, fault)
        attempt.started_s = clock.monotonic_s()
        record.waited_s += attempt.started_s - asked_s
        try:
            head = crossing.to_upstream(
                exchange.headers, to_send.dialect, len(body), translated=to_send.translated_to is not None
            )
            connection.send(to.head + head + body)
            attempt.sent = True
            if exchange.request.stream and not exchange.count_only:
                return await self._stream(exchange, attempt, to_send, connection)
            return await self._whole(exchange, attempt, to_send, connection)
        except UpstreamFault as fault:
            record.waited_s += clock.monotonic_s() - attempt.started_s
            return faults.at_fault(attempt, fault)
        finally:
            connection.release()

    async def _whole(
        self, exchange: Exchange, attempt: AttemptRecord, to_send: Outgoing, connection: Connection
    ) -> Problem | None:
        """An answer that is not streamed: read to its end and checked before anything is passed on."""
        within_s, until = attempt.target.provider.timeouts.response_s, exchange.until_s
        await connection.head("response", within_s, until)
        attempt.status = connection.status
        left_s = within_s - (clock.monotonic_s() - attempt.started_s)
        if connection.status != 200:
            return await self._error(exchange, attempt, connection, "response", left_s)
        body = await connection.body(MAX_ANSWER_BYTES, "response", max(0.0, left_s), until)
        exchange.record.waited_s += clock.monotonic_s() - attempt.started_s
        try:
            attempt.usage, body = _read(exchange, to_send, body)
        except NotAnAnswer as fault:
            return faults.no_answer(attempt, fault.problem)
        # The record says completed once the whole answer is with the client's socket; until then it may still leave.
        head = answer_headers(exchange.record, attempt, connection.headers)
        await exchange.client.respond(200, [*head, (b"content-type", b"application/json")], body)
        attempt.delivered_bytes = len(body)
        attempt.outcome = Outcome.COMPLETED
        exchange.record.status = 200
        return None

    async def _stream(
        self, exchange: Exchange, attempt: AttemptRecord, to_send: Outgoing, connection: Connection
    ) -> Problem | None:
        """A streamed answer: its head is judged here, its events by the pump."""
        timeouts = attempt.target.provider.timeouts
        await connection.head("first_token", timeouts.first_token_s, exchange.until_s)
        attempt.status = connection.status
        left_s = timeouts.first_token_s - (clock.monotonic_s() - attempt.started_s)
        if connection.status != 200:
            return await self._error(exchange, attempt, connection, "first_token", left_s)
        content_type = crossing.value_of(connection.headers, b"content-type") or b""
        if content_type.partition(b";")[0].strip().lower() != b"text/event-stream":
            body = await connection.body(MAX_ERROR_BYTES, "first_token", max(0.0, left_s), exchange.until_s)
            return faults.no_answer(attempt, _not_a_stream(to_send, content_type, body, attempt))

        async def start() -> None:
            exchange.record.waited_s += clock.monotonic_s() - attempt.started_s
            await exchange.client.start(200, [*answer_headers(exchange.record, attempt, connection.headers), *_STREAM])
            exchange.record.status = 200

        return await pump(to_send, exchange.client, attempt, connection, exchange.until_s, start)

    async def _error(
        self, exchange: Exchange, attempt: AttemptRecord, connection: Connection, phase: Phase, within_s: float
    ) -> Problem:
        """The upstream's own refusal or failure."""
        body = await connection.body(MAX_ERROR_BYTES, phase, max(0.0, within_s), exchange.until_s)
        exchange.record.waited_s += clock.monotonic_s() - attempt.started_s
        attempt.passed_headers = crossing.to_client(connection.headers, attempt.target.provider)
        attempt.upstream_request_id = crossing.upstream_request_id(attempt.passed_headers)
        retry_after_s = crossing.retry_after_s(connection.headers, clock.wall_s())
        return faults.error_answer(attempt, connection.status, body, retry_after_s)

    def _endpoint(self, provider: Provider, path: str) -> Endpoint:
        key = (provider.name, path)
        found = self._endpoints.get(key)
        if found is None:
            url = provider.base_url + path.removeprefix("/v1")
            found = self._endpoints[key] = endpoint("POST", url, crossing.fixed(provider))
        return found

    async def _cancelled(self, exchange: Exchange) -> None:
        """The client left, or the grace period of a stop is over."""
        record = exchange.record
        record.outcome = _why_cancelled(exchange)
        if exchange.client.gone:
            return
        record.problem = STOPPING
        try:
            async with asyncio.timeout(1.0):
                await refuse(exchange.client, record, STOPPING)
        except (TimeoutError, asyncio.CancelledError):
            pass  # the record says how it ended

    async def _failed(self, exchange: Exchange, error: Exception) -> None:
        """A defect of ours: the client learns that it was ours, the log learns what."""
        record = exchange.record
        record.outcome = Outcome.INTERNAL
        record.problem = Problem(Reason.INTERNAL, "headgate failed; its log has the details under this request's id")
        self._emit(Defect(record.id, error))
        await refuse(exchange.client, record, record.problem)

    def finish(self, record: RequestRecord) -> None:
        """The one place that every request comes to, once."""
        record.total_s = clock.monotonic_s() - record.started_s
        self._emit(RequestFinished(record))


#: Server errors that trying again does not mend.
_NOT_TO_RETRY = (Reason.UPSTREAM_CREDENTIALS,)

STOPPING = Problem(Reason.SHUTTING_DOWN, "headgate is stopping", retry_after_s=1)

_STREAM: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


def _outgoing(exchange: Exchange, target: Target) -> Outgoing | Problem:
    """What to send to this target, in the dialect that it is asked in."""
    provider = target.provider
    asked = exchange.request.dialect
    dialect = asked if exchange.count_only else provider.asked_in(asked)
    assert dialect is not None, "a plan holds only targets that can be asked"
    return outgoing(
        exchange.request,
        dialect,
        target=target.name,
        model=target.model,
        base_url=provider.base_url,
        kind=provider.kind,
        now_s=int(exchange.record.started_wall_s),
    )


def _read(exchange: Exchange, to_send: Outgoing, body: bytes) -> tuple[Usage | None, bytes]:
    """The usage of a whole answer, and what the client is sent of it."""
    if exchange.count_only:
        anthropic_messages.read_count(body)
        return None, body
    return to_send.read_answer(body)


def answer_headers(record: RequestRecord, attempt: AttemptRecord, upstream: Headers) -> Headers:
    """What headgate says of an answer, and what it passes on of the upstream's headers."""
    passed = attempt.passed_headers = crossing.to_client(upstream, attempt.target.provider)
    if passed:
        attempt.upstream_request_id = crossing.upstream_request_id(passed)
    return _head_of(record, attempt)


def _head_of(record: RequestRecord, attempt: AttemptRecord) -> Headers:
    own_ms = (clock.monotonic_s() - record.started_s - record.waited_s) * 1000
    return [
        (b"x-headgate-request-id", record.id.encode()),
        (b"x-headgate-target", attempt.target.name.encode()),
        (b"x-headgate-attempts", b"%d" % attempt.number),
        (b"x-headgate-overhead-ms", b"%.2f" % own_ms),
        *([(b"x-headgate-dropped", ", ".join(attempt.dropped).encode())] if attempt.dropped else ()),
        *attempt.passed_headers,
    ]


async def refuse(client: Client, record: RequestRecord, problem: Problem) -> None:
    """Answers with a problem: as a whole body, or, where a stream has begun, as its last event."""
    last = record.attempts[-1] if record.attempts else None
    if client.headers_sent:
        number = last.sequence_number + 1 if last is not None else 0
        await client.end(problems.event(record.dialect, problem, number))
        return
    record.status = problem.status
    if last is not None:
        head = [header for header in _head_of(record, last) if header[0] not in (b"retry-after", b"retry-after-ms")]
    else:
        head = [(b"x-headgate-request-id", record.id.encode()), (b"x-headgate-attempts", b"0")]
    head.append((b"content-type", b"application/json"))
    if problem.reason in _NOT_TO_RETRY or (problem.reason is Reason.RATE_LIMITED and problem.retry_after_s is None):
        head.append((b"x-should-retry", b"false"))  # the SDKs try again by themselves otherwise
    if problem.retry_after_s is not None:
        head.append((b"retry-after", b"%d" % max(1, -(-problem.retry_after_s // 1))))
    await client.respond(problem.status, head, problems.body(record.dialect, problem, record.id))


def _why_cancelled(exchange: Exchange) -> Outcome:
    return Outcome.CLIENT_GONE if exchange.client.gone else Outcome.SHUTDOWN


def _not_a_stream(to_send: Outgoing, content_type: bytes, body: bytes, attempt: AttemptRecord) -> Problem:
    """What came in the place of a stream. If it was a whole answer, what it took is known all the same."""
    try:
        attempt.usage, _ = to_send.read_answer(body)
    except NotAnAnswer as fault:
        return fault.problem
    kind = content_type[:60].decode("latin-1") or "no content type"
    return Problem(Reason.UPSTREAM_INVALID, f"answered a request for a stream with one whole answer ({kind})")


async def answer_estimate(exchange: Exchange) -> None:
    """Answers a count of tokens with an estimate, and says that it is one."""
    record = exchange.record
    record.outcome = Outcome.COMPLETED
    record.problem = None
    record.status = 200
    head: Headers = [
        (b"content-type", b"application/json"),
        (b"x-headgate-request-id", record.id.encode()),
        (b"x-headgate-estimated", b"input_tokens"),
    ]
    await exchange.client.respond(200, head, anthropic_messages.count_answer(exchange.request.counted_tokens()))
