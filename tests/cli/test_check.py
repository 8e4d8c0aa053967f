"""`loafer-kit check`: whether spec, code and lock agree."""

import json
from dataclasses import replace as replaced
from pathlib import Path

import pytest
from kept_projects import content, loafer_kit, replace

from loafer_kit.scaffold.project import locks


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A service with most of what a spec can say, as it was written."""
    folder = tmp_path_factory.mktemp("written")
    done = loafer_kit(
        *("new", "service", "foobar", "--output-dir", folder),
        *("--queue", "a,wait_time=3,prefetch=0,concurrency=4,error_handler=on_error"),
        *("--queue", "b,topic=t,translator=News,dead_letter_queue=d"),
        *("--queue", "https://sqs.eu-west-1.amazonaws.com/123456789012/c,translator=none"),
        *("--queue", "e,kind=s3"),
        *("--queue", 'f,by=kind,types={"x.y": {}, "z": {}}'),
    )
    assert done.code == 0, done.error
    return content(folder / "foobar")


@pytest.fixture
def project(tmp_path, written):
    """A copy of it."""
    for path, text in written.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text)
    return tmp_path


def test_a_fresh_project_is_clean(project):
    """And `check` writes nothing."""
    before = content(project)

    done = loafer_kit("check", project)

    assert (done.code, done.output) == (0, "spec, code and lock agree\n")
    assert content(project) == before


def test_a_link_that_names_the_project_is_followed(project, tmp_path_factory, monkeypatch):
    """Commands that write follow it, too: the folder is the one that was asked for."""
    monkeypatch.chdir(tmp_path_factory.mktemp("links"))
    Path("link").symlink_to(project)
    Path("loop").symlink_to("loop")

    assert loafer_kit("check", "link").output == "spec, code and lock agree\n"
    assert loafer_kit("add", "handler", "extra", "--path", "link").code == 0
    assert "async def extra(" in (project / HANDLERS).read_text()
    assert loafer_kit("remove", "handler", "extra", "--path", "link").code == 0
    assert Path("link").is_symlink()
    assert loafer_kit("check", "loop").code == 1


ROUTES, HANDLERS, SPEC = "foobar/routes.py", "foobar/handlers.py", "loafer.toml"
DRIFTS = {
    "a queue added to the spec": (
        SPEC, '[[queues]]\nname = "b"', '[[queues]]\nname = "n"\n\n[[queues]]\nname = "b"',
        "loafer.toml:14: the queue 'n' was added since the code was written; `loafer-kit update`",
    ),
    "a setting of the spec": (
        SPEC, "wait_time = 3", "wait_time = 4",
        "the queue 'a' changed since the code was written; `loafer-kit update`",
    ),
    "the name of the spec": (
        SPEC, 'name = "foobar"', 'name = "Foobar"',
        "loafer.toml: the name changed since the code was written; `loafer-kit update`",
    ),
    "a setting of the code": (
        ROUTES, '"WaitTimeSeconds": 3', '"WaitTimeSeconds": 20',
        "routes.py:10: wait_time of the queue 'a' is '20' here, '3' in loafer.toml",
    ),
    "a setting taken out of the code": (
        ROUTES, "prefetch=0,", "",
        "prefetch of the queue 'a' is not set here, '0' in loafer.toml",
    ),
    "a dead-letter queue": (
        ROUTES, 'dead_letter_queue="d"', 'dead_letter_queue="e"',
        "dead_letter_queue of the queue 'b' is 'e' here, 'd' in loafer.toml",
    ),
    "another route": (
        ROUTES, "SNSQueueRoute(", "SQSRoute(",
        "the queue 'b' has a SQSRoute here, a SNSQueueRoute by loafer.toml",
    ),
    "another handler": (
        ROUTES, "handler=handlers.handle_b", "handler=handlers.handle_a",
        "handler of the queue 'b' is 'handle_a' here, 'handle_b' in loafer.toml",
    ),
    "another translator": (
        ROUTES, "message_translator=None", "message_translator=translators.News()",
        "translator of the queue 'c' is 'News' here, 'none' in loafer.toml",
    ),
    "another envelope": (
        ROUTES, "EnvelopeTranslator(s3)", "EnvelopeTranslator(sns, s3)",
        "translator of the queue 'e' is 'EnvelopeTranslator(sns, s3)' here, 'EnvelopeTranslator(s3)' in",
    ),
    "another type": (
        ROUTES, '"x.y": ', '"x.x": ',
        "here, \"by_type('kind', {'x.y': handle_x_y, 'z': handle_z})\" in loafer.toml",
    ),
    "a queue that the spec does not know": (
        ROUTES, "routes = (", 'routes = (\n    SQSRoute("z", handler=handlers.handle_a),',
        "routes.py:10: the queue 'z' is not in loafer.toml; add it there",
    ),
    "a route taken out": (
        ROUTES, '"a"', '"z"',
        "routes.py: no route reads the queue 'a'; `loafer-kit add route a` writes one",
    ),
    "a handler taken out": (
        HANDLERS, "async def handle_a(", "async def handled_a(",
        "foobar/handlers.py does not define handle_a, which the route of the queue 'a' needs",
    ),
    "an error handler taken out": (
        HANDLERS, "async def on_error(", "async def on_errors(",
        "foobar/handlers.py does not define on_error",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "line"), DRIFTS.values(), ids=DRIFTS)
def test_each_drift_is_one_line_with_its_remedy(project, file, old, new, line):
    """And the exit code is 1."""
    replace(project / file, old, new)

    done = loafer_kit("check", project)

    assert done.code == 1
    assert any(line in shown for shown in done.output.splitlines()), done.output
    assert all("; " in shown for shown in done.output.splitlines())


EDITS = {
    "a handler's body": (HANDLERS, "    return True", "    return bool(message)"),
    "a handler from elsewhere": (
        HANDLERS, "async def handle_a(", "from other import handle_a\n\n\nasync def another(",
    ),
    "a handler that is defined if an import fails": (
        HANDLERS, "async def handle_a(",
        "try:\n    import a\nexcept ImportError:\n    handle_a, a = None, 1\n\n\nasync def another(",
    ),
    "a value that only running tells": (ROUTES, "concurrency=4", "concurrency=settings.LIMIT"),
    "a queue that only running tells": (ROUTES, '"a",', "settings.QUEUE,"),
    "an option that a spec does not know": (ROUTES, "concurrency=4", "concurrency=4, drain=1"),
}  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new"), EDITS.values(), ids=EDITS)
def test_an_edit_alone_is_no_drift(project, file, old, new):
    """A project is there to be edited."""
    replace(project / file, old, new)

    done = loafer_kit("check", project)

    assert done.code == 0, done.output


def test_routes_may_move_to_another_module(project):
    """They are looked for in the whole package."""
    (project / "foobar/wiring").mkdir()
    (project / ROUTES).rename(project / "foobar/wiring/all.py")

    assert loafer_kit("check", project).code == 0


def test_machines_get_json(project):
    """Each drift with its place."""
    replace(project / ROUTES, "concurrency=4", "concurrency=5")

    done = loafer_kit("check", project, "--json")

    assert done.code == 1
    (drift,) = json.loads(done.output)["drifts"]
    assert (drift["path"], drift["line"]) == ("foobar/routes.py", 10)
    assert drift["remedy"]


def test_code_that_does_not_parse_is_one_line(project):
    """With its place."""
    (project / HANDLERS).write_text("def broken(:\n")

    done = loafer_kit("check", project)

    assert done.code == 1
    assert done.error.startswith("foobar/handlers.py:1: this is not valid Python")


def test_a_spec_with_problems_shows_them_all(project):
    """As `new` does."""
    replace(project / SPEC, "wait_time = 3", "wait_time = 99\nwait_tme = 1")

    done = loafer_kit("check", project)

    assert done.code == 1
    assert "2 problems" in done.error


def test_a_lock_whose_spec_is_no_longer_valid_is_a_drift(project):
    """As after a release that forbids what an earlier one allowed."""
    lock = locks.find(project)
    (project / locks.PATH).write_bytes(locks.content(replaced(lock, spec={"name": "foobar"})))

    done = loafer_kit("check", project)

    assert done.code == 1
    assert "lock.json: its spec is no longer valid; `loafer-kit update`" in done.output


def test_a_missing_module_is_to_be_restored(project):
    """No command writes it again: perhaps its code is elsewhere."""
    (project / ROUTES).unlink()

    output = loafer_kit("check", project).output

    assert (
        "foobar/routes.py: no route reads the queue 'a'; the file is missing: restore it from your "
        "version control, or remove the queue from loafer.toml\n"
    ) in output


def test_a_missing_spec_is_a_drift(project):
    """The code has nothing to agree with."""
    (project / SPEC).unlink()

    assert "loafer.toml: is missing; restore it" in loafer_kit("check", project).output
