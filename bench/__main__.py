"""The command line: python -m bench [overhead|chunks|streams|latency|start|translation|all]."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import chunks, latency, overhead, start, streams, systems, translation
from bench.machine import BenchError, Children, describe, need, raise_file_limit, terminated_as_interrupt

MEASURES = {
    "overhead": overhead,
    "chunks": chunks,
    "latency": latency,
    "streams": streams,
    "start": start,
    "translation": translation,
}
#: The programs that a measure needs where it is run alone.
NEEDS: dict[str, tuple[str, ...]] = {"translation": ()}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("measure", nargs="?", default="all", choices=[*MEASURES, "all"])
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write every figure of every round to this file")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement in each round (default: 5)")
    parser.add_argument("--rounds", type=int, default=3, help="A B C in turns, so many times (default: 3)")
    parser.add_argument("--systems", default=",".join(systems.NAMES), help="which to measure (default: all three)")
    arguments = parser.parse_args()
    names = arguments.systems.split(",")
    if unknown := set(names) - set(systems.NAMES):
        parser.error(f"unknown systems: {', '.join(sorted(unknown))}")
    result: dict[str, Any] = {"machine": describe(), "seconds": arguments.seconds, "rounds": arguments.rounds}
    status = 0
    try:
        with terminated_as_interrupt():
            for program in NEEDS.get(arguments.measure, ("nginx", "wrk")):
                need(program)
            result["open_files"] = raise_file_limit()
            print("  ".join(f"{key}: {value}" for key, value in result["machine"].items()))
            for name, measure in MEASURES.items():
                if arguments.measure not in (name, "all"):
                    continue
                with (
                    tempfile.TemporaryDirectory(prefix="headgate-bench-") as folder,
                    Children(Path(folder)) as children,
                ):
                    result[name] = measure.run(children, names, arguments.seconds, arguments.rounds)
                measure.show(result[name])
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        status = 130
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
