"""Templates of strangers: what they must not do, each hole that others had as a test of its own."""

import json
import os
import stat
import subprocess
import sys
import zipfile

import pytest
from scaffold.own_templates import PROJECT, SPEC, commit, git, load, rendered, write

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold import archives, origins, render, template_files

LOAFER = {"slug": "x", "_loafer_kit": "service"}


def refused(template, **keywords):
    """The one line that says why nothing was made of a template."""
    with pytest.raises(ConfigurationError) as caught:
        rendered(template, **keywords)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Values executed as templates


@pytest.mark.parametrize("value", ["{{ 7*7 }}", "{% for x in y %}", "{{ cycler.__init__ }}", "{#"])
def test_a_value_is_never_rendered(tmp_path, value):
    """Neither in a file, nor in a name, nor in the default of another variable."""
    variables = {"project_name": "x", "slug": "x", "kind": "{{ cookiecutter.project_name }}"}
    text = "{{ cookiecutter.project_name }}|{{ cookiecutter.slug }}|{{ cookiecutter.kind }}"
    template = write(
        tmp_path, {"{{cookiecutter.slug}}.txt": text}, variables, "{{cookiecutter.kind}}"
    )

    made = rendered(template, {**SPEC, "name": value}, answers={"slug": value})

    assert made == {f"{value}.txt": f"{value}|{value}|{value}"}


@pytest.mark.parametrize(
    "expression",
    [
        "''.__class__.__mro__[1].__subclasses__()",
        "cycler.__init__.__globals__",
        "lipsum.__globals__['os'].popen('id').read()",
        "cookiecutter.__init__.__globals__",
        "self.__init__.__globals__",
        "'{0.__class__}'.format(cookiecutter)",
        "'{0.__class__.__base__}'.format_map({'0': 1})",
        "('%s' | attr('__class__'))",
        "(cookiecutter.values | attr('__globals__'))",
        "[].append.__self__.__class__",
        "namespace.__init__.__globals__",
        "range(10 ** 9) | list",
    ],
)
def test_rendering_stays_in_the_sandbox(tmp_path, expression):
    """In a file, in a name and in a default."""
    evil = f"{{{{ {expression} }}}}"
    for number, (text, name, default) in enumerate(
        [(evil, "a", "x"), ("a", evil.replace("/", "\\x2f"), "x"), ("a", "a", evil)]
    ):
        folder = tmp_path / str(number)
        try:
            made = rendered(write(folder, {name: text}, {"slug": "x", "more": default}))
        except ConfigurationError:
            continue
        told = json.dumps(made)
        assert "class" not in told.replace("__class__", "")
        assert "module" not in told
        assert "uid=" not in told


CHANGES = {
    "range": "cookiecutter.update({'slug': range})",
    "circle": "cookiecutter.update({'slug': cookiecutter})",
    "number": "cookiecutter.update({'slug': 10 ** (5000 + cookiecutter.slug|length)})",
    "nothing": "cookiecutter.pop('slug')",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_a_template_makes_of_an_answer_is_not_kept(tmp_path, change):
    """A file changes it too late for the lock; what a default makes of it is refused."""
    template = write(tmp_path / "file", {"a": f"{{% set _ = {change} %}}a"})
    made = render.render(load(template), SPEC)
    assert made.answers == {"slug": "foobar"}

    variables = {"slug": "x", "other": f"{{% set _ = {change} %}}b"}
    message = refused(write(tmp_path / "default", {"a": "a"}, variables, "{{cookiecutter.other}}"))
    assert "what its variables are made to hold is no JSON" in message


def test_a_setting_of_the_environment_leads_nowhere(tmp_path):
    """Only how a template is written can be set."""
    variables = {"slug": "x", "_jinja2_env_vars": {"bytecode_cache": "x", "loader": "y"}}

    message = refused(write(tmp_path, {"a": "a"}, variables))
    assert message.endswith("_jinja2_env_vars cannot have 'bytecode_cache', 'loader'")


def test_no_value_reaches_code_without_a_quoting_filter(tmp_path):
    """Where a template asks for that, as ours do."""
    variables = {**LOAFER, "_extensions": ["loafer_kit.scaffold.quoting.QuotingExtension"]}
    context = {**SPEC, "name": "'''; import os"}

    template = write(tmp_path / "bare", {"a.py": "'''{{ cookiecutter.name }}'''"}, variables)
    assert "without a quoting filter" in refused(template, context=context)

    template = write(tmp_path / "quoted", {"a.py": "x = {{ cookiecutter.name|py }}"}, variables)
    assert rendered(template, context)["a.py"] == "x = \"'''; import os\"\n"


# Output outside the target


@pytest.mark.parametrize(
    "path",
    [
        "../outside",
        "/etc/outside",
        "a/../../outside",
        "a\\\\..\\\\outside",
        "a\\x00b",
        "a\\x1b[2Kb",
        "a\\ud800",
        ".git/hooks/post-checkout",
        ".GIT/config",
        ".loafer-kit/lock.json",
        "a/.git/config",
    ],
)
def test_no_name_leads_out_of_the_project(tmp_path, path):
    """However a template makes it; nor into what is git's or ours."""
    name = "{{ 'X' }}".replace("X", path.replace("/", "\\x2f").replace(".", "\\x2e"))

    assert "is no path" in refused(write(tmp_path, {name: "a"}))


@pytest.mark.parametrize(
    "folder", ["../x", "/x", "..", ".", "a/b", ".git", "-rf", "", "a\nb", "a\ud800"]
)
def test_no_folder_of_a_project_leads_elsewhere(tmp_path, folder):
    """It is one name, in the folder that the user chose."""
    template = write(tmp_path, {"a": "a"}, {"slug": "x"})

    message = refused(template, answers={"slug": folder})
    assert "is no path" in message or "cannot be a project's folder" in message


def test_a_name_by_chance_is_checked_as_any_other(tmp_path):
    """Looking at it first and rendering it again would not do."""
    template = write(tmp_path, {"{{ ['ok', '\\x2e\\x2e\\x2fevil']|random }}": "a"})

    for _ in range(20):
        try:
            assert rendered(template) == {"ok": "a"}
        except ConfigurationError as error:
            assert "is no path" in str(error)  # noqa: PT017 - one of two endings


def test_a_name_that_is_no_text_is_refused_where_it_would_be_written(tmp_path):
    """As a file system may hold it; elsewhere in the template it is nobody's business."""
    template = write(tmp_path, {"a": "a"})
    (template / "templates").mkdir()
    (template / "templates" / os.fsdecode(b"caf\xe9")).write_text("x")
    assert len(load(template).digest) == 64
    assert rendered(template) == {"a": "a"}

    (template / PROJECT / os.fsdecode(b"caf\xe9")).write_text("x")
    assert r"'caf\udce9' is no path" in refused(template)


# Symbolic links


def test_a_link_out_of_a_template_is_not_followed(tmp_path):
    """Of a file or of a folder: what it leads to is the user's own."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("secret")
    for number, (link, target) in enumerate(
        [("a", secret / "key"), ("a", secret), ("a", "../../secret/key"), ("b/c", secret / "key")]
    ):
        template = write(tmp_path / str(number), {"x": "x", "b/y": "y"})
        (template / PROJECT / link).symlink_to(target)
        assert "link" in refused(template)


def test_a_link_within_a_template_is_a_file(tmp_path):
    """As cookiecutter reads it; a folder by way of a link is refused."""
    template = write(tmp_path / "a", {"x": "{{ cookiecutter.slug }}"})
    (template / PROJECT / "y").symlink_to("x")
    assert rendered(template) == {"x": "foobar", "y": "foobar"}

    (template / PROJECT / "z").symlink_to(".")
    assert "is a link to a folder" in refused(template)


def test_the_project_s_folder_may_be_no_link(tmp_path):
    """Nor the folder of hooks, nor the table of variables."""
    outside = write(tmp_path / "outside", {"key": "secret"})
    template = tmp_path / "template"
    template.mkdir()
    (template / "cookiecutter.json").write_text("{}")
    (template / PROJECT).symlink_to(outside / PROJECT)
    assert "leads out" in refused(template)

    (template / PROJECT).unlink()
    (template / PROJECT).mkdir()
    (template / PROJECT / "a").write_text("a")
    (template / "cookiecutter.json").unlink()
    (template / "cookiecutter.json").symlink_to(outside / "cookiecutter.json")
    assert "leads out" in refused(template)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "../../etc/hostname"])
def test_nothing_outside_is_included(tmp_path, name):
    """Neither by a file of the template nor by a name that it makes."""
    (tmp_path / "secret").write_text("secret")
    template = write(tmp_path / "template", {"a": f"{{% include '{name}' %}}"})

    assert "TemplateNotFound" in refused(template)


def test_what_lies_beside_a_template_is_not_read(tmp_path):
    """A virtual environment, a repository, somebody's notes: not even links in them matter."""
    template = write(tmp_path, {"a": "a"})
    (template / ".venv").mkdir()
    (template / ".venv/python").symlink_to("/usr/bin/env")
    (template / "notes").write_text("notes")

    assert set(load(template).files) == {"cookiecutter.json", f"{PROJECT}/a"}


# Zip files


def zipped(path, entries, variables=LOAFER, top=""):
    """A zip with a template and whatever else."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{top}cookiecutter.json", json.dumps(variables))
        archive.writestr(f"{top}{PROJECT}/a", "{{ cookiecutter.slug }}")
        for name, content in entries:
            archive.writestr(name, content)
    return path


def test_a_zip_is_a_template(tmp_path):
    """With a folder around everything, as a repository's download has it, or without."""
    assert rendered(zipped(tmp_path / "a.zip", [])) == {"a": "x"}
    assert rendered(zipped(tmp_path / "b.ZIP", [], top="repository-main/")) == {"a": "x"}


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "a\\..\\evil", "a//b", "./a"])
def test_an_entry_that_leads_out_of_its_zip_is_refused(tmp_path, name):
    """Though nothing is ever unpacked."""
    template = zipped(tmp_path / "a.zip", [(name, "evil")])

    assert "is no path" in refused(template)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip"]


def test_a_link_in_a_zip_is_refused(tmp_path):
    """It has a mode that says so."""
    entry = zipfile.ZipInfo(f"{PROJECT}/link")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16

    assert "is a link" in refused(zipped(tmp_path / "a.zip", [(entry, "/etc/passwd")]))


def test_a_bomb_is_refused(tmp_path, monkeypatch):
    """By what the zip says of itself, or by what comes out of it; too many files as well."""
    bomb = zipped(tmp_path / "a.zip", [(f"{PROJECT}/b", b"\0" * 70 * 1024 * 1024)])
    assert bomb.stat().st_size < 1024 * 1024
    assert "is too large for a template" in refused(bomb)

    monkeypatch.setattr(archives, "MOST_FILES", 3)
    files = zipped(tmp_path / "b.zip", [(f"{PROJECT}/b{number}", "") for number in range(3)])
    assert "is too large for a template" in refused(files)


def test_an_entry_larger_than_it_says_is_cut_off_or_refused(tmp_path):
    """Sizes in a zip are whatever its maker wrote."""
    path = zipped(tmp_path / "a.zip", [(f"{PROJECT}/b", b"\0" * 1024 * 1024)])
    lie = path.read_bytes().replace((1024 * 1024).to_bytes(4, "little"), (8).to_bytes(4, "little"))
    path.write_bytes(lie)

    try:
        assert len(rendered(path)["b"]) <= 8
    except ConfigurationError as error:
        assert "cannot be read as a zip file" in str(error)  # noqa: PT017 - one of two endings


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no zip at all"])
def test_what_is_no_zip_is_one_line(tmp_path, content):
    """Also a damaged one."""
    (tmp_path / "a.zip").write_bytes(content)

    assert "cannot be read as a zip file" in refused(tmp_path / "a.zip")


def test_a_damaged_zip_is_one_line(tmp_path):
    """Its checksum tells."""
    path = zipped(tmp_path / "a.zip", [(f"{PROJECT}/b", os.urandom(1000))])
    content = bytearray(path.read_bytes())
    content[content.index(b"/b") + 200] ^= 0xFF
    path.write_bytes(bytes(content))

    assert "cannot be read as a zip file" in refused(path)


def test_an_entry_that_is_in_a_zip_twice_is_refused(tmp_path):
    """Whoever looks at it first must not see another than is used."""
    with pytest.warns(UserWarning, match="Duplicate name"):
        template = zipped(tmp_path / "a.zip", [(f"{PROJECT}/a", "other")])

    assert "is in it twice" in refused(template)


# Folders, in general


def test_a_folder_that_is_too_large_is_refused(tmp_path, monkeypatch):
    """Before it fills the memory."""
    monkeypatch.setattr(template_files, "MOST_BYTES", 10)

    assert "is too large for a template" in refused(write(tmp_path, {"a": "x" * 100}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cookiecutter.json is no JSON"),
        ("[]", "cookiecutter.json is no table"),
        ("[" * 100_000, "cookiecutter.json is no JSON"),
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
    assert refused(tmp_path).endswith("--directory names one of './one'")

    with pytest.raises(ConfigurationError, match="has no folder 'two'"):
        load(tmp_path, directory="two")
    with pytest.raises(ConfigurationError, match="leads out of the template"):
        load(tmp_path / "one", directory="../..")

    (tmp_path / "one" / PROJECT / "a").unlink()
    assert "has no file that becomes" in refused(tmp_path / "one")
    with pytest.raises(ConfigurationError, match="is no folder and no zip file"):
        load(f"{tmp_path}/three")


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


def test_a_repository_is_a_template_at_a_revision(repository, tmp_path):
    """By branch, tag or commit, by path or URL; what is not committed does not count."""
    (repository / PROJECT / "a").write_text("not committed")
    newest = load(f"git+{repository}")

    assert rendered(newest) == {"a": "two"}
    for revision in ("v1", "other", newest.origin.commit, newest.origin.commit[:10]):
        for reference in (f"file://{repository}", f"git+file://{repository}", repository):
            wanted = "two" if revision in newest.origin.commit else "one"
            assert rendered(load(reference, revision)) == {"a": wanted}
    assert not list(tmp_path.glob("loafer-kit-*"))


@pytest.mark.parametrize("revision", ["nope", "v1:x", "HEAD~99", "-x", "--output=/tmp/x", ""])
def test_a_revision_that_is_none_is_one_line(repository, revision):
    """Nor is it an option of git's."""
    with pytest.raises(ConfigurationError, match=r"has no revision|is no revision"):
        load(repository, revision)


def test_a_repository_that_is_too_large_is_refused(repository):
    """Before it is in memory, by what git says of it."""
    (repository / "unused").write_bytes(b"\0" * 70 * 1024 * 1024)
    commit(repository)

    assert "is too large for a template" in refused(f"git+{repository}")


@pytest.mark.parametrize(
    "reference",
    [
        "git+ext::sh -c id",
        "git+https://x/\x1b[2J",
        "ext::sh -c id",
        "git+-oProxyCommand=id",
        "http://example.invalid/x.git",
        "git://example.invalid/x.git",
        "git+fd::7",
        "https://user:password@example.invalid/x.git",
    ],
)
def test_a_place_that_is_never_fetched(reference):
    """It would run something, can be read by others, or leave a password in the lock."""
    with pytest.raises(ConfigurationError) as caught:
        load(reference)
    assert "password@" not in str(caught.value)


def test_a_lock_cannot_name_a_place_that_runs_something():
    """What is refused on the command line is refused in a project of somebody else's."""
    with pytest.raises(ConfigurationError, match="a template is fetched by"):
        origins.refuse_unsafe(origins.Origin("git+ext::sh -c id"))


def test_what_a_repository_brings_for_git_does_not_run(repository, tmp_path):
    """Neither hooks nor filters; submodules are not fetched, links not followed."""
    ran = tmp_path / "ran"
    hook = repository / ".git/hooks/post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {ran}\n")
    hook.chmod(0o755)
    (repository / ".gitattributes").write_text("* filter=evil\n")
    git(repository, "config", "filter.evil.smudge", f"touch {ran}")
    commit(repository)

    assert rendered(load(f"git+{repository}")) == {"a": "two"}
    assert not ran.exists()

    (repository / PROJECT / "link").symlink_to("/etc/hostname")
    commit(repository)
    assert "is a link" in refused(f"git+{repository}")


def test_a_variable_of_git_s_leads_to_no_other_repository(repository, monkeypatch):
    """As a hook of git sets it, from which somebody may call us."""
    monkeypatch.setenv("GIT_DIR", "/nowhere")

    assert rendered(load(repository, "v1")) == {"a": "one"}


def test_a_repository_that_is_not_there_is_one_line(tmp_path):
    """In git's own words."""
    with pytest.raises(ConfigurationError, match="git: fatal: ") as caught:
        load(f"git+{tmp_path}/nowhere")
    assert "\n" not in str(caught.value)


def test_without_git_a_repository_is_one_line(repository, monkeypatch):
    """Folders and zip files need none."""
    monkeypatch.setenv("PATH", "")

    with pytest.raises(ConfigurationError, match="git is not installed"):
        load(repository, "v1")
    assert rendered(repository) == {"a": "two"}


# Hooks and extensions


def test_hooks_do_not_run_without_trust(tmp_path):
    """Whatever they are called."""
    template = write(tmp_path / "template", {"a": "a"})
    (template / "hooks").mkdir()
    for name in ("pre_prompt.py", "pre_gen_project.py", "post_gen_project.sh"):
        (template / "hooks" / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")

    assert rendered(template) == {"a": "a"}
    assert not (tmp_path / "ran").exists()


def test_extensions_are_not_imported_without_trust(tmp_path):
    """Neither the template's own nor any that is installed; the error says what would help."""
    variables = {"slug": "x", "_extensions": ["evil.Extension", "subprocess.Popen"]}
    template = write(tmp_path, {"a": "{{ 'a'|evil }}", "b": "b"}, variables)
    (template / "evil.py").write_text("raise SystemExit('ran')")

    message = refused(template)
    assert "No filter named 'evil'" in message
    assert "(--trust would load evil.Extension, subprocess.Popen)" in message


def test_a_link_that_a_hook_leaves_is_not_taken_over(tmp_path):
    """Trusted code may do anything, but by mistake it shall not."""
    template = write(tmp_path, {"a": "a"})
    (template / "hooks").mkdir()
    (template / "hooks/post_gen_project.py").write_text(
        "import os; os.symlink('/etc/hostname', 'link')"
    )

    with pytest.raises(ConfigurationError, match="leads out"):
        render.render(load(template), SPEC, trusted=True)


def test_nothing_of_a_template_is_left_behind(tmp_path, monkeypatch):
    """Neither in the folder for temporary files, nor at home, nor in the current one."""
    for name in ("temporary", "home", "here"):
        (tmp_path / name).mkdir()
    template = write(tmp_path / "template", {"a": "a"})
    (template / "hooks").mkdir()
    (template / "hooks/post_gen_project.py").write_text("open('b', 'w').write('b')")
    commit(template)
    code = (
        "from pathlib import Path\n"
        "from loafer_kit.scaffold import origins, render, templates\n"
        f"template = templates.load(origins.named('git+{template}'), Path())\n"
        "made = render.render(template, {'name': 'x'}, trusted=True)\n"
        "assert set(made.plan.files) == {'a', 'b'}, made\n"
    )
    environment = {
        **os.environ,
        "TMPDIR": str(tmp_path / "temporary"),
        "HOME": str(tmp_path / "home"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        cwd=tmp_path / "here",
        env=environment,
    )

    assert [list((tmp_path / name).iterdir()) for name in ("temporary", "home", "here")] == [[]] * 3
