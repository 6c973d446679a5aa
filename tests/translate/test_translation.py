"""Two translations joined, with chat in the middle: in whose words they speak, and whether what was thought comes back.
Whole files are in golden/messages_to_responses and golden/responses_to_messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anthropic.types
import orjson
import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming, MessageCreateParamsStreaming
from cases import GOLDEN, about, sent, translate
from openai.types.responses import Response, ResponseStreamEvent
from openai.types.responses.response_create_params import (
    ResponseCreateParamsNonStreaming,
    ResponseCreateParamsStreaming,
)
from pydantic import TypeAdapter

from headgate.wire.dialect import Dialect
from headgate.wire.translate.fields import MESSAGES_TO_CHAT, RESPONSES_TO_CHAT
from headgate.wire.translate.shape import Refusal
from headgate.wire.translate.translation import _renamed

Json = dict[str, Any]

PAIRS = ("messages_to_responses", "responses_to_messages")
CASES = {pair: sorted(path.parent for path in (GOLDEN / pair).glob("*/request.json")) for pair in PAIRS}
ALL = [case for cases in CASES.values() for case in cases]
OPENAI = "https://api.openai.com/v1"


def _with(name: str) -> list[Any]:
    return [pytest.param(case, id=f"{case.parent.name}/{case.name}") for case in ALL if (case / name).exists()]


def body_of(case: Path, name: str) -> Json:
    return orjson.loads((case / name).read_bytes())


def events_of(case: Path, side: str) -> list[Json]:
    raw = (case / f"stream.{side}.sse").read_text()
    return [orjson.loads(line[6:]) for line in raw.splitlines() if line.startswith("data: ")]


# --- names -----------------------------------------------------------------------------------------------------------

#: As a converter's may be: rows and beginnings of paths.
NAMES = {
    "messages": "input",
    "max_completion_tokens": "max_output_tokens",
    "response_format": "text",
    "response_format.json_schema": "text.format",
    "logprobs": "include[]:message.output_text.logprobs",
    "messages[].reasoning_content": "input[]:reasoning",
    "tools[].function": "tools[]",
    "tools[].function.parameters": "tools[].input_schema",
    "tool_choice.function": "tool_choice",
    "stop": "stop_sequences",
}


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("temperature", "temperature"),
        ("max_completion_tokens", "max_output_tokens"),
        ("max_completion_tokens_of_mine", "max_completion_tokens_of_mine"),
        ("stop[2]", "stop_sequences[2]"),
        ("response_format.type", "text.type"),
        ("response_format.json_schema", "text.format"),
        ("response_format.json_schema.schema", "text.format.schema"),
        ("response_format.json_schemas", "text.json_schemas"),
        ("logprobs", "include[]:message.output_text.logprobs"),
        ("tools[3]", "tools[3]"),
        ("tools[3].type", "tools[3].type"),
        ("tools[3].function.name", "tools[3].name"),
        ("tools[3].function.parameters.properties[0]", "tools[3].input_schema.properties[0]"),
        ("tools[].function.strict", "tools[].strict"),
        ("tools[]:custom", "tools[]:custom"),
        ("tool_choice.function.name", "tool_choice.name"),
        ("messages[].reasoning_content", "input[]:reasoning"),
        ("messages[].content[].cache_control", "input[].content[].cache_control"),
        ("messages[]:function", "input[]:function"),
        ("messages", "input"),
        ("", ""),
        ('""', '""'),
        (".", "."),
        ("[0]", "[0]"),
    ],
)
def test_a_path_begins_with_the_longest_name_that_the_client_knows(field, expected):
    assert _renamed(field, NAMES) == expected


@pytest.mark.parametrize(
    "field", ["messages[1]", "messages[1].content[1].image_url.url", "messages[0].reasoning_content"]
)
def test_a_place_among_the_messages_of_the_middle_is_not_told(field):
    assert _renamed(field, NAMES) == "input"
    assert _renamed(field, {}) == "messages"


def test_a_name_keeps_no_index_that_has_no_place_in_it():
    assert _renamed("tools[3].x[1].y", {"tools[].x[]": "functions[]"}) == "functions[].y"
    assert _renamed("a[3].b[1].c", {"a[].b[]": "x[].y[]"}) == "x[3].y[1].c"


def test_a_very_long_path_is_renamed_at_once():
    assert _renamed("stop" + ".a" * 1_000_000, NAMES).startswith("stop_sequences.a.a")


@pytest.mark.parametrize("case", ALL, ids=lambda case: f"{case.parent.name}/{case.name}")
def test_what_is_refused_or_dropped_is_named_in_the_clients_words(case):
    said = sent(case)
    rows = MESSAGES_TO_CHAT if case.parent.name == PAIRS[0] else RESPONSES_TO_CHAT
    assert set(said.get("dropped", ())) <= rows.keys()
    if "refused" in said:
        assert case.name.startswith("refused_")
        assert said["refused"]["field"].partition("[")[0].partition(".")[0] in rows


def test_an_item_that_the_second_step_refuses_is_not_given_anothers_number():
    turns: list[Json] = [
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"role": "user", "content": [{"type": "input_image", "image_url": "ftp://x/a.png", "detail": "auto"}]},
    ]
    with pytest.raises(Refusal) as caught:
        translate(Dialect.RESPONSES, Dialect.MESSAGES, {"model": "m", "input": turns})
    assert caught.value.field == "input"


# --- the vendors' types ----------------------------------------------------------------------------------------------

_SENT: dict[tuple[str, bool], TypeAdapter[Any]] = {
    (PAIRS[0], False): TypeAdapter(ResponseCreateParamsNonStreaming),
    (PAIRS[0], True): TypeAdapter(ResponseCreateParamsStreaming),
    (PAIRS[1], False): TypeAdapter(MessageCreateParamsNonStreaming),
    (PAIRS[1], True): TypeAdapter(MessageCreateParamsStreaming),
}
_EVENTS: dict[str, TypeAdapter[Any]] = {
    "messages": TypeAdapter(anthropic.types.RawMessageStreamEvent),
    "responses": TypeAdapter(ResponseStreamEvent),
}


def _eager(value: Any) -> Any:
    """Iterables of the vendors' request types are checked as they are read."""
    if isinstance(value, dict):
        return {key: _eager(part) for key, part in value.items()}
    if isinstance(value, str | int | float | None):
        return value
    return [_eager(part) for part in value]


@pytest.mark.parametrize("pair", PAIRS)
def test_there_are_cases_of_each_kind(pair):
    assert len(CASES[pair]) >= 6
    for name in ("sent.json", "answer.client.json", "stream.client.sse"):
        assert sum((case / name).exists() for case in CASES[pair]) >= 6


@pytest.mark.parametrize("case", _with("sent.json"))
def test_what_is_sent_is_what_the_upstreams_vendor_documents_and_nothing_else(case):
    body = body_of(case, "sent.json").get("body")
    if body is not None:
        if case.parent.name == PAIRS[1]:  # which the SDK left out of its types; older models still take them
            body = {name: value for name, value in body.items() if name not in ("temperature", "top_p", "top_k")}
        adapter = _SENT[case.parent.name, body.get("stream", False)]
        assert _eager(adapter.validate_python(body)) == body


@pytest.mark.parametrize("case", _with("answer.client.json"))
def test_an_answer_is_one_to_both_vendors_own_types(case):
    client, upstream = (case / f"answer.{side}.json" for side in ("client", "upstream"))
    message, response = (client, upstream) if case.parent.name == PAIRS[0] else (upstream, client)
    anthropic.types.Message.model_validate_json(message.read_bytes(), strict=True)
    Response.model_validate_json(response.read_bytes(), strict=True)


@pytest.mark.parametrize("case", _with("stream.client.sse"))
def test_a_streams_events_are_some_to_both_vendors_own_types(case):
    for side, dialect in zip(("client", "upstream"), case.parent.name.split("_to_"), strict=True):
        for event in events_of(case, side):
            if event["type"] != "ping":
                _EVENTS[dialect].validate_json(orjson.dumps(event), strict=True)


#: A call that was cut is left out of a whole answer, or has no arguments there, and what was refused is not told there.
TOLD_OTHERWISE = {*((pair, "length_within_a_tool_call") for pair in PAIRS), (PAIRS[1], "refusal")}


@pytest.mark.parametrize("case", _with("stream.client.sse"))
def test_a_stream_says_what_the_whole_answer_says(case):
    if (case.parent.name, case.name) in TOLD_OTHERWISE:
        return
    whole, events = body_of(case, "answer.client.json"), events_of(case, "client")
    if case.parent.name == PAIRS[1]:
        streamed = events[-1]["response"]
        assert [_plain(item) for item in streamed["output"]] == [_plain(item) for item in whole["output"]]
        assert (streamed["status"], streamed["usage"]) == (whole["status"], whole["usage"])
        return
    said = "".join(e["delta"].get("text", "") for e in events if e["type"] == "content_block_delta")
    thought = "".join(e["delta"].get("thinking", "") for e in events if e["type"] == "content_block_delta")
    assert said == "".join(block.get("text", "") for block in whole["content"])
    assert thought == "".join(block.get("thinking", "") for block in whole["content"])
    assert [e["content_block"]["type"] for e in events if e["type"] == "content_block_start"] == [
        block["type"] for block in whole["content"]
    ]
    assert events[-2]["delta"]["stop_reason"] == whole["stop_reason"]


def _plain(item: Json) -> Json:
    """An item, in which JSON that a model wrote has no spaces."""
    if "arguments" in item:
        return {**item, "arguments": orjson.loads(item["arguments"])}
    parts = [{**part, "text": part["text"].replace(" ", "")} for part in item.get("content", ())]
    return {**item, "content": parts}


# --- what was thought, there and back --------------------------------------------------------------------------------


def test_reasoning_that_openai_encrypted_comes_back_to_it_from_a_messages_client():
    pair = GOLDEN / PAIRS[0]
    answered, asked = pair / "reasoning_encrypted", pair / "reasoning_sent_back"
    content = body_of(answered, "answer.client.json")["content"]
    assert body_of(asked, "request.json")["messages"][1]["content"] == content  # the next turn, as a client makes it
    back = [item for item in body_of(asked, "sent.json")["body"]["input"] if item.get("type") == "reasoning"]
    given = [item for item in body_of(answered, "answer.upstream.json")["output"] if item["type"] == "reasoning"]
    assert [(i["id"], i["encrypted_content"]) for i in back] == [(i["id"], i["encrypted_content"]) for i in given]
    assert [_summary(item) for item in back] == [_summary(item) for item in given]


def _summary(item: Json) -> str:
    return "\n\n".join(part["text"] for part in item["summary"])


def test_thinking_that_anthropic_signed_comes_back_to_it_from_a_responses_client():
    pair = GOLDEN / PAIRS[1]
    answered, asked = pair / "reasoning_signed", pair / "reasoning_sent_back"
    output = body_of(answered, "answer.client.json")["output"]
    assert body_of(asked, "request.json")["input"][1:-1] == output
    back = body_of(asked, "sent.json")["body"]["messages"][1]["content"]
    assert back == body_of(answered, "answer.upstream.json")["content"]


def test_no_vendor_is_shown_a_seal():
    for case in ALL:
        assert "hg1." not in orjson.dumps(sent(case)).decode()


def test_the_cases_of_openai_know_its_address():
    assert all(about(case) == {"base_url": OPENAI} for case in CASES[PAIRS[0]])
    assert all(about(case) == {} for case in CASES[PAIRS[1]])
