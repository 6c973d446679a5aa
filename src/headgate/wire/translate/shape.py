"""What converters say of JSON that they cannot use, and the checks that find it.

A body comes from outside: any value may have any type. Converters read it through these checks, or check themselves,
so that a fault is named where it is, and whose it is. `Refusal` is about the client's request, `Malformed` about the
upstream's answer. Paths are put together on the way out, so that they cost nothing where all is well:

    for index, message in enumerate(messages):
        try:
            ...
        except Refusal as refusal:
            raise refusal.within(f"messages[{index}]")
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import orjson

from headgate.errors import Problem, Reason

T = TypeVar("T")

_LONGEST_FIELD = 200


class Refusal(ValueError):
    """The client's request cannot be carried to this upstream. field: the path of what is meant, in its dialect. why:
    the rest of a sentence that begins with the field's name. valid: whether the dialect allows what was written."""

    def __init__(self, field: str, why: str, *, valid: bool = True) -> None:
        super().__init__(f"'{field}' {why}")
        self.field = field
        self.why = why
        self.valid = valid

    def within(self, outer: str) -> Refusal:
        """The same, seen from one level further out."""
        joint = "" if not self.field or self.field.startswith("[") else "."
        return Refusal(f"{outer}{joint}{self.field}", self.why, valid=self.valid)

    def problem(self, target: str) -> Problem:
        """As an answer to the client."""
        reason = Reason.NOT_TRANSLATABLE if self.valid else Reason.BAD_REQUEST
        field = self.field[:_LONGEST_FIELD]  # some of it may be a name that the client made up
        said = f"'{field}' {self.why}" if field else self.why
        if self.valid and target not in said:
            said += f" (the target is {target})"
        return Problem(reason, said, param=field or None)


class Malformed(ValueError):
    """The upstream's answer is not what its dialect promises; the message continues "provider X ..."."""


def wrong(field: str, must: str) -> Refusal:
    """A value that the client's own dialect does not allow. must: "must be a string"."""
    return Refusal(field, must, valid=False)


def string(value: Any, field: str) -> str:
    if isinstance(value, str):
        return value
    raise wrong(field, "must be a string")


def items(value: Any, field: str) -> list[dict[str, Any]]:
    """A list of objects; an absent one is empty."""
    if value is None:
        return []
    if isinstance(value, list):
        for item in value:
            if not isinstance(item, dict):
                raise wrong(field, "must be a list of objects")
        return value
    raise wrong(field, "must be a list of objects")


def flag(value: Any, field: str) -> bool:
    """True or false; an absent one is false."""
    if value is None or isinstance(value, bool):
        return bool(value)
    raise wrong(field, "must be true or false")


def integer(value: Any, field: str, least: int = 0) -> int | None:
    """An integer of at least `least`, or None where it is absent."""
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return value
    raise wrong(field, f"must be an integer of at least {least}" if least else "must be an integer, not negative")


def number(value: Any, field: str) -> float | None:
    """A number as it was written, or None where it is absent."""
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise wrong(field, "must be a number")


def each(value: Any, field: str, read: Callable[[dict[str, Any]], T]) -> list[T]:
    """`read` of every object of a list; a refusal says which one it was about."""
    made = []
    for index, item in enumerate(items(value, field)):
        try:
            made.append(read(item))
        except Refusal as refusal:
            raise refusal.within(f"{field}[{index}]") from None
    return made


def is_object(text: str) -> bool:
    """Whether the text is the JSON of an object."""
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False


def mapping(value: Any, field: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise wrong(field, "must be an object")
