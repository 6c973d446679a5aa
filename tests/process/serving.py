"""`headgate serve` as a process of its own, with nothing of the tester's environment in it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")

PATIENCE_S = 20.0


def poll(condition: Callable[[], T], what: str, within_s: float = PATIENCE_S) -> T:
    """What `condition` gives as soon as that is true. Only for what other processes do."""
    deadline_s = time.monotonic() + within_s
    while True:
        if value := condition():
            return value
        assert time.monotonic() < deadline_s, f"not within {within_s:g} s: {what}"
        time.sleep(0.01)


class Serving:
    """A running `headgate serve`. `lines` is what it printed, `log` what it logged, so far."""

    def __init__(self, at: Path, *arguments: str, config: dict[str, Any] | None = None, **environment: str) -> None:
        self.at = at
        self.home = at / "home"
        self.config_path = at / "gateway.yaml"
        if config is not None:
            self.write(config)
            arguments = ("--config", str(self.config_path), *arguments)
        if "--port" not in arguments:
            arguments = (*arguments, "--port", "0")
        self._out, self._err = at / "stdout", at / "stderr"
        self._seen: set[int] = set()
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(at),
            "HEADGATE_HOME": str(self.home),
            "LANG": "C.UTF-8",
            **{name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ},
            **environment,
        }
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "headgate", "serve", *arguments],
                cwd=at,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            print(f"printed:\n{self.text}\nlogged:\n{self.log}")
        self.offspring()
        for pid in (self.pid, *self._seen):
            if pid == self.pid or str(self.at) in environment_of(pid):  # a number may be another's by now
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait(PATIENCE_S)

    def write(self, config: dict[str, Any] | str) -> None:
        """Puts a configuration in place of the file, in one step."""
        beside = self.at / "gateway.new"
        beside.write_text(config if isinstance(config, str) else json.dumps(config))
        os.replace(beside, self.config_path)

    @property
    def text(self) -> str:
        return self._out.read_text()

    @property
    def log(self) -> str:
        return self._err.read_text()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def port(self) -> int:
        """Where it listens, once it has said so."""
        return int(self.said(r"listens on http://127\.0\.0\.1:(\d+)")[1])

    def said(self, pattern: str) -> re.Match[str]:
        """Waits until it has printed this."""
        return self._wait(lambda: re.search(pattern, self.text), f"printed {pattern!r}")

    def logged(self, pattern: str) -> re.Match[str]:
        """Waits until it has logged this."""
        return self._wait(lambda: re.search(pattern, self.log), f"logged {pattern!r}")

    def _wait(self, look: Callable[[], re.Match[str] | None], what: str) -> re.Match[str]:
        def found() -> re.Match[str] | None:
            ended = self.process.poll()
            match = look()
            assert match or ended is None, f"it ended with {ended} and had not {what}:\n{self.text}\n{self.log}"
            return match

        return poll(found, what)  # type: ignore[return-value]

    def ready(self) -> Self:
        self.said("Ready. Try it")
        return self

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ended(self, within_s: float = PATIENCE_S) -> int:
        """Its exit status."""
        return self.process.wait(within_s)

    def offspring(self) -> list[int]:
        """Its children and theirs, while they live."""
        found = [pid for child in children(self.pid) for pid in (child, *children(child))]
        self._seen.update(found)
        return found

    def headgate(self, *arguments: str) -> str:
        """Runs another `headgate` command with the same home; what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "headgate", *arguments],
            cwd=self.at,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def children(pid: int) -> list[int]:
    """The live children of a process, by what the kernel says."""
    found = []
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(child) for child in tasks.read_text().split()]
    return [child for child in found if alive(child)]


def alive(pid: int) -> bool:
    """Whether it runs: a process that has ended and was not waited for does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def command_of(pid: int) -> str:
    return _words_of(pid, "cmdline")


def environment_of(pid: int) -> str:
    return _words_of(pid, "environ")


def _words_of(pid: int, file: str) -> str:
    try:
        return Path(f"/proc/{pid}/{file}").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""
