"""register_commands: how a function's signature becomes a command."""

import contextlib
import io
import keyword
import os
import subprocess
import sys
from decimal import Decimal
from enum import Enum
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from loafer_kit.cli import app, register_commands
from loafer_kit.cli.extension_commands import groups_of
from loafer_kit.commands import isolated, registrations
from loafer_kit.exceptions import ConfigurationError


@pytest.fixture(autouse=True)
def nothing_registered():
    """What a test registers is gone after it."""
    with isolated():
        yield


def run(*arguments, functions=(), service="the application", **keywords):
    """Register functions as the namespace `fraggle` and run its command line."""
    if functions or keywords:
        register_commands("fraggle", list(functions), **keywords)
    out, group = io.StringIO(), groups_of(registrations())["fraggle"]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            group.main(list(arguments), "fraggle", obj=service)
        except SystemExit as exit_:
            return SimpleNamespace(exit_code=exit_.code, output=out.getvalue())
    raise AssertionError("a command always exits")


def output(*arguments, functions):
    done = run(*arguments, functions=functions)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_positional_parameter_is_a_required_argument():
    """`def trash(heap)` → `trash HEAP`."""

    def trash(heap):
        return f"heap={heap}"

    assert output("trash", "marjory", functions=[trash]) == "heap=marjory\n"
    missing = run("trash")
    assert missing.exit_code == 2
    assert "Missing argument 'HEAP'" in missing.output


def test_a_default_makes_the_argument_optional():
    """`def trash(heap='marjory')` → `trash [HEAP]`."""

    def trash(heap="marjory"):
        return heap

    assert output("trash", functions=[trash]) == "marjory\n"
    assert output("trash", "other", functions=[trash]) == "other\n"
    assert "[HEAP]" in run("trash", "--help").output


def test_a_keyword_only_parameter_is_an_option():
    """`def trash(*, heap='marjory')` → `trash [--heap HEAP]`, but no `-h`: that is help."""

    def trash(*, heap="marjory"):
        return heap

    assert output("trash", functions=[trash]) == "marjory\n"
    assert output("trash", "--heap", "other", functions=[trash]) == "other\n"
    text = run("trash", "--help").output
    assert "--heap HEAP" in text
    assert "-h," not in text


def test_an_option_has_its_letter_when_no_other_wants_it():
    """Only keyword-only parameters compete."""

    def trash(size="", *, garbage="g", size_limit=1, sort="s"):
        return f"{garbage} {size_limit} {sort}"

    assert output("trash", "-g", "other", functions=[trash]) == "other 1 s\n"
    assert run("trash", "-s", "x").exit_code == 2


def test_a_keyword_only_parameter_without_default_is_required():
    """Doozer crashes there."""

    def trash(*, garbage):
        return garbage

    assert output("trash", "--garbage", "all", functions=[trash]) == "all\n"
    assert run("trash").exit_code == 2


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("default", "given", "received"),
    [
        (1, "5", 5),
        (1.5, "2", 2.0),
        ("a", "5", "5"),
        (None, "5", "5"),
        (Decimal(1), "0.1", Decimal("0.1")),
        (Path(), "x", Path("x")),
        (Colour.RED, "red", Colour.RED),
    ],
)
def test_the_type_follows_the_default(default, given, received):
    """Positional and keyword-only alike."""
    seen = []

    def trash(heap=default, *, garbage=default):
        seen.extend((heap, garbage))

    output("trash", given, "--garbage", given, functions=[trash])
    assert seen == [received, received]


def annotated(kind):
    def trash(heap, *, garbage):
        seen.extend((heap, garbage))

    trash.__annotations__ = {"heap": kind, "garbage": kind}
    seen = []
    return trash, seen


@pytest.mark.parametrize(
    ("kind", "given", "received"),
    [
        (int, "5", 5),
        (int | None, "5", 5),
        (int | str, "5", "5"),
        (Colour, "red", Colour.RED),
        ("Path", "x", Path("x")),
        ("NameOnlyForTypeCheckers", "x", "x"),
    ],
)
def test_the_type_follows_the_annotation(kind, given, received):
    """It counts more than the default."""
    trash, seen = annotated(kind)
    output("trash", given, "--garbage", given, functions=[trash])
    assert seen == [received, received]


@pytest.mark.parametrize("kind", [list[int], tuple[int, ...], set[int]])
def test_collections_take_several_values(kind):
    """An argument as many as follow, an option as often as it is given."""
    trash, seen = annotated(kind)
    output("trash", "1", "2", "--garbage", "3", "--garbage", "4", functions=[trash])
    assert seen == [[1, 2], [3, 4]]


def test_a_wrong_value_is_a_usage_error():
    """Exit code 2, and the name of the argument."""

    def trash(heap=1):
        raise AssertionError

    done = run("trash", "many", functions=[trash])
    assert done.exit_code == 2
    assert "HEAP" in done.output


def test_a_bool_option_is_a_flag():
    """One that is on by default is turned off by `--no-…`."""

    def trash(*, dry_run=False, cache=True):
        return f"{dry_run} {cache}"

    assert output("trash", functions=[trash]) == "False True\n"
    assert output("trash", "--dry-run", "--no-cache", functions=[trash]) == "True False\n"
    assert output("trash", "-d", functions=[trash]) == "True True\n"


def test_underscores_become_hyphens():
    """In the names of commands and options."""

    def take_out(*, dust_bin=""):
        return dust_bin

    assert output("take-out", "--dust-bin", "x", functions=[take_out]) == "x\n"


def test_the_docstring_is_the_help():
    """The first line in the list of commands, all of it in the command's own help."""

    def trash():
        """Take the trash out.

        Twice a week.
        """

    run(functions=[trash])
    assert "Take the trash out." in run("--help").output
    text = run("trash", "--help").output
    assert "Take the trash out." in text
    assert "Twice a week." in text


def test_app_receives_the_service():
    """It is no argument of the command."""

    def trash(heap, app, *, size=1):
        return f"{heap} {app} {size}"

    assert output("trash", "h", "-s", "2", functions=[trash]) == "h the application 2\n"


def test_what_is_returned_or_yielded_is_printed():
    """Line by line; None is nothing."""

    def nothing():
        return None

    def several():
        yield 1
        yield "two"

    def listed():
        return [1, "two"]

    def as_tuple():
        return ()

    functions = [nothing, several, listed, as_tuple]
    assert output("nothing", functions=functions) == ""
    assert output("several", functions=functions) == "1\ntwo\n"
    assert output("listed", functions=functions) == "1\ntwo\n"
    assert output("as-tuple", functions=functions) == ""


def test_async_functions_are_awaited():
    """Coroutine functions and async generators; Doozer prints the coroutine."""

    async def one():
        return 1

    async def several():
        yield 1
        yield 2

    functions = [one, several]
    assert output("one", functions=functions) == "1\n"
    assert output("several", functions=functions) == "1\n2\n"


def test_quiet_and_verbose_are_counted():
    """Not given they are None, as documented, or the parameter's own default."""

    def trash(heap="h", *, verbose, quiet=0, volume="x"):
        return f"{verbose} {quiet} {volume}"

    assert output("trash", functions=[trash]) == "None 0 x\n"
    assert output("trash", "-vvvv", functions=[trash]) == "4 0 x\n"
    assert output("trash", "-q", "--quiet", "--volume", "y", functions=[trash]) == "None 2 y\n"


def test_a_positional_verbose_is_counted_too():
    """Whatever kind of parameter it is."""

    def trash(verbose):
        return verbose

    assert output("trash", "--verbose", functions=[trash]) == "1\n"


def test_quiet_and_verbose_exclude_each_other():
    """A usage error, when a command has both."""

    def trash(*, verbose, quiet):
        raise AssertionError

    done = run("trash", "-v", "-q", functions=[trash])
    assert done.exit_code == 2
    assert "exclude each other" in done.output


def test_options_do_not_leak_between_functions():
    """Of one call, or of several into the same namespace."""

    def first(*, alpha=1):
        """First."""

    def second(*, beta=1):
        """Second."""

    def third(*, gamma=1):
        """Third."""

    register_commands("fraggle", [first, second])
    register_commands("fraggle", [third])
    assert "--alpha" not in run("second", "--help").output
    assert run("third", "--alpha", "1").exit_code == 2
    assert run("third", "--gamma", "1").exit_code == 0


def test_keywords_describe_namespace_and_commands():
    """Those that Doozer passes to argparse and that mean something here."""

    def trash():
        """Replaced."""

    done = run(
        "--help",
        functions=[trash],
        namespace_kwargs={"title": "not shown", "description": "All about trash."},
        func_kwargs={"help": "Take it out."},
    )
    assert "All about trash." in done.output
    assert "Take it out." in done.output
    assert "not shown" not in done.output


@pytest.mark.parametrize("which", ["namespace_kwargs", "func_kwargs"])
def test_unknown_keywords_are_one_line(which):
    """With those that there are."""
    with pytest.raises(ConfigurationError, match=f"{which} cannot have metavar; it may have"):
        run(functions=[print], **{which: {"metavar": "X"}})


@settings(max_examples=30, deadline=None)
@given(st.lists(st.from_regex(r"[a-z][a-z_]{0,5}", fullmatch=True), unique=True, max_size=6))
def test_any_names_give_a_command(names):
    """No set of option names makes flags that clash."""
    taken = ("app", "quiet", "verbose", "help")
    names = [name for name in names if name not in taken and not keyword.iskeyword(name)]
    names = list({name.strip("_"): name for name in names}.values())
    scope = {}
    exec(
        f"def trash(*, {''.join(f'{n}=0, ' for n in names)}verbose, **rest): return 'done'", scope
    )  # noqa: S102
    with isolated():
        assert output("trash", functions=[scope["trash"]]) == "done\n"


MODULE = """
from loafer_kit import Application, Extension
from loafer_kit.cli import register_commands

def trash(app, heap):
    "Take the trash out."
    print(app.name, heap)

class Fraggle(Extension):
    def register_cli(self):
        register_commands(NAMESPACE, [trash])

app = Application("rock")
Fraggle(app)
"""


@pytest.fixture
def rock(project):
    """A module with an application whose extension has commands."""
    project.write("rock.py", f"NAMESPACE = 'fraggle'\n{MODULE}")
    project.write("clash.py", f"NAMESPACE = 'run'\n{MODULE}")


@pytest.mark.slow
def test_the_app_option_brings_the_commands(rock, project):
    """In the help, and to run."""
    done = project.command("--app", "rock", "fraggle", "trash", "marjory")
    assert (done.returncode, done.stdout) == (0, "rock marjory\n")
    assert "Take the trash out." in project.command("-a", "rock:app", "fraggle", "--help").stdout
    alone = project.command("-a", "rock")
    assert (alone.returncode, alone.stderr) == (0, "")
    assert "fraggle" in alone.stdout


def test_without_the_app_option_there_are_no_such_commands(rock, project):
    """Nothing is imported that was not asked for."""
    done = CliRunner().invoke(app, ["fraggle", "trash", "marjory"])
    assert done.exit_code == 2
    assert "No such command 'fraggle'" in done.output


@pytest.mark.slow
@pytest.mark.parametrize("path", ["nothing", "rock:nothing"])
def test_an_app_that_is_not_there_is_one_line(rock, project, path):
    """As for `run`."""
    done = project.command("--app", path, "fraggle", "trash", "marjory")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_namespace_must_not_hide_a_command(rock, project):
    """`run` stays what it is."""
    done = project.command("--app", "clash", "run", "rock")
    assert done.returncode == 1
    assert "commands 'run', but loafer-kit has a command of that name" in done.stderr


@pytest.mark.slow
def test_registered_commands_complete_in_shells(rock, project):
    """What the shell asks when TAB is pressed."""
    for words, expected in (("fra", "fraggle"), ("fraggle tr", "trash")):
        line = f"loafer-kit --app rock {words}"
        done = subprocess.run(
            [Path(sys.executable).with_name("loafer-kit")],
            check=False,
            capture_output=True,
            text=True,
            env={
                **os.environ,
                "_LOAFER_KIT_COMPLETE": "complete_bash",
                "COMP_WORDS": line,
                "COMP_CWORD": str(len(line.split()) - 1),
            },
        )
        assert done.stdout.split() == [expected], done


@pytest.mark.parametrize(
    "text", ["the heap to take", "heap", "id", "1 + 1", "3", "a (strange] text", "", "module.heap"]
)
@pytest.mark.parametrize("keyword_only", [False, True])
def test_an_annotation_that_is_text_is_help(text, keyword_only):
    """As in Doozer; also text that Python could take for an expression."""

    def trash(heap="m"):
        return heap

    if keyword_only:

        def trash(*, heap="m"):
            return heap

    trash.__annotations__["heap"] = text
    assert output("trash", functions=[trash]) == "m\n"
    assert text in run("trash", "--help").output


def test_text_that_names_a_type_is_a_type():
    """Postponed annotations, and names imported for type checkers only, are not help."""

    def trash(count: "int", path: "Unknown" = "p", *, loud: "bool" = False):  # noqa: F821
        return f"{count + 1} {path} {loud}"

    assert output("trash", "1", "--loud", functions=[trash]) == "2 p True\n"
    assert "Unknown" not in run("trash", "--help").output


def test_quoted_text_is_help_where_annotations_are_postponed():
    """`from __future__ import annotations` quotes it a second time."""
    names = {}
    exec(
        "from __future__ import annotations\n"
        "def trash(heap: 'the heap to take' = 'm', count: int = 1, path: unknown = 'p'):\n"
        "    return f'{heap} {count + 1} {path}'\n",
        names,
    )
    assert output("trash", "x", "2", functions=[names["trash"]]) == "x 3 p\n"
    shown = run("trash", "--help").output
    assert "the heap to take" in shown
    assert "unknown" not in shown
