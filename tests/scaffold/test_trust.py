"""The code that a template brings, once it is trusted."""

import sys

import pytest
from scaffold.own_templates import SPEC, load, rendered, write

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold import trust


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

    made = rendered(template, trusted=True)

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
        rendered(template, trusted=True)
    assert str(caught.value).startswith(f"{template}: {message}")


def test_what_a_hook_says_is_a_note(tmp_path, capfd):
    """Standard output is the command's own, perhaps JSON."""
    rendered(hooked(tmp_path, post_gen_project_py="print('hello')"), trusted=True)

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

    assert rendered(template, trusted=True) == {"a": "A"}
    assert sys.path == before
    assert not [name for name in sys.modules if name.startswith("its_own")]


def test_an_extension_that_is_not_there_is_one_line(tmp_path):
    """Trust does not install it."""
    template = write(tmp_path, {"a": "a"}, {"slug": "x", "_extensions": ["not_there.X"]})

    with pytest.raises(ConfigurationError, match="cannot be made: No module named 'not_there'"):
        rendered(template, trusted=True)


@pytest.mark.parametrize("path", [".loafer-kit/lock.json", "a/.git", "sub/.loafer-kit/x"])
def test_a_hook_leaves_nothing_where_only_we_and_git_write(tmp_path, path):
    """Not in the lock's place, say."""
    text = f"import pathlib as p; f = p.Path({path!r}); p.Path('a').unlink()\n"
    text += "f.parent.mkdir(parents=True); f.write_text('x')\n"
    template = hooked(tmp_path, post_gen_project_py=text)

    with pytest.raises(ConfigurationError, match="is no path of a template's file"):
        rendered(template, trusted=True)


def test_what_would_run_can_be_looked_at(tmp_path):
    """Line by line, and nothing in it moves a terminal's cursor."""
    template = hooked(tmp_path, post_gen_project_py="import os\nprint('\x1b[2J ü')\n")
    write(template, {}, {"slug": "x", "_extensions": ["its_own.Shout", "jinja2.ext.do"]})
    (template / "its_own").mkdir()
    (template / "its_own/__init__.py").write_text("x = 1")
    (template / "its_own/fast.so").write_bytes(b"\x7fELF\0")
    (template / "hooks/post_gen_project.py~").write_text("an editor's backup")
    (template / "hooks/README.md").write_text("no hook")
    found = load(template)
    code = trust.code_of(found)

    assert str(code) == "hooks/post_gen_project.py, the extension its_own.Shout"
    assert list(trust.shown(found, code)) == [
        "hooks/post_gen_project.py:",
        "  | import os",
        "  | print('\\x1b[2J \\xfc')",
        "the extension its_own.Shout",
        "its_own/__init__.py, which can be imported:",
        "  | x = 1",
        "its_own/fast.so, which can be imported:",
        "  | 5 bytes that are no text",
    ]


def test_a_template_without_code_needs_no_trust(tmp_path):
    """Extensions that read and run nothing are as good as ours."""
    variables = {
        "slug": "x",
        "_extensions": ["jinja2.ext.do", "cookiecutter.extensions.JsonifyExtension"],
    }

    assert not trust.code_of(load(write(tmp_path, {"a": "a"}, variables)))
    assert rendered(tmp_path, SPEC, trusted=True) == {"a": "a"}


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
