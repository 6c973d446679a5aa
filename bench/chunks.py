"""CPU time per streamed chunk: 500 streams of 50 chunks a second through nginx, bare and headgate, in turns.

A Python mock writes the chunks and a Python client reads them, both on the other core and neither counted, alike for
all three. nginx has proxy_buffering off.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from bench import figures, systems
from bench.counters import Counters
from bench.machine import BenchError, Child, Children, cores, cpu_s, free_port

STREAMS = 500
CHUNKS_PER_S = 50
TARGET_RATIO = 2.0
OPEN_DEADLINE_S = 60.0


class Streams:
    """A mock that streams on a port of its own, and readers of what comes of it."""

    def __init__(self, children: Children, chunks_per_s: float) -> None:
        self.children = children
        self.port = free_port()
        self.mock_counters = Counters(children.folder / "mock_stream.counters", create=True)
        command = [sys.executable, "-m", "bench.mock_stream", str(self.port), str(self.mock_counters.path)]
        env = {"PYTHONPATH": str(systems.ROOT)}
        self.mock = children.start("mock_stream", [*command, f"{chunks_per_s:g}"], core=cores()[1], env=env)
        self.mock.wait_listening(self.port)

    def open(self, system: systems.System, count: int) -> tuple[Child, Counters]:
        """Opens streams through a system and waits until all of them have begun."""
        self.mock_counters["stop"] = 0
        counters = Counters(self.children.folder / "reader.counters", create=True)
        command = [sys.executable, "-m", "bench.reader", str(system.port), str(counters.path), str(count), system.key]
        env = {"PYTHONPATH": str(systems.ROOT)}
        reader = self.children.start(f"reader-{system.name}", command, core=cores()[1], env=env)
        self._wait(reader, system, lambda: counters["streams"] + counters["errors"] >= count, "begin")
        return reader, counters

    def close(self, reader: Child, counters: Counters, system: systems.System, count: int) -> None:
        """Lets all streams come to their proper end, and ends the reader."""
        self.mock_counters["stop"] = 1
        self._wait(reader, system, lambda: counters["ended"] + counters["errors"] >= count, "end")
        self.children.stop(reader)

    def _wait(self, reader: Child, system: systems.System, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + OPEN_DEADLINE_S
        while not done():
            reader.check()
            system.child.check()
            if time.monotonic() > deadline:
                raise BenchError(f"streams through {system.name} did not {what} in time:\n{reader.tail()}")
            time.sleep(0.02)


def measure(streams: Streams, system: systems.System, seconds: float) -> figures.Row:
    reader, counters = streams.open(system, STREAMS)
    time.sleep(1)
    pids = system.child.pids()
    begun, cpu, got, sent = time.monotonic(), cpu_s(pids), counters["chunks"], streams.mock_counters["chunks"]
    time.sleep(seconds)
    took = time.monotonic() - begun
    cpu, got, sent = cpu_s(pids) - cpu, counters["chunks"] - got, streams.mock_counters["chunks"] - sent
    errors = counters["errors"]
    streams.close(reader, counters, system, STREAMS)
    if errors or counters["errors"]:
        raise BenchError(f"{counters['errors']} streams through {system.name} failed:\n{reader.tail()}")
    return {
        "chunk_us": cpu / got * 1e6,
        "chunks_per_s": got / took,
        "delivered": got / sent,
        "core_busy": cpu / took,
    }


def run(children: Children, names: Sequence[str], seconds: float, rounds: int) -> dict[str, Any]:
    streams = Streams(children, CHUNKS_PER_S)
    started = systems.start_all(children, names, streams.port, streaming=True)
    rows: figures.Rounds = [
        {system.name: measure(streams, system, seconds) for system in started} for _ in range(rounds)
    ]
    for child in (*(system.child for system in started), streams.mock):
        children.stop(child)
    return {"rounds": rows, "chunk": figures.summarize(rows, "chunk_us")}


def show(result: dict[str, Any]) -> None:
    figures.show(
        f"CPU per streamed chunk, {STREAMS} streams of {CHUNKS_PER_S}/s, mock not counted", "µs", result["chunk"]
    )
    for name in result["chunk"]:
        rows = [row[name] for row in result["rounds"]]
        rate = min(row["chunks_per_s"] for row in rows)
        busy = max(row["core_busy"] for row in rows)
        print(
            f"  {name}: {rate:,.0f} or more of {STREAMS * CHUNKS_PER_S:,} chunks/s arrived, "
            f"at {busy:.0%} or less of a core"
        )
    if "ratio" in result["chunk"].get("headgate", {}):
        ratio = result["chunk"]["headgate"]["ratio"]["median"]
        print(figures.verdict("headgate over nginx", ratio, TARGET_RATIO, "times"))
