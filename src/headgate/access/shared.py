"""The windows of `limits.py` in memory that several workers share: a small mapped file, with a slot for each key.

The parent makes the file anew at every start (`create`) and removes it at its end; each worker opens it for itself
(`SharedLimits`), after the fork: an inherited descriptor would share its lock with its siblings, and guard nothing.

One `flock` guards the file, held for microseconds, and released by the kernel when a worker dies in it. A worker that
was *stopped* while it held the lock would stop all others with it, so nobody waits longer than `LOCK_WAIT_S`: then the
charge is made without the lock, and at worst one of two that happen at once is not counted.

A slot belongs to a key from its first request on. A slot whose window has emptied holds nothing, and is given to
another key when no unused one is left; so a worker looks under the lock whether the slot it remembers is still its
key's. Where more keys than slots are busy within one minute, the rest are counted per worker.

    file:  header | slot 0 | slot 1 | …       1024 bytes each
    slot:  24 bytes that name the key | 125 integers of 8 bytes, as `limits.py` describes them
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import time
from hashlib import blake2b
from pathlib import Path

from headgate.access import limits
from headgate.access.keys import Key
from headgate.errors import OperatorFault, Problem

SLOTS = 1024
LOCK_WAIT_S = 0.005

_TAG_BYTES = 24
_SLOT_BYTES = _TAG_BYTES + 8 * limits.SIZE
_MAGIC = int.from_bytes(b"hglimit1", "little")
# The header's integers.
_AT_MAGIC, _AT_USED = 0, 1


def create(run: Path, slots: int = SLOTS) -> Path:
    """Make the file for this process' workers in the directory `run`; what dead gateways left there is removed.

    Raises OperatorFault where it cannot be made.
    """
    path = run / f"limits-{os.getpid()}.slots"
    try:
        run.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in run.glob("limits-*.slots"):
            if left == path or not alive(left.stem.removeprefix("limits-")):
                left.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            # Written out, not only sized: a hole in the file that a full disk cannot fill would kill a worker later.
            file.write(_MAGIC.to_bytes(8, "little").ljust(_SLOT_BYTES * (1 + slots), b"\0"))
    except OSError as exc:
        raise OperatorFault(
            f"The file {path}, in which workers share the limits of keys, cannot be made: {exc.strerror}. Let the user "
            f"that runs headgate write to {run}, set HEADGATE_HOME to another directory, or run one worker."
        ) from exc
    return path


def alive(pid: str) -> bool:
    """Whether a process of this number runs; true where that cannot be known."""
    if not pid.isdecimal():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


class SharedLimits:
    """The same verbs as `limits.Limits`, over the file at `path` that the parent made."""

    def __init__(self, path: Path) -> None:
        strange = f"{path} is not a file of limits of this version. Restart headgate to make it anew."
        try:
            self._file = os.open(path, os.O_RDWR)
        except OSError as exc:
            raise OperatorFault(f"{path} cannot be opened: {exc.strerror}. Restart headgate to make it anew.") from exc
        if os.fstat(self._file).st_size < 2 * _SLOT_BYTES:
            os.close(self._file)
            raise OperatorFault(strange)
        self._map = mmap.mmap(self._file, 0)
        self._cells = memoryview(self._map)[: len(self._map) // 8 * 8].cast("q")
        if self._cells[_AT_MAGIC] != _MAGIC:
            self.close()
            raise OperatorFault(strange)
        self._slots = len(self._map) // _SLOT_BYTES - 1
        self._tags: dict[str, bytes] = {}
        self._offsets: dict[str, int] = {}
        self._apart = limits.Limits()
        self._full_until_s = 0.0

    def admit(self, key: Key, tokens_estimate: int, now: float) -> Problem | None:
        """Charge a request to its key in all workers, or say why not."""
        if key.rpm is None and key.tpm is None:
            return None
        locked = self._lock()
        try:
            offset = self._find(key.id)
            if offset is None:
                offset = self._take(key.id, now)
            if offset is not None:
                base = (offset + _TAG_BYTES) // 8
                return limits.admit(self._cells, base, key.rpm, key.tpm, tokens_estimate, now)
        finally:
            if locked:
                fcntl.flock(self._file, fcntl.LOCK_UN)
        return self._apart.admit(key, tokens_estimate, now)

    def settle(self, key: Key, estimate: int, actual: int, at: float, now: float) -> None:
        """Correct the tokens of a request that was admitted at `at` with `estimate`. Once per request."""
        if key.rpm is None and key.tpm is None:
            return
        locked = self._lock()
        try:
            offset = self._find(key.id)
            if offset is not None:
                limits.settle(self._cells, (offset + _TAG_BYTES) // 8, estimate, actual, at, now)
        finally:
            if locked:
                fcntl.flock(self._file, fcntl.LOCK_UN)
        if offset is None:
            self._apart.settle(key, estimate, actual, at, now)

    def keep(self, ids: frozenset[str]) -> None:
        """Forget the keys that are gone; their slots are given to others once they are empty."""
        self._tags = {id_: tag for id_, tag in self._tags.items() if id_ in ids}
        self._offsets = {id_: offset for id_, offset in self._offsets.items() if id_ in ids}
        self._apart.keep(ids)

    def close(self) -> None:
        if not self._map.closed:
            self._cells.release()
            self._map.close()
            os.close(self._file)

    def _lock(self) -> bool:
        """Whether the lock was had. Blocks for `LOCK_WAIT_S` at most."""
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        deadline_s = time.monotonic() + LOCK_WAIT_S
        while time.monotonic() < deadline_s:
            time.sleep(0.0001)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
        return False

    def _find(self, key_id: str) -> int | None:
        """Where the key's slot begins; None where it has none."""
        tag = self._tags.get(key_id)
        if tag is None:
            tag = self._tags[key_id] = blake2b(key_id.encode(), digest_size=_TAG_BYTES).digest()
        offset = self._offsets.get(key_id)
        if offset is not None and self._map[offset : offset + _TAG_BYTES] == tag:
            return offset
        end = _SLOT_BYTES * (1 + self._cells[_AT_USED])
        offset = self._map.find(tag, _SLOT_BYTES, end)
        if offset < 0:
            return None
        self._offsets[key_id] = offset
        return offset

    def _take(self, key_id: str, now: float) -> int | None:
        """Give the key a slot: an unused one, or one whose window is empty; None where there is neither."""
        used = self._cells[_AT_USED]
        if used < self._slots:
            offset = _SLOT_BYTES * (1 + used)
        else:
            if now < self._full_until_s:
                return None
            idle = self._idle(now)
            if idle is None:
                self._full_until_s = now + 1.0
                return None
            offset = idle
        # Emptied before it is named: a worker that dies between the two has taken nothing from anyone.
        self._map[offset + _TAG_BYTES : offset + _SLOT_BYTES] = bytes(_SLOT_BYTES - _TAG_BYTES)
        self._map[offset : offset + _TAG_BYTES] = self._tags[key_id]
        if used < self._slots:
            self._cells[_AT_USED] = used + 1
        self._offsets[key_id] = offset
        return offset

    def _idle(self, now: float) -> int | None:
        for offset in range(_SLOT_BYTES, _SLOT_BYTES * (1 + self._slots), _SLOT_BYTES):
            if limits.idle(self._cells, (offset + _TAG_BYTES) // 8, now):
                return offset
        return None
