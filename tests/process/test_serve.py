"""`headgate serve` as a user runs it: started, reloaded, stopped and killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway import speech
from gateway.raw import Wire, ask, get
from gateway.running import PROVIDER_KEY, provider
from gateway.speech import CHAT, MESSAGES
from headgate.engines.process import available
from headgate.testing import Stream, faults
from process.serving import Serving, alive, command_of, poll

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at processes through /proc")
needs_engine = pytest.mark.skipif(not available(), reason=f"no embedded engine: {available().reason}")

CLOSED_PROXY = "http://127.0.0.1:9"


def config(up, **sections):
    return {"providers": [provider(up)], **sections}


def curl(line: str) -> bytes:
    """Runs a line as it would be pasted."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    return subprocess.run(["sh", "-c", f"{line} -sS"], check=True, capture_output=True, timeout=30).stdout


def workers_of(serving: Serving) -> list[int]:
    return [pid for pid in serving.offspring() if "worker_main" in command_of(pid)]


def engines_of(serving: Serving) -> list[int]:
    return [pid for pid in serving.offspring() if "engines.embedded" in command_of(pid)]


# Starting


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.real
@needs_engine
def test_with_nothing_at_all_the_demonstration_starts_and_the_printed_line_works(tmp_path, workers):
    with Serving(tmp_path, "--workers", workers) as serving:
        line = serving.said(r"Ready. Try it.*\n +(curl .*)")[1]
        assert "no configuration file" in serving.text and "demonstration" in serving.text
        assert ask(serving.port, get("/ready")).status == 200
        answer = json.loads(curl(line))
        assert answer["choices"][0]["message"]["content"] and answer["model"]
        streamed = curl(line.replace('{"model"', '{"stream": true, "model"'))
        assert streamed.startswith(b"data: {") and streamed.endswith(b"data: [DONE]\n\n")
        health = ask(serving.port, get("/health")).json()
        assert [p["name"] for p in health["providers"]] == ["demo"]
        engines = engines_of(serving)
        assert len(engines) == 1
        serving.signal(signal.SIGTERM)
        assert serving.ended() == 0
        assert not alive(engines[0])


def test_a_configuration_is_used_and_nothing_else(tmp_path, up):
    with Serving(tmp_path, config=config(up), OPENAI_API_KEY="sk-from-the-environment") as serving:
        serving.ready()
        assert "providers:     up" in serving.text and "OPENAI_API_KEY" not in serving.text
        models = ask(serving.port, get("/v1/models")).json()["data"]
        assert [model["id"] for model in models] == ["up/m"]
        assert CHAT.text_of(ask(serving.port, CHAT.request()))
        assert engines_of(serving) == []


def test_a_configuration_in_the_working_directory_is_found(tmp_path, up):
    (tmp_path / "headgate.yaml").write_text(json.dumps(config(up)))
    with Serving(tmp_path) as serving:
        assert str(tmp_path / "headgate.yaml") in serving.ready().text


def test_keys_in_the_environment_are_found_and_never_shown(tmp_path):
    keys = {name: f"sk-secret-{name.lower()}" for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GROQ_API_KEY")}
    with Serving(tmp_path, **keys, HTTPS_PROXY=CLOSED_PROXY) as serving:  # so nobody is asked for real
        port = serving.port
        for name in keys:
            serving.said(rf"{name.split('_')[0].lower()} +{name} \(paid\)")
        serving.logged("provider silent")
        pages = [ask(port, get(path)).body for path in ("/health", "/ready", "/metrics", "/v1/models", "/")]
        answer = ask(port, CHAT.request(model="openai/gpt-4o-mini"))
        assert answer.status == 502 and CHAT.error_of(answer.json())["source"] == "openai"
        serving.signal(signal.SIGTERM)
        assert serving.ended() == 0
        told = b"".join([*pages, answer.head, answer.body]) + serving.text.encode() + serving.log.encode()
        assert b"sk-secret" not in told


def test_a_port_that_is_taken_is_a_clear_error(tmp_path, up):
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        for workers in ("1", "2"):
            with Serving(tmp_path, "--port", str(port), "--workers", workers, config=config(up)) as serving:
                assert serving.ended() == 1
                message = f"headgate: cannot listen on 127.0.0.1:{port}: address already in use. Choose another with"
                assert message in serving.log and "Traceback" not in serving.log


def test_a_configuration_that_is_wrong_is_explained_and_nothing_starts(tmp_path):
    with Serving(tmp_path, config={"providers": [{"name": "x", "kind": "opnai"}], "servr": {}}) as serving:
        assert serving.ended() == 1
        assert "providers" in serving.log and "servr" in serving.log and "Traceback" not in serving.log


# Stopping


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_stop_lets_a_stream_finish_and_exits_with_0(tmp_path, up, workers):
    go_on = asyncio.Event()
    up.then(faults.stall(CHAT.stream(), 3, go_on))
    with Serving(tmp_path, "--workers", workers, config=config(up)) as serving:
        port = serving.ready().port
        with Wire(port) as wire, Wire(port) as idle:
            wire.send(CHAT.request(stream=True)).until(b"two")
            assert idle.send(get("/health")).response().status == 200
            serving.signal(signal.SIGTERM)
            assert idle.rest() == b"", "an idle connection is closed at once"
            poll(lambda: refuses(port), "it accepts no connection any more")
            assert serving.process.poll() is None
            up.call(go_on.set)
            response = wire.response()
        assert CHAT.ended(response) and CHAT.text_of(response) == speech.TEXT
        assert serving.ended() == 0


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return True
    return False


@pytest.mark.parametrize("say", [CHAT, MESSAGES], ids=str)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_stop_ends_what_outlives_its_grace_with_an_error_event(tmp_path, up, workers, say):
    up.then(Stream([*say.stream().events[: say.first_content + 1], *[b": ping\n\n"] * 100_000], pace=slowly))
    with Serving(tmp_path, "--workers", workers, config=config(up, server={"grace_s": 1})) as serving:
        with Wire(serving.ready().port) as wire:
            wire.send(say.request(stream=True)).until(b"One")
            began = time.monotonic()
            serving.signal(signal.SIGTERM)
            response = wire.response()
            took_s = time.monotonic() - began
        assert not say.ended(response) and "stopping" in say.error_event_of(response)["message"]
        assert serving.ended() == 0 and 0.5 < took_s < 10
        serving.logged('"outcome":"shutdown"')


async def slowly(number: int) -> None:
    await asyncio.sleep(0.02)


def test_a_stop_answers_what_waits_for_its_upstream_with_503(tmp_path, up):
    up.then(faults.say_nothing())
    with Serving(tmp_path, config=config(up, server={"grace_s": 1})) as serving:
        with Wire(serving.ready().port) as wire:
            wire.send(CHAT.request())
            up.run(up.received())
            serving.signal(signal.SIGTERM)
            response = wire.response()
        assert response.status == 503 and response.header("retry-after") == "1"
        assert "stopping" in CHAT.error_of(response.json())["message"]
        assert serving.ended() == 0
        assert up.run(up.idle()) is None


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_right_after_the_start_is_a_stop(tmp_path, up, workers, number):
    with Serving(tmp_path, "--workers", workers, config=config(up)) as serving:
        assert serving.port
        serving.signal(number)
        assert serving.ended() == 0
        assert "Traceback" not in serving.log


def test_a_second_signal_does_not_wait_for_the_grace(tmp_path, up):
    up.then(faults.say_nothing())
    with Serving(tmp_path, config=config(up, server={"grace_s": 600})) as serving, Wire(serving.ready().port) as wire:
        wire.send(CHAT.request())
        up.run(up.received())
        serving.signal(signal.SIGTERM)
        serving.logged('"stopping"')
        serving.signal(signal.SIGTERM)
        assert serving.ended() == 0


@pytest.mark.real
@needs_engine
def test_a_stop_while_the_engine_starts_is_a_stop(tmp_path):
    for workers in ("1", "2"):
        with Serving(tmp_path, "--workers", workers) as serving:
            serving.said("starting the embedded")
            serving.signal(signal.SIGTERM)
            assert serving.ended() == 0
            assert "Traceback" not in serving.log and serving.offspring() == []


# Reloading


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("how", ["SIGHUP", "the file"])
def test_a_changed_configuration_comes_into_force_without_dropping_a_stream(tmp_path, up, how, workers):
    go_on = asyncio.Event()
    up.then(faults.stall(CHAT.stream(), 3, go_on))
    with Serving(tmp_path, "--workers", workers, config=config(up)) as serving:
        port = serving.ready().port
        with Wire(port) as wire:
            wire.send(CHAT.request(stream=True)).until(b"two")
            serving.write({"providers": [provider(up, name="other", models=["n"])]})
            if how == "SIGHUP":
                serving.signal(signal.SIGHUP)
            poll(lambda: names(port, 10) == {"other/n"}, "all workers list the new model")
            assert ask(port, CHAT.request(model="other/n")).status == 200
            up.call(go_on.set)
            response = wire.response()
        assert CHAT.ended(response) and CHAT.text_of(response) == speech.TEXT
        assert serving.process.poll() is None
        serving.logged("config reloaded")


def names(port: int, times: int = 1) -> set[str]:
    """The models that so many requests, each on its own connection, see."""
    return {model["id"] for _ in range(times) for model in ask(port, get("/v1/models")).json()["data"]}


def test_a_broken_new_file_leaves_the_old_one_in_force_and_is_logged(tmp_path, up):
    with Serving(tmp_path, config=config(up)) as serving:
        port = serving.ready().port
        for number, broken in enumerate(("providers: [", {"providers": [{"name": "x", "kind": "y"}]}, "x" * 100), 1):
            serving.write(broken)
            poll(lambda n=number: serving.log.count("config refused") == n, "it says so")
            assert names(port) == {"up/m"} and ask(port, CHAT.request()).status == 200
        os.unlink(serving.config_path)
        assert ask(port, CHAT.request()).status == 200
        serving.write(config(up, server={"grace_s": 5}))
        serving.logged("needs_restart")
        assert names(port) == {"up/m"}


# Several workers


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_revoked_key_is_refused_within_a_second_by_every_worker(tmp_path, up, workers):
    (tmp_path / "home").mkdir()
    with Serving(tmp_path, "--workers", workers, config=config(up, auth="keys")) as serving:
        made = json.loads(serving.headgate("keys", "create", "alice", "--config", str(serving.config_path), "--json"))
        key = f"authorization: Bearer {made['secret']}"
        port = serving.ready().port
        poll(lambda: statuses(port, key) == {200}, "every worker takes the key")
        serving.headgate("keys", "revoke", made["id"], "--config", str(serving.config_path))
        revoked = time.monotonic()
        poll(lambda: statuses(port, key) == {401}, "no worker takes it", within_s=5)
        print(f"refused everywhere {time.monotonic() - revoked:.2f} s after the command had ended")
        assert time.monotonic() - revoked < 2
        assert made["secret"] not in serving.log + serving.text


def statuses(port: int, *headers: str) -> set[int]:
    return {ask(port, get("/v1/models", *headers)).status for _ in range(12)}


def test_a_keys_limit_is_shared_by_all_workers(tmp_path, up):
    (tmp_path / "home").mkdir()
    with Serving(tmp_path, "--workers", "2", config=config(up, auth="keys")) as serving:
        command = ("keys", "create", "busy", "--rpm", "5", "--config", str(serving.config_path), "--json")
        key = f"x-api-key: {json.loads(serving.headgate(*command))['secret']}"
        port = serving.ready().port
        poll(lambda: statuses(port, key) == {200}, "every worker takes the key")
        served = [ask(port, CHAT.request(key)).status for _ in range(20)]
        assert sorted(served) == [200] * 5 + [429] * 15


def test_metrics_of_any_worker_are_the_sum_of_all(tmp_path, up):
    with Serving(tmp_path, "--workers", "2", config=config(up)) as serving:
        port = serving.ready().port
        first, second = poll(lambda: len(workers := workers_of(serving)) == 2 and workers, "two workers")
        wires = [Wire(port) for _ in range(30)]
        for wire in wires:
            assert wire.send(CHAT.request()).response().status == 200
        poll(lambda: {attempts(port) for _ in range(6)} == {30.0}, "all of them say 30")
        os.kill(first, signal.SIGKILL)
        poll(lambda: len(set(workers_of(serving)) - {first}) == 2, "another worker is there")
        assert second in workers_of(serving)
        poll(lambda: answers(port), "it serves")
        assert {attempts(port) for _ in range(6)} == {30.0}, "what the dead one counted stays counted"
        for wire in wires:
            wire.close()


def attempts(port: int) -> float:
    page = ask(port, get("/metrics")).body.decode()
    found = re.findall(r'^headgate_attempts_total\{outcome="completed",target="up/m"\} (.+)$', page, re.MULTILINE)
    return sum(map(float, found))


def answers(port: int) -> bool:
    return all(ask(port, CHAT.request(model="none")).status == 404 for _ in range(6))


# Killing


def test_a_worker_that_is_killed_is_replaced(tmp_path, up):
    with Serving(tmp_path, "--workers", "2", config=config(up)) as serving:
        port = serving.ready().port
        before = set(poll(lambda: len(workers := workers_of(serving)) == 2 and workers, "two workers"))
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        after = set(poll(lambda: len(workers := set(workers_of(serving)) - before) == 2 and workers, "two new ones"))
        assert not before & after
        assert ask(port, CHAT.request()).status == 200
        serving.logged('"worker ended".*"status":-9')
        serving.signal(signal.SIGTERM)
        assert serving.ended() == 0
        assert not any(map(alive, after))


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.real
@needs_engine
def test_when_the_gateway_is_killed_its_workers_and_engine_go_too(tmp_path, workers):
    with Serving(tmp_path, "--workers", workers) as serving:
        port = serving.ready().port
        count = 1 + (2 if workers == "2" else 0)
        family = poll(lambda: len(found := serving.offspring()) == count and found, "its children are there")
        serving.signal(signal.SIGKILL)
        serving.ended()
        poll(lambda: not any(map(alive, family)), "all of them are gone")
        assert refuses(port)


def test_when_the_gateway_is_killed_its_workers_finish_their_streams(tmp_path, up):
    go_on = asyncio.Event()
    up.then(faults.stall(CHAT.stream(), 3, go_on))
    with Serving(tmp_path, "--workers", "2", config=config(up)) as serving:
        workers = poll(lambda: len(found := workers_of(serving.ready())) == 2 and found, "two workers")
        with Wire(serving.port) as wire:
            wire.send(CHAT.request(stream=True)).until(b"two")
            serving.signal(signal.SIGKILL)
            serving.ended()
            poll(lambda: sum(map(alive, workers)) == 1, "the idle one is gone")
            up.call(go_on.set)
            assert CHAT.ended(wire.response())
        poll(lambda: not any(map(alive, workers)), "the other one is gone")


@pytest.mark.real
@needs_engine
def test_an_engine_that_is_killed_comes_back(tmp_path):
    with Serving(tmp_path) as serving:
        port = serving.ready().port
        [engine] = engines_of(serving)
        os.kill(engine, signal.SIGKILL)
        poll(lambda: [pid for pid in engines_of(serving) if pid != engine], "another engine is there")
        request = CHAT.request(model="demo/headgate-demo", max_tokens=4)
        poll(lambda: ask(port, request).status == 200, "it answers")
        serving.logged("engine exited")


def test_nothing_of_a_stopped_gateway_is_left_in_its_home_but_the_ledger(tmp_path, up):
    with Serving(tmp_path, "--workers", "2", config=config(up), TMPDIR=str(tmp_path)) as serving:
        serving.ready()
        serving.signal(signal.SIGTERM)
        assert serving.ended() == 0
        assert not list(Path(serving.home).rglob("*.slots"))
        assert not list(tmp_path.glob("headgate-*"))
        assert PROVIDER_KEY not in serving.text + serving.log
