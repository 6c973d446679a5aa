"""The limits of keys over several workers."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.access import shared
from headgate.access.keys import Key
from headgate.access.limits import Limits
from headgate.access.shared import SharedLimits, create
from headgate.errors import OperatorFault

KEY = Key("key_1", "one", rpm=2, tpm=100)


def test_workers_count_together(tmp_path: Path) -> None:
    path = create(tmp_path / "run")
    one, two = SharedLimits(path), SharedLimits(path)
    assert one.admit(KEY, 10, 100.0) is None
    assert two.admit(KEY, 80, 100.0) is None
    refused = one.admit(KEY, 1, 101.0)
    assert refused is not None
    assert refused.retry_after_s == 60
    assert two.admit(KEY, 1, 161.0) is None
    one.close()
    two.close()


def test_a_worker_settles_what_another_admitted(tmp_path: Path) -> None:
    path = create(tmp_path)
    one, two = SharedLimits(path), SharedLimits(path)
    assert one.admit(KEY, 100, 100.0) is None
    assert two.admit(KEY, 50, 100.5) is not None
    two.settle(KEY, 100, 20, 100.0, 101.0)
    assert one.admit(KEY, 80, 101.0) is None
    one.close()
    two.close()


def test_keys_do_not_share_a_window(tmp_path: Path) -> None:
    limits = SharedLimits(create(tmp_path))
    for n in range(50):
        key = Key(f"key_{n}", "some", rpm=1)
        assert limits.admit(key, 0, 5.0) is None
        assert limits.admit(key, 0, 5.0) is not None
    limits.close()


def test_a_key_without_limits_takes_no_slot(tmp_path: Path) -> None:
    limits = SharedLimits(create(tmp_path, slots=1))
    free = Key("key_free", "free")
    assert limits.admit(free, 10**9, 5.0) is None
    limits.settle(free, 10**9, 1, 5.0, 6.0)
    assert limits.admit(KEY, 1, 5.0) is None
    assert SharedLimits(create(tmp_path, slots=1)).admit(KEY, 1, 5.0) is None
    limits.close()


arrivals = st.lists(
    st.tuples(st.floats(0, 30), st.integers(0, 3), st.integers(0, 1), st.integers(0, 60), st.integers(0, 90)),
    max_size=40,
)


@given(arrivals)
def test_several_workers_decide_as_one_process_does(
    tmp_path_factory: pytest.TempPathFactory, arriving: list[tuple[float, int, int, int, int]]
) -> None:
    keys = [Key(f"key_{n}", "some", rpm=3, tpm=100) for n in range(4)]
    path = create(tmp_path_factory.mktemp("run"), slots=4)
    workers, alone, now = [SharedLimits(path), SharedLimits(path)], Limits(), 1000.0
    for step, who, worker, estimate, actual in arriving:
        now += step
        decided = workers[worker].admit(keys[who], estimate, now)
        assert decided == alone.admit(keys[who], estimate, now)
        if decided is None:
            workers[1 - worker].settle(keys[who], estimate, actual, now, now + 1)
            alone.settle(keys[who], estimate, actual, now, now + 1)
    for limits in workers:
        limits.close()


# --- slots


def test_the_slot_of_a_key_that_fell_silent_is_given_to_another(tmp_path: Path) -> None:
    path = create(tmp_path, slots=1)
    one, two = SharedLimits(path), SharedLimits(path)
    other = Key("key_2", "two", rpm=1)
    assert one.admit(KEY, 0, 100.0) is None
    assert one.admit(other, 0, 161.0) is None  # takes the slot, which is empty by now
    assert two.admit(other, 0, 161.0) is not None
    assert one.admit(KEY, 0, 223.0) is None  # and back: what the worker remembered is not its slot any more
    assert two.admit(KEY, 0, 223.0) is None
    assert two.admit(KEY, 0, 223.0) is not None
    one.close()
    two.close()


def test_more_busy_keys_than_slots_are_counted_by_each_worker(tmp_path: Path) -> None:
    limits = SharedLimits(create(tmp_path, slots=1))
    assert limits.admit(KEY, 0, 100.0) is None
    other = Key("key_2", "two", rpm=1, tpm=10)
    assert limits.admit(other, 10, 100.0) is None
    assert limits.admit(other, 0, 100.1) is not None
    limits.settle(other, 10, 3, 100.0, 100.2)
    assert limits.admit(Key("key_2", "two", tpm=10), 7, 100.3) is None
    limits.keep(frozenset())
    assert limits.admit(other, 0, 100.4) is None
    limits.close()


# --- the file


def test_the_parent_makes_the_file_anew_and_for_its_owner_alone(tmp_path: Path) -> None:
    run = tmp_path / "home" / "run"
    path = create(run)
    first = SharedLimits(path)
    assert first.admit(Key("key_1", "one", rpm=1), 0, 5.0) is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(run.stat().st_mode) == 0o700
    assert create(run) == path
    second = SharedLimits(path)
    assert second.admit(Key("key_1", "one", rpm=1), 0, 5.0) is None
    first.close()
    second.close()


def test_what_dead_gateways_left_is_removed_and_the_rest_stays(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    (tmp_path / f"limits-{dead.pid}.slots").touch()
    alive = tmp_path / f"limits-{os.getppid()}.slots"
    alive.touch()
    strange = tmp_path / "limits-of-mine.slots"
    strange.touch()
    path = create(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([alive, strange, path])


def test_the_room_on_disk_is_taken_when_the_file_is_made(tmp_path: Path) -> None:
    path = create(tmp_path)
    assert path.stat().st_size == 1024 * 1025
    assert path.stat().st_blocks * 512 >= path.stat().st_size


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(OperatorFault, match=r"run/limits-\d+\.slots.* cannot be made.* run one worker"):
        create(tmp_path / "run")


@pytest.mark.parametrize("content", [None, b"", b"hglimit1", b"\1" * 2048, b"\1" * 3001])
def test_another_file_is_not_taken_for_limits(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "other"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(OperatorFault, match=r"other .* Restart headgate"):
        SharedLimits(path)


def test_closing_twice_is_harmless(tmp_path: Path) -> None:
    limits = SharedLimits(create(tmp_path))
    limits.close()
    limits.close()


# --- processes

WORKER = """
import sys
from pathlib import Path
from headgate.access.keys import Key
from headgate.access.shared import SharedLimits
limits = SharedLimits(Path(sys.argv[1]))
key = Key("key_1", "one", rpm=500)
print("ready", flush=True)
sys.stdin.readline()
print(sum(limits.admit(key, 1, 1000.0 + n / 1000) is None for n in range(1000)), flush=True)
"""


def test_processes_at_once_admit_exactly_the_limit(tmp_path: Path) -> None:
    path = create(tmp_path)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    assert sum(int(worker.communicate(timeout=60)[0]) for worker in workers) == 500


HOLDER = """
import fcntl, os, sys, time
file = os.open(sys.argv[1], os.O_RDWR)
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


def test_a_worker_that_is_killed_with_the_lock_takes_nothing_with_it(
    tmp_path: Path,
) -> None:
    path = create(tmp_path)
    limits = SharedLimits(path)
    assert limits.admit(KEY, 0, 100.0) is None
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert limits._lock() is False
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert limits._lock() is True
    fcntl.flock(limits._file, fcntl.LOCK_UN)
    assert limits.admit(KEY, 0, 100.0) is None
    assert limits.admit(KEY, 0, 100.0) is not None
    limits.close()


def test_a_lock_that_nobody_lets_go_stops_no_request(tmp_path: Path) -> None:
    path = create(tmp_path)
    limits = SharedLimits(path)
    stuck = os.open(path, os.O_RDWR)
    fcntl.flock(stuck, fcntl.LOCK_EX)
    began_s = time.monotonic()
    assert [limits.admit(KEY, 0, 100.0) is None for _ in range(4)] == [True, True, False, False]
    assert time.monotonic() - began_s < 4 * shared.LOCK_WAIT_S + 1.0
    os.close(stuck)
    limits.close()
