"""What the converters share: efforts, seals, tags, ids, what is known of an upstream, and foreign reasoning."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.errors import Problem
from headgate.wire.dialect import TRANSLATED, Dialect, route
from headgate.wire.outgoing import Outgoing, outgoing
from headgate.wire.request import Request, parse
from headgate.wire.translate import responses_to_chat, tool_ids
from headgate.wire.translate.asked import Asked
from headgate.wire.translate.foreign import without_foreign_reasoning
from headgate.wire.translate.reasoning import (
    EFFORTS,
    MIN_BUDGET,
    UNSIGNED,
    ThinkTags,
    budget_of,
    effort_of,
    nearest,
    seal,
    unseal,
)
from headgate.wire.translate.shape import Refusal
from headgate.wire.translate.upstream import (
    MAX_COMPLETION_TOKENS,
    MAX_TOKENS,
    Sampling,
    Thinking,
    Upstream,
    describe,
)

OPENAI = "https://api.openai.com/v1"
LOCAL = "http://127.0.0.1:8080/v1"

# --- reasoning ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("effort", ["minimal", "low", "medium", "high"])
def test_a_level_that_becomes_a_budget_and_a_level_again_is_the_same(effort):
    assert effort_of(budget_of(effort)) == effort and budget_of(effort) >= MIN_BUDGET


@given(st.integers(0, 10**6))
def test_a_larger_budget_is_never_a_weaker_level(budget):
    assert EFFORTS.index(effort_of(budget)) <= EFFORTS.index(effort_of(budget + 500))


@pytest.mark.parametrize(
    ("effort", "levels", "expected"),
    [
        ("medium", ("low", "medium", "high"), "medium"),
        ("minimal", ("low", "medium", "high"), "low"),
        ("xhigh", ("low", "medium", "high"), "high"),
        ("xhigh", ("low", "high", "max"), "high"),
        ("none", ("low",), "low"),
        ("none", ("none", "low"), "none"),
        ("minimal", ("none", "low"), "low"),
        ("medium", (), None),
        ("extreme", ("low",), None),
    ],
)
def test_the_nearest_level(effort, levels, expected):
    assert nearest(effort, levels) == expected


@given(st.dictionaries(st.text(), st.text() | st.integers(-(2**53), 2**53) | st.none()))
def test_a_seal_opens_to_what_was_sealed(entry):
    assert unseal(seal(entry)) == entry


@pytest.mark.parametrize("opaque", [None, 5, "", "EqQBCg==", "hg1.", "hg1.%%%", "hg1.e30=x", "hg1.W10=", "hg1.é"])
def test_what_is_no_seal_does_not_open(opaque):
    assert unseal(opaque) is None
    assert unseal(UNSIGNED) == {}


def _through(pieces: list[str]) -> tuple[str, str]:
    tags = ThinkTags()
    told = [tags.feed(piece) for piece in pieces] + [tags.finish()]
    return "".join(thought for thought, _ in told), "".join(said for _, said in told)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>so</think>It is.", ("so", "It is.")),
        ("\n<think>\nso\n</think>\n\nIt is.", ("\nso\n", "It is.")),
        ("It is <think>so</think>.", ("", "It is <think>so</think>.")),
        ("<thin", ("", "<thin")),
        ("<think", ("", "<think")),
        ("<thinker>", ("", "<thinker>")),
        ("<think>never ends </thin", ("never ends </thin", "")),
        ("<think></think>", ("", "")),
        ("<think></think> <think>again</think>", ("", "<think>again</think>")),
        ("  plain", ("", "  plain")),
        ("   ", ("", "   ")),
        ("", ("", "")),
    ],
)
def test_tags_at_the_start_hold_reasoning_however_the_text_is_cut(text, expected):
    assert _through([text]) == expected
    assert _through(list(text)) == expected
    for cut in range(len(text)):
        assert _through([text[:cut], text[cut:]]) == expected


def test_nothing_is_held_back_that_cannot_be_a_tag():
    tags = ThinkTags()
    assert tags.feed("<") == ("", "")
    assert tags.feed("b>") == ("", "<b>")
    assert tags.feed("<") == ("", "<")
    tags = ThinkTags()
    assert tags.feed("<think>a <b> ") == ("a <b> ", "")
    assert tags.feed("x</") == ("x", "") and tags.feed("y") == ("</y", "")


# --- ids -----------------------------------------------------------------------------------------------------------


@given(st.text(min_size=1))
def test_an_id_becomes_one_that_the_vendor_takes_and_always_the_same(tool_id):
    for made, longest in ((tool_ids.for_messages, 128), (tool_ids.for_chat, 40)):
        assert made(tool_id) == made(tool_id) and 0 < len(made(tool_id)) <= longest
        assert made(made(tool_id)) == made(tool_id)
    assert tool_ids.for_messages(tool_id).replace("_", "a").replace("-", "a").isalnum()


def test_an_id_that_the_vendor_takes_survives():
    assert tool_ids.for_messages("call_aB-9") == "call_aB-9" and tool_ids.for_chat("toolu_01") == "toolu_01"
    assert tool_ids.for_messages("call_1\n") != "call_1\n"


# --- upstreams -----------------------------------------------------------------------------------------------------


def known(model: str, dialect: Dialect = Dialect.MESSAGES, base_url: str = LOCAL) -> Upstream:
    return describe(f"up/{model}", model, dialect, base_url)


@pytest.mark.parametrize(
    ("model", "sampling", "thinking", "schema"),
    [
        ("claude-3-haiku-20240307", Sampling.ANY, Thinking.BUDGET, False),
        ("claude-3-7-sonnet-latest", Sampling.ANY, Thinking.BUDGET, False),
        ("claude-sonnet-4-20250514", Sampling.ANY, Thinking.BUDGET, False),
        ("claude-opus-4-1", Sampling.ONE, Thinking.BUDGET, True),
        ("claude-haiku-4-5-20251001", Sampling.ONE, Thinking.BUDGET, True),
        ("anthropic/claude-sonnet-4.5", Sampling.ONE, Thinking.BUDGET, True),
        ("claude-opus-4-6", Sampling.ONE, Thinking.ADAPTIVE, True),
        ("anthropic.claude-opus-4-6-v1", Sampling.ONE, Thinking.ADAPTIVE, True),
        ("claude-opus-4-7", Sampling.NONE, Thinking.ADAPTIVE, True),
        ("anthropic/claude-4.7-opus", Sampling.NONE, Thinking.ADAPTIVE, True),
        ("claude-fable-5-2", Sampling.NONE, Thinking.ADAPTIVE, True),
        ("claude-sonnet-5", Sampling.NONE, Thinking.ADAPTIVE, True),
        ("claude-mythos-preview", Sampling.NONE, Thinking.ADAPTIVE, True),
        ("glm-4.6", Sampling.ANY, Thinking.BUDGET, False),
    ],
)
def test_what_a_model_behind_messages_takes_follows_from_its_name(model, sampling, thinking, schema):
    upstream = known(model)
    assert (upstream.sampling, upstream.thinking, upstream.schema_output) == (sampling, thinking, schema)


def test_old_models_are_not_asked_for_more_than_they_write():
    assert known("claude-3-haiku-20240307").output_tokens == 4096
    assert known("claude-3-5-haiku-20241022").output_tokens == 8192
    assert known("claude-opus-4-8").output_tokens == 16_384


@pytest.mark.parametrize(
    ("model", "base_url", "limit", "strict"),
    [
        ("gpt-4o-mini", OPENAI, MAX_COMPLETION_TOKENS, True),
        ("gpt-4o-mini", "https://x.openai.azure.com/openai/v1", MAX_COMPLETION_TOKENS, True),
        ("gpt-4o-mini", "https://notopenai.com/v1", MAX_TOKENS, False),
        ("deepseek-chat", "https://api.deepseek.com/v1", MAX_TOKENS, False),
        ("openai/gpt-5-mini", "https://openrouter.ai/api/v1", MAX_COMPLETION_TOKENS, False),
        ("o3", LOCAL, MAX_COMPLETION_TOKENS, False),
        ("qwen3-8b", LOCAL, MAX_TOKENS, False),
        ("gpt-oss-20b", LOCAL, MAX_TOKENS, False),
    ],
)
def test_the_output_limit_goes_into_the_field_that_is_honoured(model, base_url, limit, strict):
    upstream = known(model, Dialect.CHAT, base_url)
    assert (upstream.limit_field, upstream.is_openai) == (limit, strict)


# --- routes --------------------------------------------------------------------------------------------------------


def test_the_clients_own_dialect_is_asked_for_where_it_is_spoken_and_chat_first_where_not():
    assert all(route(dialect, frozenset(Dialect)) is dialect for dialect in Dialect)
    assert route(Dialect.MESSAGES, frozenset({Dialect.RESPONSES, Dialect.CHAT})) is Dialect.CHAT
    assert route(Dialect.RESPONSES, frozenset({Dialect.MESSAGES})) is Dialect.MESSAGES
    for dialect in set(Dialect) - set(TRANSLATED):
        assert route(dialect, frozenset(set(Dialect) - {dialect})) is None
    assert route(Dialect.CHAT, frozenset({Dialect.COMPLETIONS, Dialect.EMBEDDINGS})) is None


def test_a_refusal_is_named_from_the_outside_in():
    inner = Refusal("type", "is unknown").within("content[2]").within("messages[1]")
    assert (inner.field, str(inner)) == ("messages[1].content[2].type", "'messages[1].content[2].type' is unknown")
    assert Refusal("[2]", "x").within("tools").field == "tools[2]"
    assert Refusal("", "x").within("tools").field == "tools"


# --- reasoning of another vendor in what is not translated -----------------------------------------------------------


def passed(dialect: Dialect, body: dict) -> Outgoing:
    request = parse(dialect, json.dumps(body).encode())
    assert isinstance(request, Request)
    made = outgoing(request, dialect, target="up/m", model="m", base_url=LOCAL, now_s=1)
    assert isinstance(made, Outgoing)
    return made


USER = {"role": "user", "content": "?"}
OURS = {"type": "thinking", "thinking": "hm", "signature": UNSIGNED}
THEIRS = {"type": "thinking", "thinking": "hm", "signature": "EqQBCg=="}
TEXT = {"type": "text", "text": "It is."}


def test_reasoning_that_a_vendor_did_not_sign_is_not_shown_to_it():
    turns = [USER, {"role": "assistant", "content": [OURS, TEXT]}, USER, {"role": "assistant", "content": [OURS]}, USER]
    made = passed(Dialect.MESSAGES, {"model": "m", "max_tokens": 9, "messages": turns})
    assert orjson.loads(made.body)["messages"] == [USER, {"role": "assistant", "content": [TEXT]}, USER, USER]
    assert made.dropped == ("messages[].content[]:thinking",) and made.translated_to is None
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": seal({"a": 1})}
    made = passed(Dialect.RESPONSES, {"model": "m", "input": [USER, item, USER]})
    assert orjson.loads(made.body)["input"] == [USER, USER] and made.dropped == ("input[]:reasoning",)


@pytest.mark.parametrize("seal", ["hg1.", "hg1.!!!", "hg1.W10=", UNSIGNED[:-3], "hg1." + "A" * 5_000_000])
def test_a_damaged_seal_is_not_shown_to_a_vendor_either(seal):
    blocks = [{"type": "redacted_thinking", "data": seal}, {**OURS, "signature": seal}, TEXT]
    turns = [USER, {"role": "assistant", "content": blocks}, USER]
    made = passed(Dialect.MESSAGES, {"model": "m", "max_tokens": 9, "messages": turns})
    assert orjson.loads(made.body)["messages"][1]["content"] == [TEXT]
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": seal}
    assert orjson.loads(passed(Dialect.RESPONSES, {"model": "m", "input": [USER, item]}).body)["input"] == [USER]


def test_a_seal_written_with_escapes_is_one_all_the_same():
    raw = json.dumps(
        {"model": "m", "max_tokens": 9, "messages": [USER, {"role": "assistant", "content": [OURS, TEXT]}]}
    )
    request = parse(Dialect.MESSAGES, raw.replace("hg1.", "\\u0068g1.").encode())
    assert isinstance(request, Request)
    made = outgoing(request, Dialect.MESSAGES, target="up/m", model="m", base_url=LOCAL, now_s=1)
    assert isinstance(made, Outgoing) and b"g1." not in made.body


def test_openai_is_not_shown_what_anthropic_signed():
    details = [{"type": "reasoning.text", "text": "hm", "signature": "EqQBCg==", "format": "anthropic-claude-v1"}]
    turn = {"role": "assistant", "content": "It is.", "reasoning_content": "hm", "reasoning_details": details}
    request = parse(Dialect.CHAT, json.dumps({"model": "m", "messages": [USER, turn, USER]}).encode())
    assert isinstance(request, Request)
    made = outgoing(request, Dialect.CHAT, target="up/m", model="m", base_url=OPENAI, now_s=1)
    assert isinstance(made, Outgoing) and made.dropped == ("messages[].reasoning_details",)
    assert orjson.loads(made.body)["messages"][1] == {"role": "assistant", "content": "It is."}
    made = outgoing(request, Dialect.CHAT, target="up/m", model="m", base_url=LOCAL, now_s=1)
    assert isinstance(made, Outgoing) and made.body == request.raw and made.dropped == ()


def test_a_body_that_is_nested_too_deep_to_be_written_again_is_refused():
    deep: dict = {}
    for _ in range(300):
        deep = {"a": deep}
    turns = [
        {"role": "assistant", "content": [OURS, {"type": "tool_use", "id": "a", "name": "f", "input": deep}]},
        USER,
    ]
    request = parse(Dialect.MESSAGES, json.dumps({"model": "m", "max_tokens": 9, "messages": turns}).encode())
    assert isinstance(request, Request)
    problem = outgoing(request, Dialect.MESSAGES, target="up/m", model="m", base_url=LOCAL, now_s=1)
    assert isinstance(problem, Problem) and problem.status == 400


DEEP = orjson.loads(b'{"":[' * 480 + b"7" + b"]}" * 480)


def test_what_is_nested_too_deep_to_be_shown_is_not_shown():
    turns = [USER, {"role": "assistant", "content": [OURS, {"type": DEEP}, TEXT]}, USER]
    changed, names = without_foreign_reasoning(
        Dialect.MESSAGES, b"hg1.", {"messages": turns, "max_tokens": 9}, lambda: False
    )
    assert changed["messages"][1]["content"] == [{"type": DEEP}, TEXT] and names
    upstream = describe("up/m", "m", Dialect.CHAT, LOCAL)
    asked = Asked({"model": "m", "input": "x"}, {"model": "m"}, upstream, 1)
    answer = {"created": DEEP, "choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}]}
    assert responses_to_chat.answer(answer, asked)["created_at"] == 1


def test_reasoning_that_it_signed_goes_back_byte_for_byte():
    body = {"model": "m", "max_tokens": 9, "messages": [USER, {"role": "assistant", "content": [THEIRS, TEXT]}, USER]}
    made = passed(Dialect.MESSAGES, body)
    assert made.body == json.dumps(body).encode() and made.dropped == ()


@pytest.mark.parametrize("text", ["hg1.e30=", '"hg1.e30="'])
def test_a_mark_in_somebodys_words_changes_nothing(text):
    said = {"role": "assistant", "content": [{"type": "text", "text": text}]}
    body = {"model": "m", "max_tokens": 9, "messages": [USER, said, {"role": "assistant", "content": []}, USER]}
    made = passed(Dialect.MESSAGES, body)
    assert made.body == json.dumps(body).encode() and made.dropped == ()
    body = {"model": "m", "input": [{"role": "user", "content": text}]}
    made = passed(Dialect.RESPONSES, body)
    assert made.body == json.dumps(body).encode() and made.dropped == ()


def test_a_budget_for_thinking_goes_with_the_last_turns_reasoning():
    body = {"model": "m", "max_tokens": 9000, "thinking": {"type": "enabled", "budget_tokens": 2000}}
    turns = [USER, {"role": "assistant", "content": [OURS, TEXT]}, USER]
    made = passed(Dialect.MESSAGES, {**body, "messages": turns})
    assert orjson.loads(made.body)["thinking"] == {"type": "disabled"} and "thinking" in made.dropped
    turns = [*turns, {"role": "assistant", "content": [THEIRS, TEXT]}, USER]
    assert orjson.loads(passed(Dialect.MESSAGES, {**body, "messages": turns}).body)["thinking"]["type"] == "enabled"
