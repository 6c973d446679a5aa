"""An error in the client's dialect: golden bytes, and what the official SDKs make of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from headgate.errors import STATUS, Problem, Reason
from headgate.wire import problems
from headgate.wire.dialect import Dialect

OPENAI = [dialect for dialect in Dialect if not dialect.is_anthropic]
USER = [{"role": "user", "content": "?"}]

OURS = Problem(Reason.MODEL_NOT_FOUND, 'no "such" model – né', param="model")
THEIRS = Problem(Reason.UPSTREAM_ERROR, "no steam", 429, source="mill", type="slow_down", code="busy", param="n")
BROKEN = Problem(Reason.STREAM_BROKEN, "provider mill ended", source="mill")


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (
            OURS,
            '{"error":{"message":"no \\"such\\" model – né","type":"invalid_request_error","param":"model",'
            '"code":"model_not_found","source":"headgate"}}',
        ),
        (
            THEIRS,
            '{"error":{"message":"no steam","type":"slow_down","param":"n","code":"busy","source":"mill"}}',
        ),
        (
            BROKEN,
            '{"error":{"message":"provider mill ended","type":"server_error","param":null,'
            '"code":"stream_broken","source":"mill"}}',
        ),
    ],
)
def test_a_body_for_openais_clients(problem, expected):
    for dialect in OPENAI:
        assert problems.body(dialect, problem, "req_1") == expected.encode()


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (
            OURS,
            '{"type":"error","error":{"type":"not_found_error","message":"no \\"such\\" model – né",'
            '"source":"headgate"},"request_id":"req_1"}',
        ),
        (
            THEIRS,
            '{"type":"error","error":{"type":"slow_down","message":"no steam","source":"mill"},"request_id":"req_1"}',
        ),
        (
            BROKEN,
            '{"type":"error","error":{"type":"api_error","message":"provider mill ended","source":"mill"},'
            '"request_id":"req_1"}',
        ),
    ],
)
def test_a_body_for_anthropics_clients(problem, expected):
    assert problems.body(Dialect.MESSAGES, problem, "req_1") == expected.encode()


def test_the_event_that_ends_a_chat_and_a_completion():
    error = b'{"message":"provider mill ended","type":"server_error","param":null,"code":"stream_broken",'
    for dialect in (Dialect.CHAT, Dialect.COMPLETIONS):
        assert problems.event(dialect, BROKEN) == b'data: {"error":' + error + b'"source":"mill"}}\n\n'


def test_the_event_that_ends_a_response():
    assert problems.event(Dialect.RESPONSES, THEIRS, 7) == (
        b'event: error\ndata: {"type":"error","code":"busy","message":"no steam","param":"n","sequence_number":7,'
        b'"error":{"message":"no steam","type":"slow_down","param":"n","code":"busy","source":"mill"}}\n\n'
    )


def test_the_event_that_ends_a_message():
    assert problems.event(Dialect.MESSAGES, BROKEN) == (
        b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"provider mill ended",'
        b'"source":"mill"}}\n\n'
    )


#: Of headgate's own problems: the type that each dialect's clients are told. The code is the reason.
TYPES = {
    Reason.BAD_REQUEST: ("invalid_request_error", "invalid_request_error"),
    Reason.UNAUTHORIZED: ("authentication_error", "authentication_error"),
    Reason.FORBIDDEN: ("permission_error", "permission_error"),
    Reason.NOT_FOUND: ("invalid_request_error", "not_found_error"),
    Reason.MODEL_NOT_FOUND: ("invalid_request_error", "not_found_error"),
    Reason.METHOD_NOT_ALLOWED: ("invalid_request_error", "invalid_request_error"),
    Reason.REQUEST_TIMEOUT: ("invalid_request_error", "timeout_error"),
    Reason.TOO_LARGE: ("invalid_request_error", "request_too_large"),
    Reason.UNSUPPORTED_MEDIA_TYPE: ("invalid_request_error", "invalid_request_error"),
    Reason.NOT_TRANSLATABLE: ("invalid_request_error", "invalid_request_error"),
    Reason.DIALECT_NOT_SPOKEN: ("invalid_request_error", "invalid_request_error"),
    Reason.RATE_LIMITED: ("rate_limit_error", "rate_limit_error"),
    Reason.INTERNAL: ("server_error", "api_error"),
    Reason.UPSTREAM_ERROR: ("server_error", "api_error"),
    Reason.UPSTREAM_INVALID: ("server_error", "api_error"),
    Reason.UPSTREAM_UNREACHABLE: ("server_error", "api_error"),
    Reason.UPSTREAM_CREDENTIALS: ("server_error", "api_error"),
    Reason.UPSTREAM_TIMEOUT: ("server_error", "timeout_error"),
    Reason.STREAM_BROKEN: ("server_error", "api_error"),
    Reason.TOO_MANY_CONNECTIONS: ("server_error", "overloaded_error"),
    Reason.LEDGER_UNREACHABLE: ("server_error", "overloaded_error"),
    Reason.SHUTTING_DOWN: ("server_error", "overloaded_error"),
}


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_its_type_in_every_dialect(reason):
    openais, anthropics = TYPES[reason]
    problem = Problem(reason, "why")
    for dialect in OPENAI:
        error = problems.error_object(dialect, problem)
        assert (error["type"], error["code"], error["source"]) == (openais, reason.value, "headgate")
    assert problems.error_object(Dialect.MESSAGES, problem)["type"] == anthropics


def test_a_provider_that_gave_no_code_is_given_none_but_where_the_failure_is_ours_to_name():
    named = {
        reason.value
        for reason in Reason
        if problems.error_object(Dialect.CHAT, Problem(reason, "why", source="mill"))["code"]
    }
    assert named == {
        "upstream_invalid",
        "upstream_unreachable",
        "upstream_credentials",
        "upstream_timeout",
        "stream_broken",
    }


# --- what the SDKs make of them ----------------------------------------------------------------------------------


def answering(status: int, body: bytes, content_type: str) -> httpx2.Client:
    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, headers={"content-type": content_type}, content=body)

    return httpx2.Client(transport=httpx2.MockTransport(answer))


def openai_client(status: int, body: bytes, content_type: str = "application/json") -> openai.OpenAI:
    return openai.OpenAI(
        base_url="http://gateway/v1", api_key="k", max_retries=0, http_client=answering(status, body, content_type)
    )


def anthropic_client(status: int, body: bytes, content_type: str = "application/json") -> anthropic.Anthropic:
    return anthropic.Anthropic(
        base_url="http://gateway", api_key="k", max_retries=0, http_client=answering(status, body, content_type)
    )


ASK: dict[Dialect, Callable[..., Any]] = {
    Dialect.CHAT: lambda c, **more: c.chat.completions.create(model="m", messages=USER, **more),
    Dialect.COMPLETIONS: lambda c, **more: c.completions.create(model="m", prompt="?", **more),
    Dialect.EMBEDDINGS: lambda c, **more: c.embeddings.create(model="m", input="?", **more),
    Dialect.RESPONSES: lambda c, **more: c.responses.create(model="m", input="?", **more),
    Dialect.MESSAGES: lambda c, **more: c.messages.create(model="m", max_tokens=9, messages=USER, **more),
}

OPENAI_ERRORS = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    429: openai.RateLimitError,
}
ANTHROPIC_ERRORS = {
    400: anthropic.BadRequestError,
    401: anthropic.AuthenticationError,
    403: anthropic.PermissionDeniedError,
    404: anthropic.NotFoundError,
    413: anthropic.APIStatusError,
    429: anthropic.RateLimitError,
}


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("dialect", OPENAI)
def test_openais_sdk_reads_every_body(dialect, reason):
    problem = Problem(reason, "why it is so", param="p")
    client = openai_client(problem.status, problems.body(dialect, problem, "req_1"))
    with pytest.raises(openai.APIStatusError, match="why it is so") as caught:
        ASK[dialect](client)
    error = caught.value
    expected = OPENAI_ERRORS.get(STATUS[reason], openai.InternalServerError if problem.status >= 500 else object)
    assert isinstance(error, expected)
    assert (error.status_code, error.code, error.param, error.type) == (
        STATUS[reason],
        reason.value,
        "p",
        TYPES[reason][0],
    )
    assert error.body["source"] == "headgate"


@pytest.mark.parametrize("reason", Reason)
def test_anthropics_sdk_reads_every_body(reason):
    problem = Problem(reason, "why it is so")
    client = anthropic_client(problem.status, problems.body(Dialect.MESSAGES, problem, "req_1"))
    with pytest.raises(anthropic.APIStatusError, match="why it is so") as caught:
        ASK[Dialect.MESSAGES](client)
    error = caught.value
    expected = ANTHROPIC_ERRORS.get(STATUS[reason], anthropic.InternalServerError if problem.status >= 500 else object)
    assert isinstance(error, expected)
    assert error.status_code == STATUS[reason]
    assert error.body == {
        "type": "error",
        "error": {"type": TYPES[reason][1], "message": "why it is so", "source": "headgate"},
        "request_id": "req_1",
    }


FIRST = {
    Dialect.CHAT: b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m",'
    b'"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n',
    Dialect.COMPLETIONS: b'data: {"id":"c","object":"text_completion","created":1,"model":"m",'
    b'"choices":[{"index":0,"text":"a","logprobs":null,"finish_reason":null}]}\n\n',
    Dialect.RESPONSES: b"event: response.output_text.delta\n"
    b'data: {"type":"response.output_text.delta","sequence_number":0,"item_id":"i","output_index":0,'
    b'"content_index":0,"delta":"a","logprobs":[]}\n\n',
    Dialect.MESSAGES: b"event: content_block_delta\n"
    b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}\n\n',
}


@pytest.mark.parametrize("problem", [OURS, THEIRS, BROKEN], ids=["ours", "theirs", "broken"])
@pytest.mark.parametrize("dialect", [Dialect.CHAT, Dialect.COMPLETIONS, Dialect.RESPONSES])
def test_openais_sdk_raises_the_event_that_ends_a_stream(dialect, problem):
    stream = FIRST[dialect] + problems.event(dialect, problem, 1)
    got = ASK[dialect](openai_client(200, stream, "text/event-stream"), stream=True)
    assert next(got) is not None
    with pytest.raises(openai.APIError) as caught:
        next(got)
    assert caught.value.message == problem.message
    assert caught.value.body["source"] == problem.source
    assert caught.value.code == problems.error_object(dialect, problem)["code"]


@pytest.mark.parametrize("problem", [OURS, THEIRS, BROKEN], ids=["ours", "theirs", "broken"])
def test_anthropics_sdk_raises_the_event_that_ends_a_stream(problem):
    stream = FIRST[Dialect.MESSAGES] + problems.event(Dialect.MESSAGES, problem)
    got = ASK[Dialect.MESSAGES](anthropic_client(200, stream, "text/event-stream"), stream=True)
    assert next(got).delta.text == "a"
    with pytest.raises(anthropic.APIStatusError) as caught:
        next(got)
    assert caught.value.body["error"] == problems.error_object(Dialect.MESSAGES, problem)


# --- an upstream's own error answer ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "raw", "expected"),
    [
        (
            429,
            b'{"error":{"message":"slow","type":"t","param":"p","code":"c"}}',
            Problem(Reason.UPSTREAM_ERROR, "slow", 429, param="p", type="t", code="c"),
        ),
        (
            529,
            b'{"type":"error","error":{"type":"overloaded_error","message":"no steam"},"request_id":"r"}',
            Problem(Reason.UPSTREAM_ERROR, "no steam", 529, type="overloaded_error"),
        ),
        (500, b'{"error":"no steam"}', Problem(Reason.UPSTREAM_ERROR, "no steam", 500)),
        (
            400,
            b'{"object":"error","message":"bad","type":"BadRequestError","code":400}',
            Problem(Reason.UPSTREAM_ERROR, "bad", 400, type="BadRequestError", code="400"),
        ),
        (404, b'{"detail":"Not Found"}', Problem(Reason.UPSTREAM_ERROR, "Not Found", 404)),
        (
            422,
            b'{"detail":[{"loc":["body"]}]}',
            Problem(Reason.UPSTREAM_ERROR, "the upstream reported an error", 422),
        ),
        (500, b'{"error":{"message":["x"]}}', Problem(Reason.UPSTREAM_ERROR, "the upstream reported an error", 500)),
        (500, b"[]", Problem(Reason.UPSTREAM_ERROR, "answered 500 with []", 500)),
        (500, b"{}", Problem(Reason.UPSTREAM_ERROR, "answered 500 with {}", 500)),
        (502, b"<html>", Problem(Reason.UPSTREAM_ERROR, "answered 502 with an HTML page", 502)),
        (503, b" \n", Problem(Reason.UPSTREAM_ERROR, "answered 503 with an empty body", 503)),
        (500, b"gone \xff wrong", Problem(Reason.UPSTREAM_ERROR, "answered 500 with gone � wrong", 500)),
        (500, b"x" * 9000, Problem(Reason.UPSTREAM_ERROR, "answered 500 with " + "x" * 500, 500)),
        (
            500,
            json.dumps({"error": {"message": "y" * 9000}}).encode(),
            Problem(Reason.UPSTREAM_ERROR, "y" * 4000, 500),
        ),
    ],
)
def test_an_upstreams_error_answer_is_read_in_whichever_shape_it_has(status, raw, expected):
    assert problems.upstream_problem(status, raw, None) == expected


def test_how_long_to_wait_is_kept():
    assert problems.upstream_problem(429, b"{}", 2.5).retry_after_s == 2.5
