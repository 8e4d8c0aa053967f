"""What the metrics of a service count, what bounds them, and their text formats."""

import asyncio
import contextlib
import math
import re
import time
from copy import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_prometheus

from loafer_kit import LoaferManager
from loafer_kit.exceptions import RejectMessage, RetryMessage
from loafer_kit.ext.aws.providers import SQSProvider
from loafer_kit.operations.metrics import (
    MOST_VALUES,
    OPENMETRICS,
    OTHERS,
    PROMETHEUS,
    Family,
    as_text,
    by_labels,
    content_type,
    families,
)
from loafer_kit.operations.recorder import DURATION_BOUNDS, Recorder, recorder_of
from loafer_kit.operations.snapshot import OUTCOMES, Histogram
from loafer_kit.outcomes import ACKNOWLEDGE, RELEASE
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider


async def measured(*routes):
    """Run routes to their end; return the values by metric and label values."""
    manager = LoaferManager(list(routes))
    recorder = recorder_of(manager)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(manager.serve(), 30)
    return values(recorder)


def values(recorder):
    return {
        (name, *(value for _, value in labels)): value
        for labels, samples in by_labels(families(recorder.snapshot())).items()
        for name, (_, value) in samples.items()
    }


async def test_messages_are_counted_by_outcome():
    """By what was decided about them; each outcome has a sample from the start."""
    answers = {
        "ok": True,
        "no": False,
        "again": RetryMessage(0),
        "reject": RejectMessage("bad"),
    }
    tried = set()

    async def handler(content, metadata):
        if content == "again" and content in tried:
            return True
        tried.add(content)
        return answers[content]

    found = await measured(Route(InMemoryProvider(answers), handler, "orders"))

    handled = {
        outcome: found["loafer_messages_handled_total", "orders", outcome] for outcome in OUTCOMES
    }
    assert handled == {
        "acknowledged": 2,
        "left": 1,
        "retried": 1,
        "rejected": 1,
        "given_back": 0,
        "lost": 0,
    }
    assert found["loafer_messages_received_total", "orders"] == 5
    assert found["loafer_handler_duration_seconds_count", "orders"] == 5
    assert found["loafer_dead_letters_total", "orders"] == 1
    assert found["loafer_slots_used", "orders"] == 0


async def test_the_messages_of_a_batch_count_each_and_its_call_once():
    """A batch handler's answers are outcomes of messages; its duration is one."""

    async def handler(contents, metadata):
        return [content != 2 for content in contents]

    provider = InMemoryProvider([1, 2, 3])
    found = await measured(Route(provider, handler, "orders", batch_handler_size=3))

    assert found["loafer_messages_handled_total", "orders", "acknowledged"] == 2
    assert found["loafer_messages_handled_total", "orders", "left"] == 1
    assert found["loafer_handler_duration_seconds_count", "orders"] == 1


async def test_routes_of_one_name_share_their_samples():
    """Two samples with equal labels are no valid page."""
    routes = [Route(InMemoryProvider([1, 2]), lambda content, metadata: True) for _ in range(2)]

    found = await measured(*routes)

    assert found["loafer_messages_handled_total", "default", "acknowledged"] == 4
    assert found["loafer_slots_total", "default"] == 20


async def test_a_message_waits_from_its_sending(monkeypatch):
    """By the time that the source knows."""

    class Sent(InMemoryProvider):
        def sent_at(self, message):
            return {"old": time.time() - 90, "unknown": None, "future": time.time() + 90}[message]

    async def accept(content, metadata):
        return True

    found = await measured(Route(Sent(["old", "unknown", "future"]), accept, "orders"))

    assert found["loafer_message_wait_seconds_count", "orders"] == 2
    assert found["loafer_message_wait_seconds_sum", "orders"] == pytest.approx(90, abs=20)


def test_sqs_knows_when_a_message_was_sent():
    """In milliseconds, among its attributes."""
    provider = SQSProvider("orders")

    assert provider.sent_at({"Attributes": {"SentTimestamp": "1700000000123"}}) == 1700000000.123
    assert provider.sent_at({"MessageId": "1"}) is None


def recorded(*routes):
    """A recorder of a service whose routes are these, and which does not run."""
    service = LoaferManager(list(routes), name="shop")
    service.statuses = lambda: [
        SimpleNamespace(route=route, calls=(), backlog=2, receivers=1, stuck=False)
        for route in routes
    ]
    return Recorder(service)


def route(name, **provider):
    made = Route(InMemoryProvider(), lambda content, metadata: True, name)
    vars(made.provider).update(provider)
    return made


def test_leases_heartbeats_polls_and_settlements_are_counted():
    """The events that only some providers tell of."""
    orders = route("orders")
    recorder, before = recorded(orders), time.time()
    recorder.polled(orders, 0, 20.0, None)
    recorder.polled(orders, 0, 0.1, OSError("no network"))
    recorder.lost(orders, "a")
    recorder.heartbeat_sent(orders, ["a", "b"], None)
    recorder.heartbeat_sent(orders, ["a", "b"], OSError())
    recorder.settled(orders, ["a", "b"], "given up", 0.1)
    recorder.settled(orders, ["c"], "dead-lettered", 0.1)
    recorder.settled(orders, ["d"], "acknowledged", 0.1)
    recorder.published("topic", 0.1, None)
    recorder.published("topic", 0.1, OSError())

    found = values(recorder)

    assert found["loafer_last_poll_timestamp_seconds", "orders"] == pytest.approx(before, abs=30)
    assert found["loafer_poll_failures_total", "orders"] == 1
    assert found["loafer_leases_lost_total", "orders"] == 1
    assert found["loafer_heartbeats_total", "orders"] == 2
    assert found["loafer_heartbeat_failures_total", "orders"] == 1
    assert found["loafer_settlements_given_up_total", "orders"] == 2
    assert found["loafer_dead_letters_total", "orders"] == 1
    assert found["loafer_messages_published_total", "topic"] == 1
    assert found["loafer_publish_failures_total", "topic"] == 1


def test_a_message_that_another_consumer_may_have_counts_as_lost():
    """Whatever was decided about it here."""
    orders = route("orders")
    recorder = recorded(orders)
    deliveries = [SimpleNamespace(outcome=ACKNOWLEDGE), SimpleNamespace(outcome=RELEASE)]
    recorder.finished(SimpleNamespace(route=orders, seconds=0.1, deliveries=deliveries, lost={0}))

    found = values(recorder)

    handled = "loafer_messages_handled_total"
    assert [found[handled, "orders", name] for name in ("acknowledged", "lost", "given_back")] == [
        0,
        1,
        1,
    ]


def test_thousands_of_names_are_bounded(caplog):
    """Beyond the bound all others share one label value, and that is said once."""
    orders = route("orders")
    routes = [copy(orders) for _ in range(MOST_VALUES + 1000)]
    for number, one in enumerate(routes):
        one.name = f"route-{number}"
    recorder = recorded(*routes)
    for number, one in enumerate(routes):
        recorder.received(one, ["a"])
        recorder.published(f"topic-{number}", 0.1, None)

    found = values(recorder)

    for name in ("loafer_messages_received_total", "loafer_messages_published_total"):
        labels = [key for key in found if key[0] == name]
        assert len(labels) == MOST_VALUES + 1
        assert found[name, OTHERS] == 1000
    assert found["loafer_messages_waiting", OTHERS] == 2000
    assert len(recorder.snapshot().publishers) == MOST_VALUES + 1
    assert len([r for r in caplog.records if r.event == "metrics.limited"]) == 1


def test_a_page_and_a_snapshot_say_the_same():
    """The page is made of the snapshot alone: a changed one is shown as it is."""
    snapshot = recorded(route("orders")).snapshot()
    changed = replace(snapshot, routes=(replace(snapshot.routes[0], received=7, paused=True),))

    found = by_labels(families(changed))[("route", "orders"),]

    assert found["loafer_messages_received_total"] == ("counter", 7)
    assert found["loafer_paused"] == ("gauge", 1)


def test_names_and_units_follow_the_conventions():
    """Base units, `_total` on counters, no ids as labels."""
    for family in families(recorded(route("orders")).snapshot()):
        assert family.name.startswith("loafer_")
        assert not family.name.endswith("_total") or family.kind == "gauge"
        labels = {name for key in family.samples for name, _ in key}
        assert labels <= {"route", "outcome", "destination", "action", "service", "loafer_kit"}
        if family.kind == "histogram":
            assert family.name.endswith("_seconds")
    assert DURATION_BOUNDS[0] == 0.005
    assert DURATION_BOUNDS[-1] == 10
    assert len(DURATION_BOUNDS) == 14


def test_requests_are_counted_by_action():
    """As the provider counts them; other attributes of that name are ignored."""
    made = SimpleNamespace(requests=3, failures=1, seconds=0.5)
    found = values(
        recorded(
            route("orders", statistics={"ReceiveMessage": made}),
            route("odd", statistics={"ReceiveMessage": "three"}),
            route("odder", statistics=3),
        )
    )

    assert found["loafer_requests_total", "orders", "ReceiveMessage"] == 3
    assert found["loafer_request_failures_total", "orders", "ReceiveMessage"] == 1
    assert found["loafer_request_seconds_total", "orders", "ReceiveMessage"] == 0.5
    assert [key for key in found if key[0] == "loafer_requests_total"] == [
        ("loafer_requests_total", "orders", "ReceiveMessage")
    ]
    assert found["loafer_messages_waiting", "odd"] == 2
    assert found["loafer_receivers_open", "odd"] == 1


def test_the_reference_lists_each_metric_with_its_labels():
    """No more and no fewer."""
    page = Path(__file__).parents[2].joinpath("docs/reference/metrics.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.+?) \|", page, re.MULTILINE)
    made = SimpleNamespace(requests=1, failures=0, seconds=0.0)
    orders = route("orders", statistics={"Action": made})
    recorder = recorded(orders)
    recorder.polled(orders, 0, 20.0, None)
    recorder.published("topic", 0.1, None)
    snapshot = replace(recorder.snapshot(), versions={"service": "1", "runtime": "1"})

    written = set()
    for family in families(snapshot):
        suffix = {"counter": "_total", "info": "_info"}.get(family.kind, "")
        [labels] = {tuple(name for name, _ in key) for key in family.samples}
        written.add((family.name + suffix, family.kind, ", ".join(f"`{name}`" for name in labels)))
    assert set(rows) == written


# The text formats, read by Prometheus' own parsers

READERS = [(PROMETHEUS, read_prometheus), (OPENMETRICS, read_openmetrics)]


def counted(*names_with_labels):
    counter = Family("loafer_messages", "counter", "Messages.")
    for labels in names_with_labels:
        counter.add(1, **labels)
    return [counter]


@pytest.mark.parametrize(("kind", "read"), READERS)
def test_each_kind_is_read_back_by_the_parser(kind, read):
    """Names, types, label values, buckets, sums and counts."""
    histogram = Histogram((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7):
        histogram.observe(value)
    duration = Family("loafer_seconds", "histogram", "Durations.")
    duration.add(histogram, route="orders")
    gauge = Family("loafer_slots", "gauge", "Slots.")
    gauge.add(-2.5, route="orders")
    info = Family("loafer_service", "info", "Versions.")
    info.add(1, version="1.0")
    counter = Family("loafer_messages", "counter", "Messages.")
    counter.add(3, route="orders")

    found = {
        family.name: family for family in read(as_text([duration, gauge, info, counter], kind))
    }

    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in found.values()
        for sample in family.samples
    }
    assert samples == {
        ("loafer_seconds_bucket", "orders", "0.1"): 2,
        ("loafer_seconds_bucket", "orders", "1.0"): 3,
        ("loafer_seconds_bucket", "orders", "+Inf"): 4,
        ("loafer_seconds_sum", "orders"): 7.65,
        ("loafer_seconds_count", "orders"): 4,
        ("loafer_slots", "orders"): -2.5,
        ("loafer_service_info", "1.0"): 1,
        ("loafer_messages_total", "orders"): 3,
    }
    assert found["loafer_seconds"].type == "histogram"
    assert found["loafer_messages"].type == "counter"
    assert found["loafer_seconds"].documentation == "Durations."


@pytest.mark.parametrize(("kind", "read"), READERS)
@pytest.mark.parametrize(
    "value", ['quo"te', "back\\slash", "line\nbreak", "\\n", "ключ", "", '{a="b"} 1', "\u2028"]
)
def test_any_route_name_is_one_label_value(kind, read, value):
    """Whatever a route is called, the text stays readable and the name comes back."""
    [family] = read(as_text(counted({"route": value}), kind))

    assert family.samples[0].labels == {"route": value}


@pytest.mark.parametrize(("kind", "read"), READERS)
def test_a_name_that_is_no_text_is_written_with_escapes(kind, read):
    """A lone surrogate has no UTF-8; the page is still encoded."""
    text = as_text(counted({"route": "bad\udcff"}), kind)

    [family] = read(text.encode().decode())
    assert family.samples[0].labels == {"route": "bad\\udcff"}


def test_openmetrics_names_families_without_total_and_ends_with_eof():
    """Where the two formats differ."""
    assert as_text(counted({"a": "b"}), OPENMETRICS).splitlines() == [
        "# HELP loafer_messages Messages.",
        "# TYPE loafer_messages counter",
        'loafer_messages_total{a="b"} 1.0',
        "# EOF",
    ]
    assert as_text(counted({"a": "b"})).splitlines() == [
        "# HELP loafer_messages_total Messages.",
        "# TYPE loafer_messages_total counter",
        'loafer_messages_total{a="b"} 1.0',
    ]


def test_samples_with_equal_labels_become_one():
    """By their sum, unless another way is given; no sample may be written twice."""
    gauge = Family("loafer_paused", "gauge", "Paused.")
    for paused in (True, False):
        gauge.add(paused, max, route="orders")
    histograms = Family("loafer_seconds", "histogram", "Durations.")
    for value in (1, 3):
        histogram = Histogram((2.0,))
        histogram.observe(value)
        histograms.add(histogram, route="orders")

    assert gauge.samples == {(("route", "orders"),): 1.0}
    [together] = histograms.samples.values()
    assert (together.counts, together.total) == ([1, 1], 4)
    assert counted({"a": "b"}, {"a": "b"})[0].samples == {(("a", "b"),): 2.0}


def test_a_family_without_samples_is_not_written():
    """Prometheus would know a metric without values."""
    assert as_text([Family("loafer_messages", "counter", "Messages.")]) == ""


@pytest.mark.parametrize(
    ("value", "text"), [(math.inf, "+Inf"), (-math.inf, "-Inf"), (math.nan, "NaN"), (1e21, "1e+21")]
)
def test_numbers_that_python_writes_otherwise(value, text):
    """As both formats spell them."""
    gauge = Family("g", "gauge", "G.")
    gauge.add(value)
    assert as_text([gauge]).splitlines()[-1] == f"g {text}"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", PROMETHEUS),
        ("*/*", PROMETHEUS),
        ("text/html,*/*;q=0.8", PROMETHEUS),
        ("application/openmetrics-text", OPENMETRICS),
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3",
            OPENMETRICS,
        ),
        ("text/plain;q=0.9,application/openmetrics-text;q=0.1", PROMETHEUS),
        ("application/openmetrics-text;q=0", PROMETHEUS),
        ("application/openmetrics-text;q=x,text/plain", PROMETHEUS),
        (";;,,=", PROMETHEUS),
    ],
)
def test_the_format_is_the_one_that_the_scraper_prefers(accept, kind):
    """By `Accept` and its weights; the older format for everybody else."""
    assert content_type(accept) == kind


def test_a_histogram_by_labels_is_its_sum_and_its_count():
    """As faces without histograms show it."""
    histogram = Histogram((1.0,))
    histogram.observe(3)
    histogram.observe(3)
    family = Family("loafer_seconds", "histogram", "Durations.")
    family.add(histogram, route="orders")

    assert by_labels([family]) == {
        (("route", "orders"),): {
            "loafer_seconds_sum": ("counter", 6.0),
            "loafer_seconds_count": ("counter", 2.0),
        }
    }
