"""Figures as Markdown: medians over rounds, ratios against the bare loop."""

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from statistics import median

from benchmarks.environments import Environment
from benchmarks.measure import Result
from benchmarks.sides import Side


def median_result(results: Sequence[Result]) -> Result:
    return Result(
        *[median(getattr(each, field.name) for each in results) for field in fields(Result)]
    )


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))


def throughput_table(latency_ms: float, results: Mapping[Side, Result], base: Result | None) -> str:
    head = (
        f"{latency_ms:g} ms added latency",
        "messages/s",
        "vs bare",
        "CPU µs/message",
        "vs bare",
        "requests/message",
        "peak RSS MiB",
        "server load",
    )
    ranked = sorted(results.items(), key=lambda item: -item[1].messages_per_second)
    return markdown_table(head, [_throughput_row(side, result, base) for side, result in ranked])


def _throughput_row(side: Side, result: Result, base: Result | None) -> tuple[str, ...]:
    speed = cost = "-"
    if base:
        speed = f"{result.messages_per_second / base.messages_per_second:.2f}"
        cost = f"{result.cpu_microseconds / base.cpu_microseconds:.2f}"
    return (
        side.title,
        f"{result.messages_per_second:,.0f}",
        speed,
        f"{result.cpu_microseconds:,.0f}",
        cost,
        f"{result.requests_per_message:.2f}",
        f"{result.peak_memory:.0f}",
        f"{result.server_load:.0%}",
    )


def machine() -> str:
    return f"{_processor()}, {platform.system()} {platform.release()}, Python {platform.python_version()}"


def versions(environments: Iterable[Environment]) -> str:
    found: dict[str, str] = {}
    for environment in environments:
        found |= environment.versions()
    return ", ".join(f"{name} {version}" for name, version in sorted(found.items()))


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
