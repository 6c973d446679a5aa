"""Rounds of figures, and the tables that are printed of them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

Row = dict[str, float]
Rounds = list[dict[str, Row]]


def spread(values: Sequence[float]) -> dict[str, float]:
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def summarize(rounds: Rounds, field: str, base: str = "nginx") -> dict[str, Any]:
    """For each system the spread of a figure over the rounds, and of its ratio to the base within each round."""
    summary: dict[str, Any] = {}
    for name in rounds[0]:
        summary[name] = {field: spread([row[name][field] for row in rounds])}
        if base in rounds[0] and name != base:
            summary[name]["ratio"] = spread([row[name][field] / row[base][field] for row in rounds])
    return summary


def show(title: str, unit: str, summary: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    print(f"\n{title}")
    heading = "ratio to nginx (min … max)" if any("ratio" in parts for parts in summary.values()) else ""
    print(f"  {'':<10} {'median':>10} {'min':>10} {'max':>10}  {unit:<8} {heading:>30}".rstrip())
    for name, parts in summary.items():
        field = next(key for key in parts if key != "ratio")
        value, ratio = parts[field], parts.get("ratio")
        text = "" if ratio is None else f"{ratio['median']:.2f} ({ratio['min']:.2f} … {ratio['max']:.2f})"
        spread_ = " ".join(f"{value[key]:>10.2f}" for key in ("median", "min", "max"))
        print(f"  {name:<10} {spread_}  {unit:<8} {text:>30}".rstrip())


def verdict(what: str, value: float, limit: float, unit: str) -> str:
    return f"  {'met' if value <= limit else 'MISSED'}: {what} {value:.2f} {unit} (target: at most {limit:g})"
