"""Custom templates: what cookiecutter makes of them, and what becomes of it."""

import json
import os
import subprocess
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path

import pytest
from cookiecutter.generate import generate_context, generate_files
from cookiecutter.prompt import prompt_for_config
from scaffold.custom_templates import (
    PROJECT,
    SPEC,
    commit,
    git,
    hooked,
    load,
    render,
    rendered,
    write,
)

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.rendering import custom_templates

pytestmark = pytest.mark.slow

LOAFER = {"slug": "x", "_loafer_kit": "service"}


def refused(template, **keywords):
    """The one line that says why nothing was made of a template."""
    with pytest.raises(ConfigurationError) as caught:
        rendered(template, **keywords)
    assert "\n" not in str(caught.value)
    assert tempfile.gettempdir() + "/loafer-kit-" not in str(caught.value)
    return str(caught.value)


# Variables and files


def of_cookiecutter(template, output, given):
    """Every file that cookiecutter makes without asking, by its path from the output folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it deprecates is its own affair
        context = generate_context(str(template / "cookiecutter.json"), extra_context=given)
        context["cookiecutter"] = prompt_for_config(context, no_input=True)
        generate_files(str(template), context, str(output), accept_hooks=False)
    return {
        path.relative_to(output).as_posix(): (path.read_bytes(), os.access(path, os.X_OK))
        for path in sorted(output.rglob("*"))
        if path.is_file()
    }


def of_loafer_kit(template, given):
    """The same of loafer_kit."""
    context = {"name": given.get("project_name", "foobar"), "package": "foobar", "queues": []}
    others = {key: value for key, value in given.items() if key != "project_name"}
    made = render(template, context, others)
    return {
        f"{made.folder}/{path}": (content, path in made.plan.executables)
        for path, content in made.plan.files.items()
    }


def test_the_features_of_cookiecutter_s_templates(tmp_path):
    """Choices, truths, tables, private and raw variables, copies, binary files, modes, includes."""
    variables = {
        "project_name": "My Thing",
        "slug": "{{ cookiecutter.project_name|lower|replace(' ', '_') }}",
        "license": ["MIT", "BSD-{{ cookiecutter.slug }}"],
        "with_docs": True,
        "port": 8080,
        "nothing": None,
        "table": {"a": {"b": "{{ cookiecutter.slug }}"}, "c": ["{{ cookiecutter.port }}", 1]},
        "__upper": "{{ cookiecutter.slug|upper }}",
        "_raw": "{{ cookiecutter.slug }}",
        "__prompts__": {"license": "Which licence?"},
        "_copy_without_render": ["*.raw", "static", "other/deep"],
        "_jinja2_env_vars": {"lstrip_blocks": True, "trim_blocks": True},
        "_extensions": ["jinja2.ext.do", "jinja2.ext.loopcontrols"],
    }
    files = {
        "README.md": "{{ cookiecutter.project_name }} {{ cookiecutter.license }}\n"
        "{% if cookiecutter.with_docs %}\ndocs {{ cookiecutter.port }}\n{% endif %}\n"
        "{{ cookiecutter.table|jsonify }} {{ cookiecutter.__upper }} {{ cookiecutter._raw }}"
        "{{ 'Ä b'|slugify }}{% set x = [] %}{% do x.append(1) %}{{ x }}",
        "no-end-of-line": "x",
        "empty": "",
        "crlf.txt": b"{{ cookiecutter.slug }}\r\nb\r\n",
        "picture.png": b"\x89PNG\r\n\x1a\n\0{{ cookiecutter.slug }}",
        "a.raw": "{{ as it is }}",
        "static/{{ x }}/b.txt": "{{ as it is }}",
        "other/deep/c.txt": "{% as it is",
        "{{cookiecutter.slug}}/{{cookiecutter.port}}.py": "x = {{ cookiecutter.port }}",
        "{% if cookiecutter.with_docs %}docs.md{% endif %}": "docs",
        "{% if not cookiecutter.with_docs %}no-docs.md{% endif %}": "no docs",
        "include.txt": "{% include 'part.txt' %}|{% include 'README.md' %}",
        "run.sh": "#!/bin/sh\n",
    }
    template = write(tmp_path / "template", files, variables)
    (template / "templates").mkdir()
    (template / "templates/part.txt").write_text("part of {{ cookiecutter.slug }}")
    (template / PROJECT / "run.sh").chmod(0o755)

    for number, answers in enumerate(
        [
            {"project_name": "My Thing"},
            {"project_name": "Another", "license": "MIT", "with_docs": "no"},
        ]
    ):
        output = tmp_path / f"out{number}"
        output.mkdir()
        assert of_loafer_kit(template, answers) == of_cookiecutter(template, output, answers)


def test_the_name_of_the_service_is_that_of_the_project(tmp_path):
    """What else a plain template declares is its own, though a spec has the same word."""
    variables = {"project_name": "x", "name": "theirs", "version": "9"}
    text = "{{ cookiecutter.project_name }} {{ cookiecutter.name }} {{ cookiecutter.version }}"
    template = write(tmp_path, {"a": text}, variables, "{{cookiecutter.name}}")

    assert rendered(template) == {"a": "foobar theirs 9"}
    assert rendered(template, {}, {"project_name": "own"}) == {"a": "own theirs 9"}


def test_a_template_knows_where_it_comes_from(tmp_path):
    """As with cookiecutter itself."""
    text = "{{ cookiecutter._template }} {{ cookiecutter._checkout }} {{ cookiecutter._repo_dir }}"
    template = load(write(tmp_path / "template", {"a": text}))

    assert rendered(template) == {"a": f"{tmp_path}/template None {template.folder}"}


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"slugg": "x"}, "the template has no variable 'slugg'; did you mean 'slug'?"),
        ({"color": "x"}, "the template has no variable 'color'; it has slug, kind, flag, table"),
        ({"kind": "three"}, "kind: 'three' is none of one, two"),
        ({"flag": "perhaps"}, "flag: 'perhaps' must be yes or no"),
        ({"table": "[1]"}, "table: '[1]' must be a table in JSON"),
        ({"table": "{"}, "table: '{' must be a table in JSON"),
        ({"slug": ["x"]}, "slug: \"['x']\" must be a text"),
        ({"project_name": "x"}, "'project_name' comes from the spec"),
        ({"_private": "x"}, "the template has no variable '_private'"),
    ],
)
def test_an_answer_that_cannot_be_is_one_line(tmp_path, answers, message):
    """It names the template, the variable and what it may be."""
    variables = {
        "project_name": "x",
        "slug": "x",
        "kind": ["one", "two"],
        "flag": True,
        "table": {"a": 1},
        "_private": 1,
    }
    template = write(tmp_path, {"a": "a"}, variables)

    assert refused(template, answers=answers).startswith(f"{template}: {message}")


def test_answers_are_given_back_as_a_lock_keeps_them(tmp_path):
    """Given once more, they make the same project."""
    variables = {"project_name": "x", "slug": "a", "flag": True, "nothing": None, "t": {"a": "1"}}
    text = "{{ cookiecutter.flag }} {{ cookiecutter.nothing }} {{ cookiecutter.t.b }}"
    template = load(write(tmp_path, {"a": text}, variables))

    made = render(template, answers={"flag": "no", "t": '{"b": 2}'})

    assert made.answers == {"slug": "a", "flag": False, "nothing": None, "t": {"b": 2}}
    again = render(template, answers=json.loads(json.dumps(made.answers)))
    assert again == made
    assert again.plan.files["a"] == b"False None 2"


@pytest.mark.parametrize("value", ["{{ 7*7 }}", "{% for x in y %}", "{{ cycler.__init__ }}", "{#"])
def test_a_value_is_never_rendered(tmp_path, value):
    """Neither in a file, nor in a name, nor in the default of another variable."""
    variables = {"project_name": "x", "slug": "x", "kind": "{{ cookiecutter.project_name }}"}
    text = "{{ cookiecutter.project_name }}|{{ cookiecutter.slug }}|{{ cookiecutter.kind }}"
    files = {"{{cookiecutter.slug}}.txt": text, "{{cookiecutter.slug}}/b": ""}
    template = write(tmp_path / "a", files, variables, "project{{cookiecutter.nothing}}")
    template = write(tmp_path / "b", files, {**variables, "folder": "x"}, "{{cookiecutter.folder}}")

    made = rendered(template, {**SPEC, "name": value}, {"slug": value})
    assert made == {f"{value}.txt": f"{value}|{value}|{value}", f"{value}/b": ""}

    # cookiecutter renders the name of the project's folder twice.
    message = refused(template, answers={"folder": value})
    assert message.endswith("cannot be a project's folder") or "{#" in value


def test_a_template_for_loafer_kit_gets_the_whole_spec_and_is_formatted(tmp_path):
    """A plain one is left as its author wrote it, whatever it holds."""
    files = {"a.py": "x = {{ cookiecutter.queues }}\nx  =  1", "b.toml": "= no toml"}
    plain = write(tmp_path / "plain", files, {"queues": "x", "slug": "x"})
    assert rendered(plain)["a.py"] == "x = x\nx  =  1"

    files.pop("b.toml")
    ours = write(tmp_path / "ours", files, LOAFER)
    assert rendered(ours)["a.py"] == "x = []\nx = 1\n"


def test_no_value_reaches_code_without_a_quoting_filter(tmp_path):
    """Where a template asks for that, as ours do."""
    extensions = ["loafer_kit.scaffold.rendering.filters.QuotingExtension"]
    variables = {**LOAFER, "_extensions": extensions}
    context = {**SPEC, "name": "'''; import os"}

    template = write(tmp_path / "bare", {"a.py": "'''{{ cookiecutter.name }}'''"}, variables)
    assert "without a quoting filter" in refused(template, context=context)

    template = write(tmp_path / "quoted", {"a.py": "x = {{ cookiecutter.name|py }}"}, variables)
    assert rendered(template, context)["a.py"] == "x = \"'''; import os\"\n"


def test_a_template_cannot_change_what_it_declares(tmp_path):
    """Not for the next rendering of the same one, nor for the lock."""
    variables = {"slug": "x", "_list": [1], "_extensions": ["jinja2.ext.do"]}
    text = "{% do cookiecutter._list.append(2) %}{{ cookiecutter._list }}"
    text += "{% do cookiecutter.update({'slug': range}) %}"
    template = load(write(tmp_path, {"a": text}, variables))

    assert [rendered(template) for _ in range(2)] == [{"a": "[1, 2]"}] * 2
    assert render(template).answers == {"slug": "x"}


# Errors


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.txt": "1\n{{ cookiecutter.nme }}"}, "Unable to create file 'a.txt': a.txt:2: 'dict"),
        ({"a.txt": "1\n2\n{% if %}"}, "a.txt:3: Expected an expression"),
        ({"a.txt": "{{ 1 / 0 }}"}, "a.txt:1: ZeroDivisionError: division by zero"),
        ({"{{cookiecutter.nme}}": ""}, "Unable to create file '{{cookiecutter.nme}}': "),
        ({"{{cookiecutter.nme}}/a": ""}, "Unable to create directory 'foobar/{{cookiecutter.nme}}"),
        ({"a.txt": "{% include 'b' %}"}, "a.txt:1: TemplateNotFound: 'b' not found"),
        ({"{{'x'}}/a": "", "{{'X'|lower}}/b": ""}, "two of its folders come out with one name: "),
        ({"a.txt": b"caf\xe9\n"}, "a.txt: UnicodeDecodeError: 'utf-8' codec can't decode byte"),
        ({"{% if 0 %}x{% endif %}/a": ""}, "the name of the folder '{% if 0 %}x{% endif %}' is"),
    ],
)
def test_what_is_wrong_with_a_template_is_one_line(tmp_path, files, message):
    """With its place."""
    template = write(tmp_path, files)

    assert refused(template).startswith(f"{template}: {message}")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"slug": "{{ cookiecutter.nme }}"}, "the default of slug: <template>:1: 'dict object'"),
        ({"slug": "{% if %}"}, "<template>:1: Expected an expression"),
        ({"slug": []}, "slug has no choices"),
        ({"slug": "x", "_extensions": ["not_there.X"]}, "Unable to load extension: No module"),
        ({"slug": "x", "_jinja2_env_vars": {"no": 1}}, "TypeError: "),
    ],
)
def test_what_is_wrong_with_variables_is_one_line(tmp_path, variables, message):
    """With the variable's name where one has a wrong default."""
    template = write(tmp_path, {"a": "a"}, variables)

    assert refused(template).startswith(f"{template}: {message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "JSON decoding error while loading 'fetched/"),
        ("[]", "does not hold a table of variables"),
        ("[" * 100_000, "RecursionError"),
    ],
)
def test_variables_that_are_none_are_one_line(tmp_path, text, message):
    """However they are broken."""
    write(tmp_path, {"a": "a"})
    (tmp_path / "cookiecutter.json").write_text(text)

    assert message in refused(tmp_path)


def test_a_folder_that_is_no_template_is_one_line(tmp_path):
    """What it lacks is said, and where it may be instead."""
    assert "it has no cookiecutter.json" in refused(tmp_path)

    write(tmp_path / "one", {"a": "a"})
    assert refused(tmp_path).endswith("--directory names one of 'one'")
    assert rendered(load(tmp_path, directory="one")) == {"a": "a"}

    nested = {"templates": {"x": {"path": "./one", "title": "One"}}}
    (tmp_path / "cookiecutter.json").write_text(json.dumps(nested))
    assert refused(tmp_path).endswith("several templates; --directory names one of './one'")

    for directory, message in (("two", "has no folder 'two'"), ("../..", "leads out of the temp")):
        with pytest.raises(ConfigurationError, match=message):
            load(tmp_path / "one", directory=directory)
    with pytest.raises(ConfigurationError, match="name too long"):
        load(tmp_path, directory="x" * 300)
    with pytest.raises(ConfigurationError, match="neither such a folder nor such a zip file"):
        load(f"{tmp_path}/three")

    (tmp_path / "one" / PROJECT / "a").unlink()
    (tmp_path / "one" / PROJECT).rmdir()
    assert "has no folder like {{cookiecutter.name}} that becomes" in refused(tmp_path / "one")


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("a.py", "x = (", "a.py: SyntaxError: "),
        ("a.toml", "x = ", "a.toml: TOMLDecodeError: "),
        ("a.yaml", "[", "a.yaml: ValueError: "),
    ],
)
def test_a_file_that_does_not_parse_is_one_line(tmp_path, path, content, message):
    """Of a template for loafer-kit, in which that is looked at."""
    template = write(tmp_path, {path: content}, LOAFER)

    assert refused(template).startswith(f"{template}: {message}")


# Output stays within the project


@pytest.mark.parametrize("path", ["../outside", "/etc/outside", "a/../../outside", ".."])
def test_no_value_leads_out_of_the_project(tmp_path, path):
    """Values come from locks and documents: the names that they make are checked before any is used."""
    template = write(tmp_path / "template", {"{{cookiecutter.slug}}": "a"}, {"slug": "x", "n": "x"})
    (template / PROJECT).rename(template / "{{cookiecutter.n}}")

    assert "leads out of the project" in refused(template, answers={"slug": path})
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize(
    "folder", ["../x", "/x", "..", ".", "a/b", ".git", "-rf", "", "a\nb", "a\ud800"]
)
def test_no_folder_of_a_project_leads_elsewhere(tmp_path, folder):
    """It is one name, in the folder that the user chose."""
    template = write(tmp_path, {"a": "a"}, {"slug": "x"})

    message = refused(template, answers={"slug": folder})
    assert "is not a path" in message or "cannot be a project's folder" in message


@pytest.mark.parametrize("path", [".loafer-kit/lock.json", "a/.GIT", "sub/.loafer-kit/x", "b\\c"])
def test_a_hook_leaves_nothing_where_only_we_and_git_write(tmp_path, path):
    """Not in the lock's place, say."""
    text = f"import pathlib as p; f = p.Path({path!r}); p.Path('a').unlink()\n"
    text += "f.parent.mkdir(parents=True, exist_ok=True); f.write_text('x')\n"

    assert "is not a path" in refused(hooked(tmp_path, post_gen_project_py=text))


def test_nothing_outside_is_included(tmp_path):
    """As cookiecutter's own loader has it."""
    (tmp_path / "secret").write_text("secret")
    template = write(tmp_path / "template", {"a": "{% include '../secret' %}"})

    assert "TemplateNotFound" in refused(template)


# Links, submodules, and other things that are not files


def test_a_link_in_a_template_is_what_it_leads_to(tmp_path):
    """A file or a folder; one that leads out of the template or nowhere is named in a note."""
    template = write(tmp_path / "a", {"x": "{{ cookiecutter.slug }}", "d/y": "y"})
    (template / "shared").mkdir()
    (template / "shared/z").write_text("{{ cookiecutter.slug }}")
    (tmp_path / "secret").write_text("secret")
    links = {
        "file": "x",
        "folder": "d",
        "shared": "../shared",
        "circle": ".",
        "d/out": "../../../secret",
        "outside": str(tmp_path),
        "nowhere": "not there",
        "itself": "itself",
    }
    for name, target in links.items():
        (template / PROJECT / name).symlink_to(target)

    made = render(template)

    assert {path: content.decode() for path, content in made.plan.files.items()} == {
        "x": "foobar",
        "file": "foobar",
        "d/y": "y",
        "folder/y": "y",
        "shared/z": "foobar",
    }
    assert sorted(made.notes) == [
        f"{PROJECT}/circle, a link that leads out of its folder",
        f"{PROJECT}/d/out, a link that leads nowhere",
        f"{PROJECT}/itself, a link that leads nowhere",
        f"{PROJECT}/nowhere, a link that leads nowhere",
        f"{PROJECT}/outside, a link that leads out of its folder",
    ]


def test_what_a_hook_leaves_is_read_back(tmp_path):
    """Binaries, executable bits and links; what a project cannot hold is named in a note."""
    text = (
        "import os, pathlib, subprocess\n"
        "os.unlink('b')\n"
        "pathlib.Path('made').mkdir()\n"
        "pathlib.Path('made/bytes').write_bytes(bytes(range(256)))\n"
        "pathlib.Path('made/__pycache__').mkdir()\n"
        "pathlib.Path('made/__pycache__/x.pyc').write_text('')\n"
        "pathlib.Path('run').write_text('#!/bin/sh')\n"
        "os.chmod('run', 0o755)\n"
        "os.symlink('a', 'link')\n"
        "os.symlink('made', 'folder')\n"
        "os.symlink('/etc/hostname', 'out')\n"
        "os.symlink('/etc', 'outside')\n"
        "os.symlink('nothing', 'dead')\n"
        "os.mkfifo('pipe')\n"
        "subprocess.run(['git', 'init', '-q'], check=True)\n"
        "pathlib.Path('made/.git').write_text('gitdir: x')\n"
    )

    made = render(hooked(tmp_path, post_gen_project_py=text))

    assert made.plan.files == {
        "a": b"a",
        "link": b"a",
        "run": b"#!/bin/sh",
        "made/bytes": bytes(range(256)),
        "folder/bytes": bytes(range(256)),
    }
    assert made.plan.executables == {"run"}
    assert sorted(made.notes) == [
        ".git, which belongs to git; --git begins a repository",
        "dead, a link that leads nowhere",
        "made/.git, which belongs to git; --git begins a repository",
        "out, a link that leads out of its folder",
        "outside, a link that leads out of its folder",
        "pipe, which is not a regular file",
    ]


# Zip files


def zipped(path, folder):
    """A zip of a folder as `zip -r --symlinks` makes it: folders have entries, files their modes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(folder, folder.name)
        for place in sorted(folder.rglob("*")):
            name = place.relative_to(folder.parent).as_posix()
            if place.is_symlink():
                entry = zipfile.ZipInfo(name)
                entry.external_attr = place.lstat().st_mode << 16
                archive.writestr(entry, str(place.readlink()))
            else:
                archive.write(place, name)
    return path


def test_a_zip_makes_what_its_folder_makes(tmp_path):
    """Executable files and links included."""
    template = write(tmp_path / "template", {"a": "{{ cookiecutter.slug }}", "run": "#!/bin/sh"})
    (template / PROJECT / "run").chmod(0o755)
    (template / PROJECT / "link").symlink_to("a")
    (template / PROJECT / "out").symlink_to("/etc/hostname")

    made = render(template)

    assert made.plan.executables == {"run"}
    assert render(zipped(tmp_path / "a.ZIP", template)) == made


@pytest.mark.parametrize("name", ["../evil", "/evil", "t/../../evil"])
def test_an_entry_that_leads_out_of_its_zip_stays_in_it(tmp_path, name):
    """As Python unpacks it; nor does its mode change anything."""
    evil = tmp_path / "evil"
    evil.write_text("")
    path = zipped(tmp_path / "a.zip", write(tmp_path / "t", {"a": "a"}))
    with zipfile.ZipFile(path, "a") as archive:
        entry = zipfile.ZipInfo(name)
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, "evil")

    assert rendered(path) == {"a": "a"}
    assert evil.read_text() == ""
    assert not os.access(evil, os.X_OK)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no zip at all"])
def test_what_is_no_zip_is_one_line(tmp_path, content):
    """Also one whose files are in no folder, as cookiecutter wants them, or of another kind."""
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    assert "is not a valid zip archive" in refused(path)

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cookiecutter.json", "{}")
    assert "does not include a top-level directory" in refused(path)


# Git repositories


@pytest.fixture
def repository(tmp_path):
    """A repository with a template, two revisions of it."""
    folder = write(tmp_path / "repository", {"a": "one"})
    commit(folder)
    git(folder, "tag", "v1")
    (folder / PROJECT / "a").write_text("two")
    commit(folder)
    git(folder, "branch", "other", "v1")
    return folder


def test_a_repository_is_a_template_at_a_revision(repository):
    """By branch, tag or commit, by path or URL; what is not committed does not count."""
    (repository / PROJECT / "a").write_text("not committed")
    newest = load(f"git+{repository}")

    assert newest.origin.commit == git(repository, "rev-parse", "main")
    assert rendered(newest) == {"a": "two"}
    for revision in ("v1", "other", newest.origin.commit, newest.origin.commit[:10]):
        for reference in (f"file://{repository}", f"git+file://{repository}", repository):
            wanted = "two" if revision in newest.origin.commit else "one"
            assert rendered(load(reference, revision)) == {"a": wanted}


@pytest.mark.parametrize(
    "revision", ["nope", "v1:x", "HEAD~99", "-x", "--output=/tmp/x", "", "cookiecutter.json"]
)
def test_a_revision_that_is_none_is_one_line(repository, revision):
    """Nor is it an option of git's, or a file."""
    with pytest.raises(ConfigurationError, match=r"has no revision|neither a revision nor"):
        load(repository, revision)


def test_the_modes_of_a_repository_s_files_are_kept(repository):
    """A submodule is named in a note: it is not fetched."""
    (repository / PROJECT / "run").write_text("#!/bin/sh\n")
    (repository / PROJECT / "run").chmod(0o755)
    git(repository, "add", "-A")
    newest = load(f"git+{repository}").origin.commit
    submodule = f"160000,{newest},{PROJECT}/submodule"
    git(repository, "update-index", "--add", "--cacheinfo", submodule)
    git(repository, "commit", "-q", "-m", "x")

    made = render(f"git+{repository}")

    assert set(made.plan.files) == {"a", "run"}
    assert made.plan.executables == {"run"}
    assert made.notes == (f"{PROJECT}/submodule, a submodule, which is not fetched",)


def test_a_repository_s_own_hooks_do_not_run(repository, tmp_path):
    """It is cloned without them."""
    hook = repository / ".git/hooks/post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)

    assert rendered(load(repository, "v1")) == {"a": "one"}
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("variable", ["GIT_DIR", "GIT_COMMON_DIR", "GIT_NAMESPACE"])
def test_a_variable_of_git_s_leads_to_no_other_repository(repository, monkeypatch, variable):
    """As a hook of git sets it, from which somebody may call us."""
    monkeypatch.setenv(variable, "/nowhere")

    assert rendered(load(repository, "v1")) == {"a": "one"}


def test_a_repository_that_is_not_there_is_one_line(tmp_path):
    """In git's own words."""
    with pytest.raises(ConfigurationError, match=r"git: .*fatal: ") as caught:
        load(f"git+{tmp_path}/nowhere")
    assert "\n" not in str(caught.value)

    write(tmp_path / "plain", {"a": "a"})
    with pytest.raises(ConfigurationError, match="it is not a git repository: a plain folder"):
        load(f"git+{tmp_path}/plain")


def test_without_git_a_repository_is_one_line(repository, monkeypatch):
    """Folders and zip files need none."""
    monkeypatch.setenv("PATH", "")

    with pytest.raises(ConfigurationError, match="'git' is not installed"):
        load(repository, "v1")
    assert rendered(repository) == {"a": "two"}


# Hooks and extensions


def test_hooks_run_where_the_files_are(tmp_path, capfd):
    """One before there are any, one after, both rendered; what they print are notes."""
    template = hooked(
        tmp_path,
        pre_gen_project_sh="#!/bin/sh\nls > before\n",
        post_gen_project_py="import pathlib\n"
        "text = '{{ cookiecutter.slug }} ' + pathlib.Path().resolve().name\n"
        "pathlib.Path('after').write_text(text)\n"
        "print('hello')\n",
    )

    assert rendered(template) == {
        "a": "a",
        "b": "b",
        "before": "before\n",
        "after": "foobar foobar",
    }
    assert capfd.readouterr() == ("", "hello\n")


def test_a_hook_before_the_questions_may_change_them(tmp_path):
    """The template itself stays as it is."""
    text = "import pathlib\np = pathlib.Path('cookiecutter.json')\n"
    text += "p.write_text(p.read_text().replace('My Thing', 'Thine'))\n"
    template = hooked(tmp_path, pre_prompt_py=text)

    assert render(template, {}).folder == "thine"
    assert "My Thing" in (template / "cookiecutter.json").read_text()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "post_gen_project_py",
            "raise SystemExit(3)",
            "post_gen_project: Hook script failed (exit",
        ),
        ("pre_gen_project_sh", "#!/bin/sh\nexit 3", "pre_gen_project: Hook script failed (exit st"),
        ("pre_gen_project_sh", "#!/nowhere\n", "pre_gen_project: Hook script failed (error: "),
        ("pre_gen_project_py", "{{ cookiecutter.nme }}", "pre_gen_project: <template>:1: "),
    ],
)
def test_a_hook_that_fails_makes_nothing(tmp_path, name, text, message):
    """It is named."""
    template = hooked(tmp_path, **{name: text})

    assert refused(template).startswith(f"{template}: {message}")


def test_the_hook_before_the_questions_may_fail_too(tmp_path):
    """It is named."""
    template = hooked(tmp_path, pre_prompt_sh="#!/bin/sh\nexit 3")

    assert refused(template) == f"{template}: Pre-Prompt Hook script failed: nothing was written"


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
    variables = {"slug": "{{ 'x'|shout }}", "_extensions": ["its_own.Shout"]}
    template = write(tmp_path, {"a": "{{ 'a'|shout }}"}, variables)
    package = template / "its_own"
    package.mkdir()
    (package / "__init__.py").write_text(EXTENSION)
    (package / "helpers.py").write_text("def shout(text): return text.upper()")
    before = list(sys.path)

    assert rendered(template) == {"a": "A"}
    assert sys.path == before
    assert not [name for name in sys.modules if name.startswith("its_own")]


def test_consent_is_given_to_what_would_run(tmp_path):
    """Its hooks and its extensions; nothing has run by then, and nothing does without it."""
    template = hooked(
        tmp_path / "template", **{f"{name}_py": "open('ran', 'w')" for name in ("pre_prompt", "x")}
    )
    (template / "hooks/post_gen_project.py").write_text(f"open('{tmp_path}/ran', 'w')")
    (template / "hooks/post_gen_project.py~").write_text("an editor's backup")
    (template / "hooks/README.md").write_text("no hook")
    variables = {"slug": "{{ 1 / 0 }}", "_extensions": ["its_own.Shout", "jinja2.ext.do"]}
    (template / "cookiecutter.json").write_text(json.dumps(variables))
    (template / "its_own.py").write_text("raise SystemExit")
    asked = []

    with pytest.raises(ConfigurationError, match="it may not run: nothing was written"):
        load(template, consent=asked.append)

    [code] = asked
    assert code.origin.reference == str(template)
    assert code.hooks == ("hooks/pre_prompt.py", "hooks/post_gen_project.py")
    assert code.extensions == ("its_own.Shout", "jinja2.ext.do")
    assert not (tmp_path / "ran").exists()


# Traces


TRACES = """
import sys
from pathlib import Path
from loafer_kit.scaffold.rendering import custom_templates, templates
loaded = []
for reference in sys.argv[1:]:
    template = custom_templates.load(templates.named(reference), Path(), lambda code: True)
    made = template.render({{"name": "x"}}, {{}})
    assert {{"a", "b"}} <= set(made.plan.files), made
    loaded.append(template)  # lives as long as the process
{last}
"""


@pytest.mark.parametrize("last", ["", "raise SystemExit(0)", "made.nothing"])
def test_nothing_of_a_template_is_left_behind(tmp_path, last):
    """Neither in the folder for temporary files, nor at home, nor in the current one."""
    for name in ("temporary", "home", "here"):
        (tmp_path / name).mkdir()
    template = hooked(
        tmp_path / "template", pre_prompt_py="", post_gen_project_py="open('c', 'w').write('c')"
    )
    commit(template)
    zipped(tmp_path / "a.zip", template)
    environment = {
        **os.environ,
        "TMPDIR": str(tmp_path / "temporary"),
        "HOME": str(tmp_path / "home"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    references = (f"git+{template}", str(template), f"{tmp_path}/a.zip")

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", TRACES.format(last=last), *references],
        check=False,
        cwd=tmp_path / "here",
        env=environment,
        capture_output=True,
        text=True,
    )

    assert done.returncode == ("nothing" in last), done.stderr
    assert [list((tmp_path / name).iterdir()) for name in ("temporary", "home", "here")] == [[]] * 3


def test_a_template_s_folder_goes_with_it(tmp_path):
    """Also that of one that could not be loaded."""
    template = load(write(tmp_path, {"a": "a"}))
    workspace = template.workspace
    assert workspace.exists()
    del template
    assert not workspace.exists()

    seen = []

    def consent(code):
        seen.extend(Path(tempfile.gettempdir()).glob("loafer-kit-*"))
        return False

    with pytest.raises(ConfigurationError):
        load(tmp_path, consent=consent)
    assert seen
    assert isinstance(custom_templates.CustomTemplate, type)
