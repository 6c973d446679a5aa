"""A client that leaves takes its upstream with it, at whatever byte; nothing stays behind."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from gateway import speech
from gateway.raw import PATIENCE_S, Wire, ask, get
from gateway.running import provider
from gateway.speech import CHAT, MESSAGES
from headgate.relay.record import Outcome
from headgate.testing import faults

#: A client that leaves must be noticed within 0.1 s; the tests wait much longer, say how long it took, and fail only
#: where it would also have failed on an idle machine.
NOTICED_S = 2.0


def wait_until(condition, within_s: float = PATIENCE_S) -> float:
    """Waits for what only polling can see; the seconds that it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within_s, "it did not come to that"
        time.sleep(0.002)
    return time.monotonic() - began


def leaves(wire: Wire, how: str) -> float:
    """Closes the client's side; when that was."""
    left_s = time.monotonic()
    wire.reset() if how == "reset" else wire.close()
    return left_s


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("say", speech.ALL, ids=str)
def test_a_client_that_leaves_while_it_waits_ends_the_request_upstream(gateway, up, say, stream, how):
    running = gateway(up)
    up.then(faults.say_nothing())
    wire = Wire(running.port).send(say.request(stream=stream))
    request = up.run(up.received())
    left_s = leaves(wire, how)
    up.run(up.over(request), NOTICED_S)
    print(f"noticed upstream after {(request.aborted_s - left_s) * 1000:.1f} ms")
    record = running.record()
    assert (record.outcome, record.status, record.attempts[0].sent) == (Outcome.CLIENT_GONE, None, True)


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("say", speech.ALL, ids=str)
def test_a_client_that_leaves_in_the_middle_of_a_stream_ends_it_upstream(gateway, up, say, how):
    running = gateway(up)
    up.then(faults.stall(say.stream(), say.first_content + 1))
    wire = Wire(running.port).send(say.request(stream=True))
    wire.until(b"One")
    request = up.requests[0]
    left_s = leaves(wire, how)
    up.run(up.over(request), NOTICED_S)
    print(f"noticed upstream after {(request.aborted_s - left_s) * 1000:.1f} ms")
    record = running.record()
    assert (record.outcome, record.status) == (Outcome.CLIENT_GONE, 200)
    assert record.attempts[0].delivered_bytes > 0


def test_a_client_that_leaves_while_the_upstream_talks_is_noticed_too(gateway, up):
    running = gateway(up)
    many = [CHAT.stream().events[1]] * 1_000_000
    up.then(faults.Stream(many, pace=lambda number: asyncio.sleep(0)))
    wire = Wire(running.port).send(CHAT.request(stream=True))
    wire.until(b"One")
    wire.close()
    up.run(up.over(up.requests[0]), NOTICED_S)
    assert running.record().outcome is Outcome.CLIENT_GONE


@pytest.mark.parametrize("size", [100_000, 1_000_000, 10_000_000])
def test_a_client_of_a_large_body_is_noticed_when_it_leaves(gateway, up, size):
    """While a large body comes, reading is paused now and then; it must go on, or nobody sees the client leave."""
    running = gateway(up)
    up.then(faults.say_nothing())
    request = CHAT.request(user="x" * size)
    half = len(request) - min(size, 250_000)
    wire = Wire(running.port).send(request[:half])
    wait_until(lambda: running.requests_under_way == 1)
    wire.send(request[half:])
    up.run(up.received())
    wire.close()
    up.run(up.over(up.requests[0]), NOTICED_S)
    assert running.record().outcome is Outcome.CLIENT_GONE


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("ahead", [1, 3])
def test_a_client_that_has_sent_its_next_requests_already_is_noticed_when_it_is_gone(gateway, up, ahead, how):
    running = gateway(up)
    up.then(faults.stall(CHAT.stream(), 2), faults.stall(CHAT.stream(), 50))
    for number, first in enumerate((CHAT.request(stream=True), CHAT.request()), start=1):
        running.forget()
        wire = Wire(running.port).send(first + CHAT.request() * ahead)
        request = up.run(up.received(number))
        leaves(wire, how)
        up.run(up.over(request), NOTICED_S)
        assert running.record().outcome is Outcome.CLIENT_GONE
    assert len(up.requests) == 2


def test_a_stream_to_a_client_that_is_gone_ends_though_its_next_request_has_come(gateway, up):
    running = gateway(up)
    events = [CHAT.stream().events[1]] * 1000
    up.then(faults.Stream([*events, faults.Wait.forever()], pace=lambda number: asyncio.sleep(0.001)))
    wire = Wire(running.port).send(CHAT.request(stream=True) + get("/v1/models") * 20)
    wire.until(b"One")
    wire.reset()
    up.run(up.over(up.requests[0]), NOTICED_S)
    assert running.record().outcome is Outcome.CLIENT_GONE


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("say", [CHAT, MESSAGES], ids=str)
def test_a_client_may_leave_at_any_byte_of_its_request(gateway, up, say, how):
    running = gateway(up)
    request = say.request("user-agent: test", "authorization: Bearer x", stream=True)
    for size in range(len(request) + 1):
        wire = Wire(running.port)
        wire.send(request[:size])
        leaves(wire, how)
    took_s = wait_until(lambda: running.open_connections == 0 and running.requests_under_way == 0)
    print(f"{len(request) + 1} clients gone, all cleared away after {took_s:.3f} s")
    assert ask(running.port, say.request()).status == 200
    outcomes = {event.record.outcome for event in running.events if hasattr(event, "record")}
    assert outcomes <= {Outcome.CLIENT_GONE, Outcome.COMPLETED}
    assert all(json.loads(sent.body) for sent in up.requests), "nothing that was not whole went upstream"
    assert len(up.requests) <= 2


def test_a_client_may_leave_at_any_byte_of_its_answer(gateway, up):
    running = gateway(up)
    request = CHAT.request("connection: close", stream=True)
    with Wire(running.port) as wire:
        size = len(wire.send(request).rest())
    for after in range(0, size, 7):
        wire = Wire(running.port, receive_buffer=1024).send(request)
        wire.read(after)
        leaves(wire, "reset" if after % 2 else "close")
    wait_until(lambda: running.open_connections == 0 and running.requests_under_way == 0)
    assert ask(running.port, CHAT.request()).status == 200


def test_many_clients_that_leave_at_once_leave_nothing(gateway, up):
    running = gateway(up)
    up.then(*[faults.stall(CHAT.stream(), 2)] * 100)
    wires = [Wire(running.port).send(CHAT.request(stream=True)) for _ in range(100)]
    for wire in wires:
        wire.until(b"One")
    for wire in wires:
        wire.close()
    up.run(up.idle())
    assert {record.outcome for record in running.records(100)} == {Outcome.CLIENT_GONE}
    assert (running.open_connections, running.requests_under_way) == (0, 0)


def test_a_client_that_leaves_while_models_are_asked_for_is_no_defect(gateway, up):
    """The provider names no models and does not answer when asked for them, so this client waits."""
    up.then(faults.say_nothing())
    running = gateway(provider(up, models=None))
    wire = Wire(running.port).send(CHAT.request())
    wait_until(lambda: running.requests_under_way == 1)
    wire.close()
    assert running.record().outcome is Outcome.CLIENT_GONE
