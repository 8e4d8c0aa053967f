"""What a stranger wrote, on a real terminal: it is shown, and moves nothing there."""

import json
import subprocess

import pytest
from kept_projects import content, loafer_kit, replace
from scaffold.custom_templates import write
from terminals import COMMAND, Person

from loafer_kit.scaffold.project import locks

pytestmark = pytest.mark.slow

#: Goes up a line and clears it: what stands there was never seen.
HIDING = "safe\n\x1b[1A\x1b[2Kevil\u202e"
VARIABLES = {"project_name": "x", "slug": "{{ cookiecutter.project_name }}"}
OURS = ["new", "service", "foobar", "--queue", "orders"]
NEW = [*OURS, "--template", "theirs", "--set", "slug=foobar", "--trust"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def seen(*arguments, code, **options):
    """What a person sees of a command; nothing of it hides anything."""
    with Person(*arguments, **options) as person:
        assert person.leave() == code, person.shown
    return harmless(person.shown)


def harmless(shown):
    assert "\x1b[1A" not in shown
    assert "\x1b[2K" not in shown
    assert "\u202e" not in shown
    return shown


def test_a_diff_shows_what_a_file_holds(here):
    """In our colours, and in no others."""
    write(here / "theirs", {"a.txt": f"{HIDING}é\t\n"}, VARIABLES)

    shown = seen(*NEW, "--diff", code=2)

    assert "\x1b[32m+safe\r\n" in shown
    assert "\x1b[32m+\\x1b[1A\\x1b[2Kevil\\u202eé\t\r\n" in shown


def test_the_diff_of_an_edited_file_shows_what_it_holds(here):
    """When a person asks for it before it is overwritten."""
    assert loafer_kit(*OURS).code == 0
    replace(here / "foobar/loafer.toml", "name", f"# {HIDING}\nname")

    with Person(*OURS, "--queue", "b") as person:
        person.answer("Overwrite it?", "d\n")
        person.wait_for("evil\\u202e")
        person.answer("Overwrite it?", "q\n")
        person.leave()
        harmless(person.shown)


def test_a_diff_that_goes_elsewhere_is_exact(here):
    """`git apply` makes of it what the command itself would have written."""
    files = {"a.txt": f"{HIDING}\r\nb\x0c\x85\u2028c\n", "b.txt": b"caf\xe9 \x1b[0m\nno end"}
    write(here / "theirs", files, {**VARIABLES, "_copy_without_render": ["b.txt"]})
    (here / "applied").mkdir()

    done = subprocess.run([*COMMAND, *NEW, "--diff"], capture_output=True, check=False)
    (here / "a.patch").write_bytes(done.stdout)
    subprocess.run(["git", "apply", "../a.patch"], cwd="applied", check=True)
    assert loafer_kit(*NEW).code == 0

    written = content(here / "foobar")
    del written[locks.PATH]
    assert content(here / "applied") == written


def test_json_holds_what_a_file_holds(here):
    """Not as it is shown: JSON has escapes of its own."""
    write(here / "theirs", {"a.txt": f"{HIDING}\x7f\n"}, VARIABLES)

    with (
        (here / "changes.json").open("w+") as output,
        Person(*NEW, "--diff", "--json", stdout=output) as person,
    ):
        assert person.leave() == 2
        output.seek(0)
        described = json.load(output)

    assert "+safe\n+\x1b[1A\x1b[2Kevil\u202e\x7f\n" in described["changes"][0]["diff"]
    assert "\\u001b[1A" in seen(*NEW, "--diff", "--json", code=2)


def test_an_error_shows_what_it_names(here):
    """Choices and variables of a template, and its extensions before they are imported."""
    variables = {"slug": "x", "kind": [HIDING, "b"], HIDING: ""}
    for settings, expected in (
        (["kind=c"], r"is none of safe\n\x1b[1A\x1b[2Kevil\u202e, b"),
        (["other=c"], r"it has slug, kind, safe\n\x1b[1A\x1b[2Kevil\u202e"),
        (["kind=b"], r"extensions  safe\n\x1b[1A\x1b[2Kevil\u202e"),
    ):
        extensions = {"_extensions": [HIDING]} if "extensions" in expected else {}
        write(here / "theirs", {"a.txt": "{% evil %}"}, {**variables, **extensions})
        options = [word for setting in settings for word in ("--set", setting)]
        assert expected in seen(*NEW, *options, code=1)


def test_a_refusal_to_take_back_shows_the_command_of_the_lock(here):
    """In one line, whatever the lock says that it was."""
    assert loafer_kit(*OURS).code == 0
    file = here / "foobar" / locks.PATH
    values = json.loads(file.read_text())
    values["records"][0]["command"] = HIDING
    file.write_text(json.dumps(values))
    replace(here / "foobar/loafer.toml", "name", "# mine\nname")

    shown = seen("destroy", "foobar", code=1)
    assert r"edited since `loafer-kit safe\n\x1b[1A\x1b[2Kevil\u202e`: loafer.toml" in shown


def test_a_drift_is_one_line_whatever_a_file_is_called(here):
    """Here a module that takes a line for itself."""
    assert loafer_kit(*OURS).code == 0
    routes = 'from loafer_kit.ext.aws import SQSRoute\nroute = SQSRoute("x", handler=x)\n'
    (here / f"foobar/foobar/{HIDING}.py").write_text(routes)

    shown = seen("check", "foobar", code=1)
    assert r"foobar/safe\n\x1b[1A\x1b[2Kevil\u202e.py:2: the queue 'x' is not in" in shown


def test_a_document_s_words_are_shown(here):
    """Its problems, and what is left out of it."""
    resources = {"a": {"Type": "AWS::SQS::Queue"}, HIDING: {"Type": HIDING}}
    (here / "t.json").write_text(json.dumps({"Resources": resources}))

    assert "evil" in seen("new", "service", "x", "--from-cloudformation", "t.json", code=0)


def test_a_command_to_copy_is_one_command(here):
    """A folder's name may mean something to a shell."""
    folder = here / "x; touch pwned #"
    folder.mkdir()

    done = loafer_kit(*OURS, "--output-dir", folder)
    assert f"\nNext: cd '{folder}/foobar'\n" in done.output

    replace(folder / "foobar/loafer.toml", 'name = "orders"', 'name = "orders"\nwait_time = 3')
    routes = folder / "foobar/foobar/routes.py"
    replace(routes, '"orders",', '"orders", prefetch=7,')
    done = loafer_kit("update", folder / "foobar")
    assert f"run `loafer-kit check '{folder}/foobar'`" in done.error


def test_the_command_of_a_template_s_purpose_is_one_command(here):
    """The template says itself what it is for."""
    write(here / "theirs", {"a": "x"}, {**VARIABLES, "_loafer_kit": "x; touch pwned #"})

    assert "`loafer-kit new 'x; touch pwned #'`" in loafer_kit(*NEW).error
