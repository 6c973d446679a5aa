"""A whole (not streamed) answer: is it one, and what did it take?

A 200 proves nothing: proxies answer with their own pages, engines with an error object, connections end early. Each
dialect's reader raises `NotAnAnswer` for what is none, and gives the usage of what is.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from headgate.errors import Problem, Reason
from headgate.wire.stream import problem_of
from headgate.wire.usage import Usage


class NotAnAnswer(ValueError):
    """A 200 that is not the dialect's answer. `problem` says what it was instead."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class Answer(NamedTuple):
    """usage: None where the upstream did not tell it. value: the answer, parsed; a translation reads it."""

    usage: Usage | None
    value: dict[str, Any]


def load(body: bytes, what: str) -> dict[str, Any]:
    """The answer's JSON object. `what` names the dialect in the error. An error object is told as the error it is."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        if not body.strip():
            raise not_an_answer(f"an empty body instead of {what}") from None
        kind = "an HTML page" if body.lstrip()[:1] == b"<" else "something that is not whole JSON"
        raise not_an_answer(f"{kind} instead of {what}") from None
    if not isinstance(value, dict):
        raise not_an_answer(f"JSON that is no object instead of {what}")
    if value.get("error"):
        raise NotAnAnswer(problem_of(value["error"]))
    return value


def objects(value: dict[str, Any], field: str, what: str) -> list[dict[str, Any]]:
    """The non-empty list of objects that the answer must hold in `field`."""
    items = value.get(field)
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        raise not_an_answer(f"JSON without {field!r} instead of {what}")
    return items


def not_an_answer(got: str) -> NotAnAnswer:
    return NotAnAnswer(Problem(Reason.UPSTREAM_INVALID, f"answered 200 with {got}"))
