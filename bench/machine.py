"""Processes and their CPU time, memory and ports, as Linux tells them."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
START_DEADLINE_S = 30.0


class BenchError(Exception):
    """The bench cannot go on; the message says why."""


def need(program: str) -> str:
    """The path of a program, installed by apt-get where it is missing and this is root."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin:/usr/local/sbin")
    if path is not None:
        return path
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise BenchError(f"{program} is missing; please install it: sudo apt-get install {program}")
    print(f"Installing {program} ...", file=sys.stderr)
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", program],
    ):
        subprocess.run(
            command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        )
    return need(program)


def raise_file_limit(wanted: int = 65536) -> int:
    """The limit of open files that this process and its children now have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        for limit in ((wanted, max(wanted, hard)), (min(wanted, hard), hard)):
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, limit)
                break
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def cores() -> tuple[str, str]:
    """Where the system under test runs, and where load and mock do. The same core where there is only one."""
    known = sorted(os.sched_getaffinity(0))
    return str(known[0]), str(known[-1])


def describe() -> dict[str, str]:
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    memory = next(line.split()[1] for line in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in line)
    return {
        "cpu": model,
        "cores": str(len(os.sched_getaffinity(0))),
        "memory_gib": f"{int(memory) / 2**20:.1f}",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


# Figures of processes


def tree(root: int) -> list[int]:
    """A process and all that come from it."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                parents[int(entry.name)] = int(_stat(int(entry.name))[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, the state first."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def cpu_s(pids: Sequence[int]) -> float:
    """User and system time of processes and of the children that they waited for, in seconds."""
    ticks = 0
    for pid in pids:
        try:
            ticks += sum(int(value) for value in _stat(pid)[11:15])
        except OSError:
            raise BenchError(f"process {pid} of the system under test ended while it was measured") from None
    return ticks / TICKS_PER_S


def rss_kib(pids: Sequence[int]) -> int:
    """Resident memory of processes; what they share is counted in each."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1])
    return total


# Children


@dataclass
class Child:
    """A process that the bench started, with its own children."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def pids(self) -> list[int]:
        return tree(self.process.pid)

    def tail(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def check(self) -> None:
        if self.process.poll() is not None:
            raise BenchError(f"{self.name} ended with status {self.process.returncode}:\n{self.tail()}")

    def wait_listening(self, port: int) -> float:
        """Seconds of the monotonic clock when connecting first succeeded."""
        deadline = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < deadline:
            self.check()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as sock:
                if sock.getsockname() != sock.getpeername():  # a connection to a free port can meet itself
                    return time.monotonic()
            time.sleep(0.002)
        raise BenchError(f"{self.name} does not listen on port {port} after {START_DEADLINE_S:g} s:\n{self.tail()}")


@dataclass
class Children:
    """All processes of a run. Leaving the `with` block ends every one, whatever happened."""

    folder: Path
    running: list[Child] = field(default_factory=list)

    def start(
        self, name: str, command: Sequence[str], *, core: str | None = None, env: dict[str, str] | None = None
    ) -> Child:
        """Starts a command, on one core if asked. What it says goes to a file of its name."""
        log = self.folder / f"{name}.log"
        pinned = ["taskset", "-c", core, *command] if core is not None and shutil.which("taskset") else [*command]
        with log.open("ab") as out:
            process = subprocess.Popen(
                pinned,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        child = Child(name, process, log)
        self.running.append(child)
        return child

    def stop(self, child: Child) -> None:
        """Ends a child and its group: asks, waits two seconds, then kills."""
        if child in self.running:
            self.running.remove(child)
        for how in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.process.pid, how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(2)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.process.pid, signal.SIGKILL)

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_: object) -> None:
        for child in reversed(list(self.running)):
            self.stop(child)


@contextlib.contextmanager
def terminated_as_interrupt() -> Iterator[None]:
    """Lets SIGTERM unwind like Ctrl-C, so that children are ended then too."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
