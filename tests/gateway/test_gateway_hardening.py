"""What an attacker tried, and must go on trying in vain."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gateway.raw import Wire, ask, get
from gateway.running import provider
from gateway.speech import CHAT
from headgate.relay.record import Outcome
from headgate.relay.upstream import dial
from headgate.testing import Stream, Turn, Wait
from headgate.testing import vendor_openai as openai


def of(key: str) -> str:
    return f"authorization: Bearer {key}"


def test_a_keys_globs_do_not_follow_a_model_to_another_provider(gateway, up, client_key):
    """`second/up/m` is a model of `second` that is called `up/m`: a key for `up/*` has no business there."""
    key = client_key(models=("up/*",))
    running = gateway(provider(up), provider(up, name="second", models=["up/m", "m"]), auth="keys")
    assert ask(running.port, CHAT.request(of(key), model="up/m")).status == 200
    for model in ("second/up/m", "second/m"):
        assert ask(running.port, CHAT.request(of(key), model=model)).status == 403, model


def test_a_key_for_a_bare_name_reaches_only_where_that_name_leads(gateway, up, client_key):
    key = client_key(models=("m",))
    running = gateway(provider(up), provider(up, name="second"), auth="keys")
    assert ask(running.port, CHAT.request(of(key), model="m")).header("x-headgate-target") == "up/m"
    assert ask(running.port, CHAT.request(of(key), model="second/m")).status == 403
    listed = ask(running.port, get("/v1/models", of(key))).json()["data"]
    assert [model["id"] for model in listed] == ["up/m"]


@pytest.mark.parametrize("header", ["x-headgate-max-cost-usd: 0", "x-headgate-profile: local-only"])
def test_a_limit_that_this_version_cannot_keep_is_refused(gateway, up, header):
    response = ask(gateway(up).port, CHAT.request(header))
    assert (response.status, response.json()["error"]["param"]) == (400, header.split(":")[0])
    assert not up.requests


def test_a_client_that_leaves_before_the_usage_has_used_what_it_was_given(gateway, up, client_key):
    """Else a limit of tokens would be no limit for who hangs up in time."""
    key = client_key(tpm=1000)
    running = gateway(up, auth="keys")
    content = openai.chat_stream(Turn("word " * 2000)).events[:-3]
    up.then(Stream([*content, Wait.forever()]))
    with Wire(running.port) as wire:
        wire.send(CHAT.request(of(key), stream=True))
        delivered = 0
        while delivered < 4 * 1000:
            delivered += len(wire.read(1000))
    assert running.record().outcome is Outcome.CLIENT_GONE
    assert ask(running.port, CHAT.request(of(key))).status == 429


def test_a_wish_for_another_protocol_is_passed_over(gateway, up):
    """Some HTTP clients ask for HTTP/2 with every request in clear text; a server may answer as if they had not."""
    running = gateway(up)
    with Wire(running.port) as wire:
        request = CHAT.request("connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAMAAABk")
        response = wire.send(request).response()
    assert response.status == 200 and CHAT.text_of(response)


@pytest.mark.parametrize("when", ["Mon, 01 Jan 99999999999999 00:00:00 GMT", "1e400", "-5", "never"])
def test_absurd_advice_on_when_to_come_again_is_no_fault_of_ours(gateway, up, when):
    running = gateway(up)
    up.then(replace(openai.error_answer(429), headers=(("retry-after", when),)))
    assert ask(running.port, CHAT.request()).status == 429
    assert not running.defects


def test_trailers_are_no_headers_and_have_a_limit(gateway, up):
    running = gateway(up)
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}]}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    chunked = head + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n" % (len(body), body)
    with Wire(running.port) as wire:
        assert wire.send(chunked + b"x-title: from a trailer\r\n\r\n").response().status == 200
    assert up.requests[0].header("x-title") is None
    with Wire(running.port) as wire:
        wire.send(chunked)
        for _ in range(100):  # a megabyte: a read may bring a quarter of one
            wire.try_send(b"a:b\r\n" * 2000)
        assert wire.response().status == 431


def test_millions_of_empty_objects_are_refused_before_they_are_made(gateway, up):
    running = gateway(up)
    body = b'{"model":"m","messages":[' + b"{}," * 700_000 + b"{}]}"
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    response = ask(running.port, head + b"content-length: %d\r\n\r\n" % len(body) + body)
    assert response.status == 400 and "objects and lists" in response.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/health", "/metrics", "/ready", "/nothing"])
def test_in_open_mode_no_page_reads_what_the_gateway_is_doing(gateway, up, path):
    running = gateway(up)
    request = get(path).replace(b"host: localhost", b"host: evil.example")
    assert ask(running.port, request).status == 403
    assert ask(running.port, get(path, "origin: https://evil.example")).status == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "api.localhost"])
def test_what_goes_to_this_machine_goes_through_no_proxy(monkeypatch, host):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://proxy.example:3128")
    assert dial.proxy_for(dial.origin_of(f"http://{host}:8080/v1")) is None
    assert dial.proxy_for(dial.origin_of("http://provider.example/v1")) is not None
