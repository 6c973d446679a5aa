"""CPU time per non-streaming request: nginx, bare and headgate in front of the same nginx mock, in turns.

System and mock run on one core and are both counted; wrk loads them from the other core with a fixed number of
connections for a fixed time. nginx writes no log; headgate has keys, metrics and its JSON log (to a file) on.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import figures, payloads, systems
from bench.machine import BenchError, Children, cores, cpu_s, need

CONNECTIONS = 32
TARGET_RATIO = 4.0

_SCRIPT = """
wrk.method = "POST"
wrk.body = [==[%s]==]
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer %s"
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\n@{"requests":%%d,"us":%%d,"status":%%d,"broken":%%d}\\n',
    summary.requests, summary.duration, e.status, e.connect + e.read + e.write + e.timeout))
end
"""


def load(system: systems.System, folder: Path, seconds: float) -> dict[str, int]:
    """Runs wrk against a system and gives what it counted. Raises if any answer was not a 200."""
    script = folder / f"{system.name}.lua"
    script.write_text(_SCRIPT % (payloads.request_body(stream=False).decode(), system.key))
    _, core = cores()
    command = ["taskset", "-c", core, need("wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "-s", str(script)]
    done = subprocess.run([*command, system.url], capture_output=True, text=True, timeout=seconds + 30, check=False)
    line = next((line[1:] for line in done.stdout.splitlines() if line.startswith("@")), None)
    if line is None:
        raise BenchError(f"wrk failed against {system.name}:\n{done.stdout}{done.stderr}")
    counted: dict[str, int] = json.loads(line)
    if counted["status"] or counted["broken"] or not counted["requests"]:
        raise BenchError(f"{system.name} answered with errors: {counted}\n{system.child.tail()}")
    return counted


def measure(system: systems.System, mock: systems.System, folder: Path, seconds: float) -> figures.Row:
    pids, mock_pids = system.child.pids(), mock.child.pids()
    before, mock_before = cpu_s(pids), cpu_s(mock_pids)
    counted = load(system, folder, seconds)
    requests = counted["requests"]
    own, behind = cpu_s(pids) - before, cpu_s(mock_pids) - mock_before
    return {
        "requests": float(requests),
        "requests_per_s": requests / counted["us"] * 1e6,
        "own_us": own / requests * 1e6,
        "mock_us": behind / requests * 1e6,
        "both_us": (own + behind) / requests * 1e6,
    }


def run(children: Children, names: Sequence[str], seconds: float, rounds: int) -> dict[str, Any]:
    core, _ = cores()
    mock = systems.start_mock(children, core)
    started = systems.start_all(children, names, mock.port, streaming=False)
    for system in started:
        load(system, children.folder, 1)
    rows: figures.Rounds = [
        {system.name: measure(system, mock, children.folder, seconds) for system in started} for _ in range(rounds)
    ]
    for system in (*started, mock):
        children.stop(system.child)
    return {"rounds": rows, "both": figures.summarize(rows, "both_us"), "own": figures.summarize(rows, "own_us")}


def show(result: dict[str, Any]) -> None:
    figures.show("CPU per non-streaming request, system and mock both counted", "µs", result["both"])
    figures.show("The same without the mock", "µs", result["own"])
    if "ratio" in result["both"].get("headgate", {}):
        ratio = result["both"]["headgate"]["ratio"]["median"]
        print(figures.verdict("headgate + mock over nginx + mock", ratio, TARGET_RATIO, "times"))
