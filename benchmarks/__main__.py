"""Measure loafer_kit beside its peers, over HTTP, against a stub of SQS on this machine."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.sides import SIDES, Side
from benchmarks.tables import machine, versions
from benchmarks.throughput import Comparison


def main() -> None:
    arguments = _parser().parse_args()
    sides = [side for side in SIDES if not arguments.sides or side.key in arguments.sides]
    report = throughput_report(sides, arguments.messages, arguments.rounds)
    print(report)
    if arguments.write:
        arguments.write.write_text(report + "\n")


def throughput_report(sides: Sequence[Side], messages: int, rounds: int) -> str:
    comparison = Comparison(sides, messages)
    comparison.install()
    comparison.run(rounds)
    environments = dict.fromkeys(side.environment for side in comparison.sides)
    problems = [f"Left out: {side.title}: {why}." for side, why in comparison.problems.items()]
    how = (
        f"Medians of {rounds} interleaved rounds. {messages:,} messages of 0.5 kB per run "
        "(slow sides a part of them), handlers that do nothing, every message deleted. "
        "A consumer has one core, the stub another. CPU and memory are those of the consumer's "
        "processes; its start is not counted."
    )
    parts = [*comparison.tables(), *problems, how, machine(), versions(environments)]
    return "\n\n".join(parts)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000, help="per run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--sides", nargs="+", choices=[side.key for side in SIDES], help="only these"
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table there too")
    return parser


main()
