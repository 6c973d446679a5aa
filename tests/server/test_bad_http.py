"""What clients send that is not, or not quite, a request: each gets a clear answer in JSON, or its connection closed,
and never a 500."""

from __future__ import annotations

import time

import pytest

from gateway import speech
from gateway.raw import Wire, ask, get, post
from gateway.speech import CHAT, COUNT_PATH, EMBEDDINGS_PATH, MESSAGES
from headgate.relay.record import Outcome
from headgate.testing import faults

INFERENCE = [*(say.path for say in speech.ALL), EMBEDDINGS_PATH, COUNT_PATH]


def error_at(path: str, response) -> dict:
    """The error object, in the dialect of the path, made by headgate."""
    say = MESSAGES if path.startswith("/v1/messages") else CHAT
    assert response.header("content-type") == "application/json" and response.whole, response
    error = say.error_of(response.json())
    assert error["source"] == "headgate"
    return error


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/messages\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nbad header\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5x\r\n\r\nhello",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\ncontent-length: 5\r\n\r\nhello",
        b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\nhello",
        b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: local\x00host\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT example.com:443 HTTP/1.1\r\nhost: example.com:443\r\n\r\n",
        b"\x00" * 100,
        b"\r\n" * 100 + b"x\r\n\r\n",
    ],
    ids=lambda raw: repr(raw[:60]),
)
def test_what_is_no_request_is_refused(gateway, up, garbage):
    running = gateway(up)
    with Wire(running.port) as wire:
        response = wire.send(garbage).response()
        assert response.status in (400, 403, 404, 405), response
        assert response.json()["error"]["source"] == "headgate"
    assert up.requests == [] and ask(running.port, CHAT.request()).status == 200


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
        get("/health", "x-long: " + "a" * 100_000),
        get("/health", *(f"x-{n}: 1" for n in range(1000))),
        get("/health", *(f"x-{n}: {'a' * 1000}" for n in range(150))),
        b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nx-endless: " + b"a" * 5_000_000,
    ],
    ids=["a long path", "a long header", "many headers", "many long headers", "an endless header"],
)
def test_a_head_that_is_too_large_is_refused_with_431(gateway, up, head):
    running = gateway(up)
    with Wire(running.port) as wire:
        assert wire.try_send(head), "it is read to its end, so that the client comes to reading the answer"
        response = wire.response()
        assert response.status == 431 and response.whole
        assert "65536 bytes" in error_at("/v1/messages" if b"/v1/messages" in head else "/", response)["message"]
        assert wire.rest() == b"", "and the connection ends"


def test_what_follows_a_refused_head_is_not_served(gateway, up):
    running = gateway(up)
    with Wire(running.port) as wire:
        wire.send(get("/health", *(f"x-{n}: 1" for n in range(300))) + CHAT.request())
        assert wire.response().status == 431 and wire.rest() == b""
    assert ask(running.port, get("/health")).status == 200
    assert up.requests == []


def test_headers_as_large_as_is_allowed_are_served(gateway, up):
    running = gateway(up)
    large = [f"x-{n}: {'a' * 500}" for n in range(120)]
    assert ask(running.port, CHAT.request(*large)).status == 200


@pytest.mark.parametrize("begun", [b"", b"POST /v1/mes", b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nx: "])
def test_a_head_that_does_not_come_to_its_end_is_refused_with_408(gateway, up, begun):
    running = gateway(up, server={"header_timeout_s": 0.2})
    with Wire(running.port) as wire:
        response = wire.send(begun).response()
        path = "/v1/messages" if b"/v1/messages" in begun else "/"
        assert response.status == 408 and "0.2 s" in error_at(path, response)["message"]
        assert wire.rest() == b""


def test_a_head_that_drips_is_refused_with_408(gateway, up):
    running = gateway(up, server={"header_timeout_s": 0.3})
    began = time.monotonic()
    with Wire(running.port) as wire:
        wire.send(b"GET /health HTTP/1.1\r\nx-slow: ")
        while wire.silent and time.monotonic() - began < 5:
            wire.try_send(b"a")
            time.sleep(0.02)  # the client's pace
        assert wire.response().status == 408


def test_the_second_head_on_a_connection_has_its_time_too(gateway, up):
    running = gateway(up, server={"header_timeout_s": 0.2})
    with Wire(running.port) as wire:
        assert wire.send(CHAT.request()).response().status == 200
        response = wire.send(b"POST /v1/chat/comp").response()
        assert response.status == 408


# Bodies


def limited(gateway, up, **server):
    return gateway(up, server={"max_body_mib": 1, "body_timeout_s": 0.3, **server})


MIB = 1 << 20


@pytest.mark.parametrize("path", INFERENCE)
def test_a_body_that_announces_too_much_is_refused_before_it_is_sent(gateway, up, path):
    running = limited(gateway, up)
    with Wire(running.port) as wire:
        wire.send(post(path, b"").replace(b"content-length: 0", b"content-length: 1048577"))
        response = wire.response()
        assert response.status == 413 and "server.max_body_mib" in error_at(path, response)["message"]
        assert wire.rest() == b"", "what would follow is not a request, so the connection ends"
    assert up.requests == [] and running.record().outcome is Outcome.REFUSED


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused_while_it_is_sent(gateway, up, chunked):
    running = limited(gateway, up)
    piece = b"x" * 65536
    with Wire(running.port) as wire:
        if chunked:
            wire.send(CHAT_HEAD + b"transfer-encoding: chunked\r\n\r\n")
            sent = [wire.try_send(b"10000\r\n" + piece + b"\r\n") for _ in range(40)]
        else:
            wire.send(CHAT_HEAD + b"content-length: 2621440\r\n\r\n")
            sent = [wire.try_send(piece) for _ in range(40)]
        assert all(sent), "whoever is refused may finish his sentence, or he would not hear it"
        response = wire.response()
    assert response.status == 413 and "1048576" in error_at(CHAT.path, response)["message"]
    assert ask(running.port, CHAT.request()).status == 200


CHAT_HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"


def test_a_client_that_goes_on_sending_after_its_refusal_is_cut_off(gateway, up):
    running = limited(gateway, up)
    with Wire(running.port) as wire:
        wire.send(CHAT_HEAD + b"transfer-encoding: chunked\r\n\r\n")
        began = time.monotonic()
        while wire.try_send(b"10000\r\n" + b"x" * 65536 + b"\r\n"):
            assert time.monotonic() - began < 8, "it is read for ever"
    began = time.monotonic()
    while running.open_connections:
        assert time.monotonic() - began < 5
        time.sleep(0.01)


def test_a_body_of_the_largest_size_is_served(gateway, up):
    running = limited(gateway, up)
    empty = CHAT.request(user="")
    room = MIB - (len(empty) - empty.index(b"\r\n\r\n") - 4)
    request = CHAT.request(user="x" * room)
    assert ask(running.port, request).status == 200
    assert len(up.requests[0].body) == MIB
    assert ask(running.port, CHAT.request(user="x" * (room + 1))).status == 413


@pytest.mark.parametrize("sent", [b"", b'{"model":'], ids=["nothing", "a beginning"])
@pytest.mark.parametrize("path", INFERENCE)
def test_a_body_that_does_not_come_is_refused_with_408(gateway, up, path, sent):
    running = limited(gateway, up)
    with Wire(running.port) as wire:
        head = post(path, b"").replace(b"content-length: 0", b"content-length: 100")
        response = wire.send(head + sent).response()
        assert response.status == 408 and "server.body_timeout_s" in error_at(path, response)["message"]
        assert wire.rest() == b""


def test_a_body_that_drips_is_refused_with_408(gateway, up):
    running = limited(gateway, up)
    began = time.monotonic()
    with Wire(running.port) as wire:
        wire.send(CHAT_HEAD + b"content-length: 100000\r\n\r\n")
        while wire.silent and time.monotonic() - began < 8:
            wire.try_send(b" ")
            time.sleep(0.02)  # the client's pace
        assert wire.response().status == 408
    assert running.record().outcome is Outcome.REFUSED


def test_a_body_that_comes_at_a_fair_pace_may_take_longer_than_the_timeout(gateway, up):
    running = limited(gateway, up)
    request = CHAT.request(user="x" * 400_000)
    with Wire(running.port) as wire:
        for at in range(0, len(request), 20_000):
            wire.send(request[at : at + 20_000])
            time.sleep(0.03)  # the client's pace: 0.6 s in all, where 0.3 s is the timeout
        assert wire.response().status == 200


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_chunked_body_is_a_body(gateway, up, size):
    running = gateway(up)
    head, body = CHAT.request().split(b"\r\n\r\n", 1)
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    chunks = b"".join(b"%x;ext=1\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"content-length")]
    request = b"\r\n".join([*lines, b"transfer-encoding: chunked"]) + b"\r\n\r\n" + chunks
    with Wire(running.port) as wire:
        assert wire.send(request + b"0\r\n\r\n").response().status == 200
        assert wire.send(request + b"0\r\nx-trailer: 1\r\n\r\n").response().status == 200
    assert [sent.body for sent in up.requests] == [body, body]
    assert up.requests[0].header("transfer-encoding") is None


@pytest.mark.parametrize("size", [1, 50])
def test_a_request_may_come_in_any_pieces(gateway, up, size):
    running = gateway(up)
    request = CHAT.request()
    with Wire(running.port) as wire:
        for at in range(0, len(request), size):
            wire.send(request[at : at + size])
        assert wire.response().status == 200


def test_a_body_that_turns_to_garbage_ends_its_request_and_nothing_goes_upstream(gateway, up):
    running = gateway(up)
    with Wire(running.port) as wire:
        wire.send(CHAT_HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
        while not running.requests_under_way:
            time.sleep(0.002)
        response = wire.send(b"no size\r\n").response()
        assert response.status == 400 and error_at(CHAT.path, response)
    assert running.record().outcome is Outcome.CLIENT_GONE and up.requests == []


def test_garbage_behind_a_request_is_not_an_answer_to_it(gateway, up):
    running = gateway(up)
    up.then(faults.say_nothing())
    with Wire(running.port) as wire:
        wire.send(CHAT.request())
        up.run(up.received())
        assert wire.send(b"no request\r\n\r\n").rest() == b""
    assert running.record().outcome is Outcome.CLIENT_GONE


def test_a_client_that_asks_whether_to_go_on_is_told_to(gateway, up):
    running = gateway(up)
    head, body = CHAT.request("expect: 100-continue").split(b"\r\n\r\n", 1)
    with Wire(running.port) as wire:
        wire.send(head + b"\r\n\r\n").until(b"100 Continue\r\n\r\n")
        assert wire.send(body).response().status == 200


def test_a_client_that_asks_whether_to_go_on_is_refused_before_it_does(gateway, up):
    running = limited(gateway, up)
    head = post(CHAT.path, b"", "expect: 100-continue").replace(b"content-length: 0", b"content-length: 99999999")
    with Wire(running.port) as wire:
        assert wire.send(head).until(b"\r\n").startswith(b"HTTP/1.1 413")


# Several requests, other methods, other versions


def test_pipelined_requests_are_answered_in_order(gateway, up):
    running = gateway(up)
    up.then(CHAT.answer(), MESSAGES.stream())
    with Wire(running.port) as wire:
        wire.send(CHAT.request() + MESSAGES.request(stream=True) + get("/health") + CHAT.request(model="none"))
        first, second, third, fourth = (wire.response() for _ in range(4))
    assert CHAT.text_of(first) == speech.TEXT and MESSAGES.ended(second)
    assert third.json()["status"] == "ok" and fourth.status == 404


def test_many_pipelined_requests_are_all_answered(gateway, up):
    running = gateway(up)
    with Wire(running.port) as wire:
        wire.send(get("/v1/models") * 50 + CHAT.request() * 30)
        assert [wire.response().status for _ in range(80)] == [200] * 80
    assert len(up.requests) == 30


@pytest.mark.parametrize("path", ["/", "/health", "/ready", "/metrics", "/v1/models", "/v1/models/m"])
def test_head_is_get_without_a_body(gateway, up, path):
    running = gateway(up)
    with Wire(running.port) as wire:
        head = wire.send(get(path, method="HEAD")).response(head_only=True)
        whole = wire.send(get(path)).response()
    assert (head.status, whole.status) == (200, 200)
    assert head.header("content-type") == whole.header("content-type")


@pytest.mark.parametrize("path", INFERENCE)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_a_wrong_method_is_refused_in_the_dialect(gateway, up, method, path):
    running = gateway(up)
    with Wire(running.port) as wire:
        response = wire.send(get(path, method=method)).response(head_only=method == "HEAD")
    if method in ("PUT", "PATCH"):  # they have a body that would have to be JSON first
        assert response.status in (405, 415)
    else:
        assert response.status == 405
    if method != "HEAD":
        assert "POST" in error_at(path, response)["message"] or response.status == 415
    assert up.requests == []


@pytest.mark.parametrize("path", ["/health", "/metrics", "/v1/models", "/v1/models/m"])
def test_what_is_read_cannot_be_posted_to(gateway, up, path):
    response = ask(gateway(up).port, post(path, {}))
    assert response.status == 405 and "GET" in error_at(path, response)["message"]


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/chat/completions", "did you mean /v1/chat/completions?"),
        ("/v1/v1/messages", "/v1/v1/messages"),
        ("/messages", "did you mean /v1/messages?"),
        ("/v1/audio/speech", "/v1/audio/speech"),
        ("/v1/chat/completions/x", "/v1/chat/completions/x"),
        ("/../etc/passwd", "/../etc/passwd"),
        ("/%00", "there is no"),
        ("/" + "a" * 5000, "there is no"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_path_is_a_404_with_a_hint(gateway, up, method, path, hint):
    response = ask(gateway(up).port, post(path, {}).replace(b"POST", method.encode()))
    error = error_at("/", response)
    assert response.status == 404 and hint in error["message"] and len(error["message"]) < 400


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("say", speech.ALL, ids=str)
def test_a_client_of_http_1_0_gets_what_it_can_read(gateway, up, say, stream):
    running = gateway(up)
    up.then(say.stream() if stream else say.answer())
    with Wire(running.port) as wire:
        response = wire.send(say.request(stream=stream).replace(b"HTTP/1.1", b"HTTP/1.0")).response()
        assert wire.rest() == b""
    assert response.status == 200 and say.text_of(response) == speech.TEXT
    assert response.header("transfer-encoding") is None


def test_a_connection_that_shall_close_is_closed(gateway, up):
    running = gateway(up)
    with Wire(running.port) as wire:
        response = wire.send(CHAT.request("connection: close")).response()
        assert response.header("connection") == "close" and wire.rest() == b""


def test_an_upgrade_is_ignored(gateway, up):
    running = gateway(up)
    upgrade = ("connection: upgrade", "upgrade: websocket", "sec-websocket-key: x", "sec-websocket-version: 13")
    assert ask(running.port, get("/v1/models", *upgrade)).status == 200
    assert ask(running.port, CHAT.request("connection: upgrade", "upgrade: h2c")).status in (200, 400)


def test_an_idle_connection_is_closed_after_keep_alive_s(gateway, up):
    running = gateway(up, server={"keep_alive_s": 1})
    with Wire(running.port) as wire:
        assert wire.send(CHAT.request()).response().status == 200
        assert wire.rest() == b""
