"""Small parts that converters share: data URLs, and results of tools where they are text alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.wire.translate.data_url import DataUrl, parse
from headgate.wire.translate.tool_results import as_text

IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("data:image/png;base64,AAAA", DataUrl("image/png", True, "AAAA")),
        ("DATA: Image/PNG ;name=a.png; BASE64 ,AAAA", DataUrl("image/png", True, "AAAA")),
        ("data:text/plain;charset=utf-8,a%20b,c", DataUrl("text/plain", False, "a%20b,c")),
        ("data:,", DataUrl("", False, "")),
        ("data:image/png;base64", None),
        ("https://example.com/a,b", None),
        ("AAAA", None),
        ("", None),
    ],
)
def test_a_data_url_is_taken_apart(text, found):
    assert parse(text) == found


@given(st.builds(DataUrl, st.from_regex(r"[a-z]+/[a-z.+-]+", fullmatch=True), st.booleans(), st.text()))
def test_a_data_url_that_was_written_is_read_again(url):
    assert parse(str(url)) == url


def test_a_result_of_text_alone_stays_as_it_is():
    assert as_text("call_1", "It is.", []) == ("It is.", [])
    assert as_text("call_1", "", []) == ("", [])


def test_what_is_no_text_goes_to_the_user_and_each_says_where_the_other_is():
    text, parts = as_text("call_1", "It is.", [IMAGE])
    assert text == "It is." and parts[1:] == [IMAGE] and "call_1" in parts[0]["text"]
    text, parts = as_text("call_1", "", [IMAGE, IMAGE])
    assert "next message" in text and parts[1:] == [IMAGE, IMAGE]
