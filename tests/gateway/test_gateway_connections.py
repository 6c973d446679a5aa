"""Connections to upstreams and clients: back-pressure both ways, and kept connections that are not there any more."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from contextlib import closing

import pytest

from gateway import speech
from gateway.raw import Wire, ask, get
from gateway.running import PATIENCE_S, close_kept, provider
from gateway.speech import CHAT
from headgate.relay.record import Outcome
from headgate.testing import Answer, ScriptedUpstream, Stream, faults

BLOCK = b": " + b"x" * (1 << 16) + b"\n\n"
COUNT = 1500
#: What the kernel's buffers on both ways may hold, with much to spare; the stream below is three times as long.
BUFFERS_BYTES = 32 << 20


def settled(read, still_s: float = 0.3, within_s: float = 10.0) -> int:
    """The value once it has not changed for a while."""
    began = changed = time.monotonic()
    value = read()
    while time.monotonic() - changed < still_s:
        assert time.monotonic() - began < within_s, "it goes on and on"
        time.sleep(0.01)
        if (now := read()) != value:
            value, changed = now, time.monotonic()
    return value


def test_a_client_that_does_not_read_makes_the_upstream_wait(gateway, up):
    running = gateway(up)
    stream = CHAT.stream()
    up.then(Stream([*stream.events[:2], *[BLOCK] * COUNT, *stream.events[2:]]))
    with Wire(running.port) as wire:
        wire.send(CHAT.request(stream=True)).until(b"One")
        request = up.requests[0]
        sent_bytes = settled(lambda: request.sent_bytes)
        print(f"the upstream could send {sent_bytes >> 10} KiB of {len(BLOCK) * COUNT >> 10} KiB")
        assert sent_bytes < BUFFERS_BYTES and request.finished_s is None
        # The gateway serves others meanwhile, and then the whole stream arrives.
        assert ask(running.port, CHAT.request()).status == 200
        response = wire.response()
    assert len(response.body) > COUNT * len(BLOCK) and CHAT.ended(response)
    assert [record.outcome for record in running.records(2)] == [Outcome.COMPLETED] * 2


def test_a_whole_answer_that_nobody_reads_is_held_once(gateway, up):
    running = gateway(up)
    body = {**CHAT.answer().body, "filler": "x" * (8 << 20)}
    up.then(Answer(body=body))
    with Wire(running.port) as wire:
        wire.send(CHAT.request())
        up.run(up.received())
        assert ask(running.port, CHAT.request()).status == 200
        assert wire.response().json() == body


def test_an_upstream_that_reads_slowly_gets_all_of_a_large_body(gateway, up):
    running = gateway(up)
    text = "x" * (30 << 20)
    response = ask(running.port, CHAT.request(user=text))
    assert response.status == 200 and up.requests[0].json()["user"] == text


def test_an_upstream_that_answers_before_it_has_read_the_request_is_heard(gateway):
    """It refuses a large body by its head alone, and reads no further."""
    error = speech.openai.error_answer(413)
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        running = gateway(provider(f"http://127.0.0.1:{server.getsockname()[1]}/v1"))
        with Wire(running.port) as wire:
            wire.send(CHAT.request(user="x" * (8 << 20)))
            upstream, _ = server.accept()
            with upstream:
                assert b"\r\n\r\n" in upstream.recv(4096)
                upstream.sendall(error.head() + error.payload())
                response = wire.response()
                assert response.status == 413 and response.json()["error"]["source"] == "up"
                upstream.settimeout(PATIENCE_S)
                with contextlib.suppress(ConnectionResetError):
                    while upstream.recv(1 << 20):
                        pass


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_kept_connection_that_was_closed_is_not_used_again(gateway, up, stream):
    running = gateway(up)
    assert ask(running.port, CHAT.request()).status == 200
    close_kept(up)
    up.then(CHAT.stream() if stream else CHAT.answer())
    response = ask(running.port, CHAT.request(stream=stream, seed=2))
    assert CHAT.text_of(response) == speech.TEXT
    assert [request.json().get("seed") for request in up.requests] == [None, 2], "the upstream saw each once"
    assert up.accepted == 2
    [attempt] = running.records(2)[1].attempts
    assert attempt.outcome is Outcome.COMPLETED


def test_all_kept_connections_may_be_closed_at_once(gateway, up):
    running = gateway(up)
    go_on = asyncio.Event()
    up.then(*[faults.answer_when(CHAT.answer(), go_on)] * 20)
    wires = [Wire(running.port).send(CHAT.request()) for _ in range(20)]
    up.run(up.received(20))
    up.call(go_on.set)
    assert {wire.response().status for wire in wires} == {200}
    close_kept(up)
    assert ask(running.port, CHAT.request()).status == 200
    assert (len(up.requests), up.accepted) == (21, 21)
    for wire in wires:
        wire.close()


def test_a_request_that_was_sent_is_never_sent_again(gateway, up):
    """The upstream reads it and closes: it may have begun to work, and to charge."""
    running = gateway(up)
    up.then(CHAT.answer(), faults.close_before_answer())
    assert ask(running.port, CHAT.request()).status == 200
    response = ask(running.port, CHAT.request(seed=2))
    assert response.status == 502 and "without an answer" in CHAT.error_of(response.json())["message"]
    assert [request.json().get("seed") for request in up.requests] == [None, 2]
    assert up.requests[1].nth == 1, "it was a kept connection"
    record = running.records(2)[1]
    assert (record.outcome, len(record.attempts)) == (Outcome.BROKEN, 1)


def test_a_connection_on_which_something_came_unasked_is_not_used_again(gateway, up):
    running = gateway(up)
    assert ask(running.port, CHAT.request()).status == 200

    async def write() -> None:
        while up.open_connections:
            up.write_idle(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
            await asyncio.sleep(0.002)

    up.run(write())
    response = ask(running.port, CHAT.request())
    assert response.status == 200 and CHAT.text_of(response)
    assert up.accepted == 2


def test_streams_do_not_share_a_connection_while_they_run(gateway, up):
    running = gateway(up)
    go_on = asyncio.Event()
    up.then(*[faults.stall(CHAT.stream(), 3, go_on)] * 10)
    wires = [Wire(running.port).send(CHAT.request(stream=True)) for _ in range(10)]
    for wire in wires:
        wire.until(b"two")
    assert up.accepted == 10
    up.call(go_on.set)
    assert all(CHAT.ended(wire.response()) for wire in wires)
    for wire in wires:
        wire.close()


def test_the_connection_of_a_stream_is_kept_when_it_is_over(gateway, up):
    running = gateway(up)
    for _ in range(5):
        up.then(CHAT.stream())
        assert CHAT.ended(ask(running.port, CHAT.request(stream=True)))
        up.run(up.over(up.requests[-1]))
    assert up.accepted <= 2, "the end of HTTP may come a moment after the end of the stream"


def test_a_reload_does_not_drop_a_stream(gateway, up):
    running = gateway(up)
    go_on = asyncio.Event()
    up.then(faults.stall(CHAT.stream(), 3, go_on))
    with Wire(running.port) as wire:
        wire.send(CHAT.request(stream=True)).until(b"two")
        running.reload({"providers": [provider(up, name="other", models=["n"])]})
        assert ask(running.port, CHAT.request()).status == 404
        assert ask(running.port, CHAT.request(model="other/n")).status == 200
        up.call(go_on.set)
        response = wire.response()
    assert CHAT.ended(response) and CHAT.text_of(response) == speech.TEXT


def test_a_reload_takes_over_all_of_a_provider_that_keeps_its_name(gateway, up):
    running = gateway(up)
    assert ask(running.port, CHAT.request()).status == 200
    with ScriptedUpstream() as elsewhere:
        running.reload({"providers": [provider(elsewhere, api_key="sk-another", timeouts={"response_s": 0.2})]})
        elsewhere.then(CHAT.answer(), faults.say_nothing())
        assert ask(running.port, CHAT.request()).status == 200
        assert elsewhere.requests[0].header("authorization") == "Bearer sk-another"
        assert ask(running.port, CHAT.request()).status == 504
    assert len(up.requests) == 1


def test_a_reload_to_keys_lets_nobody_in_without_one(gateway, up, client_key):
    secret = client_key()
    running = gateway(up)
    with Wire(running.port) as wire:
        assert wire.send(CHAT.request()).response().status == 200
        running.reload({"providers": [provider(up)], "auth": "keys"})
        assert wire.send(CHAT.request()).response().status == 401
        assert wire.send(CHAT.request(f"x-api-key: {secret}")).response().status == 200
        running.reload({"providers": [provider(up)]})
        assert wire.send(CHAT.request()).response().status == 200


def test_a_reload_that_is_broken_changes_nothing(gateway, up):
    running = gateway(up)
    running.reload({"providers": [{"name": "up", "kind": "nonsense"}]})
    assert ask(running.port, CHAT.request()).status == 200
    refused = running.wait_for(lambda events: [e for e in events if type(e).__name__ == "ConfigRefused"])
    assert any("kind" in finding for finding in refused[0].findings)


def test_models_that_a_provider_lists_are_asked_for_before_the_first_request_is_refused(gateway, up):
    go_on = asyncio.Event()
    up.then(faults.answer_when(speech.openai.models_answer(["listed"]), go_on))
    running = gateway(provider(up, models=None))
    with Wire(running.port) as wire:
        wire.send(CHAT.request(model="listed"))
        up.run(up.received())
        up.call(go_on.set)
        response = wire.response()
    assert response.status == 200 and response.header("x-headgate-target") == "up/listed"
    assert ask(running.port, get("/v1/models")).json()["data"][0]["id"] == "up/listed"
