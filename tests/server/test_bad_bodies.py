"""Bodies that cannot be served: a 400 in the client's dialect that says what is wrong, and nothing is sent upstream."""

from __future__ import annotations

import json
import string
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import speech
from gateway.raw import Wire, ask, post
from gateway.running import RunningGateway, provider
from gateway.speech import CHAT, COMPLETIONS, COUNT_PATH, EMBEDDINGS_PATH, MESSAGES, RESPONSES, USER
from headgate.relay.record import Outcome
from headgate.testing import ScriptedUpstream

PATHS = [*(say.path for say in speech.ALL), EMBEDDINGS_PATH, COUNT_PATH]


def dialect_of(path: str):
    return MESSAGES if path.startswith("/v1/messages") else CHAT


BAD = {
    "nothing": (b"", "JSON"),
    "white space": (b" \n", "JSON"),
    "text": (b"hello", "JSON"),
    "half an object": (b'{"model": "m"', "JSON"),
    "a list": (b"[]", "a list"),
    "a string": (b'"m"', "a string"),
    "a number": (b"1e3", "a number"),
    "null": (b"null", "null"),
    "invalid UTF-8": (b'{"model": "m\xff"}', "JSON"),
    "a lone surrogate": (b'{"model": "m", "x": "\\ud800"}', "JSON"),
    "NaN": (b'{"model": NaN}', "JSON"),
    "a BOM": (b'\xef\xbb\xbf{"model":"m"}', "JSON"),
    "UTF-16": ('{"model":"m"}'.encode("utf-16"), "JSON"),
    "deep lists": (b'{"model":"m","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}", ""),
    "deep objects": (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, ""),
    "deep and open": (b"[" * 1_000_000, ""),
    "gzip": (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", "JSON"),
    "a field twice": (b'{"model":"m","model":"m"}', "twice"),
    "an escaped field twice": (b'{"model":"m","mod\\u0065l":"m"}', "twice"),
    "no model": (b"{}", "model"),
    "model null": (b'{"model":null}', "model"),
    "model a number": (b'{"model":1}', "model"),
    "model empty": (b'{"model":" "}', "model"),
    "model a list": (b'{"model":["m"]}', "model"),
    "model with a line break": (b'{"model":"m\\r\\nx: y"}', "model"),
    "a model of a megabyte": (b'{"model":"' + b"m" * (1 << 20) + b'"}', "model"),
    "only a model": (b'{"model":"m"}', "must provide"),
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """One gateway and one upstream for all of these, since nothing may come through."""
    with ScriptedUpstream() as upstream:
        config = {"providers": [provider(upstream)]}
        running = RunningGateway(config, tmp_path_factory.mktemp("bad-bodies")).start()
        yield running, upstream
        running.stop()
    assert upstream.malformed == [] and running.defects == []
    assert running.errors_logged() == []


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", BAD)
def test_a_bad_body_is_a_400_that_says_why(stage, name, path):
    running, upstream = stage
    raw, says = BAD[name]
    refused(running, upstream, path, raw, says)


WRONG_TYPES = [
    (CHAT.path, {"messages": "hi"}, "messages"),
    (CHAT.path, {"messages": []}, "messages"),
    (CHAT.path, {"messages": [1]}, "messages[0]"),
    (CHAT.path, {"messages": [{}]}, "messages[0].role"),
    (CHAT.path, {"messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
    (CHAT.path, {"messages": USER, "stream": "yes"}, "stream"),
    (CHAT.path, {"messages": USER, "stream": 1}, "stream"),
    (CHAT.path, {"messages": USER, "n": 0}, "n"),
    (CHAT.path, {"messages": USER, "n": 1e9}, "n"),
    (CHAT.path, {"messages": USER, "n": True}, "n"),
    (CHAT.path, {"messages": USER, "max_tokens": -1}, "max_tokens"),
    (CHAT.path, {"messages": USER, "max_tokens": "many"}, "max_tokens"),
    (CHAT.path, {"messages": USER, "max_completion_tokens": 1.5}, "max_completion_tokens"),
    (CHAT.path, {"messages": USER, "stream_options": []}, "stream_options"),
    (CHAT.path, {"messages": USER, "tools": {}}, "tools"),
    (CHAT.path, {"messages": USER, "tools": ["x"]}, "tools"),
    (COMPLETIONS.path, {"prompt": {}}, "prompt"),
    (COMPLETIONS.path, {"prompt": []}, "prompt"),
    (COMPLETIONS.path, {"prompt": "x", "best_of": 1000}, "best_of"),
    (RESPONSES.path, {"input": 1}, "input"),
    (RESPONSES.path, {"input": "x", "max_output_tokens": []}, "max_output_tokens"),
    (EMBEDDINGS_PATH, {"input": []}, "input"),
    (EMBEDDINGS_PATH, {"input": {}}, "input"),
    (EMBEDDINGS_PATH, {"input": "x", "stream": True}, "stream"),
    (MESSAGES.path, {"messages": USER}, "max_tokens"),
    (MESSAGES.path, {"max_tokens": 9}, "messages"),
    (MESSAGES.path, {"messages": USER, "max_tokens": 9, "system": 1}, "system"),
    (MESSAGES.path, {"messages": USER, "max_tokens": None}, "max_tokens"),
    (COUNT_PATH, {"messages": 5}, "messages"),
]


@pytest.mark.parametrize(("path", "fields", "says"), WRONG_TYPES)
def test_a_wrong_field_is_a_400_that_names_it(stage, path, fields, says):
    running, upstream = stage
    error = refused(running, upstream, path, json.dumps({"model": "m", **fields}).encode(), says)
    if dialect_of(path) is CHAT:
        assert error["param"] == says


def refused(running, upstream, path: str, raw: bytes, says: str) -> dict:
    running.forget()
    before = len(upstream.requests)
    response = ask(running.port, post(path, raw))
    error = dialect_of(path).error_of(response.json())
    assert response.status == 400 and error["source"] == "headgate", response
    assert says in error["message"] and len(error["message"]) < 1000
    assert error["type"] == "invalid_request_error"
    assert len(upstream.requests) == before
    record = running.record()
    assert (record.outcome, record.status, record.attempts) == (Outcome.REFUSED, 400, [])
    assert response.header("x-headgate-request-id") == record.id
    return error


# Anything at all, over the wire

TEXTS = st.text(max_size=20)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=12
)
#: Fields that mean something, with values that are right, nearly right, or anything.
NAMES = ("messages", "prompt", "input", "max_tokens", "max_completion_tokens", "max_output_tokens", "stream", "n")
MORE = ("stream_options", "tools", "system", "instructions", "tool_choice", "best_of", "response_format", "metadata")
LIKELY = st.sampled_from([USER, "hi", ["hi"], 1, 16, True, False, [{"role": "user"}], {"include_usage": True}])
OBJECTS = st.builds(
    lambda model, fields, rest: {**rest, **fields, **model},
    st.dictionaries(st.just("model"), st.sampled_from(["m", "up/m", "none"]) | VALUES, max_size=1),
    st.dictionaries(st.sampled_from(NAMES + MORE), LIKELY | VALUES, max_size=5),
    st.dictionaries(TEXTS, VALUES, max_size=3),
)
WHOLE = OBJECTS.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass"))
CUT = st.builds(lambda raw, at: raw[: at % (len(raw) + 1)], WHOLE, st.integers(0, 1 << 16))
SPOILED = st.builds(
    lambda raw, at, byte: raw[: at % (len(raw) + 1)] + bytes([byte]) + raw[at % (len(raw) + 1) :],
    WHOLE,
    st.integers(0, 1 << 16),
    st.integers(0, 255),
)
BODIES = WHOLE | CUT | SPOILED | st.binary(max_size=200)

TOKENS = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=20)
KNOWN = st.sampled_from(
    (
        *("authorization", "x-api-key", "anthropic-version", "user-agent", "accept", "expect", "content-encoding"),
        *("origin", "sec-fetch-site", "x-headgate-profile", "traceparent", "connection", "te", "cookie"),
    )
)
CONTENTS = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40)
HEADERS = st.lists(st.tuples(KNOWN | TOKENS, CONTENTS), max_size=5)
#: These change where a body ends, or have answers of their own.
FRAMING = {"content-length", "transfer-encoding", "upgrade", "host"}


def anything(stage, path: str, body: bytes, headers: list[tuple[str, str]], kind: str) -> None:
    running, _ = stage
    lines = [f"{name}: {value}" for name, value in headers if name.lower() not in FRAMING]
    with Wire(running.port) as wire:
        response = wire.send(post(path, body, *lines, f"content-type: {kind}", "connection: close")).response()
    assert response.whole and response.status != 500 and response.status, response
    if response.status == 200 and response.header("content-type") != "application/json":
        assert response.events, response
        return
    value: Any = response.json()
    if response.status != 200:
        # Where the path itself could not be read, no dialect is known yet.
        told = MESSAGES if value.get("type") == "error" else CHAT
        say = dialect_of(path) if response.header("x-headgate-request-id") else told
        assert say.error_of(value)["source"] in ("headgate", "up")
    assert running.defects == []


KINDS = st.sampled_from(["application/json", "application/json", "application/json; charset=utf-8", "text/plain"])
ANYTHING = {"path": st.sampled_from(PATHS), "body": BODIES, "headers": HEADERS, "kind": KINDS}
CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(max_examples=200, deadline=None, suppress_health_check=CHECKS)
@given(**ANYTHING)
def test_no_body_and_no_header_makes_a_500(stage, path, body, headers, kind):
    anything(stage, path, body, headers, kind)


@pytest.mark.long
@settings(max_examples=5000, deadline=None, suppress_health_check=CHECKS)
@given(**ANYTHING)
def test_no_body_and_no_header_makes_a_500_in_five_thousand(stage, path, body, headers, kind):
    anything(stage, path, body, headers, kind)


@settings(max_examples=100, deadline=None, suppress_health_check=CHECKS)
@given(raw=st.binary(max_size=300), spoiled=st.integers(0, 1 << 16), byte=st.integers(0, 255))
def test_no_bytes_at_all_make_a_500(stage, raw, spoiled, byte):
    running, _ = stage
    request = bytearray(CHAT.request("connection: close"))
    request[spoiled % len(request)] = byte
    for data in (raw + b"\r\n\r\n", bytes(request)):
        with Wire(running.port) as wire:
            wire.try_send(data)
            wire.finish()
            response = wire.response()
            assert response.status != 500, response
    assert running.defects == []
