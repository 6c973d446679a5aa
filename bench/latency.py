"""Added latency of one request at a time on one keep-alive connection each, request by request in turns.

What is added is the difference of medians: through the system, less directly to the mock.
"""

from __future__ import annotations

import os
import socket
import statistics
import time
from collections.abc import Sequence
from typing import Any

from bench import figures, payloads, systems
from bench.machine import BenchError, Children, cores

TARGET_MS = 0.5
WARM = 200
PER_SECOND = 200


class Client:
    """One connection, one request at a time, blocking."""

    def __init__(self, system: systems.System) -> None:
        self.name = system.name
        self.request = payloads.request_bytes(system.port, system.key, stream=False)
        self.socket = socket.create_connection(("127.0.0.1", system.port), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self) -> float:
        """Seconds from the first byte sent to the last byte received."""
        begun = time.perf_counter()
        self.socket.sendall(self.request)
        data = b""
        while not self._whole(data):
            more = self.socket.recv(1 << 16)
            if not more:
                raise BenchError(f"{self.name} closed the connection after {data[:300]!r}")
            data += more
        took = time.perf_counter() - begun
        if not data.startswith(b"HTTP/1.1 200"):
            raise BenchError(f"{self.name} answered {data[:300]!r}")
        return took

    @staticmethod
    def _whole(data: bytes) -> bool:
        head, found, body = data.partition(b"\r\n\r\n")
        if not found:
            return False
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                return len(body) >= int(line[15:])
        return body.endswith(b"0\r\n\r\n")


def run(children: Children, names: Sequence[str], seconds: float, rounds: int) -> dict[str, Any]:
    _, core = cores()
    mock = systems.start_mock(children, core)
    started = [mock, *systems.start_all(children, names, mock.port, streaming=False)]
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {int(core)})
    try:
        rows: figures.Rounds = []
        for _ in range(rounds):
            clients = [Client(system) for system in started]
            for _ in range(WARM):
                for client in clients:
                    client.ask()
            times: dict[str, list[float]] = {client.name: [] for client in clients}
            for _ in range(int(seconds * PER_SECOND)):
                for client in clients:
                    times[client.name].append(client.ask())
            p50 = {name: statistics.median(values) * 1e3 for name, values in times.items()}
            p99 = {name: statistics.quantiles(values, n=100)[98] * 1e3 for name, values in times.items()}
            rows.append({n: {"p50_ms": p50[n], "p99_ms": p99[n], "added_ms": p50[n] - p50["mock"]} for n in p50})
            for client in clients:
                client.socket.close()
    finally:
        os.sched_setaffinity(0, allowed)
    for system in started:
        children.stop(system.child)
    without = [{name: row for name, row in rows_.items() if name != "mock"} for rows_ in rows]
    return {"rounds": rows, "added": figures.summarize(without, "added_ms")}


def show(result: dict[str, Any]) -> None:
    direct = statistics.median(row["mock"]["p50_ms"] for row in result["rounds"])
    figures.show(f"Added latency at the median (direct: {direct:.3f} ms)", "ms", result["added"])
    if "headgate" in result["added"]:
        print(figures.verdict("added by headgate", result["added"]["headgate"]["added_ms"]["median"], TARGET_MS, "ms"))
