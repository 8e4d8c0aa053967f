"""CloudWatch metrics on standard output: their content, and a stream that does not take them."""

import asyncio
import io
import json
import logging
import threading

import pytest

from loafer_kit import LoaferManager
from loafer_kit.contrib.monitoring import Monitoring
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.operations import monitors
from loafer_kit.operations.metrics import Family, Reports
from loafer_kit.operations.monitors import reporting
from loafer_kit.operations.snapshot import Histogram
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider


def families(handled=3, polled=100.0):
    counter = Family("loafer_messages", "counter", "")
    counter.add(handled, route="orders")
    gauge = Family("loafer_slots_used", "gauge", "")
    gauge.add(2, route="orders")
    poll = Family("loafer_last_poll_timestamp_seconds", "gauge", "")
    poll.add(polled, route="orders")
    histogram = Histogram((1.0,))
    histogram.observe(0.5)
    histogram.observe(0.5)
    duration = Family("loafer_duration_seconds", "histogram", "")
    duration.add(histogram, route="orders")
    info = Family("loafer_service", "info", "")
    info.add(1, version="1")
    return [counter, gauge, poll, duration, info]


def test_a_line_holds_the_metrics_of_a_route_with_their_units():
    """As CloudWatch's specification of the format says."""
    [line] = map(json.loads, Reports("shop", "billing").lines(families(), 130.5))

    [directive] = line["_aws"]["CloudWatchMetrics"]
    assert line["_aws"]["Timestamp"] == 130500
    assert (directive["Namespace"], directive["Dimensions"]) == ("shop", [["service", "route"]])
    assert (line["service"], line["route"]) == ("billing", "orders")
    units = {metric["Name"]: metric["Unit"] for metric in directive["Metrics"]}
    assert {name: (line[name], unit) for name, unit in units.items()} == {
        "loafer_messages_total": (3, "Count"),
        "loafer_slots_used": (2, "Count"),
        "loafer_last_poll_age_seconds": (30.5, "Seconds"),
        "loafer_duration_seconds_sum": (1, "Seconds"),
        "loafer_duration_seconds_count": (2, "Count"),
    }


def test_counters_are_their_increase_since_the_last_line():
    """CloudWatch sums what it gets."""
    reports = Reports("shop", "billing")
    list(reports.lines(families(handled=3), 100.0))

    [line] = map(json.loads, reports.lines(families(handled=10), 160.0))

    assert line["loafer_messages_total"] == 7
    assert line["loafer_duration_seconds_count"] == 0
    assert line["loafer_slots_used"] == 2


async def test_lines_are_written_while_the_service_runs_and_at_its_end(capsys, monkeypatch):
    """A short run reports as well."""
    monkeypatch.setenv("LOAFER_HTTP", "")
    manager = LoaferManager(
        [Route(InMemoryProvider(["a"]), lambda content, metadata: True, "orders")],
        name="billing",
        settings={"MONITORING_EMF": "shop"},
    )
    Monitoring(manager)

    await manager.serve()

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    [received] = [line for line in lines if "loafer_messages_received_total" in line]
    assert (received["service"], received["route"]) == ("billing", "orders")
    assert received["loafer_messages_received_total"] == 1


@pytest.fixture
def failed(monkeypatch):
    """Set when a line says that metrics are not written."""
    event, handler = asyncio.Event(), logging.Handler()
    handler.emit = lambda record: event.set()
    monkeypatch.setattr(monitors.logger, "handlers", [handler])
    return event


class Raising(io.StringIO):
    def write(self, text):
        raise BrokenPipeError


async def test_a_stream_that_raises_costs_one_line(caplog, failed):
    """The service goes on."""
    async with reporting(Reports("shop", "x"), families, period=0.001, stream=Raising()):
        await asyncio.wait_for(failed.wait(), 20)

    assert {(r.event, r.levelno, r.exc_info) for r in caplog.records} == {
        ("emf.failed", logging.WARNING, None)
    }
    assert len(caplog.records) == 1


async def test_a_stream_that_blocks_blocks_neither_the_loop_nor_the_end(
    caplog, failed, monkeypatch
):
    """Nobody reads the pipe; that is said once."""
    monkeypatch.setattr("loafer_kit.operations.monitors._LAST_TIME", 0.01)
    release = threading.Event()

    class Blocked(io.StringIO):
        def write(self, text):
            release.wait(20)
            return 0

    try:
        async with reporting(Reports("shop", "x"), families, period=0.001, stream=Blocked()):
            await asyncio.wait_for(failed.wait(), 20)
        assert [r.getMessage() for r in caplog.records] == [
            "emf.failed: metrics are not written: the stream is blocked"
        ]
    finally:
        release.set()


@pytest.mark.parametrize("namespace", ["", 3, True, b"x"])
def test_a_namespace_is_text(namespace):
    """Anything else is refused when the extension is made."""
    manager = LoaferManager([], settings={"MONITORING_EMF": namespace})
    with pytest.raises(ConfigurationError, match="MONITORING_EMF must be"):
        Monitoring(manager)
