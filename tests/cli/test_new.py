"""`loafer-kit new service` and `loafer-kit schema`, as a user runs them."""

import json
import subprocess

import programs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kept_projects import check_out_with_crlf, run
from terminals import Person
from typer.testing import CliRunner

from loafer_kit.cli import app
from loafer_kit.scaffold.project import locks
from loafer_kit.scaffold.sources import documents
from loafer_kit.scaffold.spec import validation


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home directory of the test's own, which must stay empty."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    yield home
    assert list(home.iterdir()) == []


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The folder in which the command is given."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return here


def start(*arguments):
    """Run the command as a process of its own."""
    return programs.run("-m", "loafer_kit", *arguments)


def content(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_one_command_writes_a_service(here):
    """It lists the files and says what to do next."""
    done = start("new", "service", "foobar", "--queue", "loafer-test")

    assert done.returncode == 0, done.stderr
    assert (here / "foobar/foobar/handlers.py").is_file()
    assert "create  foobar/foobar/handlers.py" in done.stdout
    assert "cd foobar" in done.stdout
    assert [path.name for path in here.iterdir()] == ["foobar"]


def test_the_same_spec_gives_the_same_bytes(here):
    """From flags, and from the spec file that the project keeps."""
    flags = ["--queue", "a,topic=t,wait_time=3", "--queue", "b.fifo,dead_letter_queue=c.fifo"]
    run("new", "service", "foobar", *flags)
    run("new", "service", "--spec", "foobar/loafer.toml", "--output-dir", "again")

    first = {path.relative_to(here): text for path, text in content(here / "foobar").items()}
    again = {path.relative_to(here / "again"): x for path, x in content(here / "again").items()}
    assert first == again


def test_a_project_has_a_lock(here):
    """It holds every generated file as it was rendered, and stays out of the Docker image."""
    run("new", "service", "foobar", "--queue", "loafer-test")

    lock = locks.find(here / "foobar")

    written = {path.relative_to(here / "foobar").as_posix() for path in content(here / "foobar")}
    assert set(lock.files) == written - {locks.PATH}
    assert lock.spec["queues"] == [
        {"name": "loafer-test", "handler": "handle_loafer_test", "handler_timeout": 60}
    ]
    ignored = (here / "foobar/.dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    assert not any(line.startswith("!") and "loafer-kit" in line for line in ignored)


def test_an_edit_outlives_a_second_run(here):
    """The same command again: nothing to do, nothing lost, and no need of --force."""
    run("new", "service", "foobar", "--queue", "loafer-test")
    (here / "foobar/foobar/handlers.py").write_text("mine")

    done = run("new", "service", "foobar", "--queue", "loafer-test")

    assert done.returncode == 0
    assert "unchanged" in done.stdout
    assert (here / "foobar/foobar/handlers.py").read_text() == "mine"


def test_a_diff_is_shown_and_nothing_written(here):
    """As `patch` reads it."""
    run("new", "service", "foobar", "--queue", "a")
    before = content(here)

    done = run("new", "service", "foobar", "--queue", "a", "--queue", "b", "--diff")

    assert done.returncode == 2
    assert "--- a/loafer.toml\n+++ b/loafer.toml\n@@" in done.stdout
    assert '+name = "b"\n' in done.stdout
    assert "\x1b" not in done.stdout
    assert content(here) == before


def test_machines_get_json(here):
    """The changes and their diffs; after a run as before one."""
    dry = run("new", "service", "foobar", "--queue", "a", "--dry-run", "--json")
    wet = run("new", "service", "foobar", "--queue", "a", "--json")
    none = run("new", "service", "foobar", "--queue", "a", "--dry-run", "--json")

    assert (dry.returncode, wet.returncode, none.returncode) == (2, 0, 0)
    assert json.loads(dry.stdout)["changes"] == json.loads(wet.stdout)["changes"]
    change = next(x for x in json.loads(dry.stdout)["changes"] if x["path"] == "loafer.toml")
    assert change["action"] == "create"
    assert change["diff"].startswith("--- /dev/null\n+++ b/loafer.toml\n")
    assert json.loads(none.stdout) == {
        "target": "foobar",
        "written": False,
        "changes": [],
        "notes": [],
    }


def test_a_dry_run_writes_nothing(here):
    """It lists what a run would write."""
    done = run("new", "service", "foobar", "--queue", "loafer-test", "--dry-run")

    assert done.returncode == 2
    assert "create  foobar/loafer.toml" in done.stdout
    assert list(here.iterdir()) == []


def test_all_problems_are_shown_at_once_without_a_traceback(here):
    """Each with its place, and a suggestion where one is near."""
    done = run("new", "service", "tests", "--queue", "a b", "--queue", "c,wait_tim=3")

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: 3 problems")
    assert "name: 'tests'" in done.stderr
    assert "queues[0].name" in done.stderr
    assert "did you mean 'wait_time'" in done.stderr
    assert list(here.iterdir()) == []


def test_what_is_missing_is_an_error_without_a_terminal(here):
    """Nobody is there to be asked."""
    done = run("new", "service")

    assert done.returncode == 1
    assert "name: is missing" in done.stderr
    assert "queues: " in done.stderr


def test_a_problem_in_a_file_has_its_line(here):
    """And the file's name."""
    (here / "spec.toml").write_text('name = "foobar"\n\n[[queues]]\nname = "a"\nwait_time = 99\n')

    done = run("new", "service", "--spec", "spec.toml")

    assert done.returncode == 1
    assert done.stderr == "error: spec.toml: queues[0].wait_time: 99 is more than 20 (line 5)\n"


def test_an_existing_folder_is_not_touched_without_force(here):
    """The error lists what would change."""
    run("new", "service", "foobar", "--queue", "loafer-test")
    (here / "foobar/foobar/handlers.py").write_text("mine")
    before = content(here)

    done = run("new", "service", "foobar", "--queue", "other")

    assert done.returncode == 1
    assert "conflict  foobar/foobar/handlers.py" in done.stdout
    assert "overwrite  foobar/loafer.toml" in done.stdout
    assert "--force" in done.stderr
    assert content(here) == before


def test_an_empty_folder_holds_nobodys_work(here):
    """It needs no `--force`; one that holds anything at all does."""
    (here / "foobar").mkdir()
    (here / "other").mkdir()
    (here / "other/notes").touch()

    empty = run("new", "service", "foobar", "--queue", "loafer-test")
    other = run("new", "service", "other", "--queue", "loafer-test")

    assert empty.returncode == 0, empty.stderr
    assert (here / "foobar/foobar/handlers.py").is_file()
    assert other.returncode == 1
    assert "other exists and was not touched" in other.stderr


@pytest.mark.parametrize("name", ["shop", "."])
def test_a_folder_that_a_host_of_repositories_made_needs_no_force(here, monkeypatch, name):
    """What is there stays, and what it lacks is said; a dot stands for the folder itself."""
    folder = here / "shop"
    subprocess.run(["git", "init", "-q", folder], check=True)
    (folder / "LICENSE").write_text("MIT")
    (folder / ".gitignore").write_text("*.pyc\n")
    monkeypatch.chdir(folder if name == "." else here)

    done = run("new", "service", name, "--queue", "orders")

    assert done.returncode == 0, done.stderr
    assert (folder / "LICENSE").read_text() == "MIT"
    assert (folder / ".gitignore").read_text() == "*.pyc\n"
    assert "keep  " in done.stdout
    assert ".gitignore  (it was there before; it lacks\n" in done.stdout
    assert "conflict" not in done.stdout
    assert (folder / "shop/handlers.py").is_file()
    assert run("check", str(folder)).stdout == "spec, code and lock agree\n"
    assert run("update", "--check", str(folder)).returncode == 0


@pytest.mark.parametrize("file", ["README.md", "shop.py", ".gitignored"])
def test_any_other_file_needs_force(here, file):
    """Somebody has begun."""
    (here / "shop").mkdir()
    (here / "shop/LICENSE").touch()
    (here / "shop" / file).touch()

    done = run("new", "service", "shop", "--queue", "orders")

    assert done.returncode == 1
    assert "exists and was not touched" in done.stderr


def test_force_changes_the_files_that_differ_and_no_other(here):
    """Files that are not the scaffold's stay."""
    run("new", "service", "foobar", "--queue", "loafer-test")
    before = content(here)
    (here / "foobar/foobar/handlers.py").write_text("mine")
    (here / "foobar/mine.py").write_text("mine")

    done = run("new", "service", "foobar", "--queue", "loafer-test", "--force")

    assert done.returncode == 0
    assert "overwrite  foobar/foobar/handlers.py" in done.stdout
    after = content(here)
    after.pop(here / "foobar" / locks.PATH), before.pop(here / "foobar" / locks.PATH)
    assert after == before | {here / "foobar/mine.py": b"mine"}


def test_force_keeps_the_line_ends_of_a_checkout_with_crlf(here):
    """The template's files are written over it, each as its place asks for."""
    run("new", "service", "foobar", "--queue", "loafer-test")
    check_out_with_crlf(here / "foobar")
    before = content(here)
    (here / "foobar/foobar/handlers.py").write_bytes(b"mine\r\n")

    done = run("new", "service", "foobar", "--queue", "loafer-test", "--force")

    assert done.returncode == 0
    assert "unchanged  " in done.stdout
    after = content(here)
    after.pop(here / "foobar" / locks.PATH), before.pop(here / "foobar" / locks.PATH)
    assert after == before


def test_a_link_in_the_projects_place_is_not_written_through(here, tmp_path):
    """With --force neither."""
    (tmp_path / "elsewhere").mkdir()
    (here / "foobar").symlink_to(tmp_path / "elsewhere")

    done = run("new", "service", "foobar", "--queue", "loafer-test", "--force")

    assert done.returncode == 1
    assert "symbolic link" in done.stderr
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_full_disk_leaves_nothing(here):
    """The limit on a file's size stands for the disk's end."""
    command = ("new", "service", "foobar", "--queue", "loafer-test")
    done = programs.run("-c", WITHOUT_SPACE, *command)

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert list(here.iterdir()) == []


WITHOUT_SPACE = """
import resource, signal
from loafer_kit.cli import main

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
main()
"""


def test_the_schema_is_json(here):
    """Editors complete a spec with it."""
    done = run("schema")

    assert done.returncode == 0
    queue = json.loads(done.stdout)["properties"]["queues"]["items"]
    assert "visibility_timeout" in queue["properties"]


@pytest.mark.slow
def test_on_a_terminal_it_asks_and_asks_again_after_a_bad_answer(here):
    """Defaults are offered, answers are judged at once."""
    with Person("new", "service") as person:
        person.answer("Name of the service: ", "asyncio\n")
        person.wait_for("would hide")
        person.answer("Name of the service: ", "foobar\n")
        person.answer("Queue (name or URL): ", "a b\n")
        person.wait_for("cannot name a queue")
        person.answer("Queue (name or URL): ", "orders.fifo\n")
        person.answer("[sqs]: ", "sqq\n")
        person.wait_for("did you mean 'sqs'")
        person.answer("[sqs]: ", "\n")
        person.answer("Handler [handle_orders]: ", "print\n")
        person.wait_for("built-in")
        person.answer("Handler [handle_orders]: ", "on_order\n")
        person.answer("dead-letter queue? [Y/n]: ", "\n")
        person.answer("Dead-letter queue [orders-dlq.fifo]: ", "\n")
        person.answer("Another queue? [y/N]: ", "y\n")
        person.answer("Queue (name or URL): ", "news\n")
        person.answer("[sqs]: ", "sns\n")
        person.answer("Topic [news]: ", "\n")
        person.answer("one that exists. [Y/n]: ", "n\n")
        person.answer("Handler [handle_news]: ", "on_order\n")
        person.wait_for("already the handler")
        person.answer("Handler [handle_news]: ", "\n")
        person.answer("dead-letter queue? [Y/n]: ", "n\n")
        person.answer("Another queue? [y/N]: ", "\n")

        assert person.leave() == 0
        service = validation.service(documents.read(here / "foobar/loafer.toml"))
        assert [
            (q.name, q.kind, q.handler, q.topic, q.dead_letter_queue) for q in service.queues
        ] == [
            ("orders.fifo", "sqs", "on_order", None, "orders-dlq.fifo"),
            ("news", "sns", "handle_news", "news", None),
        ]


@pytest.mark.slow
def test_a_queue_may_be_answered_with_its_settings(here):
    """As `--queue` takes them: judged at once, and not asked for again."""
    with Person("new", "service", "foobar") as person:
        person.answer("Queue (name or URL): ", "orders,wait_time=99,kind=sqs\n")
        person.wait_for("  wait_time: 99 is more than 20")
        person.answer("Queue (name or URL): ", "orders,wait_time\n")
        person.wait_for("  'wait_time' must have the form key=value")
        person.answer("Queue (name or URL): ", "orders,wait_time=9,topic=t,handler=on_order\n")
        person.answer("dead-letter queue? [Y/n]: ", "x\n")
        person.wait_for("  answer y or n")
        person.answer("dead-letter queue? [Y/n]: ", "N\n")
        person.answer("Another queue? [y/N]: ", "\n")

        assert person.leave() == 0
        assert "Kind" not in person.shown
        (queue,) = validation.service(documents.read(here / "foobar/loafer.toml")).queues
        assert (queue.topic, queue.handler, queue.options) == (
            "t",
            "on_order",
            {"wait_time": 9, "handler_timeout": 60},
        )


@pytest.mark.slow
def test_on_a_terminal_what_was_given_is_not_asked_for(here):
    """With everything given, there is no question."""
    with Person("new", "service", "foobar", "--queue", "loafer-test") as person:

        assert person.leave() == 0
        assert "?" not in person.shown
        assert (here / "foobar").is_dir()


@pytest.mark.slow
def test_ctrl_d_at_a_question_ends_it_all(here):
    """With the exit code of Ctrl-C."""
    with Person("new", "service") as person:
        person.answer("Name of the service: ", "\x04")
        person.wait_for("Aborted!")
        assert person.leave() == 130
    assert list(here.iterdir()) == []


@pytest.mark.slow
def test_ctrl_c_at_a_question_leaves_nothing(here):
    """And shows no traceback."""
    with Person("new", "service") as person:
        person.wait_for("Name of the service: ")
        person.interrupt()

        assert person.leave() != 0
        assert "Traceback" not in person.shown
        assert list(here.iterdir()) == []


def edited(here):
    """A project whose handlers and README were edited, to be made again with a second queue."""
    run("new", "service", "foobar", "--queue", "a")
    for file in ("foobar/handlers.py", "README.md"):
        path = here / "foobar" / file
        path.write_text(path.read_text().replace("Handle", "Treat", 1) + "# mine\n")
    return ["new", "service", "foobar", "--queue", "a", "--queue", "b"]


@pytest.mark.slow
def test_on_a_terminal_it_asks_about_edited_files(here):
    """No is the default; a diff first, if wanted; files that nobody edited need no question."""
    command = edited(here)
    with Person(*command) as person:
        person.answer("README.md was edited. Overwrite it? [n]o/yes/diff/merge/all/quit", "?\n")
        person.wait_for("q: write nothing at all")
        person.answer("all/quit", "d\n")
        person.wait_for("+| `b` | `handlers.handle_b` |")
        person.answer("all/quit", "\n")
        person.answer("handlers.py was edited. Overwrite it?", "yes\n")

        assert person.leave() == 0
    readme = (here / "foobar/README.md").read_text()
    assert "Treats" in readme
    assert "handle_b" not in readme
    assert "Treat" not in (here / "foobar/foobar/handlers.py").read_text()
    assert "handle_b" in (here / "foobar/foobar/routes.py").read_text()


@pytest.mark.slow
def test_on_a_terminal_line_ends_are_not_asked_about(here):
    """Only the files are that somebody edited; what is written over one keeps its line ends."""
    command = edited(here)
    check_out_with_crlf(here / "foobar")
    with Person(*command) as person:
        person.answer("README.md was edited.", "n\n")
        person.answer("handlers.py was edited.", "y\n")

        assert person.leave() == 0
        assert "was edited" not in person.shown
    for file in content(here).values():
        assert file.count(b"\r\n") == file.count(b"\n")
    assert b"handle_b" in (here / "foobar/foobar/handlers.py").read_bytes()


@pytest.mark.slow
def test_on_a_terminal_one_answer_may_stand_for_all(here):
    """All is yes, from here on."""
    command = edited(here)
    with Person(*command) as person:
        person.answer("README.md was edited.", "a\n")

        assert person.leave() == 0
    assert "# mine" not in (here / "foobar/foobar/handlers.py").read_text()


@pytest.mark.slow
def test_on_a_terminal_conflicts_of_a_merge_are_no_success(here):
    """They are marked and listed."""
    command = edited(here)
    with Person(*command) as person:
        person.answer("README.md was edited.", "n\n")
        person.answer("handlers.py was edited.", "merge\n")
        person.wait_for("error: conflicts are left in foobar/handlers.py")

        assert person.leave() == 1
    assert "<<<<<<< yours\n# mine\n" in (here / "foobar/foobar/handlers.py").read_text()


@pytest.mark.slow
def test_on_a_terminal_quitting_changes_nothing(here):
    """Neither the files that were asked for, nor any other."""
    command = edited(here)
    before = content(here)
    with Person(*command) as person:
        person.answer("README.md was edited.", "y\n")
        person.answer("handlers.py was edited.", "q\n")

        assert person.leave() == 1
    assert content(here) == before


hostile = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")) | st.sampled_from(
    ["../x", "/tmp/x", "a/../../x", "{{ 7*7 }}", "{% raw %}", "'", '"', "\\", "\n", "\u2028", "-h", ""]
)  # fmt: skip


@given(st.lists(hostile, max_size=3), hostile)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_hostile_argument_leads_anywhere(here, queues, name):
    """Whatever is typed: a service in its folder, or an error and nothing at all."""
    arguments = [argument for queue in queues for argument in ("--queue", queue)]

    before = list(here.iterdir())

    result = CliRunner().invoke(app, ["new", "service", *arguments, "--", name])

    assert result.exit_code in (0, 1, 2)
    assert result.exit_code == 0 or list(here.iterdir()) == before
    assert all(path.name.isidentifier() for path in here.iterdir())


@pytest.mark.parametrize(("name", "said"), [("foo-bar", True), ("foobar", False)])
def test_a_package_of_another_name_than_the_project_is_said(here, name, said):
    """`foo-bar` cannot be imported."""
    done = CliRunner().invoke(app, ["new", "service", name, "--queue", "a", "--dry-run"])

    line = "foo-bar is the package foo_bar: its folder and its imports have that name.\n"
    assert (line in done.output) is said


@pytest.mark.parametrize(
    "command", [["check"], ["update", "--check"], ["add", "handler", "on_a"], ["destroy"]]
)
def test_commands_work_from_a_folder_of_the_project(here, monkeypatch, command):
    """The project is the one around it."""
    done = CliRunner().invoke(app, ["new", "service", "foobar", "--queue", "a"])
    assert done.exit_code == 0, done.output
    monkeypatch.chdir(here / "foobar/tests")

    done = CliRunner().invoke(app, command)

    assert done.exit_code == 0, done.output
