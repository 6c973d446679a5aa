"""The page of fields in docs/translation.md is the table that the code uses."""

from __future__ import annotations

from pathlib import Path

from headgate.wire.translate.fields_page import page

_PAGE = Path(__file__).parents[2] / "docs" / "translation.md"
_MARK = "<!-- From here on made by: python -m headgate.wire.translate.fields_page -->\n\n"


def test_the_page_says_what_the_table_says():
    written = _PAGE.read_text()
    assert written.partition(_MARK)[2] == page(), f"python -m headgate.wire.translate.fields_page, below {_MARK!r}"
