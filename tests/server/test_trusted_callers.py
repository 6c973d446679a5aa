"""Who may call over the wire: pages of other sites may not in open mode, and with keys nobody may without one."""

from __future__ import annotations

import time

import pytest

from gateway import speech
from gateway.raw import ask, get, post
from gateway.running import provider
from gateway.speech import CHAT, COUNT_PATH, EMBEDDINGS_PATH, MESSAGES
from headgate.relay.record import Outcome

PATHS = [*(say.path for say in speech.ALL), EMBEDDINGS_PATH, COUNT_PATH]


def error_at(path: str, response) -> dict:
    return (MESSAGES if path.startswith("/v1/messages") else CHAT).error_of(response.json())


# Open


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_a_body_that_is_not_said_to_be_json_is_refused_with_415(gateway, up, path, content_type):
    running = gateway(up)
    request = post(path, CHAT.fields, f"content-type: {content_type}")
    if content_type is None:
        request = request.replace(b"content-type: None\r\n", b"")
    response = ask(running.port, request)
    assert response.status == 415 and "application/json" in error_at(path, response)["message"]
    assert up.requests == [] and running.record().outcome is Outcome.REFUSED


FOREIGN = [
    "host: evil.example",
    "host: 127.0.0.1.evil.example",
    "host: 192.168.1.7:4000",
    "origin: https://evil.example",
    "origin: null",
    "origin: http://localhost.evil.example",
    "sec-fetch-site: cross-site",
    "sec-fetch-site: same-site",
]


@pytest.mark.parametrize("header", FOREIGN)
@pytest.mark.parametrize("path", [*PATHS, "/v1/models"])
def test_a_page_of_another_site_is_refused_with_403(gateway, up, path, header):
    running = gateway(up)
    request = post(path, CHAT.fields, header)
    if header.startswith("host:"):
        request = request.replace(b"host: localhost\r\n", b"")
    if path == "/v1/models":
        request = request.replace(b"POST", b"GET")
    response = ask(running.port, request)
    error = error_at(path, response)
    assert (response.status, error["source"]) == (403, "headgate") and "auth: keys" in error["message"]
    assert up.requests == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:4000", "[::1]:4000", "gate.localhost", "LOCALHOST:1"])
@pytest.mark.parametrize("origin", ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:8080"])
def test_pages_and_programs_of_this_machine_are_served(gateway, up, host, origin):
    running = gateway(up)
    request = post(CHAT.path, CHAT.fields, f"origin: {origin}", "sec-fetch-site: same-site", host=host)
    assert ask(running.port, request).status == 200


def test_a_page_may_not_ask_first_either(gateway, up):
    running = gateway(up)
    preflight = ("origin: https://evil.example", "access-control-request-method: POST")
    response = ask(running.port, get(CHAT.path, *preflight, method="OPTIONS"))
    assert response.status == 405
    assert not [name for name, _ in response.headers if name.startswith("access-control")]


def test_in_open_mode_a_foreign_credential_is_ignored(gateway, up):
    running = gateway(up)
    assert ask(running.port, CHAT.request("authorization: Bearer sk-something", "x-api-key: x")).status == 200


# Keys


@pytest.fixture
def keyed(gateway, up, client_key):
    secret = client_key("alice", team="research")
    return gateway(up, auth="keys"), secret


@pytest.mark.parametrize("path", [*PATHS, "/v1/models"])
def test_nobody_is_served_without_a_key(keyed, up, path):
    running, _ = keyed
    request = post(path, CHAT.fields) if path != "/v1/models" else get(path)
    for header in ("", "authorization: Bearer hg-wrong", "x-api-key: sk-wrong", "authorization: Basic aGk6aGk="):
        response = ask(
            running.port, request.replace(b"\r\n\r\n", f"\r\n{header}\r\n\r\n".encode(), 1) if header else request
        )
        error = error_at(path, response)
        assert (response.status, error["type"], error["source"]) == (401, "authentication_error", "headgate")
        assert "wrong" not in error["message"]
    assert up.requests == []


@pytest.mark.parametrize("form", ["authorization: Bearer {}", "authorization: bearer  {}", "x-api-key: {}"])
def test_a_key_is_taken_in_either_header_and_stands_in_the_record_by_name(keyed, up, form):
    running, secret = keyed
    assert ask(running.port, CHAT.request(form.format(secret))).status == 200
    record = running.record()
    assert (record.key_name, record.team) == ("alice", "research") and record.key_id.startswith("key_")
    running.stop()
    assert '"key":"alice"' in running.log() and secret not in running.log()


def test_a_key_works_from_any_host_and_page(keyed, up):
    running, secret = keyed
    request = post(CHAT.path, CHAT.fields, f"x-api-key: {secret}", "origin: https://tool.example", host="gate.example")
    assert ask(running.port, request).status == 200


def test_an_expired_key_is_told_so(gateway, up, client_key):
    secret = client_key("old", expires_at_s=int(time.time()) - 10)
    response = ask(gateway(up, auth="keys").port, CHAT.request(f"x-api-key: {secret}"))
    assert response.status == 401 and "expired" in CHAT.error_of(response.json())["message"]


def test_a_key_sees_and_uses_only_its_models(gateway, up, client_key):
    secret = client_key("narrow", models=("up/small*",))
    running = gateway(provider(up, models=["small-1", "large-1"]), auth="keys")
    key = f"x-api-key: {secret}"
    listed = ask(running.port, get("/v1/models", key)).json()["data"]
    assert [model["id"] for model in listed] == ["up/small-1"]
    assert ask(running.port, CHAT.request(key, model="small-1")).status == 200
    for model in ("large-1", "up/large-1"):
        response = ask(running.port, CHAT.request(key, model=model))
        assert response.status == 403 and CHAT.error_of(response.json())["type"] == "permission_error"
    missing = CHAT.error_of(ask(running.port, CHAT.request(key, model="none")).json())
    assert "large-1" not in missing["message"]
    assert len(up.requests) == 1


def test_a_keys_requests_per_minute_are_a_limit_with_a_time_to_wait(gateway, up, client_key):
    secret = client_key("busy", rpm=2)
    running = gateway(up, auth="keys")
    for say in (CHAT, MESSAGES):
        assert ask(running.port, say.request(f"x-api-key: {secret}")).status == 200
    for say in speech.ALL:
        response = ask(running.port, say.request(f"x-api-key: {secret}"))
        error = say.error_of(response.json())
        assert (response.status, error["type"]) == (429, "rate_limit_error")
        assert 1 <= int(response.header("retry-after")) <= 61
    assert len(up.requests) == 2


def test_a_keys_tokens_per_minute_are_settled_with_what_was_used(gateway, up, client_key):
    secret = client_key("wordy", tpm=100)
    running = gateway(up, auth="keys")
    key = f"x-api-key: {secret}"
    up.then(CHAT.answer())  # 36 tokens in, 17 out
    assert ask(running.port, CHAT.request(key)).status == 200
    up.then(CHAT.answer())
    assert ask(running.port, CHAT.request(key)).status == 200
    assert ask(running.port, CHAT.request(key)).status == 429
