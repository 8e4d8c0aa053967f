"""Families of samples, and their text formats of Prometheus and OpenMetrics."""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

Kind = Literal["counter", "gauge", "histogram", "info"]

#: Names with their values, in the order of the text.
Labels = tuple[tuple[str, str], ...]

#: The most values of a label. Beyond them, `OTHERS` stands for all others.
MOST_VALUES = 200
OTHERS = "others"

#: The content types of the two formats.
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@dataclass(slots=True)
class Histogram:
    """Counts observations by the bucket that they fall into."""

    #: The upper bounds of the buckets; the bucket of larger values has none.
    bounds: Sequence[float]
    #: The observations of each bucket alone.
    counts: list[int] = field(default_factory=list)
    #: The sum of all observations.
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def observe(self, value: float, times: int = 1) -> None:
        """Count `value`, which was observed `times`."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    def __add__(self, other: "Histogram") -> "Histogram":
        counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        return Histogram(self.bounds, counts, self.total + other.total)


@dataclass(frozen=True, slots=True)
class Family:
    """The samples of one metric. The name of a counter does not have its suffix `_total`."""

    name: str
    kind: Kind
    help: str
    samples: dict[Labels, float] = field(default_factory=dict)
    histograms: dict[Labels, Histogram] = field(default_factory=dict)

    def add(
        self,
        value: float,
        merge: Callable[[float, float], float] = float.__add__,
        /,
        **labels: str,
    ) -> None:
        """Add a sample; `merge` makes one of two samples with equal labels."""
        key = tuple(labels.items())
        value = float(value)
        self.samples[key] = merge(self.samples[key], value) if key in self.samples else value

    def add_histogram(self, histogram: Histogram, **labels: str) -> None:
        """Add a histogram; those with equal labels become one."""
        key = tuple(labels.items())
        known = self.histograms.get(key)
        self.histograms[key] = histogram if known is None else known + histogram

    def __bool__(self) -> bool:
        return bool(self.samples or self.histograms)


def content_type(accept: str) -> str:
    """Return the content type that a request's `Accept` header prefers."""
    preferred = {}
    for position, choice in enumerate(accept.split(",")):
        media_type, *parameters = (part.strip().lower() for part in choice.split(";"))
        preferred[media_type] = (_quality(parameters), -position)
    openmetrics = preferred.get("application/openmetrics-text", (0.0, 0))
    plain = max(
        preferred.get(media_type, (0.0, 0)) for media_type in ("text/plain", "text/*", "*/*")
    )
    return OPENMETRICS if openmetrics[0] > 0 and openmetrics >= plain else PROMETHEUS


def _quality(parameters: Iterable[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def as_text(families: Iterable[Family], content_type: str = PROMETHEUS) -> str:
    """Return families in the format of `content_type`; those without samples are left out."""
    openmetrics = content_type == OPENMETRICS
    lines = [line for family in families if family for line in _lines(family, openmetrics)]
    if openmetrics:
        lines.append("# EOF")
    return "".join(f"{line}\n" for line in lines)


def _lines(family: Family, openmetrics: bool) -> Iterator[str]:
    suffix = {"counter": "_total", "info": "_info"}.get(family.kind, "")
    # OpenMetrics names the family, Prometheus the samples.
    name = family.name if openmetrics else family.name + suffix
    kind = "gauge" if family.kind == "info" and not openmetrics else family.kind
    yield f"# HELP {name} {_escaped(family.help)}"
    yield f"# TYPE {name} {kind}"
    for labels, value in family.samples.items():
        yield f"{family.name}{suffix}{_braces(labels)} {number(value)}"
    for labels, histogram in family.histograms.items():
        count, braces = 0, _braces(labels)
        others = f"{braces[1:-1]}," if braces else ""
        for bound, own in zip((*histogram.bounds, math.inf), histogram.counts, strict=True):
            count += own
            yield f'{family.name}_bucket{{{others}le="{number(bound)}"}} {count}'
        yield f"{family.name}_sum{braces} {number(histogram.total)}"
        yield f"{family.name}_count{braces} {count}"


def number(value: float) -> str:
    """Return a number as both formats write it."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    return repr(float(value))


def _braces(labels: Iterable[tuple[str, str]]) -> str:
    pairs = ",".join(_pair(name, value) for name, value in labels)
    return f"{{{pairs}}}" if pairs else ""


@lru_cache(maxsize=2_000)  # a label occurs in most families
def _pair(name: str, value: str) -> str:
    return f'{name}="{_escaped(value, quote=True)}"'


def _escaped(text: str, *, quote: bool = False) -> str:
    # A lone surrogate cannot be encoded; the formats are UTF-8.
    text = text.encode("utf-8", "backslashreplace").decode().replace("\\", r"\\")
    text = text.replace("\n", r"\n")
    return text.replace('"', r"\"") if quote else text


def by_labels(families: Iterable[Family]) -> Mapping[Labels, dict[str, tuple[Kind, float]]]:
    """Return the samples of each label set by name; of a histogram, its sum and its count."""
    found: dict[Labels, dict[str, tuple[Kind, float]]] = {}
    for family in families:
        suffix = "_total" if family.kind == "counter" else ""
        for labels, value in family.samples.items():
            found.setdefault(labels, {})[family.name + suffix] = (family.kind, value)
        for labels, histogram in family.histograms.items():
            samples = found.setdefault(labels, {})
            samples[f"{family.name}_sum"] = ("counter", histogram.total)
            samples[f"{family.name}_count"] = ("counter", float(sum(histogram.counts)))
    return found
