"""What reaches the upstream: the client's bytes but for what must differ, and no header that has no business there."""

from __future__ import annotations

import json

import pytest

from gateway import speech
from gateway.raw import Wire, ask, post
from gateway.running import PROVIDER_KEY, provider
from gateway.speech import CHAT, COMPLETIONS, COUNT_PATH, MESSAGES
from headgate.telemetry.events import request_fields
from headgate.testing import faults
from headgate.testing import vendor_anthropic as anthropic
from headgate.testing import vendor_openai as openai

#: Spelling, order and fields that a parser would lose, with `model` as the upstream calls it.
ODD = (
    b'{ "zzz" : 1.0e0 ,"messages":[{"role":"user","content":"\\u00e9\\ud83d\\ude42 \\/ tab\\t"}],\n'
    b'  "temperature":0.70, "big":123456789012345678901234567890, "model": "m", "nested":{"b":[],"a":{}},\r\n'
    b'\t"stream": false,"max_tokens":10,"prompt":"x","input":"x"}'
)


def odd(path: str) -> bytes:
    """Responses take no stored prompt."""
    return ODD.replace(b'"prompt"', b'"extra"') if path == "/v1/responses" else ODD


PATHS = [*(say.path for say in speech.ALL), speech.EMBEDDINGS_PATH, COUNT_PATH]


@pytest.mark.parametrize("path", PATHS)
def test_the_body_goes_upstream_byte_for_byte(gateway, up, path):
    running = gateway(up)
    ask(running.port, post(path, odd(path)))
    [request] = up.requests
    assert (request.method, request.target) == ("POST", path)
    assert request.body == odd(path)
    assert request.header("content-length") == str(len(odd(path)))


@pytest.mark.parametrize("path", PATHS)
def test_only_the_models_name_is_patched_where_it_differs(gateway, up, path):
    running = gateway(up)
    ask(running.port, post(path, odd(path).replace(b'"m"', b'"up\\/m"')))
    assert up.requests[0].body == odd(path)


@pytest.mark.parametrize("say", speech.ALL, ids=str)
def test_a_stream_asks_for_usage_and_changes_nothing_else(gateway, up, say):
    running = gateway(up)
    up.then(say.stream())
    body = odd(say.path).replace(b'"stream": false', b'"stream": true')
    assert ask(running.port, post(say.path, body)).status == 200
    added = b'"stream_options":{"include_usage":true},'
    patched = body[:1] + added + body[1:] if say in (CHAT, COMPLETIONS) else body
    assert up.requests[0].body == patched


def test_stream_options_of_the_client_are_kept_beside_the_wish_for_usage(gateway, up):
    running = gateway(up)
    up.then(CHAT.stream())
    ask(running.port, CHAT.request(stream=True, stream_options={"include_usage": False, "include_obfuscation": False}))
    assert up.requests[0].json()["stream_options"] == {"include_usage": True, "include_obfuscation": False}


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_the_providers_key_is_sent_and_the_clients_credentials_are_not(gateway, up, kind):
    running = gateway(provider(up, kind=kind))
    credentials = ("authorization: Bearer sk-client", "x-api-key: sk-client", "cookie: session=sk-client")
    more = ("openai-organization: sk-client", "x-private: sk-client", "proxy-authorization: Basic sk-client")
    ask(running.port, CHAT.request(*credentials, *more))
    [request] = up.requests
    sent = b"\n".join(name + b": " + value for name, value in request.headers)
    assert b"sk-client" not in sent
    authorization, api_key = request.header("authorization"), request.header("x-api-key")
    expected = (None, PROVIDER_KEY) if kind == "anthropic" else (f"Bearer {PROVIDER_KEY}", None)
    assert (authorization, api_key) == expected


def test_a_provider_without_a_key_is_sent_none(gateway, up, client_key):
    secret = client_key()
    running = gateway(provider(up, api_key=None), auth="keys")
    assert ask(running.port, CHAT.request(f"authorization: Bearer {secret}")).status == 200
    [request] = up.requests
    assert request.header("authorization") is None and request.header("x-api-key") is None
    assert secret.encode() not in repr(request.headers).encode() + request.body


def test_headers_of_the_hop_stay_on_their_side(gateway, up):
    running = gateway(up)
    hop = (
        "connection: keep-alive, x-private",
        "keep-alive: timeout=5",
        "te: trailers",
        "x-private: secret",
        "x-forwarded-for: 10.1.2.3",
        "forwarded: for=10.1.2.3",
        "via: 1.1 somewhere",
        "origin: http://localhost:3000",
        "referer: http://localhost:3000/page",
        "accept-encoding: gzip",
        "accept: */*",
        "sec-fetch-site: same-origin",
    )
    assert ask(running.port, CHAT.request(*hop)).status == 200
    names = {name.decode().lower() for name, _ in up.requests[0].headers}
    assert names == {"host", "accept-encoding", "content-type", "authorization", "content-length"}
    assert up.requests[0].header("accept-encoding") == "identity"
    assert up.requests[0].header("host") == f"127.0.0.1:{up.port}"


def test_headers_that_say_whose_program_it_is_or_change_the_answer_cross(gateway, up):
    running = gateway(up)
    crossing = {
        "user-agent": "tool/1.0 (test; über)",
        "anthropic-version": "2023-06-01",
        "anthropic-beta": "first-2025-01-01",
        "openai-beta": "assistants=v2",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate": "a=b",
        "http-referer": "https://tool.example",
        "x-title": "Tool",
    }
    up.then(anthropic.messages_answer())
    request = MESSAGES.request(*(f"{name}: {value}" for name, value in crossing.items()), "anthropic-beta: second")
    assert ask(running.port, request).status == 200
    sent = {name: up.requests[0].header(name) for name in crossing}
    assert sent == {**crossing, "anthropic-beta": "first-2025-01-01, second"}


def test_anthropics_version_is_said_where_the_client_says_none(gateway, up):
    running = gateway(up)
    ask(running.port, MESSAGES.request())
    ask(running.port, CHAT.request())
    assert up.requests[0].header("anthropic-version") == "2023-06-01"
    assert up.requests[1].header("anthropic-version") is None


def test_a_folded_header_does_not_break_out_of_its_line(gateway, up):
    running = gateway(up)
    request = CHAT.request("user-agent: one\r\n two: three").replace(b"\r\n two", b"\r\n\ttwo")
    response = ask(running.port, request)
    if response.status == 200:  # a parser may also refuse it
        assert up.requests[0].header("two") is None
    else:
        assert response.status == 400 and up.requests == []
    assert up.malformed == []


@pytest.mark.parametrize("say", speech.ALL, ids=str)
def test_a_path_with_a_query_or_a_slash_at_its_end_is_the_same_path(gateway, up, say):
    running = gateway(up)
    up.then(say.answer(), say.answer())
    for path in (say.path + "?beta=true", say.path + "/"):
        assert ask(running.port, post(path, say.fields)).status == 200
    assert [request.target for request in up.requests] == [say.path] * 2


def test_requests_of_one_client_connection_share_one_to_the_upstream(gateway, up):
    running = gateway(up)
    with Wire(running.port) as wire:
        for number in range(5):
            assert wire.send(CHAT.request(seed=number)).response().status == 200
    assert [request.json()["seed"] for request in up.requests] == list(range(5))
    assert (up.accepted, [request.nth for request in up.requests]) == (1, [0, 1, 2, 3, 4])


def test_a_body_of_megabytes_arrives_whole(gateway, up):
    running = gateway(up)
    fields = {**CHAT.fields, "messages": [{"role": "user", "content": "grain of sand " * 500_000}]}
    assert ask(running.port, post(CHAT.path, fields)).status == 200
    assert up.requests[0].json() == fields


def test_a_base_url_with_a_path_is_kept(gateway, up):
    running = gateway(provider(up, base_url=f"{up.origin}/some/where/v3/"))
    ask(running.port, CHAT.request())
    assert up.requests[0].target == "/some/where/v3/chat/completions"


def test_the_first_provider_that_lists_the_model_and_speaks_the_dialect_is_asked(gateway, up):
    first = provider(up, name="first", base_url=f"{up.origin}/first", dialects=["openai.embeddings"])
    second = provider(up, name="second", base_url=f"{up.origin}/second")
    running = gateway(first, second, provider(up, name="third"))
    response = ask(running.port, CHAT.request())
    assert up.requests[0].target == "/second/chat/completions" and response.status == 404
    assert response.json()["error"]["source"] == "second"


def test_a_dialect_that_is_not_translated_and_nobody_speaks_is_refused_with_its_name(gateway, up):
    running = gateway(provider(up, dialects=["openai.chat"]))
    response = ask(running.port, COMPLETIONS.request())
    error = COMPLETIONS.error_of(response.json())
    assert (response.status, error["type"], error["source"]) == (400, "invalid_request_error", "headgate")
    assert "openai.completions" in error["message"] and "openai.chat" in error["message"]
    assert up.requests == []
    assert running.record().problem.reason == "dialect_not_spoken"


def test_what_cannot_be_carried_to_one_provider_is_carried_to_the_next(gateway, up):
    first = provider(up, name="first", base_url=f"{up.origin}/first", dialects=["anthropic.messages"])
    second = provider(up, name="second", base_url=f"{up.origin}/second", dialects=["openai.chat"])
    running = gateway(first, second)
    ask(running.port, CHAT.request(n=2))
    assert [request.target for request in up.requests] == ["/second/chat/completions"]
    record = running.record()
    assert [(skip.target.name, skip.problem.param) for skip in record.skipped] == [("first/m", "n")]
    assert len(record.attempts) == 1
    assert request_fields(record)["skipped"] == [{"target": "first/m", "reason": "not_translatable", "field": "n"}]


def test_a_placeholder_for_a_key_is_not_cut_out_of_words(gateway, up):
    running = gateway(provider(up, api_key="k"))
    up.then(openai.error_answer(400, "The key and the token are ok."))
    assert CHAT.error_of(ask(running.port, CHAT.request()).json())["message"] == "The key and the token are ok."


def test_an_error_without_words_says_whose_it_is(gateway, up):
    running = gateway(up)
    up.then(faults.html(500))
    message = CHAT.error_of(ask(running.port, CHAT.request()).json())["message"]
    assert message == "provider up answered 500 with an HTML page"


def test_what_can_be_carried_to_nobody_is_refused_with_its_field_and_the_target(gateway, up):
    running = gateway(provider(up, dialects=["anthropic.messages"]))
    response = ask(running.port, CHAT.request(n=2))
    error = CHAT.error_of(response.json())
    assert (response.status, error["code"], error["param"]) == (400, "not_translatable", "n")
    assert "up/m" in error["message"] and error["source"] == "headgate"
    assert response.header("x-headgate-attempts") == "0" and up.requests == []
    record = running.record()
    assert record.outcome == "refused" and record.problem.reason == "not_translatable"


def test_what_is_dropped_is_told(gateway, up):
    running = gateway(provider(up, dialects=["anthropic.messages"]))
    up.then(MESSAGES.answer(), MESSAGES.stream())
    for stream in (False, True):
        response = ask(running.port, CHAT.request(stream=stream, seed=7, presence_penalty=0.5, frequency_penalty=0))
        assert response.header("x-headgate-dropped") == "seed, presence_penalty"
        assert running.record().attempts[0].dropped == ("seed", "presence_penalty")
        running.forget()
    assert "presence_penalty" not in up.requests[0].json()


def test_what_a_client_says_of_its_vendors_interface_does_not_go_to_another(gateway, up):
    running = gateway(provider(up, dialects=["anthropic.messages"], name="a"), provider(up, dialects=["openai.chat"]))
    ask(running.port, CHAT.request("openai-beta: x", "user-agent: tool", model="a/m"))
    ask(running.port, MESSAGES.request("anthropic-version: 2023-06-01", "anthropic-beta: y", model="up/m"))
    first, second = up.requests
    assert first.header("openai-beta") is None and first.header("anthropic-version") == "2023-06-01"
    assert second.header("anthropic-beta") is None and second.header("anthropic-version") is None
    assert first.header("user-agent") == "tool"


def test_a_model_that_nobody_has_is_a_404_that_lists_what_there_is(gateway, up):
    running = gateway(provider(up, models=["gauge-small", "gauge-large"]))
    for say in speech.ALL:
        response = ask(running.port, say.request(model="gauge-smal"))
        error = say.error_of(response.json())
        assert response.status == 404 and error["source"] == "headgate"
        assert "Did you mean 'up/gauge-small'" in error["message"] and "up/gauge-large" in error["message"]
    assert up.requests == []


def test_a_field_that_stands_twice_is_refused(gateway, up):
    running = gateway(up)
    twice = b'{"model":"m","messages":[{"role":"user","content":"x"}],"model":"up/m"}'
    response = ask(running.port, post(CHAT.path, twice))
    assert response.status == 400 and "twice" in response.json()["error"]["message"]
    assert up.requests == [] and json.loads(response.body)["error"]["source"] == "headgate"
