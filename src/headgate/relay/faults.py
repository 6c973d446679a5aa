"""What an upstream's failures become: the attempt's outcome, and the problem that the client may be shown.

The provider is always named. Its own words are passed on where they are about the request, and kept back where they are
about headgate's account: a refused key is the operator's business, and the key itself is cut out of everything.
"""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus

from headgate.errors import Problem, Reason, UpstreamFault, UpstreamTimeout
from headgate.relay.record import AttemptRecord, Outcome
from headgate.routing.target import Provider
from headgate.wire import problems

#: A shorter key is a placeholder for a server that wants none, and may stand in any word.
_SHORTEST_SECRET = 8

#: What an upstream without a count of tokens says when it is asked for one.
_NO_COUNT = (404, 405, 501)

_OUTCOMES = {
    Reason.UPSTREAM_ERROR: Outcome.UPSTREAM_ERROR,
    Reason.UPSTREAM_INVALID: Outcome.UPSTREAM_INVALID,
    Reason.UPSTREAM_TIMEOUT: Outcome.TIMEOUT,
    Reason.STREAM_BROKEN: Outcome.BROKEN,
}


def unreachable(provider: Provider, fault: UpstreamFault) -> Problem:
    """Nothing was sent."""
    reason = Reason.UPSTREAM_TIMEOUT if isinstance(fault, UpstreamTimeout) else Reason.UPSTREAM_UNREACHABLE
    message = f"provider {provider.name} cannot be reached: {words_of(fault, provider)}"
    return Problem(reason, message, source=provider.name)


def at_fault(attempt: AttemptRecord, fault: UpstreamFault) -> Problem:
    """The connection or its framing failed after the request was sent, before anything reached the client."""
    provider = attempt.target.provider
    name = provider.name
    if isinstance(fault, UpstreamTimeout):
        attempt.outcome = Outcome.TIMEOUT
        return Problem(Reason.UPSTREAM_TIMEOUT, f"provider {name} gave {words_of(fault, provider)}", source=name)
    attempt.outcome = Outcome.BROKEN
    return Problem(Reason.UPSTREAM_INVALID, f"provider {name} {fault}", source=name)


def words_of(fault: UpstreamFault, provider: Provider) -> str:
    """What went wrong. Of a timeout it names what was set: the last wait in it may have been for what was left."""
    if isinstance(fault, UpstreamTimeout):
        fault = UpstreamTimeout(fault.phase, getattr(provider.timeouts, f"{fault.phase}_s"), sent=fault.sent)
    return str(fault)


def no_answer(attempt: AttemptRecord, problem: Problem) -> Problem:
    """What was read is no answer in the dialect, or is the upstream's own report of a failure."""
    provider = attempt.target.provider
    attempt.outcome = _OUTCOMES.get(problem.reason, Outcome.BROKEN)
    if problem.reason is Reason.UPSTREAM_ERROR:
        return scrubbed(_as_told(attempt, problem), provider)
    return replace(problem, message=f"provider {provider.name} {problem.message}", source=provider.name)


def error_answer(attempt: AttemptRecord, status: int, body: bytes, retry_after_s: float | None) -> Problem:
    """An answer with a status other than 200."""
    provider = attempt.target.provider
    attempt.outcome = Outcome.UPSTREAM_ERROR
    if status in (401, 403):
        return Problem(
            Reason.UPSTREAM_CREDENTIALS,
            f"provider {provider.name} refused headgate's credentials ({status}); "
            "whoever runs headgate must look at this provider's api_key",
            source=provider.name,
        )
    if not 400 <= status <= 599:
        attempt.outcome = Outcome.UPSTREAM_INVALID
        try:
            phrase = HTTPStatus(status).phrase
        except ValueError:
            phrase = "an unknown status"
        hint = "; its base_url has probably moved" if 300 <= status < 400 else ""
        message = f"provider {provider.name} answered {status} {phrase}{hint}"
        return Problem(Reason.UPSTREAM_INVALID, message, source=provider.name)
    problem = problems.upstream_problem(status, body, retry_after_s)
    if problem.message.startswith("answered "):  # our own words, where it had none
        problem = replace(problem, message=f"provider {provider.name} {problem.message}")
    return scrubbed(_as_told(attempt, problem), provider)


def _as_told(attempt: AttemptRecord, problem: Problem) -> Problem:
    """With its source. In another dialect the vendor's class of error has another name, which follows from the status,
    and its name for the field is not the client's; its own word stays as the code."""
    name = attempt.target.provider.name
    if attempt.translated_to is None:
        return replace(problem, source=name)
    return replace(problem, source=name, type=None, param=None, code=problem.code or problem.type)


def cannot_count(attempt: AttemptRecord) -> bool:
    """Whether a count of tokens failed because the upstream has none, so that an estimate may stand in."""
    return attempt.outcome is Outcome.UPSTREAM_ERROR and attempt.status in _NO_COUNT


def scrubbed(problem: Problem, provider: Provider) -> Problem:
    """Without the provider's key, should the provider have quoted it."""
    key = provider.api_key
    if not key or len(key) < _SHORTEST_SECRET:
        return problem

    def clean(text: str | None) -> str | None:
        return _without(key, text) if text else text

    return replace(
        problem,
        message=_without(key, problem.message),
        code=clean(problem.code),
        type=clean(problem.type),
        param=clean(problem.param),
    )


def _without(key: str, text: str) -> str:
    text = text.replace(key, "[api key]")
    # What was cut at its limit may end in the beginning of the key.
    size = next((n for n in range(min(len(key) - 1, len(text)), 3, -1) if text.endswith(key[:n])), 0)
    return text[:-size] + "[api key]" if size else text
