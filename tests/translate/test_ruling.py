"""What the table says of a request: one rule at every depth."""

from __future__ import annotations

import pytest

from headgate.wire.dialect import Dialect
from headgate.wire.translate.fields import carried, dropped, here, refused
from headgate.wire.translate.ruling import Ruling
from headgate.wire.translate.shape import Refusal
from headgate.wire.translate.upstream import Upstream

ROWS = {
    "a": carried(),
    "b": here(""),
    "c": dropped("a hint", False, 0),
    "d": refused("it has none", 1),
    "tools[].c": dropped("a hint", "x"),
    "tools[].d": refused("it has none"),
    "tools[].e": carried(),
    "tools[]:k": refused("it has none of that kind"),
}
KNOWN = frozenset({"type"})


@pytest.fixture
def ruling() -> Ruling:
    return Ruling(ROWS, Upstream("up/m", "m", Dialect.MESSAGES), [])


def test_what_is_dropped_is_noted_and_what_asks_for_nothing_is_not(ruling):
    ruling.top({"a": 1, "b": 1, "c": True})
    ruling.top({"c": False, "d": 1})
    ruling.top({"c": None, "d": None, "unknown": None})
    ruling.rest({"type": "f", "c": "y", "e": 5}, KNOWN, "tools[]")
    ruling.rest({"type": "f", "c": "x", "unknown": None}, KNOWN, "tools[]")
    assert ruling.dropped == ["c", "tools[].c"]


def test_an_idle_value_is_idle_in_its_own_type_only(ruling):
    ruling.top({"c": 0})
    ruling.top({"c": False})
    assert ruling.dropped == []
    ruling.top({"c": 0.0})
    assert ruling.dropped == ["c"]
    with pytest.raises(Refusal):
        ruling.top({"d": True})


@pytest.mark.parametrize(
    ("given", "field"),
    [({"d": 2}, "d"), ({"unknown": False}, "unknown"), ({"": []}, '""'), ({"unknown": {}}, "unknown")],
)
def test_what_is_refused_or_unknown_is_named_at_every_depth(ruling, given, field):
    with pytest.raises(Refusal) as top:
        ruling.top(given)
    assert top.value.field == field and top.value.valid
    with pytest.raises(Refusal) as nested:
        ruling.rest(given, KNOWN, "tools[]")
    assert nested.value.field == field and "up/m, which speaks anthropic.messages" in nested.value.why
    with pytest.raises(Refusal) as inner:
        ruling.rest({"d": 2}, KNOWN, "tools[]", "function")
    assert inner.value.field == "function.d"


@pytest.mark.parametrize("name", ["tools[].c", "tools[].e", "tools[]:k"])
def test_the_name_of_a_path_is_no_field(ruling, name):
    with pytest.raises(Refusal) as caught:
        ruling.top({name: 5})
    assert caught.value.field == name and "not a field" in caught.value.why


def test_a_type_is_refused_with_its_rows_reason_or_as_unknown(ruling):
    assert "it has none of that kind" in ruling.kind("k", "tools[]", "[0]").why
    assert "not a type that headgate knows" in ruling.kind("z", "tools[]", "[0]").why
    assert not ruling.kind(5, "tools[]", "type").valid


def test_only_a_row_can_be_dropped(ruling):
    ruling.drop("a")
    assert ruling.dropped == ["a"]
    with pytest.raises(AssertionError):
        ruling.drop("tools[].typo")
