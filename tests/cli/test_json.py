"""`--json`, whatever the end of a command: stdout holds JSON or nothing, errors are on stderr."""

import json
import os
import shutil

import pytest
from kept_projects import content, loafer_kit, replace
from terminals import Person
from typer.main import get_command

from loafer_kit.cli import LazyCommand, app

pytestmark = pytest.mark.slow

NEW = ("new", "service", "foobar", "--queue", "a", "--output-dir", "..")
ADD_QUEUE = ("add", "queue", "b")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A service as it was written."""
    folder = tmp_path_factory.mktemp("written")
    done = loafer_kit("new", "service", "foobar", "--queue", "a", "--output-dir", folder)
    assert done.code == 0, done.error
    return folder / "foobar"


@pytest.fixture
def project(tmp_path, written, monkeypatch):
    """A copy of it, which is the current folder; nobody is at the terminal."""
    shutil.copytree(written, tmp_path / "work/foobar")
    monkeypatch.chdir(tmp_path / "work/foobar")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return tmp_path / "work/foobar"


def edited(project):
    replace(project / "foobar/handlers.py", "return True", "return bool(message)")


def extended(project):
    assert loafer_kit("add", "queue", "b").code == 0


def behind(project):
    replace(project / "loafer.toml", 'name = "a"', 'name = "a"\nwait_time = 3')


def in_conflict(project):
    behind(project)
    replace(project / "foobar/routes.py", "routes = (", "routes = (  # mine")
    replace(project / "foobar/routes.py", 'SQSRoute("a",', 'SQSRoute("a", prefetch=7,')


def unrecognised(project):
    (project / "foobar/routes.py").write_text("routes = make()\n")


def misspelt(project):
    replace(project / "loafer.toml", "name", "nmae")


def without_lock(project):
    shutil.rmtree(project / ".loafer-kit")


def as_it_is(project):
    """Nothing is done to the project."""


WRITTEN = {"target", "written", "changes"}
NEW_SERVICE = {*WRITTEN, "notes"}
MISSING = {"written", "missing"}
CHECKED = {"project", "drifts"}
FOUND = {"problems", "findings"}
SCHEMA = {"$schema", "title", "description", "type", "properties", "required"}
SCHEMA |= {"additionalProperties"}
NOTHING = set()

# What was done to a project before, a command in its folder, its exit code, the keys of its JSON.
ENDINGS = [
    (as_it_is, ["new", "service", "other", "--queue", "a"], 0, NEW_SERVICE),
    (as_it_is, [*NEW], 0, NEW_SERVICE),
    (as_it_is, [*NEW, "--queue", "b", "--dry-run"], 2, NEW_SERVICE),
    (as_it_is, [*NEW, "--queue", "b", "--diff"], 2, NEW_SERVICE),
    (edited, [*NEW, "--queue", "b"], 1, WRITTEN),
    (edited, [*NEW, "--queue", "b", "--force"], 0, NEW_SERVICE),
    (as_it_is, [*NEW, "--queue", "c,wait_time=99"], 1, NOTHING),
    (as_it_is, [*NEW, "--spec", "none.toml"], 1, NOTHING),
    (as_it_is, [*NEW, "--save-spec", "loafer.toml", "--queue", "b"], 1, NOTHING),
    (as_it_is, [*NEW, "--save-spec", "../a.toml"], 0, {*NEW_SERVICE, "saved_spec"}),
    (as_it_is, ["new", "service"], 1, NOTHING),
    (as_it_is, ["new", "service", "--nonsense"], 2, NOTHING),
    (as_it_is, ["new", "extension"], 0, WRITTEN),
    (as_it_is, ["new", "extension", "redis", "--dry-run"], 2, WRITTEN),
    (as_it_is, ["new", "extension", "a b"], 1, NOTHING),
    (as_it_is, [*ADD_QUEUE], 0, WRITTEN),
    (extended, [*ADD_QUEUE], 0, WRITTEN),
    (as_it_is, [*ADD_QUEUE, "--dry-run"], 2, WRITTEN),
    (unrecognised, [*ADD_QUEUE], 1, MISSING),
    (as_it_is, ["add", "route", "a"], 0, WRITTEN),
    (as_it_is, ["add", "route", "b"], 1, NOTHING),
    (as_it_is, ["add", "handler", "on_b"], 0, WRITTEN),
    (as_it_is, ["add", "handler", "print"], 1, NOTHING),
    (as_it_is, ["add", "extension", "loafer_kit_redis:Redis"], 0, WRITTEN),
    (as_it_is, ["add", "extension", "redis"], 1, NOTHING),
    (as_it_is, ["add", "telemetry"], 0, WRITTEN),
    (as_it_is, ["add", "monitoring"], 0, WRITTEN),
    (extended, ["remove", "queue", "a"], 0, WRITTEN),
    (as_it_is, ["remove", "queue", "b"], 1, NOTHING),
    (as_it_is, ["remove", "handler", "print"], 0, WRITTEN),
    (behind, ["update"], 0, WRITTEN),
    (as_it_is, ["update"], 0, WRITTEN),
    (behind, ["update", "--dry-run"], 2, WRITTEN),
    (as_it_is, ["update", "--check"], 0, WRITTEN),
    (behind, ["update", "--check"], 1, WRITTEN),
    (in_conflict, ["update"], 1, WRITTEN),
    (misspelt, ["update"], 1, NOTHING),
    (without_lock, ["update"], 1, NOTHING),
    (as_it_is, ["check"], 0, CHECKED),
    (behind, ["check"], 1, CHECKED),
    (misspelt, ["check"], 1, NOTHING),
    (without_lock, ["check"], 1, NOTHING),
    (as_it_is, ["destroy"], 0, WRITTEN),
    (as_it_is, ["destroy", "--dry-run"], 2, WRITTEN),
    (edited, ["destroy"], 1, NOTHING),
    (without_lock, ["destroy"], 1, NOTHING),
    (as_it_is, ["doctor"], 1, FOUND),
    (misspelt, ["doctor"], 1, FOUND),
    (as_it_is, ["doctor", "nowhere"], 1, FOUND),
    (as_it_is, ["schema"], 0, SCHEMA),
    (as_it_is, ["templates"], 0, {"installed", "warnings"}),
    (as_it_is, ["send", "a", "x"], 1, NOTHING),
    (as_it_is, ["send", "a"], 2, NOTHING),
    (as_it_is, ["ctl", "status"], 1, NOTHING),
    (as_it_is, ["ctl", "dump"], 1, NOTHING),
    (as_it_is, ["top", "--once"], 1, NOTHING),
    (as_it_is, ["dlq", "list"], 1, NOTHING),
    (as_it_is, ["dlq", "show", "a"], 1, NOTHING),
    (as_it_is, ["dlq", "replay", "a"], 1, NOTHING),
    (as_it_is, ["dlq", "import", "none.jsonl", "a"], 1, NOTHING),
    (as_it_is, ["dlq", "purge", "a"], 1, NOTHING),
    (as_it_is, ["dlq", "move", "a"], 1, NOTHING),
    (as_it_is, ["dev", "nowhere"], 1, NOTHING),
    (as_it_is, ["dev", "--send", "b=x"], 1, NOTHING),
    (as_it_is, ["dev", "--send", "b"], 2, NOTHING),
]


@pytest.mark.parametrize(
    ("prepare", "arguments", "code", "keys"),
    [pytest.param(*case, id=f"{case[0].__name__}-{' '.join(case[1])}") for case in ENDINGS],
)
def test_stdout_is_json_or_nothing(project, prepare, arguments, code, keys):
    """When it is nothing, an error says why."""
    prepare(project)

    done = loafer_kit(*arguments, "--json")

    assert done.code == code, done.error
    assert set(json.loads(done.output or "{}")) == keys
    assert keys or done.error


def test_each_command_that_has_the_flag_is_among_them():
    """And no other."""

    def having(command, *names):
        command = command.load() if isinstance(command, LazyCommand) else command
        inner = getattr(command, "commands", None)
        if inner is None:
            has = any("--json" in parameter.opts for parameter in command.params)
            return {" ".join(names)} if has else set()
        return {found for name, child in inner.items() for found in having(child, *names, name)}

    tried = {" ".join(case[1]) for case in ENDINGS}
    flagged = having(get_command(app))
    assert flagged >= {"dev", "doctor", "new service", "send"}
    assert [name for name in flagged if not any(line.startswith(name) for line in tried)] == []


def test_a_refusal_says_what_would_be_written(project):
    """Into a folder with somebody's work in it."""
    edited(project)
    before = content(project)

    done = loafer_kit(*NEW, "--queue", "b", "--json")

    described = json.loads(done.output)
    assert (done.code, described["written"]) == (1, False)
    assert "loafer.toml" in [change["path"] for change in described["changes"]]
    assert "exists and was not touched" in done.error
    assert content(project) == before


def test_a_machine_gets_the_code_that_a_person_would_add_by_hand(project):
    """It is not recognised where it belongs."""
    unrecognised(project)

    described = json.loads(loafer_kit(*ADD_QUEUE, "--json").output)

    missing = next(item for item in described["missing"] if item["path"] == "foobar/routes.py")
    assert missing["why"]
    assert 'SQSRoute("b", handler=handlers.handle_b, handler_timeout=60)' in missing["snippet"]


def test_a_machine_gets_what_a_source_holds_and_a_spec_cannot_say(project):
    """As a person does, on stderr."""
    document = {"Resources": {"A": {"Type": "AWS::SQS::Queue"}, "B": {"Type": "AWS::S3::Bucket"}}}
    (project / "stack.json").write_text(json.dumps(document))

    done = loafer_kit("new", "service", "x", "--from-cloudformation", "stack.json", "--json")

    assert json.loads(done.output)["notes"] == [
        line.removeprefix("  ") for line in done.error.splitlines()[1:]
    ]
    assert done.error.startswith("left out, of stack.json:\n  ")


def test_conflicts_are_counted_before_the_error(project):
    """They were written."""
    in_conflict(project)

    done = loafer_kit("update", "--json")

    conflicts = {item["path"]: item["conflicts"] for item in json.loads(done.output)["changes"]}
    assert conflicts["foobar/routes.py"] == 1
    assert "conflicts are left in foobar/routes.py" in done.error


@pytest.mark.slow
@pytest.mark.parametrize("what", ["service", "extension"])
def test_on_a_terminal_nobody_is_asked(tmp_path, what):
    """A question is no JSON."""
    with Person("new", what, "--json", "--dry-run", cwd=tmp_path) as person:
        assert person.leave() == {"service": 1, "extension": 2}[what]
        assert "Name of" not in person.shown
