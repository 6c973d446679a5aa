"""Each timeout ends what it is for, with 504 or an error event that names the setting and what it was set to."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import closing

import pytest

from gateway import speech
from gateway.raw import Wire, ask
from gateway.running import provider
from gateway.speech import CHAT
from headgate.relay.record import Outcome
from headgate.testing import Stream, faults

SHORT_S = 0.2
#: What must not run out in these tests.
LONG = {"connect_s": 30, "first_token_s": 30, "response_s": 30, "idle_s": 30, "total_s": 30}


def short(up, setting: str):
    """A provider with one short timeout."""
    return provider(up, timeouts={**LONG, setting: SHORT_S})


def says(setting: str) -> str:
    return f"within {SHORT_S:g} s (timeouts.{setting})"


def check_504(response, say, running, setting: str, outcome: Outcome = Outcome.TIMEOUT) -> None:
    error = say.error_of(response.json())
    assert response.status == 504 and says(setting) in error["message"], response
    if say.name != "anthropic.messages":
        assert error["code"] == "upstream_timeout"
    record = running.record()
    assert (record.outcome, record.problem.reason) == (outcome, "upstream_timeout")
    assert SHORT_S * 0.9 <= record.total_s < 5


@pytest.mark.parametrize("say", speech.ALL, ids=str)
def test_response_s_is_for_a_whole_answer(gateway, up, say):
    running = gateway(short(up, "response_s"))
    up.then(faults.say_nothing())
    check_504(ask(running.port, say.request()), say, running, "response_s")


def test_response_s_is_for_the_whole_of_it(gateway, up):
    """An upstream that sends its head at once, and a byte now and then, is not on time for ever."""
    running = gateway(short(up, "response_s"))
    up.then(faults.drip(CHAT.answer(), lambda: asyncio.sleep(0.01)))
    check_504(ask(running.port, CHAT.request()), CHAT, running, "response_s")


@pytest.mark.parametrize("say", speech.ALL, ids=str)
def test_first_token_s_is_for_the_first_content(gateway, up, say):
    running = gateway(short(up, "first_token_s"))
    up.then(faults.stall(say.stream(), say.first_content))
    check_504(ask(running.port, say.request(stream=True)), say, running, "first_token_s")


def test_first_token_s_is_not_moved_on_by_pings(gateway, up):
    running = gateway(short(up, "first_token_s"))
    up.then(Stream([b": ping\n\n"] * 10_000, pace=lambda number: asyncio.sleep(0.01)))
    check_504(ask(running.port, CHAT.request(stream=True)), CHAT, running, "first_token_s")


def test_first_token_s_is_for_an_error_that_does_not_come_to_its_end_too(gateway, up):
    running = gateway(short(up, "first_token_s"))
    error = speech.openai.error_answer(500)
    up.then(faults.Raw((error.head() + b'{"error"', faults.Wait.forever())))
    check_504(ask(running.port, CHAT.request(stream=True)), CHAT, running, "first_token_s")


@pytest.mark.parametrize("say", speech.ALL, ids=str)
def test_idle_s_is_for_each_silence_of_a_stream(gateway, up, say):
    running = gateway(short(up, "idle_s"))
    up.then(faults.stall(say.stream(), say.first_content + 1))
    response = ask(running.port, say.request(stream=True))
    error = say.error_event_of(response)
    assert says("idle_s") in error["message"] and error["source"] == "up"
    assert running.record().outcome is Outcome.TIMEOUT


def test_idle_s_is_not_for_the_whole_stream(gateway, up):
    running = gateway(provider(up, timeouts={**LONG, "idle_s": 0.5}))
    stream = CHAT.stream()
    up.then(Stream([*stream.events[:2], *[b": ping\n\n"] * 40, *stream.events[2:]], pace=lambda n: asyncio.sleep(0.02)))
    response = ask(running.port, CHAT.request(stream=True))
    assert CHAT.ended(response) and running.record().total_s > 0.6


def test_total_s_is_for_a_whole_answer(gateway, up):
    running = gateway(short(up, "total_s"))
    up.then(faults.say_nothing())
    check_504(ask(running.port, CHAT.request()), CHAT, running, "total_s")


def test_total_s_is_for_the_first_content(gateway, up):
    running = gateway(short(up, "total_s"))
    up.then(faults.say_nothing())
    check_504(ask(running.port, CHAT.request(stream=True)), CHAT, running, "total_s")


@pytest.mark.parametrize("say", speech.ALL, ids=str)
def test_total_s_ends_a_stream_that_never_does(gateway, up, say):
    running = gateway(short(up, "total_s"))
    events = say.stream().events
    at = say.first_content + 1
    up.then(Stream([*events[:at], *[events[at]] * 10_000], pace=lambda number: asyncio.sleep(0.005)))
    response = ask(running.port, say.request(stream=True))
    assert says("total_s") in say.error_event_of(response)["message"] and not say.ended(response)
    assert running.record().outcome is Outcome.TIMEOUT
    up.run(up.idle())


ENDLESS = [b": " + b"x" * 65536 + b"\n\n"] * 100_000


def test_total_s_ends_a_stream_whose_client_reads_slowly(gateway, up):
    running = gateway(short(up, "total_s"))
    up.then(Stream([*CHAT.stream().events[:2], *ENDLESS]))
    with Wire(running.port, receive_buffer=4096) as wire:
        wire.send(CHAT.request(stream=True)).until(b"One")
        time.sleep(SHORT_S * 2)  # the client's own slowness: nothing to poll for
        response = wire.response()
    assert says("total_s") in CHAT.error_event_of(response)["message"]
    assert running.record().outcome is Outcome.TIMEOUT
    up.run(up.idle())


def test_a_client_that_has_stopped_reading_does_not_hold_its_upstream_for_ever(gateway, up):
    running = gateway(up, stall_s=SHORT_S)
    up.then(Stream([*CHAT.stream().events[:2], *ENDLESS]))
    with Wire(running.port, receive_buffer=4096) as wire:
        wire.send(CHAT.request(stream=True))
        record = running.record()
        up.run(up.idle())
        assert (record.outcome, running.open_connections) == (Outcome.CLIENT_GONE, 0)
        assert not wire.rest().endswith(b"0\r\n\r\n"), "what was cut off does not look whole"


def test_connect_s_is_for_tls_too(gateway, up):
    """This upstream waits for HTTP, and so never answers to TLS."""
    running = gateway(short(f"https://127.0.0.1:{up.port}/v1", "connect_s"))
    response = ask(running.port, CHAT.request())
    check_504(response, CHAT, running, "connect_s", Outcome.UNREACHABLE)
    assert not running.record().attempts[0].sent


def test_connect_s_is_for_an_address_that_does_not_answer(gateway):
    with closing(socket.socket()) as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = []
        for _ in range(3):  # nobody accepts these, so after them the kernel answers no more
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(full.getsockname())
            waiting.append(one)
        running = gateway(short(f"http://127.0.0.1:{full.getsockname()[1]}/v1", "connect_s"))
        check_504(ask(running.port, CHAT.request()), CHAT, running, "connect_s", Outcome.UNREACHABLE)
        for one in waiting:
            one.close()


def test_a_client_that_reads_slowly_does_not_make_the_upstream_late(gateway, up):
    running = gateway(short(up, "idle_s"))
    stream = CHAT.stream()
    filler = [b": " + b"x" * 65536 + b"\n\n"] * 400
    up.then(Stream([*stream.events[:2], *filler, *stream.events[2:]]))
    with Wire(running.port, receive_buffer=4096) as wire:
        wire.send(CHAT.request(stream=True))
        wire.until(b"One")
        time.sleep(SHORT_S * 3)  # the client's own slowness: nothing to poll for
        response = wire.response()
    assert CHAT.ended(response) and running.record().outcome is Outcome.COMPLETED
