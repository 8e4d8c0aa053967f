"""Measure loafer_kit beside its peers, over HTTP, against a stub of SQS on this machine."""

import argparse
import datetime as dt
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import InstallError
from benchmarks.machine import machine, versions
from benchmarks.programs import RunError
from benchmarks.progress import tell
from benchmarks.scenarios import (
    idle,
    many_processes,
    memory,
    neighbours,
    scrape,
    sending,
    slow_deletions,
    throughput,
    waiting_handlers,
)
from benchmarks.sides import BASE, LOAFER, MONITORED, PROCESSES, SENDERS, SIDES, Side


@dataclass(frozen=True)
class Scenario:
    """A section of the report; `sides` take part unless `--sides` says otherwise."""

    title: str
    sides: tuple[Side, ...]
    measure: Callable[[Sequence[Side], argparse.Namespace], str]


SCENARIOS = {
    "throughput": Scenario(
        "Throughput and cost",
        SIDES,
        lambda sides, asked: throughput.measure(sides, asked.messages, asked.rounds),
    ),
    "waiting-handlers": Scenario(
        "Handlers that wait",
        (LOAFER,),
        lambda _, asked: waiting_handlers.measure(asked.messages, asked.rounds),
    ),
    "slow-deletions": Scenario(
        "Deletions slower than receives",
        (LOAFER,),
        lambda _, asked: slow_deletions.measure(asked.messages),
    ),
    "neighbours": Scenario(
        "A slow route beside a fast one",
        (LOAFER,),
        lambda _, asked: neighbours.measure(asked.messages),
    ),
    "scrape": Scenario(
        "Scrapes of `/metrics`", (MONITORED,), lambda _, asked: scrape.measure(asked.messages)
    ),
    "sending": Scenario(
        "Sending",
        SENDERS,
        lambda sides, asked: sending.measure(sides, asked.messages, asked.rounds),
    ),
    "idle": Scenario("Empty queues", SIDES, lambda sides, _: idle.measure(sides)),
    "processes": Scenario(
        "Several processes",
        PROCESSES,
        lambda sides, asked: many_processes.measure(sides, asked.messages, asked.rounds),
    ),
    "memory": Scenario("Memory", (LOAFER, BASE), lambda sides, _: memory.measure(sides)),
}


def main() -> None:
    parser = _parser()
    asked = parser.parse_args()
    if sys.platform != "linux":
        parser.error("what consumers cost is read from /proc: run the benchmarks on Linux")
    chosen = list(SCENARIOS.values()) if asked.scenario == "all" else [SCENARIOS[asked.scenario]]
    wanted = dict.fromkeys(side for scenario in chosen for side in scenario.sides)
    sides, missing = _install([s for s in wanted if not asked.sides or s.key in asked.sides])
    sections = [_section(scenario, sides, asked) for scenario in chosen]
    report = "\n\n".join([*sections, *missing, _footer(sides)])
    print(report)
    if asked.write:
        asked.write.write_text(report + "\n")


def _section(scenario: Scenario, sides: Sequence[Side], asked: argparse.Namespace) -> str:
    tell(scenario.title)
    try:
        body = scenario.measure([side for side in scenario.sides if side in sides], asked)
    except RunError as error:
        body = f"Not measured: {error}."
    return f"## {scenario.title}\n\n{body}"


def _install(sides: Sequence[Side]) -> tuple[list[Side], list[str]]:
    """Return the sides that can run, and for each of the others a line that says why not."""
    installed, missing = [], []
    for side in sides:
        tell(f"installing {side.title}")
        try:
            side.environment.install()
        except InstallError as error:
            missing.append(f"{side.title} did not install: {error}.")
        else:
            installed.append(side)
    return installed, missing


def _footer(sides: Sequence[Side]) -> str:
    environments = dict.fromkeys(side.environment for side in sides)
    return (
        "Every consumer has one core to itself, the stub of SQS another. CPU and memory are of all "
        f"the consumer's processes. {dt.datetime.now(dt.UTC):%Y-%m-%d}, {machine()}; "
        f"{versions(environments)}."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "scenario", nargs="?", default="throughput", choices=[*SCENARIOS, "all"], help="what to run"
    )
    parser.add_argument("--messages", type=int, default=20_000, help="per run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--sides", nargs="+", choices=[side.key for side in (*SIDES, *SENDERS)], help="only these"
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the report there too")
    return parser


main()
