"""HCL as `terraform fmt` leaves it: the equals signs of neighbouring lines stand below each other."""

import re
from collections.abc import Iterator
from itertools import groupby

_STRING = re.compile(r'"(?:\\.|[^"\\])*"')
_ASSIGNMENT = re.compile(r" *[A-Za-z_][\w-]* *= .*")


def align(text: str) -> str:
    """The text with the assignments of each run of lines aligned."""
    return "\n".join(_aligned(text.split("\n")))


def _aligned(lines: list[str]) -> Iterator[str]:
    for matches, run in groupby(lines, _is_assignment):
        if matches:
            yield from _in_columns([line.partition("=") for line in run])
        else:
            yield from run


def _in_columns(assignments: list[tuple[str, str, str]]) -> Iterator[str]:
    width = max(len(key.rstrip()) for key, _, _ in assignments)
    for key, _, value in assignments:
        yield f"{key.rstrip():<{width}} = {value.strip()}"


def _is_assignment(line: str) -> bool:
    """Whether a line assigns a value that ends on it."""
    code = _STRING.sub("", line)
    opened = sum(code.count(bracket) for bracket in "([{")
    closed = sum(code.count(bracket) for bracket in ")]}")
    return bool(_ASSIGNMENT.fullmatch(line)) and opened <= closed
