"""Everything that an upstream does wrong, in every dialect, streamed and not: what the client gets, what the record
says, and that nothing is left behind.

One gateway serves all cases, so each also finds it as the one before has left it. A case has one of three endings:

    FINE            the answer was whole all the same
    Refused(...)    an error with a status of its own, before any content
    Broken(...)     content, and then an error event in the dialect; never the dialect's proper end
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from gateway import speech
from gateway.raw import Response, ask, get
from gateway.running import PROVIDER_KEY, RunningGateway, close_kept, provider
from gateway.speech import TEXT, Speech
from headgate.relay.record import Outcome
from headgate.testing import Answer, End, Raw, ScriptedUpstream, Stream, Wait, faults
from headgate.testing import vendor_anthropic as anthropic
from headgate.testing import vendor_openai as openai
from headgate.testing.replies import Reply

#: For cases in which the upstream falls silent. Long enough for a busy machine, since all else must come within it.
QUICK_S = 0.3

FINE = "fine"


@dataclass(frozen=True, slots=True)
class Refused:
    """says: what the message must hold."""

    status: int
    outcome: Outcome
    says: str = ""


@dataclass(frozen=True, slots=True)
class Broken:
    outcome: Outcome
    says: str = ""


Ending = str | Refused | Broken
TIMED_OUT = Refused(504, Outcome.TIMEOUT)
CUT = Refused(502, Outcome.BROKEN)
NO_ANSWER = Refused(502, Outcome.UPSTREAM_INVALID)
FAILED = Refused(502, Outcome.UPSTREAM_ERROR)
KEY_REFUSED = replace(FAILED, says="api_key")


@dataclass(frozen=True, slots=True)
class Stage:
    """One gateway before one upstream. replies: what the upstream does next."""

    running: RunningGateway
    upstream: ScriptedUpstream
    replies: list[Reply]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    replies: list[Reply] = []
    quick = {"connect_s": 5, "first_token_s": QUICK_S, "response_s": QUICK_S, "idle_s": QUICK_S, "total_s": 30}
    with ScriptedUpstream(lambda request: replies.pop(0)) as upstream:
        config = {"providers": [provider(upstream), provider(upstream, name="quick", timeouts=quick)]}
        gateway = RunningGateway(config, tmp_path_factory.mktemp("gateway")).start()
        yield Stage(gateway, upstream, replies)
        gateway.stop()
    assert upstream.malformed == []
    assert PROVIDER_KEY not in gateway.log()
    assert gateway.errors_logged() == []


@dataclass(frozen=True, slots=True)
class Case:
    """What the upstream does in a dialect, and how it ends for the client. silent: the upstream falls silent in it."""

    name: str
    reply: Callable[[Speech], Reply]
    ending: Callable[[Speech], Ending]
    silent: bool = False

    def __str__(self) -> str:
        return self.name


def always(name: str, reply: Callable[[Speech], Reply], ending: Ending, *, silent: bool = False) -> Case:
    return Case(name, reply, lambda say: ending, silent)


def in_one_piece(reply: Raw) -> Raw:
    """Written at once: what comes only after the next request was sent cannot be told from its answer."""
    return Raw((b"".join(step for step in reply.script if isinstance(step, bytes)),))


def error_of(say: Speech, status: int) -> Answer:
    vendor = anthropic if say is speech.MESSAGES else openai
    return vendor.error_answer(status, retry_after_s=3 if status == 429 else None)


def whole_after(say: Speech) -> int:
    """After how many events of the stream nothing is missing of the answer: what ends it can be filled in."""
    count = len(say.stream().events)
    return {"openai.responses": count, "anthropic.messages": count - 1}.get(say.name, count - 2)


def middle(say: Speech) -> int:
    """A place in the stream where content has come and more is to come."""
    return say.first_content + 2


# What happens before it matters whether a stream was asked for.
CONNECTION = [
    always("it says nothing", lambda say: faults.say_nothing(), TIMED_OUT, silent=True),
    always("it closes before it answers", lambda say: faults.close_before_answer(), CUT),
    always("it resets the connection", lambda say: faults.reset(), CUT),
    always("it does not speak HTTP", lambda say: faults.garbage(), CUT),
    always("its head does not end", lambda say: faults.endless_header(), CUT),
    always("it sends five thousand headers", lambda say: faults.many_headers(say.answer()), CUT),
    always("it sends a header of a megabyte", lambda say: faults.huge_header(say.answer()), CUT),
    always("it answers with a page", lambda say: faults.html(), replace(NO_ANSWER, says="HTML")),
    always("it answers with nothing", lambda say: faults.empty(), replace(NO_ANSWER, says="empty")),
    always("it answers with half of a JSON text", lambda say: faults.not_json(), NO_ANSWER),
    always(
        "it answers 200 with an error",
        lambda say: faults.error_in_200(),
        Refused(502, Outcome.UPSTREAM_ERROR, "says 200 and means 500"),
    ),
    always("it redirects", lambda say: Answer(302, (("location", "http://localhost/"),)), NO_ANSWER),
    always("it answers 204", lambda say: Answer(204), NO_ANSWER),
    always("it answers 503 with a page", lambda say: faults.html(503), Refused(503, Outcome.UPSTREAM_ERROR, "HTML")),
    always("it answers 500 with nothing", lambda say: faults.empty(500), Refused(500, Outcome.UPSTREAM_ERROR)),
    always("its error is cut off", lambda say: faults.truncated(error_of(say, 500)), CUT),
    *(
        always(f"it answers {status}", lambda say, s=status: error_of(say, s), KEY_REFUSED)
        for status in (401, 403)
    ),
    *(
        always(f"it answers {status}", lambda say, s=status: error_of(say, s), Refused(status, Outcome.UPSTREAM_ERROR))
        for status in (400, 402, 404, 413, 429, 500, 504, 529)
    ),
]  # fmt: skip

WHOLE = [
    *CONNECTION,
    always("it closes after its answer", lambda say: faults.then_close(say.answer()), FINE),
    always("it sends more than was asked for", lambda say: in_one_piece(faults.then_junk(say.answer())), FINE),
    always("it says connection close", lambda say: faults.connection_close(say.answer()), FINE),
    always("it drips", lambda say: faults.drip(say.answer()), FINE),
    always("it says continue first", lambda say: faults.interim(say.answer()), FINE),
    always("it gives hints first", lambda say: faults.interim(say.answer(), status=103, count=3), FINE),
    always("its body is cut off", lambda say: faults.truncated(say.answer()), CUT),
    always("its body is longer than it says", lambda say: faults.length_too_short(say.answer()), NO_ANSWER),
    always("its last chunk is cut off", lambda say: faults.chunked_cut_off(say.answer()), CUT),
    always("it compresses unasked", lambda say: faults.gzipped(say.answer()), NO_ANSWER),
    always("it streams unasked", lambda say: say.stream(), NO_ANSWER),
]


def stall(say: Speech, after: int) -> Stream:
    return faults.stall(say.stream(), after)


def error_after(say: Speech, after: int) -> Stream:
    return faults.error_after(say.stream(), after, say.error_event())


UPSTREAMS_ERROR = Broken(Outcome.UPSTREAM_ERROR)
HANGS = Broken(Outcome.TIMEOUT, "timeouts.idle_s")
ENDS_EARLY = Broken(Outcome.BROKEN)
NONSENSE = Broken(Outcome.UPSTREAM_INVALID)

STREAMED = [
    *CONNECTION,
    always("it does not stream", lambda say: say.answer(), replace(NO_ANSWER, says="stream")),
    always("its stream is fine", lambda say: say.stream(), FINE),
    always("it drips", lambda say: faults.drip(say.stream()), FINE),
    always("it drips by sevens", lambda say: faults.drip(say.stream(), size=7), FINE),
    always("it cuts events anywhere", lambda say: faults.regrouped(say.stream(), 5), FINE),
    always("its lines end in CRLF", lambda say: faults.rewritten(say.stream(), crlf), FINE),
    always("its lines end in CR", lambda say: faults.rewritten(say.stream(), cr), FINE),
    always("it says connection close", lambda say: faults.connection_close(say.stream()), FINE),
    always("it closes after its stream", lambda say: faults.then_close(say.stream()), FINE),
    always("its stream ends with the connection", lambda say: replace(say.stream(), framing="close"), FINE),
    always("it gives hints first", lambda say: faults.interim(say.stream(), status=103), FINE),
    always("it sends garbage after the end", lambda say: faults.trailing_garbage(say.stream()), FINE),
    always("it does not say that it is done", lambda say: faults.without_close(say.stream()), FINE),
    always("it goes silent after the end", lambda say: stall(say, len(say.stream().events)), FINE),
    always("it compresses unasked", lambda say: faults.gzipped_stream(say.stream()), Refused(502, Outcome.BROKEN)),
    always("it ends without a finish reason", lambda say: faults.without_finish(say.stream()), ENDS_EARLY),
    always("it fails first", lambda say: error_after(say, 0), FAILED),
    always("it fails before content", lambda say: error_after(say, say.first_content), FAILED),
    always("it fails in the middle", lambda say: error_after(say, middle(say)), UPSTREAMS_ERROR),
    always("it goes silent at first", lambda say: stall(say, say.first_content), TIMED_OUT, silent=True),
    always("it goes silent in the middle", lambda say: stall(say, middle(say)), HANGS, silent=True),
    always("a line does not end", lambda say: faults.endless_line(say.stream(), middle(say)), HANGS, silent=True),
    always("an event does not end", lambda say: faults.endless_event(say.stream(), middle(say)), HANGS, silent=True),
    always("its first event is no JSON", lambda say: faults.not_json_after(say.stream(), 0), NO_ANSWER),
    always("an event is no JSON", lambda say: faults.not_json_after(say.stream(), middle(say)), NONSENSE),
    always("a chunk's size is no number", lambda say: faults.bad_chunk_size(until_content(say)), ENDS_EARLY),
    always("it pings for a megabyte", lambda say: pings(say), NO_ANSWER),
]  # fmt: skip


def crlf(event: bytes) -> bytes:
    return event.replace(b"\n", b"\r\n")


def cr(event: bytes) -> bytes:
    return event.replace(b"\n", b"\r")


def until_content(say: Speech) -> Stream:
    """The stream with its events joined up to the first with content, so that the first write holds some."""
    stream = say.stream()
    at = say.first_content + 1
    events = [event for event in stream.events if isinstance(event, bytes)]
    return replace(stream, events=[b"".join(events[:at]), *events[at:]])


def pings(say: Speech) -> Stream:
    return replace(say.stream(), events=[b": still working\n\n" * 4096] * 20)


@pytest.mark.parametrize("say", speech.ALL, ids=str)
@pytest.mark.parametrize("case", WHOLE, ids=str)
def test_a_whole_answer(case: Case, say: Speech, stage: Stage):
    play(case, say, stage, stream=False)


@pytest.mark.parametrize("say", speech.ALL, ids=str)
@pytest.mark.parametrize("case", STREAMED, ids=str)
def test_a_streamed_answer(case: Case, say: Speech, stage: Stage):
    play(case, say, stage, stream=True)


@pytest.mark.parametrize("say", speech.ALL, ids=str)
@pytest.mark.parametrize("ending", ["cut", "reset", "clean"])
@pytest.mark.parametrize("half", [False, True], ids=["between events", "within an event"])
def test_a_stream_that_ends_anywhere(half: bool, ending: str, say: Speech, stage: Stage):
    make = faults.half_event if half else faults.cut
    for after in range(len(say.stream().events)):
        case = always(f"after {after}", lambda say, at=after: make(say.stream(), at, ending), ended_after(say, after))
        play(case, say, stage, stream=True)


def ended_after(say: Speech, events: int) -> Ending:
    if events <= say.first_content:
        return CUT
    return FINE if events >= whole_after(say) else ENDS_EARLY


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("say", speech.ALL, ids=str)
def test_it_cannot_be_reached(say: Speech, stream: bool, stage: Stage):
    running, upstream = stage.running, stage.upstream
    close_kept(upstream)
    upstream.run(upstream.refuse())
    try:
        running.forget()
        response = ask(running.port, say.request(stream=stream, model="up/m"))
        check(response, Refused(502, Outcome.UNREACHABLE, "refused"), say, running)
        assert not running.record().attempts[0].sent
    finally:
        upstream.run(upstream.listen())


def test_an_event_of_seventeen_megabytes_is_no_event(stage: Stage):
    say = speech.CHAT
    huge = Stream([*say.stream().events[:3], b"data: " + b"x" * (17 << 20), Wait.forever()])
    case = always("too large", lambda say: huge, Broken(Outcome.UPSTREAM_INVALID, "16777216 bytes"))
    play(case, say, stage, stream=True)


def test_an_answer_of_embeddings_is_checked_too(stage: Stage):
    say = replace(
        speech.CHAT, path="/v1/embeddings", fields={"model": "m", "input": "x"}, answer=openai.embeddings_answer,
        said=lambda body: TEXT if body["data"] else "",
    )  # fmt: skip
    for case in WHOLE:
        play(case, say, stage, stream=False)


def play(
    case: Case, say: Speech, stage: Stage, *, stream: bool, theirs: Speech | None = None, prefix: str = ""
) -> None:
    """Lets the upstream do it, checks how it ends for the client, and that the next request is served as ever. theirs:
    the upstream's dialect, where it is another; prefix: of the names of its providers."""
    theirs = theirs or say
    running, upstream = stage.running, stage.upstream
    running.forget()
    before = len(upstream.requests)
    reply = case.reply(theirs)
    stage.replies[:] = [reply, theirs.answer()]
    up, name = f"{prefix}up", f"{prefix}{'quick' if case.silent else 'up'}"
    response = ask(running.port, say.request(stream=stream, model=f"{name}/m"))
    check(response, case.ending(theirs), say, running, name, up)
    running.forget()
    if End.CLOSE in reply.steps():
        upstream.run(upstream.idle())  # whoever asks before the end has arrived would meet it with a request sent
    again = ask(running.port, say.request(model=f"{up}/m"))
    check(again, FINE, say, running, up, up)
    assert len(upstream.requests) == before + 2, "each request is sent once"
    close_kept(upstream)  # one that the gateway had forgotten in the middle of an answer would stay
    assert running.requests_under_way == 0


def check(
    response: Response, ending: Ending, say: Speech, running: RunningGateway, name: str = "up", up: str = "up"
) -> None:
    record = running.record()
    assert running.defects == []
    assert response.whole, "the answer's end is HTTP's proper end"
    assert response.header("x-headgate-request-id") == record.id
    assert record.status == response.status
    if ending == FINE:
        assert (response.status, say.text_of(response), record.outcome) == (200, TEXT, Outcome.COMPLETED), response
        assert record.problem is None and response.header("x-headgate-target") == f"{up}/m"
        if record.stream:
            assert say.ended(response)
        return
    [attempt] = record.attempts
    assert isinstance(ending, Refused | Broken)
    assert attempt.outcome is record.outcome is ending.outcome, attempt
    if isinstance(ending, Refused):
        assert response.status == ending.status, response
        assert response.header("content-type") == "application/json"
        error = say.error_of(response.json())
    else:
        assert response.status == 200 and not say.ended(response), response
        error = say.error_event_of(response)
        heard = say.text_of(replace(response, body=b"\n\n".join(response.events[:-1])))
        assert heard and TEXT.startswith(heard)
        assert attempt.delivered_bytes > 0 and attempt.first_token_s is not None
    assert error["source"] == name and ending.says in error["message"]
    assert record.problem is not None and record.problem.message == error["message"]


def test_the_gateway_is_still_there(stage: Stage):
    assert ask(stage.running.port, get("/ready")).status == 200
