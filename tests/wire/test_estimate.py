"""The estimate of a prompt: near enough to be of use, and never less for more."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.wire.estimate import prompt_tokens, text_tokens


def chat(*contents: Any) -> int:
    return prompt_tokens({"messages": [{"role": "user", "content": content} for content in contents]})


ENGLISH = "The miller opens the sluice, and the wheel begins to turn with a groan. "
CHINESE = "磨坊主打开水闸，水轮吱呀一声开始转动。"


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        (ENGLISH * 20, 250, 420),  # 14 words of it are about 16 tokens
        (CHINESE * 20, 200, 420),
        ("Мельник открывает шлюз. " * 20, 100, 300),
        ("水" * 3000, 1500, 3000),
        ("", 0, 0),
    ],
)
def test_texts_of_several_scripts_are_near_their_tokens(text, low, high):
    assert low <= text_tokens(text) <= high


def test_a_chinese_character_weighs_more_than_a_latin_letter():
    assert text_tokens("水" * 100) > 2 * text_tokens("w" * 100)
    assert text_tokens("é" * 100) > text_tokens("e" * 100)


def test_an_empty_prompt_is_one_token():
    assert prompt_tokens({}) == 1
    assert prompt_tokens({"messages": [], "system": None}) == 1


def test_a_picture_counts_the_same_whatever_its_bytes():
    def picture(data: str) -> dict[str, Any]:
        return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}

    without = chat([{"type": "text", "text": "what?"}])
    assert chat([{"type": "text", "text": "what?"}, picture("A")]) - without == 1600
    assert chat([picture("A")]) == chat([picture("A" * 100_000)])
    for kind in ("image_url", "input_image"):
        assert chat([{"type": kind, "image_url": "data:image/png;base64," + "A" * 9999}]) == chat([picture("A")])


def test_names_and_ids_of_the_protocol_are_not_text():
    plain = chat([{"type": "tool_result", "tool_use_id": "a", "content": "42"}])
    assert chat([{"type": "tool_result", "tool_use_id": "a" * 4000, "content": "42"}]) == plain


def test_system_instructions_and_tools_count():
    base = prompt_tokens({"messages": [{"role": "user", "content": "?"}]})
    messages = [{"role": "user", "content": "?"}]
    assert prompt_tokens({"messages": messages, "system": ENGLISH}) > base + 10
    assert prompt_tokens({"messages": messages, "system": [{"type": "text", "text": ENGLISH}]}) > base + 10
    assert prompt_tokens({"messages": messages, "tools": [{"name": "f", "input_schema": {}}]}) > base + 15
    assert prompt_tokens({"input": "?", "instructions": ENGLISH}) > prompt_tokens({"input": "?"}) + 10


def test_each_message_costs_a_little():
    assert chat("a", "b") - chat("ab") >= 4


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["system", "messages", "input", "prompt", "tools", "x"]), JSON))
def test_anything_a_parser_gives_can_be_estimated(fields: dict[str, Any]):
    assert prompt_tokens(fields) >= 1


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=30), max_size=6), st.text(max_size=30))
def test_more_text_is_never_fewer_tokens(contents: list[str], more: str):
    assert chat(*contents, more) >= chat(*contents)
    if contents:
        assert chat(*contents[:-1], contents[-1] + more) >= chat(*contents)


def test_a_deep_prompt_is_estimated():
    deep: Any = "x"
    for _ in range(50_000):
        deep = [deep]
    assert prompt_tokens({"input": deep}) >= 1
