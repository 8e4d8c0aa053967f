"""The tables of docs/reference/events.md are complete."""

import inspect
import re
from pathlib import Path
from typing import get_args

from loafer_kit.events import EVENTS, FlowChange, Observer, Settlement

PAGE = (Path(__file__).parents[2] / "docs/reference/events.md").read_text()


def rows(columns):
    lines = [line for line in PAGE.splitlines() if line.startswith("| `")]
    return [
        [cell.strip(" `") for cell in line.strip("|").split("|")]
        for line in lines
        if line.count("|") == columns + 1
    ]


def test_every_event_is_listed_with_its_arguments():
    listed = {name: arguments.split(", ") for name, arguments, _ in rows(3)}

    assert listed == {
        name: list(inspect.signature(getattr(Observer, name)).parameters)[1:] for name in EVENTS
    }


def test_every_result_and_every_change_is_listed():
    assert {result for result, _ in rows(2)} == set(get_args(Settlement))
    changes = PAGE.partition("`change` is ")[2].partition(".\n")[0]
    assert set(re.findall(r"`([\w ]+)`", changes)) == set(get_args(FlowChange))
