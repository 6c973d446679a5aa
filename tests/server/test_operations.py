"""/health, /ready, /metrics and the list of models, as CONTRACT names them."""

from __future__ import annotations

import json

import pytest

from gateway import speech
from gateway.raw import ask, get
from gateway.running import provider
from gateway.speech import CHAT, MESSAGES
from headgate.testing import faults
from headgate.testing import vendor_openai as openai


def test_health_tells_the_state_of_each_part(gateway, up):
    body = ask(gateway(up).port, get("/health")).json()
    assert body["status"] == "ok" and body["uptime_s"] >= 0 and body["version"]
    assert {"ledger", "providers", "engines", "nodes"} <= set(body)
    assert body["providers"] == [{"name": "up", "kind": "openai", "state": "unknown", "models": 1}]
    assert body["ledger"] == {"state": "unused"}


def test_health_tells_which_providers_have_listed_their_models(gateway, up):
    running = gateway(provider(up, models=None))
    assert ask(running.port, get("/v1/models")).status == 200
    assert ask(running.port, get("/health")).json()["providers"][0]["state"] == "ok"


def test_health_tells_that_the_ledger_is_in_use(gateway, up, client_key):
    client_key()
    assert ask(gateway(up, auth="keys").port, get("/health")).json()["ledger"] == {"state": "ok"}


def test_a_gateway_without_a_model_is_alive_but_not_ready(gateway, up):
    up.then(*[faults.html()] * 20)
    running = gateway(provider(up, models=None))
    assert ask(running.port, CHAT.request(model="x")).status == 404
    ready, health = ask(running.port, get("/ready")), ask(running.port, get("/health"))
    assert (ready.status, ready.header("retry-after"), health.status) == (503, "1", 200)
    assert "no list of models" in ready.json()["reason"] and health.json()["providers"][0]["state"] == "silent"
    assert ask(gateway().port, get("/ready")).json() == {"ready": False, "reason": "no providers are configured"}


def test_a_gateway_with_a_model_is_ready(gateway, up):
    response = ask(gateway(up).port, get("/ready"))
    assert (response.status, response.json()) == (200, {"ready": True})


def test_metrics_count_what_happened(gateway, up):
    running = gateway(up)
    up.then(CHAT.answer(), CHAT.stream(), openai.error_answer(500), faults.cut(CHAT.stream(), 3))
    for stream in (False, True, False, True):
        ask(running.port, CHAT.request(stream=stream))
    ask(running.port, CHAT.request(model="none"))
    running.records(5)
    page = ask(running.port, get("/metrics"))
    assert page.header("content-type").startswith("text/plain")
    lines = page.body.decode().splitlines()

    def value(name: str, *labels: str) -> float:
        return sum(float(x.rsplit(" ", 1)[1]) for x in lines if x.startswith(name) and all(y in x for y in labels))

    assert value("ai_request_latency_seconds_count", 'target="up/m"') == 4
    for bound in ("0.25", "2.0"):
        assert value("ai_request_latency_seconds_bucket", 'target="up/m"', f'le="{bound}"') == 4
    assert value("headgate_attempts_total", 'target="up/m"', 'outcome="completed"') == 2
    assert value("headgate_attempts_total", 'target="up/m"', 'outcome="upstream_error"') == 1
    assert value("headgate_attempts_total", 'target="up/m"', 'outcome="broken"') == 1
    assert value("headgate_first_token_seconds_count", 'target="up/m"') == 2
    assert value("headgate_overhead_seconds_count") > 0
    assert value("ai_request_errors_total") == 3
    assert value("ai_request_errors_total", 'reason="model_not_found"') == 1
    assert "# TYPE ai_request_latency_seconds histogram" in lines
    assert "# TYPE headgate_attempts_total counter" in lines


def test_one_log_line_tells_all_of_a_request(gateway, up, client_key):
    secret = client_key("alice", team="research")
    running = gateway(up, auth="keys")
    up.then(CHAT.stream(), openai.error_answer(503))
    for stream in (True, False):
        ask(running.port, CHAT.request(f"x-api-key: {secret}", stream=stream))
    ids = [record.id for record in running.records(2)]
    running.stop()
    lines = [json.loads(line) for line in running.log().splitlines()]
    first, second = [line for line in lines if line.get("event") == "request"]
    assert [first["request_id"], second["request_id"]] == ids
    assert (first["key"], first["team"], first["target"], first["status"]) == ("alice", "research", "up/m", 200)
    assert (first["input_tokens"], first["output_tokens"], first["outcome"]) == (36, 17, "completed")
    assert first["total_ms"] >= first["first_token_ms"] >= 0 and first["time"].endswith("Z")
    assert (second["outcome"], second["status"], second["error_source"]) == ("upstream_error", 503, "up")
    assert (first["level"], second["level"]) == ("info", "warning")


def test_models_are_listed_in_the_shape_of_who_asks(gateway, up):
    running = gateway(provider(up, models=["a", "b/c"]), provider(up, name="other", models=["a"]))
    body = ask(running.port, get("/v1/models")).json()
    assert body["object"] == "list" and [model["id"] for model in body["data"]] == ["up/a", "up/b/c", "other/a"]
    assert all(model["object"] == "model" and model["owned_by"] for model in body["data"])
    body = ask(running.port, get("/v1/models?limit=1000", "anthropic-version: 2023-06-01")).json()
    assert [model["id"] for model in body["data"]] == ["up/a", "up/b/c", "other/a"]
    assert (body["has_more"], body["first_id"], body["last_id"]) == (False, "up/a", "other/a")
    assert all(model["type"] == "model" and model["created_at"] for model in body["data"])


@pytest.mark.parametrize("name", ["up/a", "a", "up/b/c", "b/c", "up%2Fa", "b%2Fc"])
def test_one_model_is_found_by_its_names(gateway, up, name):
    running = gateway(provider(up, models=["a", "b/c"]))
    response = ask(running.port, get(f"/v1/models/{name}"))
    assert (response.status, response.json()["id"]) == (200, name.replace("%2F", "/"))


def test_a_model_that_is_not_there_is_a_404_in_the_shape_of_who_asks(gateway, up):
    running = gateway(up)
    response = ask(running.port, get("/v1/models/none"))
    assert response.status == 404 and CHAT.error_of(response.json())["code"] == "model_not_found"
    response = ask(running.port, get("/v1/models/none", "anthropic-version: 2023-06-01"))
    assert response.status == 404 and MESSAGES.error_of(response.json())["type"] == "not_found_error"


@pytest.mark.parametrize("say", speech.ALL, ids=str)
def test_errors_of_headgate_itself_have_an_id_and_the_number_of_attempts(gateway, up, say):
    running = gateway(up)
    response = ask(running.port, say.request(model="none"))
    assert response.header("x-headgate-request-id") == running.record().id
    assert response.header("x-headgate-attempts") == "0"
