"""CloudWatch metrics as lines on standard output, in the embedded metric format (EMF)."""

import asyncio
import contextlib
import json
import logging
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import TextIO

from loafer_kit.engine.threads import DaemonThreadPool
from loafer_kit.operations.metrics import Family, Kind, Labels
from loafer_kit.operations.snapshot import Histogram

logger = logging.getLogger(__name__)

#: Seconds between two reports: CloudWatch's standard resolution.
PERIOD = 60.0

#: Seconds that the last report gets.
_LAST_TIME = 2.0

_TIMESTAMP, _AGE = "_timestamp_seconds", "_age_seconds"


class Reports:
    """Turns families into lines. Counters become their increase since the last lines."""

    def __init__(self, namespace: str, service: str) -> None:
        self._namespace = namespace
        self._service = service
        self._before: dict[tuple[Labels, str], float] = {}

    def lines(self, families: list[Family], now: float) -> Iterator[str]:
        """Return a line for each label set; points in time become ages."""
        for labels, samples in by_labels(families).items():
            values = {}
            for name, (kind, value) in samples.items():
                if kind == "counter":
                    values[name] = value - self._before.get((labels, name), 0.0)
                    self._before[labels, name] = value
                elif name.endswith(_TIMESTAMP):
                    values[name.removesuffix(_TIMESTAMP) + _AGE] = now - value
                elif kind == "gauge":
                    values[name] = value
            if values:
                yield self._line({"service": self._service, **dict(labels)}, values, now)

    def _line(self, dimensions: dict[str, str], values: dict[str, float], now: float) -> str:
        metrics = [{"Name": name, "Unit": _unit(name)} for name in values]
        directive = {
            "Namespace": self._namespace,
            "Dimensions": [list(dimensions)],
            "Metrics": metrics,
        }
        head = {"Timestamp": int(now * 1000), "CloudWatchMetrics": [directive]}
        return json.dumps({"_aws": head, **dimensions, **values})


def by_labels(families: Iterable[Family]) -> Mapping[Labels, dict[str, tuple[Kind, float]]]:
    """Return the samples of each label set by name; of a histogram, its sum and its count."""
    found: dict[Labels, dict[str, tuple[Kind, float]]] = {}
    for family in families:
        suffix = "_total" if family.kind == "counter" else ""
        for labels, value in family.samples.items():
            samples = found.setdefault(labels, {})
            if isinstance(value, Histogram):
                samples[f"{family.name}_sum"] = ("counter", value.total)
                samples[f"{family.name}_count"] = ("counter", float(sum(value.counts)))
            else:
                samples[family.name + suffix] = (family.kind, value)
    return found


def _unit(name: str) -> str:
    return "Seconds" if "_seconds" in name and not name.endswith("_count") else "Count"


@contextlib.asynccontextmanager
async def reporting(
    reports: Reports,
    families: Callable[[], list[Family]],
    *,
    period: float = PERIOD,
    stream: TextIO | None = None,
) -> AsyncIterator[None]:
    """Write lines every `period` seconds while the block runs, and at its end.

    They are written in a thread of their own: a stream that nobody reads blocks only that.
    """
    writer = _Writer(stream or sys.stdout)

    def report() -> None:
        writer.write("".join(f"{line}\n" for line in reports.lines(families(), time.time())))

    async def repeat() -> None:
        while True:
            await asyncio.sleep(period)
            report()

    task = asyncio.create_task(repeat(), name="emf")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        report()
        await writer.close()


class _Writer:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._thread = DaemonThreadPool(1)
        self._writing: asyncio.Future[None] | None = None
        self._failed = False

    def write(self, text: str) -> None:
        """Write text, unless the text before it is still being written."""
        if self._writing is not None and not self._writing.done():
            self._fail("the stream is blocked")
            return
        self._writing = asyncio.wrap_future(self._thread.submit(self._write, text))
        self._writing.add_done_callback(self._written)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

    def _written(self, writing: asyncio.Future[None]) -> None:
        if writing.cancelled():
            return
        if (error := writing.exception()) is not None:
            self._fail(repr(error))
        else:
            self._failed = False

    def _fail(self, why: str) -> None:
        if not self._failed:
            logger.warning(
                "emf.failed: metrics are not written while %s", why, extra={"event": "emf.failed"}
            )
        self._failed = True

    async def close(self) -> None:
        if self._writing is not None:
            await asyncio.wait([self._writing], timeout=_LAST_TIME)
        self._thread.shutdown()
