"""The text formats of metrics, read by Prometheus' own parsers."""

import math

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_prometheus

from loafer_kit.operations.samples import (
    OPENMETRICS,
    PROMETHEUS,
    Family,
    Histogram,
    as_text,
    by_labels,
    content_type,
)

READERS = [(PROMETHEUS, read_prometheus), (OPENMETRICS, read_openmetrics)]


def families(*names_with_labels):
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
    duration.add_histogram(histogram, route="orders")
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
    [family] = read(as_text(families({"route": value}), kind))

    assert family.samples[0].labels == {"route": value}


@pytest.mark.parametrize(("kind", "read"), READERS)
def test_a_name_that_is_no_text_is_written_with_escapes(kind, read):
    """A lone surrogate has no UTF-8; the page is still encoded."""
    text = as_text(families({"route": "bad\udcff"}), kind)

    [family] = read(text.encode().decode())
    assert family.samples[0].labels == {"route": "bad\\udcff"}


def test_openmetrics_names_families_without_total_and_ends_with_eof():
    """Where the two formats differ."""
    assert as_text(families({"a": "b"}), OPENMETRICS).splitlines() == [
        "# HELP loafer_messages Messages.",
        "# TYPE loafer_messages counter",
        'loafer_messages_total{a="b"} 1.0',
        "# EOF",
    ]
    assert as_text(families({"a": "b"})).splitlines() == [
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
        histograms.add_histogram(histogram, route="orders")

    assert gauge.samples == {(("route", "orders"),): 1.0}
    [together] = histograms.histograms.values()
    assert (together.counts, together.total) == ([1, 1], 4)
    assert families({"a": "b"}, {"a": "b"})[0].samples == {(("a", "b"),): 2.0}


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
    histogram.observe(3, times=2)
    family = Family("loafer_seconds", "histogram", "Durations.")
    family.add_histogram(histogram, route="orders")

    assert by_labels([family]) == {
        (("route", "orders"),): {
            "loafer_seconds_sum": ("counter", 6.0),
            "loafer_seconds_count": ("counter", 2.0),
        }
    }
