"""A body is patched in place: what is not meant to change keeps its bytes, its order and its spelling."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.wire.json_object import JsonObject, NotAnObject

#: A body, what to change, and the bytes that must come out.
GOLDEN = [
    ("a value in its place", b'{"model":"a","n":1}', {"model": "b"}, b'{"model":"b","n":1}'),
    ("the order of keys", b'{"z":1,"model":"a","a":2}', {"model": "b"}, b'{"z":1,"model":"b","a":2}'),
    (
        "spellings of numbers",
        b'{"a":1.0,"b":1e5,"c":12345678901234567890123,"d":-0,"e":1E+2,"model":"a","f":0.10}',
        {"model": "b"},
        b'{"a":1.0,"b":1e5,"c":12345678901234567890123,"d":-0,"e":1E+2,"model":"b","f":0.10}',
    ),
    (
        "escapes and unicode",
        '{"a":"\\u00e9\\/\\"}{","é":"\u2028\U0001f30a","model":"a"}'.encode(),
        {"model": "b"},
        '{"a":"\\u00e9\\/\\"}{","é":"\u2028\U0001f30a","model":"b"}'.encode(),
    ),
    (
        "the same key further in",
        b'{"x":{"model":"a"},"y":[{"model":"a"}],"z":"\\"model\\":\\"a\\"","model":"a"}',
        {"model": "b"},
        b'{"x":{"model":"a"},"y":[{"model":"a"}],"z":"\\"model\\":\\"a\\"","model":"b"}',
    ),
    (
        "a string that looks like a key",
        b'{"a":"model","b":["model",":"],"model":"a"}',
        {"model": "b"},
        b'{"a":"model","b":["model",":"],"model":"b"}',
    ),
    (
        "white space",
        b' \r\n{ "model"\t:\n "a" , "n" : [ 1 , 2 ] } \n',
        {"model": "b", "n": 3},
        b' \r\n{ "model"\t:\n "b" , "n" : 3 } \n',
    ),
    ("a key written with escapes", b'{"mod\\u0065l":"a"}', {"model": "b"}, b'{"mod\\u0065l":"b"}'),
    ("a key with a quote", b'{"a\\"b":1,"model":"a"}', {'a"b': 2}, b'{"a\\"b":2,"model":"a"}'),
    ("the empty key", b'{"":1,"model":"a"}', {"": 2}, b'{"":2,"model":"a"}'),
    ("an object's place", b'{"o":{"a":[{}]},"m":1}', {"o": 1}, b'{"o":1,"m":1}'),
    ("a list's place", b'{"o":[[],{"]":"["}] ,"m":1}', {"o": {}}, b'{"o":{} ,"m":1}'),
    ("a literal's place", b'{"a":null,"b":true,"c":false}', {"a": 1, "b": 2, "c": 3}, b'{"a":1,"b":2,"c":3}'),
    ("a member that is new", b'{ "n":1}', {"model": "b"}, b'{"model":"b", "n":1}'),
    ("members that are new", b'{"n":1}', {"a": 1, "n": 2, "b": 3}, b'{"a":1,"b":3,"n":2}'),
    ("a member of the empty object", b" { } ", {"a": 1, "b": 2}, b' {"a":1,"b":2 } '),
    ("nothing", b'{"a" : 1.0}', {}, b'{"a" : 1.0}'),
]


@pytest.mark.parametrize(("raw", "changes", "expected"), [row[1:] for row in GOLDEN], ids=[row[0] for row in GOLDEN])
def test_a_change_leaves_everything_else_alone(raw, changes, expected):
    assert JsonObject(raw).replaced(changes) == expected


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b'{"model":"a","model":"b"}', "'model'"),
        (b'{"a":1,"mod\\u0065l":"a","model":"b"}', "'model'"),
        (b'{"":1,"":2}', "''"),
        (b'{"x":{"a":1,"b":[2]}, "y":0 , "x" : [ ]}', "'x'"),
    ],
)
def test_a_key_that_stands_twice_is_refused(raw, name):
    with pytest.raises(NotAnObject, match=f"the field {name} stands twice"):
        JsonObject(raw)


def test_a_key_that_stands_twice_further_in_is_the_upstreams_business():
    assert JsonObject(b'{"a":{"b":1,"b":2}}').replaced({"c": 0}) == b'{"c":0,"a":{"b":1,"b":2}}'


def test_a_refusal_does_not_repeat_an_endless_key():
    key = b'"' + b"k" * 100_000 + b'"'
    with pytest.raises(NotAnObject) as refused:
        JsonObject(b"{" + key + b":1," + key + b":2}")
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'{"a":1', "not valid JSON"),
        (b'{"a":1}x', "not valid JSON"),
        (b'{"a":1}{"b":2}', "not valid JSON"),
        (b'{"a":NaN}', "not valid JSON"),
        (b'{"a":01}', "not valid JSON"),
        (b"{'a':1}", "not valid JSON"),
        (b'{"a":"\xff"}', "not valid JSON"),
        (b'{"a":"\\ud800"}', "not valid JSON"),
        (b"\xef\xbb\xbf{}", "not valid JSON"),
        (b'{"a":"\n"}', "not valid JSON"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"null", "must be a JSON object, not null"),
        (b"[1]", "must be a JSON object, not a list"),
        (b'"a"', "must be a JSON object, not a string"),
        (b"1.5", "must be a JSON object, not a number"),
        (b"true", "must be a JSON object, not a boolean"),
    ],
)
def test_what_is_not_one_json_object_is_refused_in_words(raw, why):
    with pytest.raises(NotAnObject, match=why):
        JsonObject(raw)


def test_a_member_is_given_as_it_was_written():
    body = JsonObject(b'{"a" : { "b" :1.0 } ,"c":"\\u0041","d":[1, 2]\n}')
    assert [body.member(name) for name in "acd"] == [b'{ "b" :1.0 }', b'"\\u0041"', b"[1, 2]"]
    with pytest.raises(KeyError):
        body.member("b")


def test_depth_up_to_the_parsers_limit_is_patched():
    deep = b'{"model":"a","x":' + b"[" * 1000 + b'"]}"' + b"]" * 1000 + b',"y":1}'
    assert JsonObject(deep).replaced({"model": "b"}) == deep.replace(b'"a"', b'"b"')


# --- any object, in any spelling ---------------------------------------------------------------------------------

SPACES = st.text(" \t\r\n", max_size=2)
NUMBERS = st.sampled_from(["0", "-0", "1.0", "1e5", "1E-7", "12345678901234567890", "-2.50", "99999999999999999999999"])
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.sampled_from(["model", "stream", '"model":', "{", "]", "\\", '\\"', "a:b,c"]),
)


@st.composite
def spelled_strings(draw: st.DrawFn, text: str | None = None) -> str:
    """A JSON string, with escapes where they must be and here and there where they need not."""
    text = draw(TEXTS) if text is None else text
    return json.dumps(text, ensure_ascii=draw(st.booleans()))


@st.composite
def spelled_objects(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    members = [
        f"{draw(SPACES)}{draw(spelled_strings(key))}{draw(SPACES)}:{draw(SPACES)}{draw(values)}{draw(SPACES)}"
        for key in draw(st.lists(TEXTS, unique=True, max_size=4))
    ]
    return "{" + (",".join(members) or draw(SPACES)) + "}"


def spelled_lists(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(lambda items, space: f"[{space}{', '.join(items)}]", st.lists(values, max_size=3), SPACES)


VALUES = st.recursive(
    st.one_of(NUMBERS, spelled_strings(), st.sampled_from(["true", "false", "null"])),
    lambda inner: st.one_of(spelled_lists(inner), spelled_objects(inner)),
    max_leaves=6,
)
OBJECTS = st.builds(lambda a, body, z: (a + body + z).encode(), SPACES, spelled_objects(VALUES), SPACES)
CHANGES = st.dictionaries(
    TEXTS, st.one_of(st.booleans(), st.integers(0, 99), TEXTS, st.dictionaries(TEXTS, st.integers(0, 9))), max_size=3
)


def pieces(text: str) -> dict[str, tuple[int, int]]:
    """Where each top-level value stands, found by a parser that is not the one under test."""
    decoder = json.JSONDecoder()
    spans: dict[str, tuple[int, int]] = {}
    at = text.index("{") + 1
    while True:
        at += len(text[at:]) - len(text[at:].lstrip(" \t\r\n,"))
        if text[at] == "}":
            return spans
        key, at = decoder.raw_decode(text, at)
        at = text.index(":", at) + 1
        at += len(text[at:]) - len(text[at:].lstrip(" \t\r\n"))
        start = at
        _, at = decoder.raw_decode(text, at)
        spans[key] = (start, at)


@settings(max_examples=400, deadline=None)
@given(raw=OBJECTS, changes=CHANGES, data=st.data())
def test_a_change_reads_as_an_update_and_touches_nothing_else(raw: bytes, changes: dict[str, Any], data: st.DataObject):
    body = JsonObject(raw)
    if body.fields:
        changes = {**changes, data.draw(st.sampled_from(sorted(body.fields))): "new"}
    out = body.replaced(changes)
    assert orjson.loads(out) == {**orjson.loads(raw), **changes}
    text = raw.decode()
    before, after = pieces(text), pieces(out.decode())
    for key, (start, end) in before.items():
        if key not in changes:
            assert out.decode()[slice(*after[key])] == text[start:end]
    assert [key for key in after if key in before] == list(before)
    assert without(out.decode(), after, set(changes) - set(before)) == without(text, before, set())


def without(text: str, spans: dict[str, tuple[int, int]], new: set[str]) -> str:
    """All that stands between the values, without the members that were put first."""
    out, done = "", 0
    for key, (start, end) in spans.items():
        if key in new:
            done = end + (text[end] == ",")
            out = text[: text.index("{") + 1]
            continue
        out += text[done:start] + "\0"
        done = end
    return out + text[done:]


@settings(max_examples=200, deadline=None)
@given(raw=OBJECTS, changes=CHANGES)
def test_the_same_change_twice_is_the_change_once(raw: bytes, changes: dict[str, Any]):
    once = JsonObject(raw).replaced(changes)
    assert JsonObject(once).replaced(changes) == once


@settings(max_examples=200, deadline=None)
@given(raw=OBJECTS)
def test_each_member_is_found_as_it_was_written(raw: bytes):
    body = JsonObject(raw)
    for key, (start, end) in pieces(raw.decode()).items():
        assert body.member(key).decode() == raw.decode()[start:end]


@settings(max_examples=300, deadline=None)
@given(raw=st.one_of(st.binary(max_size=40), st.text('{}[]":,\\truefalsn0123.- \n', max_size=30).map(str.encode)))
def test_any_bytes_are_an_object_or_are_refused(raw: bytes):
    try:
        body = JsonObject(raw)
    except NotAnObject:
        return
    assert orjson.loads(body.replaced({"model": "b"}))["model"] == "b"
