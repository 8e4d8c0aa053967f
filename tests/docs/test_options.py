"""The page of options has each option once, with the type, default and places that the code has."""

import inspect
import re
import types
from dataclasses import MISSING, fields
from pathlib import Path
from typing import get_args, get_type_hints

from loafer_kit.config import RouteOptions
from loafer_kit.contrib.retry import Retry
from loafer_kit.ext.aws import options
from loafer_kit.ext.aws.options import SQSOptions
from loafer_kit.ext.aws.requests.clients import CLIENT_OPTIONS, TransportKind
from loafer_kit.managers import LoaferManager
from loafer_kit.scaffold.spec.fields import OPTIONS

PAGE = (Path(__file__).parents[2] / "docs/reference/options.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| `")
]
TYPES = {
    int: "whole number",
    float: "number",
    bool: "true or false",
    str: "text",
    tuple[type[BaseException], ...]: "exception types",
    TransportKind: " or ".join(f"`{name}`" for name in get_args(TransportKind)),
}


def kind(annotation):
    """The type in words, without None."""
    if isinstance(annotation, types.UnionType):
        (annotation,) = (part for part in get_args(annotation) if part is not types.NoneType)
    return TYPES[annotation]


def shown(default):
    """The default as the page has it."""
    if default is None:
        return "none"
    return f"`{default!r}`".replace("'", '"')


def dataclass_rows(options_class, place):
    spec_names = {field.keyword: field.name for field in OPTIONS if field.keyword}
    hints = get_type_hints(options_class)
    for field in fields(options_class):
        assert field.default is not MISSING
        places = [place, *(["loafer.toml"] if field.name in spec_names else [])]
        yield field.name, kind(hints[field.name]), shown(field.default), ", ".join(places)


def manager_rows():
    hints = get_type_hints(LoaferManager.__init__)
    parameters = inspect.signature(LoaferManager).parameters
    for name in ("_concurrency_limit", "_max_threads", "grace_time", "name"):
        yield name, kind(hints[name]), shown(parameters[name].default), "manager"


def test_options_of_routes_queues_and_managers_are_as_in_the_code():
    """Names, types, defaults and places."""
    expected = [
        *manager_rows(),
        *dataclass_rows(RouteOptions, "route"),
        *dataclass_rows(SQSOptions, "queue"),
    ]
    rows = {row[0].strip("`"): row for row in ROWS}
    for name, type_, default, place in expected:
        assert [*rows[name][1:3], rows[name][4]] == [type_, default, place], name


def test_every_other_option_has_its_row_and_no_row_is_without_an_option():
    """Also those whose types AWS or an extension decides."""
    known = {name for name, *_ in manager_rows()}
    known |= {field.name for cls in (RouteOptions, SQSOptions) for field in fields(cls)}
    receive = options._RECEIVE_OPTIONS - {"AttributeNames"}  # the old name of the system's
    known |= receive | CLIENT_OPTIONS | set(Retry.DEFAULT_SETTINGS) | {"RETRY_CALLBACK"}
    known |= {"DEBUG"}
    names = [row[0].strip("`") for row in ROWS]
    assert sorted(names) == sorted(known)


def test_defaults_of_receives_are_those_of_the_code():
    """ReceiveMessage gets them unless the route says otherwise."""
    rows = {row[0].strip("`"): row for row in ROWS}
    _, _, parameters = options.parse_options("orders", {}, {})
    for name in ("MaxNumberOfMessages", "WaitTimeSeconds"):
        assert rows[name][2] == f"`{parameters[name]}`"
    for field in OPTIONS:
        if field.receive:
            assert f"loafer.toml as `{field.name}`" in rows[field.receive][4]


def test_defaults_of_the_retry_extension_are_those_of_the_code():
    """They are settings of the service."""
    rows = {row[0].strip("`"): row for row in ROWS}
    for name, default in Retry.DEFAULT_SETTINGS.items():
        expected = f"`{default.__name__}`" if isinstance(default, type) else shown(default)
        assert rows[name][2] == expected


def test_a_number_has_a_unit():
    """Nobody guesses between seconds and milliseconds."""
    for row in ROWS:
        assert len(row) == 6, row
        assert row[3] or not re.search("number", row[1]), row
