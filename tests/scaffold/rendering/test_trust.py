"""The code that a template brings, once it is trusted."""

import sys

import pytest
from scaffold.own_templates import SPEC, leave, load, rendered, write

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.rendering import trust


def hooked(folder, **hooks):
    """A template with hooks: `post_gen_project_py="…"`."""
    template = write(folder, {"a": "a", "b": "b"})
    (template / "hooks").mkdir()
    for name, text in hooks.items():
        stem, _, suffix = name.rpartition("_")
        (template / f"hooks/{stem}.{suffix}").write_text(text)
    return template


def test_hooks_run_where_the_files_are(tmp_path):
    """One before there are any, one after; both rendered, and what they leave is the project."""
    template = hooked(
        tmp_path,
        pre_gen_project_sh="#!/bin/sh\nls > before\n",
        post_gen_project_py="import os, pathlib\n"
        "os.unlink('b')\n"
        "pathlib.Path('made').mkdir()\n"
        "pathlib.Path('made/after').write_text('{{ cookiecutter.slug }} ' + pathlib.Path().resolve().name)\n"
        "pathlib.Path('.git').mkdir()\n"
        "pathlib.Path('.git/config').write_text('x')\n",
    )

    made = rendered(template, leave=leave)

    assert made == {"a": "a", "before": "before\n", "made/after": "foobar foobar"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "post_gen_project_py",
            "raise SystemExit(3)",
            "hooks/post_gen_project.py failed with exit",
        ),
        ("pre_gen_project_sh", "#!/bin/sh\nexit 3", "hooks/pre_gen_project.sh failed with exit"),
        ("pre_gen_project_sh", "#!/nowhere\n", "hooks/pre_gen_project.sh cannot be run: No such"),
        ("pre_gen_project_py", "{{ cookiecutter.nme }}", "<template>:1: UndefinedError: "),
    ],
)
def test_a_hook_that_fails_makes_nothing(tmp_path, name, text, message, capfd):
    """It is named."""
    template = hooked(tmp_path, **{name: text})

    with pytest.raises(ConfigurationError) as caught:
        rendered(template, leave=leave)
    assert str(caught.value).startswith(f"{template}: {message}")


def test_what_a_hook_says_is_a_note(tmp_path, capfd):
    """Standard output is the command's own, perhaps JSON."""
    rendered(hooked(tmp_path, post_gen_project_py="print('hello')"), leave=leave)

    assert capfd.readouterr() == ("", "hello\n")


EXTENSION = """
from jinja2.ext import Extension
from its_own.helpers import shout

class Shout(Extension):
    def __init__(self, environment):
        super().__init__(environment)
        environment.filters["shout"] = shout
"""


def test_a_template_s_own_extension_is_imported_and_forgotten(tmp_path):
    """A module or a package beside `cookiecutter.json`."""
    variables = {"slug": "x", "_extensions": ["its_own.Shout"]}
    template = write(tmp_path, {"a": "{{ 'a'|shout }}"}, variables)
    package = template / "its_own"
    package.mkdir()
    (package / "__init__.py").write_text(EXTENSION)
    (package / "helpers.py").write_text("def shout(text): return text.upper()")
    before = list(sys.path)

    assert rendered(template, leave=leave) == {"a": "A"}
    assert sys.path == before
    assert not [name for name in sys.modules if name.startswith("its_own")]


def test_an_extension_that_is_not_there_is_one_line(tmp_path):
    """Trust does not install it."""
    template = write(tmp_path, {"a": "a"}, {"slug": "x", "_extensions": ["not_there.X"]})

    with pytest.raises(ConfigurationError, match="cannot be made: No module named 'not_there'"):
        rendered(template, leave=leave)


@pytest.mark.parametrize("path", [".loafer-kit/lock.json", "a/.git", "sub/.loafer-kit/x"])
def test_a_hook_leaves_nothing_where_only_we_and_git_write(tmp_path, path):
    """Not in the lock's place, say."""
    text = f"import pathlib as p; f = p.Path({path!r}); p.Path('a').unlink()\n"
    text += "f.parent.mkdir(parents=True); f.write_text('x')\n"
    template = hooked(tmp_path, post_gen_project_py=text)

    with pytest.raises(ConfigurationError, match="is not a path for a template's file"):
        rendered(template, leave=leave)


def shown_of(template, refused="hooks", **keywords):
    """The code that is shown, up to the part that is refused."""
    shown = []

    def leave(lines):
        shown.extend(lines)
        return not lines[0].startswith(refused)

    with pytest.raises(ConfigurationError, match="its code may not run: nothing was written"):
        rendered(template, leave=leave, **keywords)
    return shown


def test_what_would_run_is_shown_first(tmp_path):
    """Line by line, and nothing in it moves a terminal's cursor."""
    template = hooked(tmp_path, post_gen_project_py="import os\nprint('\x1b[2J ü')\n")
    (template / "hooks/post_gen_project.py~").write_text("an editor's backup")
    (template / "hooks/README.md").write_text("no hook")
    (template / "hooks/old").mkdir()
    (template / "hooks/old/post_gen_project.py").write_text("no hook either")

    assert str(trust.code_of(load(template))) == "hooks/post_gen_project.py"
    assert shown_of(template) == [
        "hooks/post_gen_project.py:",
        "  | import os",
        "  | print('\\x1b[2J \\xfc')",
    ]


def test_what_would_be_imported_is_shown_first(tmp_path):
    """All files of a package, for any of them can be; an installed extension is named."""
    variables = {"slug": "x", "_extensions": ["its_own.Shout", "jinja2.ext.do", "other.X"]}
    template = write(tmp_path, {"a": "a"}, variables)
    (template / "its_own.py").write_text("x = 1")
    (template / "its_own").mkdir()
    (template / "its_own/__init__.py").write_text("y = 1")
    (template / "its_own/fast.so").write_bytes(b"\x7fELF\0")

    assert (
        str(trust.code_of(load(template))) == "the extension its_own.Shout, the extension other.X"
    )
    assert shown_of(template, refused="the extension") == [
        "the extension its_own.Shout",
        "the extension other.X",
        "its_own.py:",
        "  | x = 1",
        "its_own/__init__.py:",
        "  | y = 1",
        "its_own/fast.so:",
        "  | 5 bytes that are no text",
    ]


def test_a_hook_is_shown_as_it_runs(tmp_path):
    """With its variables, which may come from somebody's lock, and with all that it includes."""
    variables = {"slug": "x", "author": "A", "_jinja2_env_vars": {"line_statement_prefix": "#"}}
    hook = "print('{{ cookiecutter.author }}')\n# include 'notes.txt'\n"
    template = hooked(tmp_path, post_gen_project_py=hook)
    write(template, {}, variables)
    (template / "templates").mkdir()
    (template / "templates/notes.txt").write_text("import notes\n")

    assert shown_of(template, answers={"author": "');open('x');('"}) == [
        "hooks/post_gen_project.py:",
        "  | print('');open('x');('')",
        "  | import notes",
    ]


@pytest.mark.parametrize(
    ("first", "message"),
    [
        ("# coding: utf-7", "is in utf-7: only UTF-8 can"),
        ("# coding: nonsense", "unknown encoding"),
    ],
)
def test_python_that_reads_otherwise_than_it_is_shown_is_refused(tmp_path, first, message):
    """A comment in UTF-8 may be a statement in another encoding."""
    template = hooked(tmp_path, post_gen_project_py=f"{first}\n# +AAo-open('ran', 'w')\n")

    with pytest.raises(ConfigurationError, match=f"hooks/post_gen_project.py.*{message}"):
        rendered(template, leave=leave)


def test_a_template_without_code_needs_no_trust(tmp_path):
    """Extensions that read and run nothing are as good as ours."""
    variables = {
        "slug": "x",
        "_extensions": ["jinja2.ext.do", "cookiecutter.extensions.JsonifyExtension"],
    }

    assert not trust.code_of(load(write(tmp_path, {"a": "a"}, variables)))
    assert rendered(tmp_path, SPEC, leave=leave) == {"a": "a"}


def test_a_template_cannot_change_what_it_declares(tmp_path):
    """Not for the next rendering of the same one."""
    variables = {"slug": "x", "_list": [1], "_extensions": ["jinja2.ext.do"]}
    template = load(
        write(
            tmp_path,
            {"a": "{% do cookiecutter._list.append(2) %}{{ cookiecutter._list }}"},
            variables,
        )
    )

    assert [rendered(template) for _ in range(2)] == [{"a": "[1, 2]"}] * 2
