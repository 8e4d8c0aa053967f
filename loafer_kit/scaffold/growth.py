"""How large the texts, lists and numbers become that a template makes of small ones.

A few letters could otherwise fill the memory. What multiplies is measured before it is done: operators,
formats, and the filters, methods and functions named here. All that is rendered, and whatever else a
filter or a call gives, is counted when it is there. Not measured are slices, what loops collect bit by
bit, and time.
"""

import math
import re
from collections.abc import Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import Any

from jinja2.exceptions import SecurityError

#: The bytes of all that is made on the way to a project, which is more than the project.
MOST = 256 * 1024 * 1024

# Filters and methods whose outcome is as large as what they are given, times an argument of theirs.
_MULTIPLYING = frozenset(
    {
        "batch",
        "center",
        "expandtabs",
        "indent",
        "join",
        "ljust",
        "replace",
        "rjust",
        "round",
        "slice",
        "to_bytes",
        "translate",
        "wordwrap",
        "zfill",
    }
)
# Functions that make a text out of numbers alone: Jinja's `lipsum`, and cookiecutter's.
_MAKING = frozenset({"generate_lorem_ipsum", "random_ascii_string"})
_PERCENT = re.compile(r"%(?:\([^)]*\))?[-#0 +]*(\d+|\*)?(?:\.(\d+|\*))?")
_BRACES = re.compile(r"\{[^{}]*:([^{}]*)(\{)?")


class Allowance:
    """The bytes that a template may still make."""

    def __init__(self, most: int = MOST) -> None:
        self._left = most

    def refuse(self, size: int) -> None:
        """Make sure that so much is left; SecurityError when it is not."""
        if size > self._left:
            raise SecurityError("the template makes more text than a project can have")

    def take(self, value: object) -> None:
        """Count what was made."""
        size = weight(value)
        self.refuse(size)
        self._left -= size

    def taken(self, pieces: Iterable[str]) -> Iterator[str]:
        """The same pieces, each counted before there is another."""
        for piece in pieces:
            self.take(piece)
            yield piece


def of_operator(operator: str, left: Any, right: Any) -> int:
    """The bytes of what an operator will make."""
    if operator == "%" and isinstance(left, (str, bytes)):
        return _of_percent(left if isinstance(left, str) else left.decode("latin-1"), right)
    if operator == "+":
        return weight(left) + weight(right)
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() + right.bit_length()
        if operator == "**":
            bits = left.bit_length() * right if abs(left) > 1 else 1
        return bits * bits // 1024  # the longer a number is, the longer it takes
    text, times = (right, left) if isinstance(left, int) else (left, right)
    return weight(text) * times if isinstance(times, int) else 0


def listed(name: str, arguments: Iterable[Any]) -> list[Any]:
    """The arguments of a call, of which those are lists now that can be looked at but once."""
    is_looked_at = name in _MULTIPLYING
    return [
        list(item) if is_looked_at and isinstance(item, Iterator) else item for item in arguments
    ]


def of_call(function: Any, arguments: Iterable[Any]) -> int:
    """The bytes of what a function, or a method of a text or number, will give."""
    method = getattr(function, "__wrapped__", function)  # the sandbox has a `format` of its own
    name, subject = getattr(method, "__name__", ""), getattr(method, "__self__", None)
    if name in _MAKING:
        return math.prod(map(_extent, arguments))
    if isinstance(subject, str) and name in ("format", "format_map"):
        return _of_braces(subject, [item for value in arguments for item in _items(value)])
    is_own = isinstance(subject, (str, bytes, int))
    return _of_multiplying(subject, arguments) if is_own and name in _MULTIPLYING else 0


def of_filter(name: str, subject: Any, arguments: Iterable[Any]) -> int:
    """The bytes of what a filter of Jinja's will give."""
    if name == "format":
        return _of_percent(str(subject), tuple(arguments))
    return _of_multiplying(subject, arguments) if name in _MULTIPLYING else 0


def _of_multiplying(subject: Any, arguments: Iterable[Any]) -> int:
    size = 1 if isinstance(subject, int) else _extent(subject)
    return size * max(map(_extent, arguments), default=1)


def _of_percent(text: str, values: Any) -> int:
    marks = _PERCENT.findall(text)
    widths = [width for mark in marks for width in mark if width]
    given = values if isinstance(values, tuple) else _items(values)
    return _of_format(text, len(marks), widths, given)


def _of_braces(text: str, values: Iterable[Any]) -> int:
    specs = _BRACES.findall(text)
    widths = [width for spec, _ in specs for width in re.findall(r"\d+", spec)]
    widths += ["*" for _, nested in specs if nested]
    return _of_format(text, text.count("{"), widths, values)


def _of_format(text: str, marks: int, widths: Iterable[str], values: Iterable[Any]) -> int:
    """A text in which each mark becomes a value, as wide as it says, or (`*`) as a value says."""
    takes_widths = "*" in widths
    largest = max(
        (_extent(item) for item in values if takes_widths or not isinstance(item, int)), default=0
    )
    return len(text) + marks * largest + sum(int(width) for width in widths if width != "*")


def _items(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, Mapping) else (value,)


def weight(value: object) -> int:
    """The bytes of a text or a list."""
    if isinstance(value, (str, bytes)):
        return len(value)
    return 8 * len(value) if isinstance(value, (list, tuple, dict, set)) else 0


def _extent(value: object) -> int:
    """How many times something is there for it, at the most: a number as such, a text in letters."""
    if isinstance(value, int):
        return max(abs(value), 1)
    if isinstance(value, dict):
        value = value.values()
    if isinstance(value, (list, tuple, set, range, KeysView, ValuesView)):
        return sum(max(weight(item), 1) for item in value)
    return max(weight(value), 1)
