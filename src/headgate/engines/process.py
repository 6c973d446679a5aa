"""The embedded engine's process: starts it, watches it, starts it again, ends it.

Rules:

- The child never outlives the gateway. The gateway holds the pipe that is the child's standard input and never writes
  to it; when the gateway goes, however it goes, the kernel closes the pipe and the child leaves. The pipe's end is
  not inheritable, so no other child of the gateway can keep it open.
- The child leads a session of its own: Ctrl-C in a terminal reaches the gateway only, which then ends its child in
  order, and a signal to the group reaches whatever the child may have started.
- What the child writes is read at once and forgotten but for the last lines: it can neither block nor fill memory.
- The port is chosen once. A restarted child gets the same one, so that `base_url` stays true.
- One task owns the child. `stop` asks that task; nothing else touches the process.
- The child's environment is a short list: an API key has no business there.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from headgate.clock import monotonic_s
from headgate.engines.embedded import DEFAULT_CONTEXT_TOKENS, DEFAULT_SLOTS, EXIT_PORT_TAKEN, SPEAKER
from headgate.engines.events import EngineEvent, EngineExited, EngineStarted
from headgate.errors import OperatorFault

DEMO_ALIAS = "headgate-demo"
TAIL_LINES = 50
TAIL_LINE_BYTES = 2000

#: Between two looks at a child that is starting.
_LOOK_EVERY_S = 0.02
#: Another process may take the port between our choice and the child's.
_PORT_TRIES = 5

_KEPT_NAMES = frozenset(
    {"PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "VIRTUAL_ENV"}
    | {"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"}
)
_KEPT_PREFIXES = ("LC_", "PYTHON", "CUDA_", "NVIDIA_", "HIP_", "ROCR_", "GGML_", "OMP_")


class EngineFault(OperatorFault):
    """The embedded engine cannot be started."""


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether the embedded engine can run here; true or false as itself, with the reason where it is false."""

    reason: str | None = None

    def __bool__(self) -> bool:
        return self.reason is None


def available() -> Availability:
    """Whether the engine's wheel is installed. It is only looked for: importing it is the child's business."""
    if importlib.util.find_spec("xllamacpp") is None:
        return Availability("the package xllamacpp is not installed; install headgate[local]")
    return Availability()


@dataclass(slots=True)
class Backoff:
    """How long to wait before the next start: `first_s`, doubled with each failure, at most `most_s`.

    A run of `forgiven_after_s` makes the earlier failures forgotten.
    """

    first_s: float = 0.5
    most_s: float = 30.0
    forgiven_after_s: float = 60.0
    failures: int = 0
    _running_since: float | None = None

    def started(self, now: float) -> None:
        self._running_since = now

    def failed(self, now: float) -> float:
        """Seconds to wait from `now` on."""
        if self._running_since is not None and now - self._running_since >= self.forgiven_after_s:
            self.failures = 0
        self._running_since = None
        delay_s = self.first_s
        for _ in range(self.failures):
            if delay_s >= self.most_s:
                break
            delay_s *= 2
        self.failures += 1
        return min(delay_s, self.most_s)


@dataclass(slots=True)
class Tail:
    """The last lines of a stream of bytes, each cut to a length; holds no more, whatever comes."""

    lines: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))
    _partial: bytes = b""

    def feed(self, data: bytes) -> None:
        *whole, partial = (self._partial + data).split(b"\n")
        for line in whole:
            self._keep(line)
        self._partial = partial[:TAIL_LINE_BYTES]

    def close(self) -> None:
        """The stream ended: what has come of the last line is a line."""
        self._keep(self._partial)
        self._partial = b""

    def last(self) -> str | None:
        """The last line of our own program, which says why; else the last of all. llama.cpp logs from a thread of its
        own, so it may have a word after ours, or the first word of our line."""
        for line in reversed(self.lines):
            if SPEAKER in line:
                return line[line.index(SPEAKER) :]
        return self.lines[-1] if self.lines else None

    def _keep(self, line: bytes) -> None:
        text = line[:TAIL_LINE_BYTES].decode(errors="replace").strip()
        if text:
            self.lines.append(text)


class _Child:
    """One run of the engine's program."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.tail = Tail()
        self._drain = asyncio.create_task(self._read())
        self._ended = asyncio.create_task(self._wait())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while data := await self.process.stdout.read(4096):
            self.tail.feed(data)
        self.tail.close()

    async def _wait(self) -> None:
        await self.process.wait()
        # What it wrote last says why it ended; a grandchild may keep the pipe open, so there is a bound.
        await asyncio.wait([self._drain], timeout=1.0)
        self._drain.cancel()
        if self.process.stdin is not None:
            self.process.stdin.close()

    async def ended(self) -> None:
        """Returns when the process was reaped and its last words were read."""
        await asyncio.shield(self._ended)

    async def end(self, within_s: float) -> None:
        """Ends it: SIGTERM to its group, SIGKILL after `within_s`."""
        self._signal(force=False)
        done, _ = await asyncio.wait([self._ended], timeout=within_s)
        if not done:
            self._signal(force=True)
            await self.ended()

    def _signal(self, *, force: bool) -> None:
        if self.process.returncode is not None:
            return  # reaped: its number may be another's by now
        with contextlib.suppress(ProcessLookupError):
            if os.name == "posix":
                os.killpg(self.process.pid, signal.SIGKILL if force else signal.SIGTERM)
            else:
                self.process.kill()


class EmbeddedEngine:
    """The embedded engine as the gateway sees it: an address, and a promise to keep something answering there.

    emit: gets an `EngineStarted` with each start and an `EngineExited` with each end that `stop` did not ask for.
    """

    def __init__(
        self,
        model: Path,
        *,
        emit: Callable[[EngineEvent], None],
        alias: str = DEMO_ALIAS,
        host: str = "127.0.0.1",
        context_tokens: int = DEFAULT_CONTEXT_TOKENS,
        slots: int = DEFAULT_SLOTS,
        ready_within_s: float = 60.0,
        stop_within_s: float = 5.0,
        backoff: Backoff | None = None,
    ) -> None:
        self.alias = alias
        self.host = host
        self._model = model
        self._emit = emit
        self._sizes = ["--ctx", str(context_tokens), "--slots", str(slots)]
        self._ready_within_s = ready_within_s
        self._stop_within_s = stop_within_s
        self._backoff = backoff or Backoff()
        self._port: int | None = None
        self._child: _Child | None = None
        self._stopping = asyncio.Event()
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        assert self._port is not None, "start it first"
        return self._port

    @property
    def base_url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/v1"

    @property
    def pid(self) -> int | None:
        """The child's process id; None while there is none."""
        return self._child.process.pid if self._child is not None else None

    def stderr_tail(self) -> list[str]:
        """The last lines that the latest child wrote."""
        return list(self._child.tail.lines) if self._child is not None else []

    async def start(self) -> None:
        """Returns when the engine answers; raises `EngineFault` with the reason when it does not come to that."""
        assert self._supervisor is None, "started already"
        if not (found := available()):
            raise EngineFault(found.reason or "not available")
        self._stopping.clear()
        for attempt in range(_PORT_TRIES):
            try:
                self._port = _free_port(self.host)
                problem = await self._launch()
            except OSError as error:
                raise EngineFault(f"the embedded engine did not start: {error}") from error
            if problem is None:
                break
            taken = self._child is not None and self._child.process.returncode == EXIT_PORT_TAKEN
            if not taken or attempt == _PORT_TRIES - 1:
                raise EngineFault(f"the embedded engine did not start: {problem}")
        self._supervisor = asyncio.create_task(self._supervise(), name="embedded-engine")

    async def stop(self) -> None:
        """Ends the engine; returns when its process is gone. Does nothing where it does not run."""
        if self._supervisor is None:
            return
        self._stopping.set()
        await self._supervisor
        self._supervisor = None

    async def _supervise(self) -> None:
        """Keeps a child running until `stop`. Each failed start counts as an end, and waits longer than the last."""
        while self._child is not None:
            child = self._child
            if await self._stopped_before(child.ended()):
                await child.end(self._stop_within_s)
                return
            delay_s = self._backoff.failed(monotonic_s())
            self._emit(_exited(self.alias, child, delay_s))
            if await self._stopped_before(asyncio.sleep(delay_s)):
                return
            with contextlib.suppress(OSError):  # no process to be had: the last child's end counts once more
                await self._launch()

    async def _stopped_before(self, other: Coroutine[None, None, None]) -> bool:
        """Waits for `stop` or for `other`; true when `stop` came."""
        waiting = [asyncio.create_task(self._stopping.wait()), asyncio.create_task(other)]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        return self._stopping.is_set()

    async def _launch(self) -> str | None:
        """Starts a child and waits for its first answer. None, or the reason why there is none; then it has ended."""
        began = monotonic_s()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "headgate.engines.embedded", "--model", str(self._model), "--alias", self.alias),
            *("--host", self.host, "--port", str(self.port), *self._sizes),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            env=_environment(os.environ),
        )
        child = self._child = _Child(process)
        try:
            problem = await self._answer_of(child, began)
        except BaseException:
            await child.end(0.0)
            raise
        if problem is not None:
            await child.end(0.0 if not self._stopping.is_set() else self._stop_within_s)
            return problem
        now = monotonic_s()
        self._backoff.started(now)
        self._emit(EngineStarted(self.alias, process.pid, self.port, now - began))
        return None

    async def _answer_of(self, child: _Child, began: float) -> str | None:
        while not self._stopping.is_set():
            if child.process.returncode is not None:
                await child.ended()
                return child.tail.last() or f"exit status {child.process.returncode}"
            if await _is_healthy(self.host, self.port):
                return None
            if monotonic_s() - began > self._ready_within_s:
                return f"no answer within {self._ready_within_s:g} s"
            await asyncio.sleep(_LOOK_EVERY_S)
        return "stopped"


def _exited(engine: str, child: _Child, restart_in_s: float) -> EngineExited:
    status = child.process.returncode
    assert status is not None
    return EngineExited(
        engine=engine,
        pid=child.process.pid,
        code=status if status >= 0 else None,
        signal=-status if status < 0 else None,
        restart_in_s=restart_in_s,
        last_stderr_line=child.tail.last(),
    )


async def _is_healthy(host: str, port: int) -> bool:
    """Whether the server answers `GET /health` with 200; while it loads, it says 503."""
    try:
        async with asyncio.timeout(2.0):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(f"GET /health HTTP/1.0\r\nHost: {host}:{port}\r\n\r\n".encode())
                status_line = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):
        return False
    return status_line.split(b" ")[1:2] == [b"200"]


def _free_port(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name.upper() in _KEPT_NAMES or name.startswith(_KEPT_PREFIXES)
    }
