"""What the client gets of an answer: the upstream's bytes, nothing before the first content, usage as it asked for it,
and never a word of the provider's key."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import orjson
import pytest

from gateway import speech
from gateway.raw import Wire, ask
from gateway.running import PROVIDER_KEY, provider
from gateway.speech import CHAT, COMPLETIONS, COUNT_PATH, MESSAGES, RESPONSES, TEXT, Speech, payloads
from headgate.relay.record import Outcome
from headgate.testing import Answer, Call, Stream, Turn, faults
from headgate.testing import vendor_openai as openai
from headgate.wire.usage import Usage

WITH_USAGE = {"stream_options": {"include_usage": True}}


# The bytes


@pytest.mark.parametrize("say", speech.ALL, ids=str)
def test_an_answer_passes_byte_for_byte(gateway, up, say):
    running = gateway(up)
    odd = orjson.dumps(say.answer().body, option=orjson.OPT_INDENT_2).replace(b"Hello", b"\\u0048ello") + b"\r\n"
    up.then(replace(say.answer(), body=odd))
    assert ask(running.port, say.request()).body == odd


@pytest.mark.parametrize("say", speech.ALL, ids=str)
def test_a_stream_passes_byte_for_byte(gateway, up, say):
    running = gateway(up)
    stream = say.stream()
    comment = b": a comment\nid: 7\nretry: 10\n\n"
    odd = replace(stream, events=[*stream.events[:2], comment, *stream.events[2:]])
    up.then(odd, faults.regrouped(odd, 3), faults.rewritten(odd, lambda event: event.replace(b"\n", b"\r\n")))
    bodies = [ask(running.port, say.request(stream=True, **WITH_USAGE)).body for _ in range(3)]
    assert bodies == [odd.body(), odd.body(), odd.body().replace(b"\n", b"\r\n")]


@pytest.mark.parametrize("say", speech.ALL, ids=str)
def test_nothing_that_comes_after_the_end_is_passed_on(gateway, up, say):
    running = gateway(up)
    stream = say.stream()
    up.then(faults.trailing_garbage(stream))
    assert ask(running.port, say.request(stream=True, **WITH_USAGE)).body == stream.body()


# Usage


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("say", speech.ALL, ids=str)
def test_the_record_has_the_usage_in_every_dialect(gateway, up, say, stream):
    running = gateway(up)
    up.then(say.stream() if stream else say.answer())
    ask(running.port, say.request(stream=stream))
    usage = running.record().usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens) == (36, 17, 5)


def test_the_record_has_the_usage_of_embeddings(gateway, up):
    running = gateway(up)
    up.then(openai.embeddings_answer(prompt_tokens=12))
    ask(running.port, speech.post(speech.EMBEDDINGS_PATH, {"model": "m", "input": "x"}))
    usage = running.record().usage
    assert isinstance(usage, Usage) and usage.input_tokens == 12 and not usage.output_tokens


@pytest.mark.parametrize("say", [CHAT, COMPLETIONS], ids=str)
def test_the_usage_chunk_is_for_who_asked_for_it(gateway, up, say):
    running = gateway(up)
    up.then(say.stream(), say.stream())
    unasked = ask(running.port, say.request(stream=True))
    asked = ask(running.port, say.request(stream=True, **WITH_USAGE))
    assert all(chunk["choices"] for chunk in payloads(unasked)) and say.ended(unasked)
    assert payloads(asked)[-1]["choices"] == [] and payloads(asked)[-1]["usage"]["completion_tokens"] == 17
    assert [record.usage.output_tokens for record in running.records(2)] == [17, 17]


def test_usage_beside_the_last_content_is_passed_on_and_recorded(gateway, up):
    running = gateway(up)
    stream = openai.chat_stream(Turn(TEXT), usage=speech.USAGE, usage_at="last")
    up.then(stream)
    assert ask(running.port, CHAT.request(stream=True)).body == stream.body()
    assert running.record().usage.output_tokens == 17


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_usage_that_was_not_told_is_unknown_and_not_zero(gateway, up, stream):
    running = gateway(up)
    up.then(openai.chat_stream(usage=None) if stream else openai.chat_answer(usage=None))
    assert ask(running.port, CHAT.request(stream=stream)).status == 200
    assert running.record().usage is None


def test_usage_of_a_stream_that_broke_is_what_came_of_it(gateway, up):
    running = gateway(up)
    up.then(faults.cut(MESSAGES.stream(), 5))
    ask(running.port, MESSAGES.request(stream=True))
    record = running.record()
    assert (record.usage.input_tokens, record.usage.output_tokens) == (36, 1)
    assert record.outcome is Outcome.BROKEN


# Nothing before content


@pytest.mark.parametrize("say", speech.ALL, ids=str)
def test_not_a_byte_reaches_the_client_before_the_first_content(gateway, up, say):
    running = gateway(up)
    go_on = asyncio.Event()
    events = say.stream().events
    pings = [b": ping\n\n", *([speech.anthropic.PING] if say is MESSAGES else [])]
    opened = [*pings, *events[: say.first_content], *pings]
    up.then(faults.stall(Stream([*opened, *events[say.first_content :]]), len(opened), go_on), say.answer())
    with Wire(running.port) as wire:
        wire.send(say.request(stream=True, **WITH_USAGE))
        up.run(sent(up, opened))
        # What another request gets after that shows that the gateway has read what came before it.
        assert ask(running.port, say.request()).status == 200
        assert wire.silent
        up.call(go_on.set)
        response = wire.response()
    assert response.status == 200 and response.body == b"".join([*opened, *events[say.first_content :]])


async def sent(up, events) -> None:
    """Waits until the upstream has sent these events of the answer to its first request."""
    request = await up.received()
    size = sum(map(len, events))
    while request.sent_bytes < size:
        await asyncio.sleep(0.001)


FIRST_WORDS = {
    "text": (CHAT, openai.chat_stream(Turn("Hi"))),
    "a tool": (CHAT, openai.chat_stream(Turn(calls=[Call("read_gauge", {"place": "weir"})]))),
    "a thought": (CHAT, openai.chat_stream(Turn("Hi", reasoning="Hm"))),
    "a refusal": (CHAT, openai.chat_stream(Turn(refusal="No"))),
    "a finish reason alone": (CHAT, openai.chat_stream(Turn())),
    "a tool of messages": (MESSAGES, speech.anthropic.messages_stream(Turn(calls=[Call("read_gauge", {})]))),
    "a thought of messages": (MESSAGES, speech.anthropic.messages_stream(Turn("Hi", reasoning="Hm"))),
    "the end of a message without content": (MESSAGES, speech.anthropic.messages_stream(Turn(refusal="No"))),
    "a call of responses": (RESPONSES, speech.responses.responses_stream(Turn(calls=[Call("read_gauge", {})]))),
    "an incomplete response": (RESPONSES, speech.responses.responses_stream(Turn("Hi"), status="incomplete")),
}


@pytest.mark.parametrize("name", FIRST_WORDS)
def test_whatever_the_first_content_is_the_whole_stream_arrives(gateway, up, name):
    say, stream = FIRST_WORDS[name]
    running = gateway(up)
    up.then(stream)
    response = ask(running.port, say.request(stream=True, **WITH_USAGE))
    assert response.body == stream.body() and running.record().outcome is Outcome.COMPLETED


def test_an_answer_of_several_choices_is_whole_only_with_all_of_them(gateway, up):
    running = gateway(up)
    whole = openai.chat_stream(Turn("One two"), Turn("Three"), usage=None)
    of_one = openai.chat_stream(Turn("One two"), usage=None, done=False)
    up.then(whole, of_one)
    assert CHAT.ended(ask(running.port, CHAT.request(stream=True, n=2)))
    broken = ask(running.port, CHAT.request(stream=True, n=2))
    assert CHAT.error_event_of(broken)["code"] == "stream_broken" and not CHAT.ended(broken)


def test_a_failed_response_is_an_error_before_content_and_an_error_event_after(gateway, up):
    running = gateway(up)
    stream = speech.responses.responses_stream(Turn(TEXT), status="failed")
    early = replace(stream, events=[stream.events[0], stream.events[-1]])
    up.then(early, stream)
    response = ask(running.port, RESPONSES.request(stream=True))
    assert (response.status, RESPONSES.error_of(response.json())["message"]) == (502, "The fake vendor gave up.")
    response = ask(running.port, RESPONSES.request(stream=True))
    assert RESPONSES.error_event_of(response)["message"] == "The fake vendor gave up."
    numbers = [event["sequence_number"] for event in payloads(response)]
    assert numbers == sorted(numbers)


# Headers


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("say", speech.ALL, ids=str)
def test_headers_say_who_answered_and_pass_on_what_helps(gateway, up, say, stream):
    running = gateway(up)
    up.then(say.stream() if stream else say.answer())
    response = ask(running.port, say.request(stream=stream))
    record = running.record()
    assert response.header("x-headgate-request-id") == record.id
    assert (response.header("x-headgate-target"), response.header("x-headgate-attempts")) == ("up/m", "1")
    assert 0 <= float(response.header("x-headgate-overhead-ms")) < 1000
    name = "request-id" if say is MESSAGES else "x-request-id"
    assert response.header(name) == record.attempts[0].upstream_request_id
    limit = "anthropic-ratelimit-tokens-limit" if say is MESSAGES else "x-ratelimit-limit-tokens"
    assert response.header(limit)
    kind = "text/event-stream; charset=utf-8" if stream else "application/json"
    assert response.header("content-type") == kind


def test_headers_of_the_upstreams_account_and_hop_do_not_cross(gateway, up):
    running = gateway(up)
    private = (
        ("set-cookie", "a=b"),
        ("server", "upstream"),
        ("openai-organization", "org-secret"),
        ("anthropic-organization-id", "org-secret"),
        ("x-internal", "secret"),
        ("www-authenticate", "Bearer"),
        ("alt-svc", "h3=:443"),
        ("cf-ray", "1"),
        ("location", "http://elsewhere/"),
    )
    up.then(Answer(headers=private, body=CHAT.answer().body), Answer(500, private, {"error": {"message": "x"}}))
    for status in (200, 500):
        response = ask(running.port, CHAT.request())
        names = {name for name, _ in response.headers}
        assert response.status == status and not names & {name for name, _ in private}


@pytest.mark.parametrize("say", speech.ALL, ids=str)
def test_an_upstreams_advice_on_when_to_come_again_is_passed_on(gateway, up, say):
    vendor = speech.anthropic if say is MESSAGES else openai
    running = gateway(up)
    up.then(vendor.error_answer(429, retry_after_s=7), replace(vendor.error_answer(503), headers=IN_A_YEAR))
    response = ask(running.port, say.request())
    assert (response.status, response.header("retry-after")) == (429, "7")
    assert say.error_of(response.json())["message"] == vendor.ERRORS[429][-1]
    assert int(ask(running.port, say.request()).header("retry-after")) > 1_000_000


IN_A_YEAR = (("retry-after", "Fri, 31 Dec 2100 23:59:59 GMT"),)


# The provider's key


def echo(text: str) -> list[tuple[str, Speech, bool, object]]:
    """Each way in which an upstream can quote a text: what the client sends, and what it is answered."""
    error = {"error": {"message": text, "type": text, "code": text, "param": text}}
    message = {"type": "error", "error": {"type": text, "message": text}}
    event = b"event: error\ndata: " + orjson.dumps(message) + b"\n\n"
    page = f"<html>{text}</html>"
    late = Stream([*CHAT.stream().events[:3], openai.event(error)])
    page_of_events = Answer(content_type=f"text/html; key={text}", body=page)
    no_status_line = faults.Raw((f"HTTP/1.1 200 {text}\r\n{text}\r\n\r\n".encode(), faults.End.CLOSE))
    in_headers = (("x-request-id", f"{text}-1"), ("x-ratelimit-key", text), ("retry-after", text))
    return [
        ("an error", CHAT, False, Answer(400, body=error)),
        ("an error of messages", MESSAGES, False, Answer(529, body=message)),
        ("a credential error", CHAT, False, Answer(401, body=error)),
        ("a bare text", CHAT, False, Answer(500, body=text, content_type="text/plain")),
        ("a page", CHAT, False, Answer(502, body=page, content_type="text/html")),
        ("a page as an answer", CHAT, False, Answer(body=page, content_type="text/html")),
        ("an error as an answer", CHAT, False, Answer(body=error)),
        ("a detail", CHAT, False, Answer(422, body={"detail": text})),
        ("a word cut at its limit", CHAT, False, Answer(500, body="x" * 480 + text, content_type="text/plain")),
        ("a long word cut", CHAT, False, Answer(500, body={"error": {"message": "x" * 3980 + text}})),
        ("an escaped error", CHAT, False, Answer(400, body=orjson.dumps(error).replace(b"-", b"\\u002d"))),
        ("a first event", CHAT, True, Stream([openai.event(error)])),
        ("a late event", CHAT, True, late),
        ("a late event of messages", MESSAGES, True, Stream([*MESSAGES.stream().events[:5], event])),
        ("a page as a stream", CHAT, True, page_of_events),
        ("a head", CHAT, False, no_status_line),
        ("a header", CHAT, False, replace(CHAT.answer(), headers=in_headers)),
        ("a header of a stream", CHAT, True, replace(CHAT.stream(), headers=in_headers)),
        ("a header of an error", CHAT, False, Answer(500, in_headers, error)),
    ]  # fmt: skip


@pytest.mark.parametrize("how", [name for name, *_ in echo("")])
def test_an_upstream_that_quotes_the_key_does_not_give_it_away(gateway, up, how):
    running = gateway(up)
    [(say, stream, reply)] = [rest for name, *rest in echo(f"Bearer {PROVIDER_KEY}") if name == how]
    up.then(reply)
    with Wire(running.port) as wire:
        response = wire.send(say.request("connection: close", stream=stream)).response()
    assert up.requests[0].header("authorization") == f"Bearer {PROVIDER_KEY}"
    running.record()
    running.stop()
    told = response.head + response.body + running.log().encode() + repr(running.events).encode()
    assert response.status and len(running.log()) > 100
    assert longest_part_of(PROVIDER_KEY.encode(), told) < 8, told


def longest_part_of(key: bytes, text: bytes) -> int:
    """How many bytes of the key's beginning stand in the text."""
    return next(size for size in range(len(key), -1, -1) if key[:size] in text)


def test_the_key_is_in_no_page_of_the_gateways_own(gateway, up):
    running = gateway(up)
    up.then(CHAT.answer())
    ask(running.port, CHAT.request())
    for path in ("/", "/health", "/ready", "/metrics", "/v1/models", "/nowhere"):
        assert PROVIDER_KEY.encode() not in ask(running.port, speech.post(path, {}).replace(b"POST", b"GET")).body


# Counting tokens


def count(**changes) -> bytes:
    fields = {key: value for key, value in MESSAGES.fields.items() if key != "max_tokens"}
    return speech.post(COUNT_PATH, {**fields, **changes})


def test_tokens_are_counted_by_an_upstream_that_can(gateway, up):
    running = gateway(up)
    up.then(speech.anthropic.count_tokens_answer(4321))
    response = ask(running.port, count())
    assert (response.status, response.json()) == (200, {"input_tokens": 4321})
    assert response.header("x-headgate-estimated") is None
    assert response.header("x-headgate-target") == "up/m"


@pytest.mark.parametrize("status", [404, 405, 501])
def test_tokens_are_estimated_where_the_upstream_cannot_count(gateway, up, status):
    running = gateway(up)
    up.then(speech.anthropic.error_answer(status))
    check_estimate(ask(running.port, count()), running)


def test_tokens_are_estimated_where_the_target_does_not_speak_messages(gateway, up):
    running = gateway(provider(up, dialects=["openai.chat"]))
    check_estimate(ask(running.port, count()), running)
    assert up.requests == []


def check_estimate(response, running) -> None:
    body = response.json()
    assert response.status == 200 and body["estimated"] is True and 1 <= body["input_tokens"] < 100
    assert response.header("x-headgate-estimated") == "input_tokens"
    record = running.record()
    assert (record.outcome, record.status, record.problem) == (Outcome.COMPLETED, 200, None)


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (speech.anthropic.error_answer(429), 429),
        (speech.anthropic.error_answer(401), 502),
        (faults.html(), 502),
        (Answer(body={"input_tokens": "many"}), 502),
        (Answer(body={"input_tokens": -1}), 502),
        (faults.close_before_answer(), 502),
    ],
)
def test_a_count_that_failed_is_an_error_and_not_an_estimate(gateway, up, reply, status):
    running = gateway(up)
    up.then(reply)
    response = ask(running.port, count())
    assert response.status == status and MESSAGES.error_of(response.json())["source"] == "up"


def test_a_count_needs_no_output_limit_but_messages(gateway, up):
    running = gateway(up)
    response = ask(running.port, count(messages=[]))
    assert response.status == 400 and "messages" in MESSAGES.error_of(response.json())["message"]
    assert json.loads(response.body)["type"] == "error"
