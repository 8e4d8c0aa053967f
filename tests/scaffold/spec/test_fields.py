"""The rows of a spec: its keys, held against the options of the runtime, and the values of `with`."""

import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from loafer_kit.cli import app
from loafer_kit.config import ROUTE_OPTIONS
from loafer_kit.exceptions import LoaferKitError
from loafer_kit.ext.aws import envelopes
from loafer_kit.ext.aws.options import SQS_SETTINGS
from loafer_kit.ext.aws.routes import SQSRoute
from loafer_kit.scaffold.sources import command_line, documents
from loafer_kit.scaffold.spec import validation
from loafer_kit.scaffold.spec.fields import ARTEFACT_NAMES, ARTEFACTS, ENVELOPES, OPTIONS, Field
from loafer_kit.scaffold.spec.specs import Draft

#: What a spec cannot say: exceptions are Python, a batch handler has another signature, and the
#: transport is a matter of the machine.
IN_CODE_ONLY = {
    "reject_on",
    "breaker_exceptions",
    "batch_handler_size",
    "batch_handler_wait",
    "transport",
}

#: What a spec says in another place: among a queue's own keys, or as an option of ReceiveMessage.
ELSEWHERE = {"dead_letter_queue", "visibility_timeout"}


def test_every_option_of_a_route_can_stand_in_a_spec():
    """A new option of the runtime is missed here until it has its row."""
    in_spec = {field.keyword for field in OPTIONS if field.keyword}
    assert in_spec == (ROUTE_OPTIONS | SQS_SETTINGS) - IN_CODE_ONLY - ELSEWHERE


def test_every_envelope_is_a_kind_of_queue():
    """By the name that generated code imports, and that `send --as` takes."""
    for name, envelope in envelopes.ENVELOPES.items():
        assert getattr(envelopes, name) is envelope
    assert {"sns", *ENVELOPES} == set(envelopes.ENVELOPES)


def bounds(field: Field):
    least = field.minimum if field.minimum is not None else (field.more_than or 0) + 1
    return [True, False] if field.kind == "boolean" else [least, field.maximum or least + 1]


async def handler(message, metadata):
    return True


@pytest.mark.parametrize("field", OPTIONS, ids=lambda field: field.name)
def test_what_a_spec_allows_the_route_accepts(field):
    """The bounds of the spec lie within those of the runtime."""
    for value in bounds(field):
        if field.receive:
            SQSRoute("orders", {"options": {field.receive: value}}, handler=handler)
        else:
            SQSRoute("orders", handler=handler, **{field.keyword: value})


QUEUE = {"name": "a"}


def new(*arguments):
    return CliRunner().invoke(app, ["new", "service", "foobar", "--queue", "a", *arguments])


def test_nothing_is_written_unless_asked_for(ship):
    """A service without `--with` has none of these files, nor a word about them."""
    project = ship(queues=[QUEUE])

    paths = {path.format(package="foobar") for artefact in ARTEFACTS for path in artefact.paths}
    assert paths & set(project) == set()
    assert "with" not in tomllib.loads(project["loafer.toml"])
    for word in ("deploy/", "compose", "kubectl", "terraform"):
        assert word not in project["README.md"]


@pytest.mark.parametrize("artefact", ARTEFACTS, ids=lambda artefact: artefact.name)
def test_each_artefact_adds_its_files_and_no_others(ship, artefact):
    """One row of the table, one set of files; the README says how to use them."""
    added = set(ship(artefact.name, queues=[QUEUE])) - set(ship(queues=[QUEUE]))

    assert added == {path.format(package="foobar") for path in artefact.paths}
    readme = ship(artefact.name, queues=[QUEUE])["README.md"]
    if artefact.name != "ci":
        assert readme != ship(queues=[QUEUE])["README.md"]


def test_artefacts_are_named_one_by_one_or_with_commas(tmp_path, monkeypatch):
    """The spec keeps them, once each, in the order of the table."""
    monkeypatch.chdir(tmp_path)

    result = new("--with", "terraform, ci", "--with", "ci")

    assert result.exit_code == 0, result.output
    assert validation.service(documents.read(Path("foobar/loafer.toml"))).ships == (
        "ci",
        "terraform",
    )
    assert Path("foobar/deploy/terraform/main.tf").is_file()


def test_what_the_spec_says_is_written_without_the_flag(tmp_path, monkeypatch):
    """The spec file remembers; the flag adds to it."""
    monkeypatch.chdir(tmp_path)
    Path("spec.toml").write_text('name = "foobar"\nwith = ["ci"]\n[[queues]]\nname = "a"\n')

    draft = command_line.ship(documents.read(Path("spec.toml")), ["ecs"])

    assert validation.service(draft).ships == ("ci", "ecs")


def test_an_unknown_artefact_is_an_error_with_a_suggestion(tmp_path, monkeypatch):
    """In one line, with the names that are known."""
    monkeypatch.chdir(tmp_path)

    result = new("--with", "ci,kubernets")

    assert isinstance(result.exception, LoaferKitError)
    message = str(result.exception)
    assert message.startswith("with[1]: 'kubernets' is not one of ci, compose, ")
    assert message.endswith("did you mean 'kubernetes'?")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wanted", ["ci", {"ci": True}, True, [1], [["ci"]], [{}], [""], ["CI"]])
def test_a_with_that_is_no_list_of_artefacts_is_a_problem(wanted):
    """Whatever it is instead."""
    draft = Draft({"name": "foobar", "queues": [QUEUE], "with": wanted})

    assert [problem.path[0] for problem in validation.problems_of(draft)] == ["with"]


def test_the_schema_knows_the_artefacts():
    """Editors complete them."""
    assert validation.schema()["properties"]["with"]["items"]["enum"] == list(ARTEFACT_NAMES)


def test_the_help_names_every_artefact():
    """The flag's help lists them all."""
    text = CliRunner().invoke(app, ["new", "service", "--help"], terminal_width=200).output

    for name in ARTEFACT_NAMES:
        assert name in text
