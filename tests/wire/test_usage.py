"""What the vendors call usage, in one form: the whole prompt, and beside it what was cached."""

from __future__ import annotations

import pytest

from headgate.wire.usage import Usage, from_anthropic, from_openai, from_responses

HUGE = 10**12 + 1
NOT_COUNTS = [None, -1, True, False, 1.5, 7.0, "7", [7], {"n": 7}, HUGE, 2**63]


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}, Usage(7, 3)),
        # cached tokens are inside prompt_tokens
        (
            {
                "prompt_tokens": 1290,
                "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 1280, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 2},
            },
            Usage(1290, 5, 1280, None, 2),
        ),
        (
            {
                "prompt_tokens": 90,
                "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 80},
            },
            Usage(90, 5, 0, 80),
        ),
        # embeddings have no output; a server that only counts its output
        ({"prompt_tokens": 7, "total_tokens": 7}, Usage(7, None)),
        ({"completion_tokens": 3}, Usage(None, 3)),
        ({"prompt_tokens": 0, "completion_tokens": 0}, Usage(0, 0)),
        ({"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": None}, Usage(7, 3)),
        ({"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": [5]}, Usage(7, 3)),
        ({"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": -5}}, Usage(7, 3)),
        ({"prompt_tokens": 10**12, "completion_tokens": 3}, Usage(10**12, 3)),
        # Anthropic's names are not OpenAI's
        ({"input_tokens": 7, "output_tokens": 3}, None),
        ({}, None),
        (None, None),
        ([], None),
        (7, None),
        ("usage", None),
    ],
)
def test_openais_usage(usage, expected):
    assert from_openai(usage) == expected


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}, Usage(7, 3)),
        (
            {
                "input_tokens": 90,
                "input_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 16},
                "output_tokens": 140,
                "output_tokens_details": {"reasoning_tokens": 128},
            },
            Usage(90, 140, 64, 16, 128),
        ),
        ({"input_tokens": 7, "output_tokens": 3, "input_tokens_details": None}, Usage(7, 3)),
        ({"input_tokens": 7, "output_tokens": 3, "output_tokens_details": {"reasoning_tokens": "2"}}, Usage(7, 3)),
        ({"prompt_tokens": 7}, None),
        (None, None),
    ],
)
def test_the_responses_apis_usage(usage, expected):
    assert from_responses(usage) == expected


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"input_tokens": 7, "output_tokens": 3}, Usage(7, 3)),
        # cached tokens are outside input_tokens
        (
            {
                "input_tokens": 21,
                "cache_creation_input_tokens": 1504,
                "cache_read_input_tokens": 20480,
                "output_tokens": 6,
            },
            Usage(22005, 6, 20480, 1504),
        ),
        ({"input_tokens": 7, "cache_read_input_tokens": None, "output_tokens": 3}, Usage(7, 3)),
        ({"input_tokens": 7, "cache_read_input_tokens": -9, "output_tokens": 3}, Usage(7, 3)),
        ({"input_tokens": 0, "cache_read_input_tokens": 9, "output_tokens": 3}, Usage(9, 3, 9)),
        # what is cached without the rest is not the whole prompt
        ({"cache_read_input_tokens": 9, "output_tokens": 3}, Usage(None, 3, 9)),
        ({"cache_read_input_tokens": 9}, None),
        ({"output_tokens": 3}, Usage(None, 3)),
        ({"prompt_tokens": 7, "completion_tokens": 3}, None),
        ({}, None),
        (None, None),
    ],
)
def test_anthropics_usage(usage, expected):
    assert from_anthropic(usage) == expected


START = {"input_tokens": 10, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 1000, "output_tokens": 1}


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        ({"output_tokens": 50}, Usage(1110, 50, 100, 1000)),
        ({**START, "output_tokens": 50}, Usage(1110, 50, 100, 1000)),
        ({"input_tokens": None, "output_tokens": 50}, Usage(1110, 50, 100, 1000)),
        # a server tool has read more since the start
        ({"input_tokens": 30, "output_tokens": 50}, Usage(1130, 50, 100, 1000)),
        ({"cache_read_input_tokens": 200, "output_tokens": 50}, Usage(1210, 50, 200, 1000)),
        ({"cache_creation_input_tokens": 2000, "output_tokens": 50}, Usage(2110, 50, 100, 2000)),
        ({"output_tokens": -1}, Usage(1110, 1, 100, 1000)),
        ({"output_tokens": None}, Usage(1110, 1, 100, 1000)),
        ({}, Usage(1110, 1, 100, 1000)),
        (None, Usage(1110, 1, 100, 1000)),
        ("usage", Usage(1110, 1, 100, 1000)),
    ],
)
def test_the_end_of_a_stream_adds_to_what_its_start_said(later, expected):
    assert from_anthropic(later, from_anthropic(START)) == expected


def test_a_start_without_usage_leaves_it_to_the_end():
    assert from_anthropic({"input_tokens": 4, "output_tokens": 50}, from_anthropic(None)) == Usage(4, 50)


@pytest.mark.parametrize("wrong", NOT_COUNTS)
def test_what_is_no_count_is_unknown_and_never_zero(wrong):
    assert from_openai({"prompt_tokens": wrong, "completion_tokens": 3}) == Usage(None, 3)
    assert from_openai({"prompt_tokens": 7, "completion_tokens": wrong}) == Usage(7, None)
    assert from_openai({"prompt_tokens": wrong, "completion_tokens": wrong}) is None
    assert from_responses({"input_tokens": wrong, "output_tokens": 3}) == Usage(None, 3)
    assert from_responses({"input_tokens": wrong, "output_tokens": wrong}) is None
    assert from_anthropic({"input_tokens": wrong, "output_tokens": 3}) == Usage(None, 3)
    assert from_anthropic({"input_tokens": 7, "output_tokens": wrong}) == Usage(7, None)
    assert from_anthropic({"input_tokens": wrong, "output_tokens": wrong}) is None


def test_the_total_counts_what_is_known():
    assert Usage(7, 3, 5, 1, 2).total_tokens == 10
    assert Usage(None, 3).total_tokens == 3
    assert Usage(7).total_tokens == 7
