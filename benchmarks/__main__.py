"""Measure loafer_kit beside its peers, over HTTP, against a stub of SQS on this machine."""

import argparse
import datetime as dt
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.environments import InstallError
from benchmarks.machine import machine, versions
from benchmarks.progress import tell
from benchmarks.scenarios import idle, memory, neighbours, throughput, waiting_handlers
from benchmarks.sides import BASE, LOAFER, SIDES, Side

SCENARIOS: dict[str, Callable[[argparse.Namespace, Sequence[Side]], str]] = {
    "throughput": lambda asked, sides: throughput.measure(sides, asked.messages, asked.rounds),
    "waiting-handlers": lambda asked, _: waiting_handlers.measure(asked.messages, asked.rounds),
    "neighbours": lambda asked, _: neighbours.measure(asked.messages, asked.rounds),
    "idle": lambda _, sides: idle.measure(sides),
    "memory": lambda _, sides: memory.measure([side for side in sides if side in (LOAFER, BASE)]),
}


def main() -> None:
    asked = _parser().parse_args()
    sides, missing = _install(
        [side for side in SIDES if not asked.sides or side.key in asked.sides]
    )
    names = SCENARIOS if asked.scenario == "all" else [asked.scenario]
    sections = [SCENARIOS[name](asked, sides) for name in names]
    report = "\n\n".join([*sections, *missing, _footer(sides)])
    print(report)
    if asked.write:
        asked.write.write_text(report + "\n")


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
        "--sides", nargs="+", choices=[side.key for side in SIDES], help="only these"
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the report there too")
    return parser


main()
