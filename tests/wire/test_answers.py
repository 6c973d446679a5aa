"""A 200 is an answer only if it is one: everything else is told as what it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headgate.errors import Problem, Reason
from headgate.wire import anthropic_messages
from headgate.wire.answer import NotAnAnswer
from headgate.wire.dialect import Dialect
from headgate.wire.outgoing import READERS
from headgate.wire.usage import Usage

FIXTURES = Path(__file__).parent / "fixtures"
GOOD = sorted(
    str(path.relative_to(FIXTURES))[:-5]
    for path in FIXTURES.glob("*/*.json")
    if not path.stem.startswith("error_") and path.stem not in ("failed", "count_tokens")
)
EXPECTED = json.loads((FIXTURES / "expected.json").read_bytes())
COUNTS = ("input_tokens", "output_tokens", "cached_input_tokens", "cache_write_tokens", "reasoning_tokens")


def read(name: str) -> bytes:
    return (FIXTURES / f"{name}.json").read_bytes()


def refused(dialect: Dialect, body: bytes) -> Problem:
    with pytest.raises(NotAnAnswer) as fault:
        READERS[dialect](body)
    assert str(fault.value) == fault.value.problem.message
    return fault.value.problem


def test_every_dialect_has_its_answers():
    assert {name.split("/")[0] for name in GOOD} == set(Dialect)
    assert len(GOOD) > 25


@pytest.mark.parametrize("name", GOOD)
def test_a_golden_answer_is_read_with_its_usage(name):
    usage = READERS[Dialect(name.split("/")[0])](read(name)).usage
    assert usage is not None and usage.input_tokens is not None
    told = EXPECTED.get(name, {}).get("usage")
    if told:
        assert {k: v for k in COUNTS if (v := getattr(usage, k)) is not None} == told


@pytest.mark.parametrize(
    ("name", "usage"),
    [
        ("openai.chat/text", Usage(14, 12, 0, None, 0)),
        ("openai.embeddings/float", Usage(9, None)),
        ("openai.responses/reasoning", Usage(20, 140, 0, None, 128)),
        ("anthropic.messages/cache_usage", Usage(22005, 6, 20480, 1504)),
    ],
)
def test_the_usage_of_a_golden_answer(name, usage):
    got = READERS[Dialect(name.split("/")[0])](read(name)).usage
    assert got == usage


@pytest.mark.parametrize("name", [name for name in GOOD if not name.startswith("openai.embeddings")])
def test_an_answer_cut_at_any_byte_is_none(name):
    body = read(name).rstrip()
    for at in range(len(body)):
        assert refused(Dialect(name.split("/")[0]), body[:at]).reason is Reason.UPSTREAM_INVALID


BROKEN = [
    ("openai.chat/broken/error_in_200", Reason.UPSTREAM_ERROR, "The pump tripped while answering."),
    ("openai.chat/broken/half", Reason.UPSTREAM_INVALID, "something that is not whole JSON instead of a chat"),
    ("openai.chat/broken/html", Reason.UPSTREAM_INVALID, "an HTML page instead of a chat completion"),
    ("openai.chat/broken/no_choices", Reason.UPSTREAM_INVALID, "JSON without 'choices' instead of a chat completion"),
    ("openai.embeddings/broken/error_in_200", Reason.UPSTREAM_ERROR, "The pump tripped while answering."),
    ("openai.embeddings/broken/html", Reason.UPSTREAM_INVALID, "an HTML page instead of embeddings"),
    ("openai.responses/broken/error_in_200", Reason.UPSTREAM_ERROR, "The pump tripped while answering."),
    ("openai.responses/failed", Reason.UPSTREAM_ERROR, "The turbine stopped; please send the request again."),
    ("anthropic.messages/broken/html", Reason.UPSTREAM_INVALID, "an HTML page instead of a message"),
    ("anthropic.messages/error_first", Reason.UPSTREAM_ERROR, "Every mill is turning."),
    ("anthropic.messages/error_mid", Reason.UPSTREAM_ERROR, "Every mill is turning."),
]


@pytest.mark.parametrize(("name", "reason", "says"), BROKEN, ids=[row[0] for row in BROKEN])
def test_a_broken_answer_is_told_as_what_it_is(name, reason, says):
    problem = refused(Dialect(name.split("/")[0]), read(name))
    assert problem.reason is reason and problem.status == 502
    assert says in problem.message


def test_every_broken_answer_has_its_row():
    assert {row[0] for row in BROKEN if "/broken/" in row[0]} == {
        str(path.relative_to(FIXTURES))[:-5] for path in FIXTURES.glob("*/broken/*.json")
    }


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "an empty body"),
        (b" \r\n ", "an empty body"),
        (b"<html></html>", "an HTML page"),
        (b"\n <!doctype html>", "an HTML page"),
        (b"OK", "something that is not whole JSON"),
        (b'{"a":', "something that is not whole JSON"),
        (b'{"a":"\xff"}', "something that is not whole JSON"),
        (b"[" * 5000, "something that is not whole JSON"),
        (b"null", "JSON that is no object"),
        (b"[{}]", "JSON that is no object"),
        (b'"ok"', "JSON that is no object"),
        (b"{}", "instead of"),
        (b'{"error":null}', "instead of"),
        (b'{"status":"ok","object":"response"}', "instead of"),
    ],
)
def test_what_is_no_answer_of_any_dialect(dialect, body, says):
    problem = refused(dialect, body)
    assert problem.reason is Reason.UPSTREAM_INVALID and problem.status == 502
    assert problem.message.startswith("answered 200 with ") and says in problem.message


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize(
    ("error", "says", "kind", "code"),
    [
        ({"message": "no steam", "type": "server_error", "code": "busy"}, "no steam", "server_error", "busy"),
        ({"message": "no steam", "code": 502}, "no steam", None, "502"),
        ("no steam", "no steam", None, None),
        ({"message": 5, "type": 6, "code": True, "param": 7}, "the upstream reported an error", None, None),
        ({"message": "x" * 9000}, "x" * 4000, None, None),
        (True, "the upstream reported an error", None, None),
        (["no steam"], "the upstream reported an error", None, None),
    ],
    ids=["object", "number as code", "string", "wrong types", "endless", "true", "list"],
)
def test_an_error_in_a_200_is_told_in_its_own_words(dialect, error, says, kind, code):
    problem = refused(dialect, json.dumps({"error": error}).encode())
    assert problem == Problem(Reason.UPSTREAM_ERROR, says, type=kind, code=code)


@pytest.mark.parametrize(
    ("dialect", "body", "says"),
    [
        (Dialect.CHAT, {"choices": []}, "'choices'"),
        (Dialect.CHAT, {"choices": {}}, "'choices'"),
        (Dialect.CHAT, {"choices": [None]}, "'choices'"),
        (Dialect.CHAT, {"choices": [{"index": 0}]}, "a choice without a message"),
        (Dialect.CHAT, {"choices": [{"message": {}}, {"message": "hi"}]}, "a choice without a message"),
        (Dialect.COMPLETIONS, {"choices": [{"message": {}}]}, "a choice without text"),
        (Dialect.COMPLETIONS, {"choices": [{"text": None}]}, "a choice without text"),
        (Dialect.EMBEDDINGS, {"data": []}, "'data'"),
        (Dialect.EMBEDDINGS, {"data": [{"index": 0}]}, "an item without its embedding"),
        (Dialect.RESPONSES, {"object": "response", "output": None}, "'output'"),
        (Dialect.MESSAGES, {"type": "message", "content": "hi"}, "JSON that is no message"),
        (Dialect.MESSAGES, {"type": "completion", "content": []}, "JSON that is no message"),
        (Dialect.MESSAGES, {"type": "message", "content": [], "stop_reason": None}, "without a stop reason"),
        (Dialect.MESSAGES, {"type": "message", "content": [], "stop_reason": ""}, "without a stop reason"),
    ],
)
def test_an_answer_that_lacks_what_makes_it_one(dialect, body, says):
    problem = refused(dialect, json.dumps(body).encode())
    assert problem.reason is Reason.UPSTREAM_INVALID and says in problem.message


def test_a_choice_that_failed_makes_the_answer_a_failure():
    failed = {"message": {"content": "half"}, "finish_reason": "error", "error": {"message": "no steam", "code": 502}}
    problem = refused(Dialect.CHAT, json.dumps({"choices": [{"message": {}}, failed]}).encode())
    assert problem == Problem(Reason.UPSTREAM_ERROR, "no steam", code="502")


def test_a_response_that_failed_without_saying_why_is_a_failure():
    problem = refused(Dialect.RESPONSES, b'{"object":"response","status":"failed","output":[]}')
    assert problem == Problem(Reason.UPSTREAM_ERROR, "the upstream reported an error")


@pytest.mark.parametrize("status", ["completed", "incomplete", "in_progress", "queued", "cancelled"])
def test_a_response_that_did_not_fail_is_an_answer(status):
    body = json.dumps({"object": "response", "status": status, "error": None, "output": []}).encode()
    assert READERS[Dialect.RESPONSES](body).usage is None


def test_an_answer_without_usage_is_an_answer():
    assert READERS[Dialect.CHAT](b'{"choices":[{"message":{}}],"usage":"none"}').usage is None


def test_a_count_of_tokens_is_read():
    body = (FIXTURES / "anthropic.messages" / "count_tokens.json").read_bytes()
    assert anthropic_messages.read_count(body) == json.loads(body)["input_tokens"]
    for wrong in (b"", b"{}", b'{"input_tokens":"7"}', b'{"input_tokens":true}', b'{"input_tokens":-1}', b"7"):
        with pytest.raises(NotAnAnswer):
            anthropic_messages.read_count(wrong)


def test_an_estimated_count_says_that_it_is_one():
    assert json.loads(anthropic_messages.count_answer(7)) == {"input_tokens": 7, "estimated": True}
    assert anthropic_messages.read_count(anthropic_messages.count_answer(7)) == 7
