"""The ASGI application: which path is which dialect, who may call, and the way into the relay.

    head:  open mode: may this page call here?   keys: whose key is it?
    body:  read within limits, parsed, checked in its dialect
    plan:  the targets for its model             limits: has the key room for it?
    relay: from here to the record

Everything that is refused on this way is refused in the client's dialect, and has a record like any other request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from headgate import clock, ids
from headgate.access import trust
from headgate.access.keys import PREFIX, Key, credential
from headgate.access.service import Access
from headgate.errors import OperatorFault, Problem, Reason
from headgate.relay.client import Headers
from headgate.relay.record import Defect, Outcome, RequestRecord
from headgate.relay.relay import STOPPING, Emit, Exchange, Relay, answer_estimate, refuse
from headgate.routing.plan import Plan, Router
from headgate.routing.target import Target, Timeouts
from headgate.server.client import BodyLimits, ClientGone, HttpClient, Receive, Scope, Send, read_body
from headgate.server.protocol import CYCLE
from headgate.wire import models as model_lists
from headgate.wire import problems
from headgate.wire.dialect import COUNT_TOKENS_PATH, PATHS, Dialect
from headgate.wire.request import Request, parse

_BY_PATH = {path: dialect for dialect, path in PATHS.items()} | {COUNT_TOKENS_PATH: Dialect.MESSAGES}
_MODELS = "/v1/models"
#: Request headers of features to come. To take one and not keep it would be worse than to refuse it.
_NOT_YET = frozenset({b"x-headgate-profile", b"x-headgate-max-cost-usd", b"x-headgate-usd-per-hour"})


@dataclass(frozen=True, slots=True)
class Serving:
    """What requests are served with. A reload puts another in its place; requests under way keep theirs.

    router: the one for the catalog as it is now. models_known: returns when every provider that lists its models has
    been asked once, or soon. access: the keys; None in open mode, where `keys` opens them for who shows one anyway.
    """

    router: Callable[[], Router]
    models_known: Callable[[], Awaitable[None]]
    relay: Relay
    keys: Callable[[], Awaitable[Access]]
    access: Access | None
    body_limits: BodyLimits = field(default_factory=BodyLimits)


class Gateway:
    """The ASGI callable. operations: the application for every path that is not inference."""

    def __init__(
        self, serving: Serving, operations: Callable[[Scope, Receive, Send], Awaitable[None]], emit: Emit
    ) -> None:
        self.serving = serving
        self._operations = operations
        self._emit = emit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        if len(path) > 1 and path[-1] == "/":
            path = path.rstrip("/")
        try:
            dialect = _BY_PATH.get(path)
            if dialect is not None:
                await self._infer(_Call(self.serving, dialect, path, scope))
            elif path == _MODELS or path.startswith(_MODELS + "/"):
                await self._models(path, scope)
            else:
                await self._operate(path, scope, receive, send)
        except asyncio.CancelledError:
            if not scope[CYCLE].disconnected:
                raise
        except Exception as error:
            self._emit(Defect(None, error))
            if scope[CYCLE].response_started:
                raise
            await _answer(scope, Problem(Reason.INTERNAL, "headgate failed; its log has the details"), Dialect.CHAT)

    async def _operate(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Every path that is not inference. In open mode a page of another site may not read these either."""
        problem = trust.refuse(scope["method"], scope["headers"]) if self.serving.access is None else None
        if problem is not None:
            await _answer(scope, problem, Dialect.CHAT)
            return
        scope["path"] = path
        await self._operations(scope, receive, send)

    async def _infer(self, call: _Call) -> None:
        """One inference request. Every way out of here has come to `Relay.finish` once."""
        record, relay = call.record, call.serving.relay
        try:
            ready = await call.prepare()
            if isinstance(ready, Problem):
                await call.refuse(ready, Outcome.REFUSED)
        except (asyncio.CancelledError, ClientGone):
            ready = None
            record.outcome = Outcome.CLIENT_GONE
            if not call.client.gone:
                await call.refuse(STOPPING, Outcome.SHUTDOWN)
        except Exception as error:
            self._emit(Defect(record.id, error))
            ready = Problem(Reason.INTERNAL, "headgate failed; its log has the details under this request's id")
            await call.refuse(ready, Outcome.INTERNAL)
        if isinstance(ready, tuple):
            try:
                await relay.serve(*ready)
            finally:
                call.settle()
        else:
            relay.finish(record)

    async def _models(self, path: str, scope: Scope) -> None:
        """`GET /v1/models` and `GET /v1/models/{id}`."""
        headers: Headers = scope["headers"]
        anthropic = any(name == b"anthropic-version" for name, _ in headers)
        dialect = Dialect.MESSAGES if anthropic else Dialect.CHAT
        serving = self.serving
        who = _who(serving, scope["method"], headers)
        if isinstance(who, _Opening):
            who = await who.result()
        problem: Problem | None = None
        body = b""
        if isinstance(who, Problem):
            problem = who
        elif scope["method"] not in ("GET", "HEAD"):
            problem = Problem(Reason.METHOD_NOT_ALLOWED, f"{path} is read with GET")
        else:
            await serving.models_known()
            router = serving.router()
            names = router.visible(_reachable(who[1] if who is not None else None, router))
            asked = path[len(_MODELS) + 1 :]
            if not asked:
                body = model_lists.listing(names, anthropic=anthropic)
            elif any(t.name in names for t in router.named(asked)):
                body = model_lists.single(asked, anthropic=anthropic)
            else:
                problem = Problem(Reason.MODEL_NOT_FOUND, f"there is no model {asked!r} here", param="model")
        if problem is not None:
            await _answer(scope, problem, dialect)
        else:
            head: Headers = [
                (b"content-type", b"application/json"),
                (b"x-headgate-request-id", ids.request_id().encode()),
            ]
            await HttpClient(scope[CYCLE]).respond(200, head, body)


class _Call:
    """One inference request on its way to the relay."""

    __slots__ = (
        "_charged_s",
        "_estimate",
        "_scope",
        "access",
        "client",
        "key",
        "record",
        "serving",
    )

    def __init__(self, serving: Serving, dialect: Dialect, path: str, scope: Scope) -> None:
        self.serving = serving
        self.client = HttpClient(scope[CYCLE])
        self.record = RequestRecord(ids.request_id(), dialect, path, clock.monotonic_s(), clock.wall_s())
        self.key: Key | None = None
        self.access: Access | None = None
        self._scope = scope
        self._estimate = 0
        self._charged_s: float | None = None

    async def prepare(self) -> tuple[Exchange, Plan] | Problem | None:
        """Everything before the relay: what to relay, or why not; None where it has been answered here."""
        scope, record = self._scope, self.record
        method, headers = scope["method"], scope["headers"]
        if method != "POST":
            return Problem(Reason.METHOD_NOT_ALLOWED, f"{record.path} takes POST, not {method}")
        not_yet = next((name for name, _ in headers if name in _NOT_YET), None)
        if not_yet is not None:
            message = f"this version does not keep what {not_yet.decode()} asks for, so it does not serve the request"
            return Problem(Reason.BAD_REQUEST, message, param=not_yet.decode())
        who = _who(self.serving, method, headers)
        if isinstance(who, _Opening):
            who = await who.result()
        if isinstance(who, Problem):
            return who
        if who is not None:
            self.access, key = who
            self.key = key
            record.key_id, record.key_name, record.team = key.id, key.name, key.team
        asked_s = clock.monotonic_s()
        body = await read_body(scope[CYCLE], headers, self.serving.body_limits)
        record.waited_s = clock.monotonic_s() - asked_s
        if isinstance(body, Problem):
            return body
        count_only = record.path == COUNT_TOKENS_PATH
        request = parse(record.dialect, body, count_only=count_only)
        if isinstance(request, Problem):
            return request
        record.model, record.stream = request.model, request.stream and not count_only
        return await self._plan(request, headers, count_only)

    async def _plan(
        self, request: Request, headers: Headers, count_only: bool
    ) -> tuple[Exchange, Plan] | Problem | None:
        record, serving = self.record, self.serving
        allowed = _allowed(self.key, request.model)
        planned = serving.router().plan(request.model, record.dialect, allowed)
        if isinstance(planned, Problem) and planned.reason is Reason.MODEL_NOT_FOUND:
            asked_s = clock.monotonic_s()
            await serving.models_known()
            record.waited_s += clock.monotonic_s() - asked_s
            planned = serving.router().plan(request.model, record.dialect, allowed)
        unspoken = isinstance(planned, Problem) and planned.reason is Reason.DIALECT_NOT_SPOKEN
        if isinstance(planned, Problem) and not (count_only and unspoken):
            return planned
        refusal = self._admit(request, count_only)
        if refusal is not None:
            return refusal
        until_s = record.started_s + record.waited_s + _total_s(planned)
        if request.stream:
            self.client.until_s = until_s
        exchange = Exchange(request, self.client, record, headers, until_s, count_only)
        # A count is asked of the first target alone: what another model counts is another number.
        if isinstance(planned, Problem) or (count_only and not planned.candidates[0].provider.counts_tokens):
            await answer_estimate(exchange)
            return None
        return exchange, planned

    def _admit(self, request: Request, count_only: bool) -> Problem | None:
        """Charges the key's limits. A count of tokens is a request, but its tokens are not used."""
        if self.key is None or self.access is None:
            return None
        estimate = 0 if count_only or self.key.tpm is None else request.estimated_tokens()
        self._estimate = estimate
        self._charged_s = clock.monotonic_s()
        return self.access.admit(self.key, estimate, self._charged_s)

    async def refuse(self, problem: Problem, outcome: Outcome) -> None:
        self.record.outcome = outcome
        self.record.problem = problem
        try:
            await refuse(self.client, self.record, problem)
        except asyncio.CancelledError:
            self.record.outcome = Outcome.CLIENT_GONE

    def settle(self) -> None:
        """Puts the tokens that were used in the place of the estimate."""
        if self.key is None or self.access is None or self._charged_s is None:
            return
        usage = self.record.usage
        if usage is not None and self.record.outcome is Outcome.COMPLETED:
            actual = usage.total_tokens
        elif any(attempt.sent for attempt in self.record.attempts):
            # It ended before the upstream could say: what was delivered was used, at about four bytes a token.
            delivered = sum(attempt.delivered_bytes for attempt in self.record.attempts) // 4
            actual = max(self._estimate + delivered, usage.total_tokens if usage is not None else 0)
        else:
            actual = 0
        self.access.settle(self.key, self._estimate, actual, self._charged_s, clock.monotonic_s())


async def _answer(scope: Scope, problem: Problem, dialect: Dialect) -> None:
    """A refusal of what is no inference request, and has no record."""
    request_id = ids.request_id()
    head: Headers = [(b"content-type", b"application/json"), (b"x-headgate-request-id", request_id.encode())]
    await HttpClient(scope[CYCLE]).respond(problem.status, head, problems.body(dialect, problem, request_id))


def _who(serving: Serving, method: str, headers: Headers) -> tuple[Access, Key] | Problem | _Opening | None:
    """The caller's key, with where it counts. None for a caller without one in open mode, which is a local program and
    no page from elsewhere; what it shows counts there only if it is one of headgate's keys, which may have to be opened
    first."""
    if serving.access is not None:
        key = serving.access.authenticate(headers, clock.wall_s())
        return key if isinstance(key, Problem) else (serving.access, key)
    problem = trust.refuse(method, headers)
    shown = None if problem is not None else credential(headers)
    return problem if shown is None or not shown.startswith(PREFIX) else _Opening(serving, headers)


@dataclass(frozen=True, slots=True)
class _Opening:
    """A key that was shown in open mode, and is still to be looked up."""

    serving: Serving
    headers: Headers

    async def result(self) -> tuple[Access, Key] | Problem:
        try:
            access = await self.serving.keys()
        except OperatorFault:
            message = "this key cannot be looked up: headgate cannot open its ledger (`headgate keys list` says why)"
            return Problem(Reason.LEDGER_UNREACHABLE, message, retry_after_s=5)
        key = access.authenticate(self.headers, clock.wall_s())
        return key if isinstance(key, Problem) else (access, key)


def _allowed(key: Key | None, asked: str) -> Callable[[Target], bool] | None:
    """Which targets the key may use for the model that was asked for; None where it may use any."""
    if key is None or not key.models:
        return None
    return lambda target: key.may_use(asked, target.name)


def _reachable(key: Key | None, router: Router) -> Callable[[Target], bool]:
    """What a key can get at, by the full name, or by the model's own where that leads to the same target."""
    if key is None or not key.models:
        return _any_target
    return lambda t: key.may_use(t.name) or (key.may_use(t.model) and router.named(t.model)[:1] == [t])


def _total_s(planned: Plan | Problem) -> float:
    """The longest that any of the candidates may take: which of them serves is not known yet."""
    if isinstance(planned, Problem):
        return Timeouts().total_s
    return max(target.provider.timeouts.total_s for target in planned.candidates)


def _any_target(_: Target) -> bool:
    return True
