"""Every golden case, whole and in pieces. See `cases.py` for the files."""

from __future__ import annotations

import os
from pathlib import Path

import orjson
import pytest
from cases import GOLDEN, pair_of, replayed, sent, translation

from headgate.wire.stream import Step

CASES = sorted(path.parent for path in GOLDEN.glob("*/*/request.json"))
WRITE = os.environ.get("GOLDEN") == "write"
_PRETTY = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


def _id(case: Path) -> str:
    return f"{case.parent.name}/{case.name}"


def _expect(path: Path, got: bytes) -> None:
    if WRITE:
        path.write_bytes(got)
    assert got.decode() == path.read_text()


@pytest.mark.parametrize("case", CASES, ids=_id)
def test_a_request_becomes_what_its_golden_file_says(case: Path) -> None:
    _expect(case / "sent.json", orjson.dumps(sent(case), option=_PRETTY))


@pytest.mark.parametrize("case", [c for c in CASES if (c / "answer.upstream.json").exists()], ids=_id)
def test_an_answer_becomes_what_its_golden_file_says(case: Path) -> None:
    value = orjson.loads((case / "answer.upstream.json").read_bytes())
    answer = orjson.loads(translation(case).answer(value))
    _expect(case / "answer.client.json", orjson.dumps(answer, option=_PRETTY))


@pytest.mark.parametrize("case", [c for c in CASES if (c / "stream.upstream.sse").exists()], ids=_id)
def test_a_stream_becomes_what_its_golden_file_says_however_it_is_cut(case: Path) -> None:
    raw = (case / "stream.upstream.sse").read_bytes()
    made, dialect = translation(case), pair_of(case)[1]
    whole, meter, step = replayed(made, dialect, [raw])
    assert step is Step.END, meter.problem
    _expect(case / "stream.client.sse", whole)
    assert replayed(made, dialect, [raw[i : i + 1] for i in range(len(raw))])[0] == whole
    for cut in range(1, len(raw)):
        assert replayed(made, dialect, [raw[:cut], raw[cut:]])[0] == whole
