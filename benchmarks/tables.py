"""Figures as Markdown: medians over rounds."""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from statistics import median

from benchmarks.measure import Result


def median_result(results: Sequence[Result]) -> Result:
    """Take the median of each figure by itself."""
    names = [field.name for field in fields(Result)]
    return Result(*[median(getattr(each, name) for each in results) for name in names])


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))
