"""A client's request: what goes upstream, byte for byte, and what is refused before that."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headgate.errors import Problem, Reason
from headgate.wire.anthropic_messages import MessagesMeter
from headgate.wire.dialect import COUNT_TOKENS_PATH, PATHS, Dialect
from headgate.wire.openai_chat import ChoicesMeter
from headgate.wire.openai_completions import CompletionsMeter, choices_asked
from headgate.wire.openai_responses import ResponsesMeter
from headgate.wire.outgoing import meter_of
from headgate.wire.request import Request, parse

CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES, MESSAGES = (
    Dialect.CHAT,
    Dialect.COMPLETIONS,
    Dialect.EMBEDDINGS,
    Dialect.RESPONSES,
    Dialect.MESSAGES,
)
USER = [{"role": "user", "content": "?"}]
BODIES: dict[Dialect, dict[str, Any]] = {
    CHAT: {"messages": USER},
    COMPLETIONS: {"prompt": "?"},
    EMBEDDINGS: {"input": "?"},
    RESPONSES: {"input": "?"},
    MESSAGES: {"max_tokens": 9, "messages": USER},
}
ABSENT = object()


def accepted(dialect: Dialect, raw: bytes, *, count_only: bool = False) -> Request:
    request = parse(dialect, raw, count_only=count_only)
    assert isinstance(request, Request), request
    return request


def sent(dialect: Dialect, raw: bytes, model: str = "m") -> bytes:
    return accepted(dialect, raw).upstream_body(model)


def body(dialect: Dialect, **fields: Any) -> bytes:
    whole = {"model": "m", **BODIES[dialect], **fields}
    return json.dumps({k: v for k, v in whole.items() if v is not ABSENT}).encode()


# --- what goes upstream ------------------------------------------------------------------------------------------

ASKING = b'{"include_usage":true}'

GOLDEN = [
    (
        "a body in its own name passes untouched",
        CHAT,
        b' { "messages":[{"role":"user","content":"?"}], "temperature":1.0, "model":"m" } ',
        b' { "messages":[{"role":"user","content":"?"}], "temperature":1.0, "model":"m" } ',
    ),
    (
        "the model is renamed in its place",
        CHAT,
        b'{"seed":-0,"model" : "up/m","messages":[{"role":"user","content":"?","model":"up/m"}],"x":{"model":1e5}}',
        b'{"seed":-0,"model" : "m","messages":[{"role":"user","content":"?","model":"up/m"}],"x":{"model":1e5}}',
    ),
    (
        "a stream is asked for its usage",
        CHAT,
        b'{"model":"m","messages":[{"role":"user","content":"?"}],"stream":true}',
        b'{"stream_options":' + ASKING + b',"model":"m","messages":[{"role":"user","content":"?"}],"stream":true}',
    ),
    (
        "empty options are asked for usage",
        CHAT,
        b'{"model":"m","stream":true,"stream_options":{},"messages":[{"role":"user","content":"?"}]}',
        b'{"model":"m","stream":true,"stream_options":' + ASKING + b',"messages":[{"role":"user","content":"?"}]}',
    ),
    (
        "options that are null are asked for usage",
        COMPLETIONS,
        b'{"model":"m","prompt":"?","stream":true,"stream_options" : null }',
        b'{"model":"m","prompt":"?","stream":true,"stream_options" : ' + ASKING + b" }",
    ),
    (
        "a wish for no usage is not passed on",
        CHAT,
        b'{"model":"m","stream":true,"stream_options":{ "include_usage" : false },'
        b'"messages":[{"role":"user","content":"?"}]}',
        b'{"model":"m","stream":true,"stream_options":{ "include_usage" : true },'
        b'"messages":[{"role":"user","content":"?"}]}',
    ),
    (
        "other options keep their bytes",
        COMPLETIONS,
        b'{"model":"m","prompt":"?","stream":true,"stream_options":{"x" : 1.0, "big":123456789012345678901234567890}}',
        b'{"model":"m","prompt":"?","stream":true,"stream_options":'
        b'{"include_usage":true,"x" : 1.0, "big":123456789012345678901234567890}}',
    ),
    (
        "a client that asked for usage is left alone",
        CHAT,
        b'{"model":"m","stream":true,"stream_options":{"include_usage" :true},'
        b'"messages":[{"role":"user","content":"?"}]}',
        b'{"model":"m","stream":true,"stream_options":{"include_usage" :true},'
        b'"messages":[{"role":"user","content":"?"}]}',
    ),
    (
        "no stream, no options",
        CHAT,
        b'{"model":"m","stream":false,"messages":[{"role":"user","content":"?"}]}',
        b'{"model":"m","stream":false,"messages":[{"role":"user","content":"?"}]}',
    ),
    (
        "responses tell their usage unasked",
        RESPONSES,
        b'{"model":"up/m","input":"?","stream":true,"stream_options":{"include_obfuscation":false}}',
        b'{"model":"m","input":"?","stream":true,"stream_options":{"include_obfuscation":false}}',
    ),
    (
        "messages tell their usage unasked",
        MESSAGES,
        b'{"model":"up/m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"?"}]}',
        b'{"model":"m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"?"}]}',
    ),
    (
        "embeddings are renamed",
        EMBEDDINGS,
        b'{"input":[[1,2],[3]],"dimensions":8,"model":"up/m"}',
        b'{"input":[[1,2],[3]],"dimensions":8,"model":"m"}',
    ),
]


@pytest.mark.parametrize(
    ("dialect", "raw", "expected"), [row[1:] for row in GOLDEN], ids=[row[0].replace(" ", "_") for row in GOLDEN]
)
def test_a_body_goes_upstream_with_only_what_must_differ(dialect, raw, expected):
    assert sent(dialect, raw) == expected


def test_a_model_with_quotes_and_unicode_is_written_as_json():
    assert json.loads(sent(CHAT, body(CHAT), 'mö"del/é')) == {"model": 'mö"del/é', "messages": USER}


def test_deep_stream_options_are_patched_and_not_lost():
    """Deeper than a JSON writer goes, and still within what the parser reads."""
    deep = b"[" * 600 + b"]" * 600
    raw = b'{"model":"m","prompt":"?","stream":true,"stream_options":{"x":' + deep + b"}}"
    assert sent(COMPLETIONS, raw) == raw.replace(b'{"x":', b'{"include_usage":true,"x":')


def test_options_that_hold_a_field_twice_are_refused():
    raw = b'{"model":"m","prompt":"?","stream":true,"stream_options":{"include_usage":true,"include_usage":false}}'
    problem = parse(COMPLETIONS, raw)
    assert isinstance(problem, Problem) and problem.param == "stream_options"
    assert problem.message == "'stream_options': the field 'include_usage' stands twice"


# --- responses have no state -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"conversation": {"id": "conv_1"}}, "conversation"),
        ({"input": ABSENT, "prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"background": True}, "background"),
        ({"input": ["x", {"type": "item_reference", "id": "msg_1"}]}, "input[1]"),
        ({"tools": [{"type": "function", "name": "f"}, {"type": "web_search"}]}, "tools[1]"),
        *(
            ({"tools": [{"type": kind}]}, "tools[0]")
            for kind in ("web_search_preview_2025_03_11", "file_search", "code_interpreter", "image_generation", "mcp")
        ),
    ],
)
def test_what_would_live_on_at_a_vendor_is_refused_by_name(fields, param):
    problem = parse(RESPONSES, body(RESPONSES, **fields))
    assert isinstance(problem, Problem)
    assert (problem.reason, problem.status, problem.param) == (Reason.BAD_REQUEST, 400, param)
    assert problem.message.startswith(f"'{param}' ")


# --- what is known of it -----------------------------------------------------------------------------------------


def test_each_dialect_has_its_meter():
    assert type(meter_of(accepted(CHAT, body(CHAT)))) is ChoicesMeter
    assert type(meter_of(accepted(COMPLETIONS, body(COMPLETIONS)))) is CompletionsMeter
    assert type(meter_of(accepted(RESPONSES, body(RESPONSES)))) is ResponsesMeter
    assert type(meter_of(accepted(MESSAGES, body(MESSAGES)))) is MessagesMeter


def test_only_true_makes_a_stream():
    for dialect in (CHAT, COMPLETIONS, RESPONSES, MESSAGES):
        assert accepted(dialect, body(dialect, stream=True)).stream is True
        for value in (False, None, ABSENT):
            assert accepted(dialect, body(dialect, stream=value)).stream is False


@pytest.mark.parametrize(
    ("prompt", "n", "choices"),
    [
        ("a", None, 1),
        ("", 3, 3),
        (["a", "b"], None, 2),
        (["a", "b"], 3, 6),
        ([1, 2, 3], None, 1),
        ([1, 2, 3], 2, 2),
        ([[1, 2], [3]], None, 2),
    ],
)
def test_a_completion_has_a_choice_for_each_prompt_and_n(prompt, n, choices):
    assert choices_asked(accepted(COMPLETIONS, body(COMPLETIONS, prompt=prompt, n=n)).fields) == choices


def test_the_estimate_grows_with_the_body():
    small, large = (accepted(CHAT, body(CHAT, x="y" * size)) for size in (0, 4000))
    assert large.estimated_tokens() - small.estimated_tokens() == 1000


def test_a_picture_is_not_estimated_by_the_size_of_its_base64():
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 900_000}}
    request = accepted(CHAT, body(CHAT, messages=[{"role": "user", "content": [picture]}]))
    assert 1000 < request.estimated_tokens() < 4000


def test_every_dialect_has_a_path_of_its_own():
    assert sorted(PATHS) == sorted(Dialect)
    assert len({*PATHS.values(), COUNT_TOKENS_PATH}) == len(Dialect) + 1


# --- what is refused ---------------------------------------------------------------------------------------------

STREAMING = (CHAT, COMPLETIONS, RESPONSES, MESSAGES)
NOT_A_STRING = [None, 1, 1.5, True, [], {}, ""]
NOT_A_BOOLEAN = [0, 1, "true", "", [], {}]
NOT_A_COUNT = [-1, 1.5, "1", True, False, [], {}, 2**70, -(2**70)]

REFUSED: list[tuple[str, Dialect, dict[str, Any], str]] = [
    *[("model", d, {"model": v}, "model") for d in Dialect for v in [ABSENT, *NOT_A_STRING, "  ", "m" * 513, "a\nb"]],
    *[("stream", d, {"stream": v}, "stream") for d in STREAMING for v in NOT_A_BOOLEAN],
    ("stream", EMBEDDINGS, {"stream": True}, "stream"),
    *[("n", d, {"n": v}, "n") for d in (CHAT, COMPLETIONS) for v in [*NOT_A_COUNT, 0, 129]],
    *[("best_of", COMPLETIONS, {"best_of": v}, "best_of") for v in [*NOT_A_COUNT, 0, 129]],
    *[("limit", d, {"max_tokens": v}, "max_tokens") for d in (CHAT, COMPLETIONS, MESSAGES) for v in NOT_A_COUNT],
    *[("limit", CHAT, {"max_completion_tokens": v}, "max_completion_tokens") for v in NOT_A_COUNT],
    *[("limit", RESPONSES, {"max_output_tokens": v}, "max_output_tokens") for v in NOT_A_COUNT],
    *[("limit", MESSAGES, {"max_tokens": v}, "max_tokens") for v in (None, ABSENT)],
    *[
        ("options", d, {"stream_options": v}, "stream_options")
        for d in (CHAT, COMPLETIONS, RESPONSES)
        for v in (1, "x", [], True, False, [{}])
    ],
    *[
        ("include_usage", d, {"stream_options": {"include_usage": v}}, "stream_options.include_usage")
        for d in (CHAT, COMPLETIONS, RESPONSES)
        for v in NOT_A_BOOLEAN
    ],
    *[
        ("tools", d, {"tools": v}, "tools")
        for d in (CHAT, RESPONSES, MESSAGES)
        for v in (1, "x", {}, ["x"], [{}, None])
    ],
    *[("messages", d, {"messages": v}, "messages") for d in (CHAT, MESSAGES) for v in (ABSENT, None, [], {}, "x", 1)],
    *[
        ("message", d, {"messages": [*USER, v]}, "messages[1]")
        for d in (CHAT, MESSAGES)
        for v in (None, 1, "x", [], ["role"])
    ],
    *[
        ("role", d, {"messages": [{"content": "?", **v}]}, "messages[0].role")
        for d in (CHAT, MESSAGES)
        for v in ({}, {"role": None}, {"role": 1}, {"role": ["user"]})
    ],
    *[
        ("content", d, {"messages": [{"role": "user", "content": v}]}, "messages[0].content")
        for d in (CHAT, MESSAGES)
        for v in (1, True, {}, 1.5)
    ],
    *[("system", MESSAGES, {"system": v}, "system") for v in (1, True, {})],
    *[("prompt", COMPLETIONS, {"prompt": v}, "prompt") for v in (ABSENT, None, 1, True, {}, [])],
    *[("input", EMBEDDINGS, {"input": v}, "input") for v in (ABSENT, None, 1, True, {}, [])],
    *[("input", RESPONSES, {"input": v}, "input") for v in (ABSENT, None, 1, True, {})],
]


@pytest.mark.parametrize(
    ("dialect", "fields", "param"),
    [row[1:] for row in REFUSED],
    ids=[f"{row[1]} {row[0]} {i}" for i, row in enumerate(REFUSED)],
)
def test_a_field_of_the_wrong_type_is_refused_by_its_name(dialect, fields, param):
    problem = parse(dialect, body(dialect, **fields))
    assert isinstance(problem, Problem)
    assert (problem.reason, problem.status, problem.param) == (Reason.BAD_REQUEST, 400, param)
    assert param in problem.message and problem.source == "headgate"


@pytest.mark.parametrize(
    ("dialect", "fields"),
    [
        (CHAT, {"n": 128, "max_tokens": 0, "stream_options": None, "tools": [], "temperature": "hot"}),
        (CHAT, {"messages": [{"role": "assistant", "content": None, "tool_calls": []}]}),
        (CHAT, {"messages": [{"role": "nobody", "content": []}], "tools": None, "n": None}),
        (COMPLETIONS, {"prompt": "", "best_of": 1, "max_tokens": None}),
        (EMBEDDINGS, {"input": "", "stream": False}),
        (RESPONSES, {"input": [], "tools": [{"type": "custom", "name": "patch"}, {"type": "local_shell"}]}),
        (RESPONSES, {"store": True, "background": False, "previous_response_id": None}),
        (MESSAGES, {"system": [{"type": "text", "text": "x"}], "max_tokens": 0, "unknown": {"a": 1}}),
        (MESSAGES, {"model": "m" * 512, "system": None}),
    ],
)
def test_what_only_the_upstream_can_judge_passes(dialect, fields):
    raw = body(dialect, **fields)
    request = accepted(dialect, raw)
    assert request.upstream_body(request.model) == raw


def test_a_count_of_tokens_needs_no_limit_and_is_no_stream_of_its_own():
    raw = body(MESSAGES, max_tokens=ABSENT, stream="perhaps")
    request = accepted(MESSAGES, raw, count_only=True)
    assert request.upstream_body("m") == raw and not request.stream
    for fields, param in [({"model": 1}, "model"), ({"messages": []}, "messages"), ({"system": 1}, "system")]:
        problem = parse(MESSAGES, body(MESSAGES, **fields), count_only=True)
        assert isinstance(problem, Problem) and problem.param == param


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("raw", [b"", b"[]", b"null", b"{", b'{"a":1}{', b'{"model":"\xff"}', b"[" * 2000, b"<html>"])
def test_a_body_that_is_no_object_is_refused_in_every_dialect(dialect, raw):
    problem = parse(dialect, raw)
    assert isinstance(problem, Problem)
    assert (problem.reason, problem.status, problem.param) == (Reason.BAD_REQUEST, 400, None)


@pytest.mark.parametrize("dialect", Dialect)
def test_a_field_that_stands_twice_is_refused_in_every_dialect(dialect):
    problem = parse(dialect, b'{"model":"cheap","model":"dear"}')
    assert isinstance(problem, Problem) and problem.message == "the field 'model' stands twice"
