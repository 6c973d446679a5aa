from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from headgate.engines import demo_model
from headgate.engines.demo_model import DIM, NEVER, RESERVED, STEP, Cls, Kind

#: A change of the bytes needs a new version, so that an old file is not taken for a new one.
SHA256 = {1: "00b1c80ab720b92875438a3c5258834b7d77a1352101c9dc2427017c859f4f94"}


def test_the_bytes_of_a_version_never_change(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    demo_model.write(path)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SHA256[demo_model.VERSION]


def test_the_file_is_small_and_of_the_size_it_says(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.gguf"
    demo_model.write(path)
    assert path.stat().st_size == demo_model.size_bytes() < 4 * 2**20
    assert struct.unpack("<4sI", path.read_bytes()[:8]) == (b"GGUF", 3)
    assert [entry.name for entry in path.parent.iterdir()] == ["a.gguf"], "no temporary file is left"


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        demo_model.write(tmp_path / "a.gguf")
    assert list(tmp_path.iterdir()) == []


def test_ensure_writes_once(tmp_path: Path) -> None:
    path = demo_model.ensure(tmp_path)
    assert path.parent == tmp_path / "demo" and f"v{demo_model.VERSION}" in path.name
    os.utime(path, ns=(1, 1))
    assert demo_model.ensure(tmp_path) == path
    assert path.stat().st_mtime_ns == 1, "not written again"


@pytest.mark.parametrize("damage", ["short", "magic", "empty"])
def test_ensure_replaces_a_damaged_file(tmp_path: Path, damage: str) -> None:
    path = demo_model.ensure(tmp_path)
    whole = path.read_bytes()
    path.write_bytes({"short": whole[:-1], "magic": b"FUGG" + whole[4:], "empty": b""}[damage])
    assert demo_model.ensure(tmp_path).read_bytes() == whole


def test_two_processes_at_once_both_get_a_whole_file(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from headgate.engines import demo_model\n"
        "sys.stdin.readline()\n"
        "path = demo_model.ensure(pathlib.Path(sys.argv[1]))\n"
        "assert demo_model._is_whole(path); print(path)"
    )
    pair = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for process in pair:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    printed = {process.communicate(timeout=60)[0].strip() for process in pair}
    assert [process.returncode for process in pair] == [0, 0]
    assert printed == {str(demo_model.ensure(tmp_path))}
    assert len(list((tmp_path / "demo").iterdir())) == 1


def test_the_vocabulary_covers_all_text_and_has_no_token_twice() -> None:
    tokens = demo_model.vocabulary()
    texts = [token.text for token in tokens]
    assert len(set(texts)) == len(texts)
    assert sum(token.kind is Kind.BYTE for token in tokens) == 256
    assert {chr(code) for code in range(0x21, 0x7F)} <= set(texts)
    assert sum(token.cls is Cls.WORD for token in tokens) > 250
    assert {len(token.text) for token in tokens if token.cls is Cls.WORD} <= set(range(2, 14))


def test_what_must_not_be_sampled_is_far_below_everything_else() -> None:
    tokens = demo_model.vocabulary()
    weights = demo_model._Weights(tokens)
    unit = demo_model.SHRINK * demo_model._NORMED_MARK
    for token in tokens:
        row = weights._unembedding(token)
        constant = row[0] * unit
        if token.kind is Kind.NORMAL:
            assert constant == 0
            assert min(row[1:RESERVED]) * unit > -STEP * len(Cls) > NEVER / 10
        else:
            assert constant == NEVER
            one_opener = max(row[1:RESERVED]) * unit
            assert constant + one_opener < NEVER / 10, "one half of a gate does not open it"


def test_layers_write_nothing_into_the_reserved_dimensions_but_the_offer_of_tools() -> None:
    weights = demo_model._Weights(demo_model.vocabulary())
    for layer in range(demo_model.LAYERS):
        for name, columns in (("attn_output", DIM), ("ffn_down", demo_model.FFN_DIM)):
            values = weights.values(f"blk.{layer}.{name}.weight", columns, DIM)
            for row in range(RESERVED):
                written = any(values[row * columns : (row + 1) * columns])
                assert written == (row == demo_model.TOOLS_SEEN and (layer, name) == (0, "attn_output"))


def test_writing_takes_no_time_to_speak_of(tmp_path: Path) -> None:
    began = time.process_time()
    demo_model.write(tmp_path / "a.gguf")
    assert time.process_time() - began < 5
