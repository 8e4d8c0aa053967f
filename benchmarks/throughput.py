"""Every side on the same work, interleaved: A B C, A B C, with and without added latency."""

import sys
from collections import defaultdict
from collections.abc import Sequence

from benchmarks.environments import InstallError
from benchmarks.measure import Result, RunError, run
from benchmarks.servers import running_stub
from benchmarks.sides import BASE, Side
from benchmarks.tables import median_result, throughput_table

LATENCIES_MS = (0, 10)
TIMEOUT = 120


class Comparison:
    """Runs the sides that install, and remembers what the others said."""

    def __init__(self, sides: Sequence[Side], messages: int) -> None:
        self.sides = list(sides)
        self.messages = messages
        self.problems: dict[Side, str] = {}
        self._results: dict[tuple[int, Side], list[Result]] = defaultdict(list)

    def install(self) -> None:
        for side in list(self.sides):
            _tell(f"installing {side.title}")
            try:
                side.environment.install()
            except InstallError as error:
                self._drop(side, str(error))

    def run(self, rounds: int) -> None:
        for number in range(1, rounds + 1):
            for latency in LATENCIES_MS:
                _tell(f"round {number} of {rounds}, {latency} ms added latency")
                self._run_round(latency)

    def tables(self) -> list[str]:
        return [self._table(latency) for latency in LATENCIES_MS]

    def _run_round(self, latency: int) -> None:
        with running_stub(latency) as stub:
            for side in list(self.sides):
                try:
                    result = run(side, stub, round(self.messages * side.share), TIMEOUT)
                except RunError as error:
                    self._drop(side, str(error))
                    continue
                self._results[latency, side].append(result)
                _tell(
                    f"  {side.title}: {result.messages_per_second:,.0f} messages/s, "
                    f"{result.cpu_microseconds:,.0f} µs CPU"
                )

    def _table(self, latency: int) -> str:
        results = {
            side: median_result(self._results[latency, side])
            for side in self.sides
            if (latency, side) in self._results
        }
        return throughput_table(latency, results, results.get(BASE))

    def _drop(self, side: Side, problem: str) -> None:
        _tell(f"  {side.title} is left out: {problem}")
        self.problems[side] = problem
        self.sides.remove(side)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
