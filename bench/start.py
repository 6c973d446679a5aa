"""Time from exec until connecting succeeds, and resident memory a second later; no embedded engine, one provider."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from bench import figures
from bench.machine import Children, cores, free_port, rss_kib
from bench.systems import Headgate

TARGET_S = 1.0
TARGET_MB = 100.0


def measure(children: Children, auth: str) -> figures.Row:
    port = free_port()
    # Nothing listens upstream: a start must not need the provider.
    headgate = Headgate(children, f"start-{auth}", free_port(), auth=auth, port=port)
    begun = time.monotonic()
    child = headgate.start(cores()[0])
    seconds = child.wait_listening(port) - begun
    at_once = rss_kib(child.pids())
    time.sleep(1)
    settled = rss_kib(child.pids())
    processes = len(child.pids())
    children.stop(child)
    return {
        "seconds": seconds,
        "listening_mb": at_once * 1024 / 1e6,
        "settled_mb": settled * 1024 / 1e6,
        "processes": float(processes),
    }


def run(children: Children, names: Sequence[str], seconds: float, rounds: int) -> dict[str, Any]:
    if "headgate" not in names:
        return {}
    measure(children, "open")  # once unmeasured: compiles what Python caches
    rows: figures.Rounds = [{auth: measure(children, auth) for auth in ("open", "keys")} for _ in range(rounds)]
    fields = ("seconds", "settled_mb")
    return {"rounds": rows, **{field: figures.summarize(rows, field) for field in fields}}


def show(result: dict[str, Any]) -> None:
    if not result:
        return
    figures.show("headgate from exec to listening", "s", result["seconds"])
    figures.show("Resident a second later (MB of 1,000,000 bytes)", "MB", result["settled_mb"])
    for auth in ("open", "keys"):
        print(figures.verdict(f"start, auth {auth}", result["seconds"][auth]["seconds"]["median"], TARGET_S, "s"))
        print(figures.verdict(f"memory, auth {auth}", result["settled_mb"][auth]["settled_mb"]["max"], TARGET_MB, "MB"))
