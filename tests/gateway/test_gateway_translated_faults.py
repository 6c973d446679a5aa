"""Everything that an upstream does wrong, where its client speaks another dialect: the same endings as where it speaks
its own (see `test_gateway_faults.py`), in the client's words."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway import speech
from gateway.running import PROVIDER_KEY, RunningGateway, provider
from gateway.speech import Speech
from gateway.test_gateway_faults import (
    CONNECTION,
    QUICK_S,
    STREAMED,
    WHOLE,
    Case,
    Stage,
    always,
    ended_after,
    play,
)
from headgate.testing import ScriptedUpstream, faults
from headgate.testing.replies import Reply

SPEECHES = (speech.CHAT, speech.RESPONSES, speech.MESSAGES)
PAIRS = [(say, theirs) for say in SPEECHES for theirs in SPEECHES if say is not theirs]
pairs = pytest.mark.parametrize(("say", "theirs"), PAIRS, ids=[f"{a} on {b}" for a, b in PAIRS])


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    replies: list[Reply] = []
    quick = {"connect_s": 5, "first_token_s": QUICK_S, "response_s": QUICK_S, "idle_s": QUICK_S, "total_s": 30}
    with ScriptedUpstream(lambda request: replies.pop(0)) as upstream:
        providers = []
        for theirs in SPEECHES:
            spoken = {"dialects": [theirs.name]}
            providers.append(provider(upstream, name=f"{prefix(theirs)}up", **spoken))
            providers.append(provider(upstream, name=f"{prefix(theirs)}quick", timeouts=quick, **spoken))
        gateway = RunningGateway({"providers": providers}, tmp_path_factory.mktemp("gateway")).start()
        yield Stage(gateway, upstream, replies)
        gateway.stop()
    assert upstream.malformed == []
    assert PROVIDER_KEY not in gateway.log()
    assert gateway.errors_logged() == []


def prefix(theirs: Speech) -> str:
    return theirs.name.partition(".")[2] + "-"


@pairs
@pytest.mark.parametrize("case", WHOLE, ids=str)
def test_a_whole_answer(case: Case, say: Speech, theirs: Speech, stage: Stage):
    play(case, say, stage, stream=False, theirs=theirs, prefix=prefix(theirs))


@pairs
@pytest.mark.parametrize("case", [case for case in STREAMED if case not in CONNECTION], ids=str)
def test_a_streamed_answer(case: Case, say: Speech, theirs: Speech, stage: Stage):
    play(case, say, stage, stream=True, theirs=theirs, prefix=prefix(theirs))


@pairs
@pytest.mark.parametrize("half", [False, True], ids=["between events", "within an event"])
def test_a_stream_that_ends_anywhere(half: bool, say: Speech, theirs: Speech, stage: Stage):
    make = faults.half_event if half else faults.cut
    for after in range(len(theirs.stream().events)):
        case = always(f"after {after}", lambda it, at=after: make(it.stream(), at, "cut"), ended_after(theirs, after))
        play(case, say, stage, stream=True, theirs=theirs, prefix=prefix(theirs))
