"""2,000 streams at once through one worker: every one must end well; memory per stream is what grew, shared out.

Before the count, 20 streams are opened and ended, so that what a first stream loads once is not charged to each.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from bench import figures, systems
from bench.chunks import Streams
from bench.machine import Children, rss_kib

STREAMS = 2000
CHUNKS_PER_S = 2
TARGET_KIB = 64.0


def measure(streams: Streams, system: systems.System, seconds: float) -> figures.Row:
    reader, counters = streams.open(system, 20)
    streams.close(reader, counters, system, 20)
    before = rss_kib(system.child.pids())
    begun = time.monotonic()
    reader, counters = streams.open(system, STREAMS)
    opened = time.monotonic() - begun
    time.sleep(seconds)
    during = rss_kib(system.child.pids())
    streams.close(reader, counters, system, STREAMS)
    return {
        "before_mib": before / 1024,
        "during_mib": during / 1024,
        "per_stream_kib": (during - before) / STREAMS,
        "errors": float(counters["errors"]),
        "ended_well": float(counters["ended"]),
        "opened_in_s": opened,
    }


def run(children: Children, names: Sequence[str], seconds: float, rounds: int) -> dict[str, Any]:
    """One round, each system started afresh: memory that an earlier round left behind would hide the growth."""
    streams = Streams(children, CHUNKS_PER_S)
    result: dict[str, Any] = {}
    for name in names:
        system = systems.start(children, name, streams.port, streaming=True)
        result[name] = measure(streams, system, seconds)
        children.stop(system.child)
    children.stop(streams.mock)
    return result


def show(result: dict[str, Any]) -> None:
    print(f"\n{STREAMS} concurrent streams")
    for name, row in result.items():
        print(
            f"  {name:<10} {row['per_stream_kib']:6.1f} KiB each "
            f"({row['before_mib']:.1f} -> {row['during_mib']:.1f} MiB), "
            f"{row['ended_well']:.0f} ended well, {row['errors']:.0f} errors, all open after {row['opened_in_s']:.1f} s"
        )
    if "headgate" in result:
        row = result["headgate"]
        print(figures.verdict("headgate's errors", row["errors"], 0, "streams"))
        print(figures.verdict("headgate per stream", row["per_stream_kib"], TARGET_KIB, "KiB"))
