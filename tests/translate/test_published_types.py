"""Bodies that the vendors' own types allow: each is carried, as a body that the other vendor's types allow, or refused
by name. And what goes from chat to messages and back means the same."""

from __future__ import annotations

import random
from collections import Counter
from functools import cache
from typing import Any

import orjson
import pytest
from cases import translate
from hypothesis import given, settings
from hypothesis import strategies as st
from published import body, request_type
from pydantic import TypeAdapter

from headgate.errors import Problem, Reason
from headgate.wire.dialect import TRANSLATED, Dialect
from headgate.wire.outgoing import Outgoing, outgoing
from headgate.wire.request import Request, parse
from headgate.wire.translate import chat_to_messages, messages_to_chat
from headgate.wire.translate.upstream import describe, hub

PAIRS = [(client, upstream) for client in TRANSLATED for upstream in TRANSLATED if client is not upstream]
ADDRESSES = ("http://127.0.0.1:8080/v1", "https://api.openai.com/v1")


@cache
def checker(dialect: Dialect) -> TypeAdapter[Any]:
    return TypeAdapter(request_type(dialect))


def bodies(client: Dialect, upstream: Dialect, count: int) -> Counter[str]:
    """Carries so many random bodies; says what became of them."""
    became: Counter[str] = Counter()
    for number in range(count):
        rng = random.Random(f"{client} {upstream} {number}")
        raw = orjson.dumps(body(rng, client))
        request = parse(client, raw)
        if isinstance(request, Problem):
            assert request.param, raw
            became["refused at once"] += 1
            continue
        model = request.model
        made = outgoing(request, upstream, target=f"up/{model}", model=model, base_url=rng.choice(ADDRESSES), now_s=1)
        if isinstance(made, Problem):
            assert made.param and made.reason in (Reason.NOT_TRANSLATABLE, Reason.BAD_REQUEST), raw
            became[f"{made.reason} {made.param.partition('[')[0]}"] += 1
            continue
        assert isinstance(made, Outgoing) and isinstance(parse(upstream, made.body), Request), raw
        checker(upstream).validate_python(orjson.loads(made.body))
        became["carried"] += 1
    return became


@pytest.mark.parametrize(("client", "upstream"), PAIRS, ids=[f"{a} to {b}" for a, b in PAIRS])
def test_what_the_types_allow_is_carried_or_refused_by_name(client, upstream):
    became = bodies(client, upstream, 1500)
    assert became["carried"] > 40 and len(became) > 5, became


# --- there and back ------------------------------------------------------------------------------------------------

words = st.text("ab \n\u00e9\U0001f30a", min_size=1, max_size=8).filter(str.strip)
names = st.sampled_from(["read_gauge", "open_gate"])
pictures = st.sampled_from(["https://example.com/a.png", "data:image/png;base64,iVBORw0KGgo="])
parts = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, words),
    st.builds(lambda url: {"type": "image_url", "image_url": {"url": url}}, pictures),
)
users = st.builds(lambda content: {"role": "user", "content": content}, words | st.lists(parts, min_size=1, max_size=3))


@st.composite
def turns(draw: st.DrawFn) -> list[dict[str, Any]]:
    """What a user says, what the assistant answers or calls, and the results."""
    made = [draw(users)]
    calls = [
        {
            "id": f"call_{draw(st.integers(0, 10**6))}_{at}",
            "type": "function",
            "function": {"name": draw(names), "arguments": orjson.dumps({"a": draw(words)}).decode()},
        }
        for at in range(draw(st.integers(0, 3)))
    ]
    said = draw(words) if not calls or draw(st.booleans()) else None
    made.append({"role": "assistant", "content": said, **({"tool_calls": calls} if calls else {})})
    made += [{"role": "tool", "tool_call_id": call["id"], "content": draw(words)} for call in calls]
    return made


@st.composite
def conversations(draw: st.DrawFn) -> dict[str, Any]:
    messages = [one for turn in draw(st.lists(turns(), max_size=3)) for one in turn]
    tools = [
        {"type": "function", "function": {"name": name, "description": "d", "parameters": {"type": "object"}}}
        for name in ("read_gauge", "open_gate")
    ]
    named = {"type": "function", "function": {"name": "open_gate"}}
    made: dict[str, Any] = {"model": "claude-haiku-4-5", "max_completion_tokens": draw(st.integers(1, 9999))}
    if draw(st.booleans()):
        messages = [{"role": "system", "content": draw(words)}, *messages]
    made |= {"messages": [*messages, draw(users)], "tools": tools}
    for field, values in {
        "tool_choice": st.sampled_from(["auto", "none", "required", named]),
        "temperature": st.floats(0, 1),
        "stop": st.lists(words, min_size=1, max_size=4),
        "parallel_tool_calls": st.just(False),
        "user": st.just("u1"),
        "stream": st.just(True),
    }.items():
        if draw(st.booleans()):
            made[field] = draw(values)
    return made


def meaning(fields: dict[str, Any]) -> dict[str, Any]:
    """What a request asks for, however it is written."""
    said: list[list[Any]] = []
    for message in fields["messages"]:
        content = message.get("content") or []
        texts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        what: list[Any] = [part.get("text") or part["image_url"]["url"] for part in texts]
        what += [
            (call["id"], call["function"]["name"], orjson.loads(call["function"]["arguments"]))
            for call in message.get("tool_calls") or ()
        ]
        who = [message["role"], message.get("tool_call_id")]
        if said and said[-1][:2] == who and message["role"] == "user":
            said[-1][2] += what
        else:
            said.append([*who, what])
    rest = {name: fields.get(name) for name in ("max_completion_tokens", "temperature", "stop", "user", "stream")}
    choice = fields.get("tool_choice") or "auto"
    functions = [tool["function"] for tool in fields["tools"]]
    return {"said": said, **rest, "choice": choice, "functions": functions, "serial": _serial(fields, choice)}


def _serial(fields: dict[str, Any], choice: Any) -> bool:
    """Whether one call at a time is asked for, which means nothing where none is allowed."""
    return fields.get("parallel_tool_calls") is False and choice != "none"


@settings(max_examples=300, deadline=None)
@given(conversations())
def test_from_chat_to_messages_and_back_means_the_same(fields):
    dropped: list[str] = []
    model = fields["model"]
    there = chat_to_messages.request(fields, describe("up/m", model, Dialect.MESSAGES, ADDRESSES[0]), dropped)
    back = messages_to_chat.request(there, hub("up/m", model), dropped)
    assert meaning(back) == meaning(fields)
    assert dropped == []


def test_a_streams_wish_for_usage_is_not_the_clients_business():
    fields = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "?"}], "stream": True}
    made = translate(Dialect.MESSAGES, Dialect.CHAT, fields)
    assert orjson.loads(made.body)["stream_options"] == {"include_usage": True} and made.dropped == ()
