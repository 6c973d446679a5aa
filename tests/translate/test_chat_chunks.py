"""The one writer of chat's chunks, and the completion that they add up to."""

from __future__ import annotations

import gc
import random
import time
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from headgate.wire.dialect import Dialect
from headgate.wire.translate import chat_to_messages, chat_to_responses
from headgate.wire.translate.asked import Asked
from headgate.wire.translate.chat_chunks import Chunks, completion, detail
from headgate.wire.translate.reasoning import ANTHROPIC, OPENAI
from headgate.wire.translate.shape import Malformed
from headgate.wire.translate.upstream import describe
from headgate.wire.usage import Usage

NOW_S = 1_700_000_000
USAGE = Usage(input_tokens=3, output_tokens=2)


def asked(dialect: Dialect = Dialect.MESSAGES, **fields: Any) -> Asked:
    return Asked({"messages": [], **fields}, {}, describe("up/m", "m", dialect, "http://127.0.0.1:8080/v1"), NOW_S)


def written(**fields: Any) -> Chunks:
    return Chunks(asked(**fields), "a1", "m-1", NOW_S)


def folded(*chunks: dict[str, Any]) -> dict[str, Any]:
    """The message, as the vendor's own type takes it."""
    made = completion(chunks, USAGE)
    ChatCompletion.model_validate(made, strict=True)
    return made["choices"][0]["message"]


# --- one chunk -----------------------------------------------------------------------------------------------------


def test_a_chunk_is_one_to_the_vendors_type():
    chunks = written()
    made = [
        chunks.delta({"role": "assistant", "content": ""}),
        chunks.thought(0, "hm", {**detail("text", ANTHROPIC, 0), "text": "hm"}),
        chunks.call("t1", "f"),
        chunks.argument(0, "{}"),
        chunks.call(None, "g", "in", custom=True),
        chunks.argument(1, "put", custom=True),
        chunks.delta({"content": "x"}, logprobs=[{"token": "x", "bytes": None, "logprob": -1, "top_logprobs": []}]),
        chunks.delta({}, "stop"),
    ]
    for chunk in made:
        if "custom" not in str(chunk):  # which the SDK does not know in streams
            ChatCompletionChunk.model_validate(chunk, strict=True)
        assert {name: chunk[name] for name in ("id", "object", "created", "model")} == {
            "id": "chatcmpl-a1",
            "object": "chat.completion.chunk",
            "created": NOW_S,
            "model": "m-1",
        }


@pytest.mark.parametrize("missing", [None, "", 5])
def test_what_the_upstream_does_not_tell_is_made_up(missing):
    head = Chunks(asked(), missing, missing, NOW_S).head
    assert (head["id"], head["model"]) == (f"chatcmpl-{NOW_S}", "m")


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}, {"include_usage": 1}, "yes", []])
def test_usage_is_not_told_to_who_did_not_ask(options):
    assert written(stream_options=options).usage(USAGE) == []


def test_usage_is_told_to_who_asked_even_where_it_is_not_known():
    chunks = written(stream_options={"include_usage": True})
    [told], [unknown] = chunks.usage(USAGE), chunks.usage(None)
    assert told["choices"] == unknown["choices"] == []
    assert (told["usage"]["prompt_tokens"], told["usage"]["completion_tokens"]) == (3, 2)
    for chunk in (told, unknown):
        ChatCompletionChunk.model_validate(chunk, strict=True)


def test_calls_have_indices_and_ids_of_their_own():
    chunks = written()
    first, second, third = chunks.call("t1", "f"), chunks.call(None, "f"), chunks.call("", "f")
    ids = [chunk["choices"][0]["delta"]["tool_calls"][0] for chunk in (first, second, third)]
    assert [call["index"] for call in ids] == [0, 1, 2] and chunks.calls == 3
    assert ids[0]["id"] == "t1" and len({call["id"] for call in ids}) == 3


def test_thoughts_of_different_places_are_kept_apart_and_pieces_of_one_are_not():
    chunks = written()
    made = [chunks.thought(here, text, {}) for here, text in ((0, "a"), (0, "b"), (1, "c"), (1, "d"))]
    said = [chunk["choices"][0]["delta"]["reasoning_content"] for chunk in made]
    assert said == ["a", "b", "\n\nc", "d"]


# --- a whole completion ----------------------------------------------------------------------------------------------


def test_a_completion_is_what_its_chunks_add_up_to():
    chunks = written(stream_options={"include_usage": True})
    token = {"token": "It", "bytes": None, "logprob": -1.0, "top_logprobs": []}
    made = completion(
        [
            chunks.delta({"role": "assistant", "content": ""}),
            chunks.delta({"content": "It "}, logprobs=[token]),
            chunks.delta({"content": "is."}, logprobs=[token]),
            chunks.delta({}, "stop"),
            {**chunks.head, "choices": [], "moderation": {}},
            *chunks.usage(Usage(9, 9)),
        ],
        USAGE,
    )
    ChatCompletion.model_validate({**made, "moderation": None}, strict=True)
    assert made["object"] == "chat.completion" and made["moderation"] == {}
    assert made["usage"]["prompt_tokens"] == 3
    assert made["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "It is.", "refusal": None},
            "logprobs": {"content": [token, token], "refusal": None},
            "finish_reason": "stop",
        }
    ]


def test_what_is_known_only_at_the_end_is_what_the_completion_says():
    chunks = written()
    first = chunks.delta({"role": "assistant", "content": ""})
    chunks.head["service_tier"] = "flex"
    assert completion([first, chunks.delta({}, "stop")], None)["service_tier"] == "flex"


def test_calls_are_whole_however_their_pieces_come():
    chunks = written()
    made = [
        chunks.call("t1", "f"),
        chunks.call("t2", "g", "a ", custom=True),
        chunks.argument(0, '{"a":'),
        chunks.argument(1, "b", custom=True),
        chunks.argument(0, "1}"),
        chunks.delta({}, "tool_calls"),
    ]
    message = folded(*made)
    assert message["content"] is None
    assert message["tool_calls"] == [
        {"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
        {"id": "t2", "type": "custom", "custom": {"name": "g", "input": "a b"}},
    ]
    assert made[0]["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"] == ""  # chunks stay as they are


def test_an_entry_of_reasoning_goes_on_until_another_begins():
    chunks = written()
    text, other = detail("text", ANTHROPIC, 0), detail("summary", OPENAI, 1, "rs_1")
    message = folded(
        chunks.thought(0, "a", {**text, "text": "a"}),
        chunks.thought(0, "b", {**text, "text": "b"}),
        chunks.delta({"reasoning_details": [{**text, "signature": "s"}]}),
        chunks.thought(1, "c", {**other, "summary": "c"}),
        chunks.thought(1, "d", {**other, "summary": "d"}),
        chunks.delta({"reasoning_details": [{**detail("encrypted", OPENAI, 1, "rs_1"), "data": "e"}]}),
        chunks.delta({}, "stop"),
    )
    assert message["reasoning_content"] == "ab\n\ncd"
    assert message["reasoning_details"] == [
        {**text, "text": "ab", "signature": "s"},
        {**other, "summary": "cd"},
        {"type": "reasoning.encrypted", "format": OPENAI, "index": 1, "id": "rs_1", "data": "e"},
    ]


@pytest.mark.parametrize(
    ("delta", "content", "refusal"), [({}, "", None), ({"refusal": "No."}, None, "No."), ({"content": "a"}, "a", None)]
)
def test_content_is_null_only_where_something_stands_in_its_place(delta, content, refusal):
    chunks = written()
    message = folded(chunks.delta({"role": "assistant", "content": ""}), chunks.delta(delta), chunks.delta({}, "stop"))
    assert (message["content"], message["refusal"]) == (content, refusal)


def test_chunks_without_a_finish_are_no_completion():
    with pytest.raises(Malformed, match="without a stop reason"):
        completion([written().delta({"content": "a"})], None)


# --- the converters that write them ----------------------------------------------------------------------------------

BEGINNINGS: dict[Any, list[dict[str, Any]]] = {
    chat_to_messages: [{"type": "message_start", "message": {"id": "m1"}}],
    chat_to_responses: [{"type": "response.created", "response": {"id": "r1"}}],
}
ENDS: dict[Any, dict[str, Any]] = {
    chat_to_messages: {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
    chat_to_responses: {"type": "response.completed", "response": {"status": "completed", "output": []}},
}


@pytest.mark.parametrize("converter", BEGINNINGS)
def test_a_stream_without_a_stop_reason_has_no_end(converter):
    stream = converter.Stream(asked())
    with pytest.raises(Malformed, match="without a stop reason"):
        stream.end()
    for event in BEGINNINGS[converter]:
        stream.on(event)
    with pytest.raises(Malformed, match="without a stop reason"):
        stream.end()
    stream.on(ENDS[converter])
    assert stream.end() == []


def _texts(count: int) -> dict[Any, list[dict[str, Any]]]:
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a "}}
    said = {"type": "response.output_text.delta", "item_id": "i", "output_index": 0, "delta": "a "}
    return {chat_to_messages: [block, *[delta] * count], chat_to_responses: [said] * count}


def _blanks(count: int) -> dict[Any, list[dict[str, Any]]]:
    """Arguments that begin with very many blanks."""
    tool = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    block = {"type": "content_block_start", "index": 0, "content_block": tool}
    delta = {"type": "input_json_delta", "partial_json": " " * 8}
    call = {"type": "function_call", "id": "i", "call_id": "t", "name": "f"}
    where = {"item_id": "i", "output_index": 0}
    piece = {"type": "response.function_call_arguments.delta", **where, "delta": " " * 8}
    return {
        chat_to_messages: [block, *[{"type": "content_block_delta", "index": 0, "delta": delta}] * count],
        chat_to_responses: [{"type": "response.output_item.added", "output_index": 0, "item": call}, *[piece] * count],
    }


def _blocks(count: int) -> dict[Any, list[dict[str, Any]]]:
    """Very many blocks, each with a thought."""
    blocks: list[dict[str, Any]] = []
    items: list[dict[str, Any]] = []
    for index in range(count):
        block = {"type": "thinking", "thinking": "hm", "signature": "s"}
        blocks.append({"type": "content_block_start", "index": index, "content_block": block})
        blocks.append({"type": "content_block_stop", "index": index})
        where = {"item_id": f"i{index}", "output_index": index}
        items.append({"type": "response.reasoning_text.delta", **where, "content_index": 0, "delta": "hm"})
    return {chat_to_messages: blocks, chat_to_responses: items}


def _seconds(converter: Any, events: list[dict[str, Any]]) -> float:
    """Of the processor, without what Python's own collector takes, which grows with all that is kept."""
    stream, chunks = converter.Stream(asked()), []
    gc.disable()
    try:
        began = time.process_time()
        for event in events:
            chunks += stream.on(event)
        completion(chunks, None)
        return time.process_time() - began
    finally:
        gc.enable()


def _grows(few: float, more: float) -> bool:
    return more > 10 * few + 0.05


@pytest.mark.parametrize("converter", BEGINNINGS)
@pytest.mark.parametrize("many", [_texts, _blanks, _blocks])
def test_four_times_as_many_pieces_take_about_four_times_as_long(converter, many):
    few, more = (
        min(_seconds(converter, [*BEGINNINGS[converter], *many(count)[converter], ENDS[converter]]) for _ in range(2))
        for count in (10_000, 40_000)
    )
    assert not _grows(few, more), (few, more)


def test_a_response_of_very_many_items_that_are_numbered_anew_is_read_in_one_pass():
    def events(count: int) -> list[dict[str, Any]]:
        added = [
            {"type": "response.output_item.added", "item": {"type": "message", "id": f"i{index}", "content": []}}
            for index in range(count)
        ]
        output = [{"type": "message", "id": f"j{index}", "content": []} for index in range(count)]
        return [*added, {"type": "response.completed", "response": {"status": "completed", "output": output}}]

    few, more = (_seconds(chat_to_responses, events(count)) for count in (10_000, 40_000))
    assert not _grows(few, more), (few, more)


def test_random_pieces_add_up_to_what_was_cut():
    rng = random.Random(5)
    for _ in range(200):
        said = "".join(rng.choice("ab \n{}é") for _ in range(rng.randrange(40)))
        given = "".join(rng.choice('{}":1 ') for _ in range(rng.randrange(40)))
        chunks = written()
        made = [chunks.call("t", "f")]
        while said_left := said[sum(len(c["choices"][0]["delta"].get("content", "")) for c in made) :]:
            made.append(chunks.delta({"content": said_left[: rng.randrange(1, 9)]}))
        at = 0
        while at < len(given):
            piece = given[at : at + rng.randrange(1, 9)]
            at += len(piece)
            made.append(chunks.argument(0, piece))
        message = folded(*made, chunks.delta({}, "tool_calls"))
        assert (message["content"] or "") == said
        assert message["tool_calls"][0]["function"]["arguments"] == given
