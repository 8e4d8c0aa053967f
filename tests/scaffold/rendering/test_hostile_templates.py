"""Templates of strangers: what they must not do, each hole that others had as a test of its own."""

import functools
import json
import os
import resource
import socket
import stat
import subprocess
import sys
import tempfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scaffold.own_templates import PROJECT, SPEC, commit, git, leave, load, rendered, write

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.rendering import archives, origins, render, template_files

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
    variables = {
        **LOAFER,
        "_extensions": ["loafer_kit.scaffold.rendering.quoting.QuotingExtension"],
    }
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
        ".git./config",
        ".git /config",
        "git~1/config",
        "GIT~1/config",
        ".git::$INDEX_ALLOCATION/config",
        ".g\\u200cit/config",
        ".git\\ufeff/config",
        ".loafer-kit\\u200d/lock.json",
        "a\\x1b[2J",
    ],
)
def test_no_name_leads_out_of_the_project(tmp_path, path):
    """However a template makes it; nor into what is git's or ours."""
    name = "{{ 'X' }}".replace("X", path.replace("/", "\\x2f").replace(".", "\\x2e"))

    assert "is not a path" in refused(write(tmp_path, {name: "a"}))


@pytest.mark.parametrize(
    "folder", ["../x", "/x", "..", ".", "a/b", ".git", "-rf", "", "a\nb", "a\ud800"]
)
def test_no_folder_of_a_project_leads_elsewhere(tmp_path, folder):
    """It is one name, in the folder that the user chose."""
    template = write(tmp_path, {"a": "a"}, {"slug": "x"})

    message = refused(template, answers={"slug": folder})
    assert "is not a path" in message or "cannot be a project's folder" in message


def test_a_file_in_another_file_s_place_is_refused(tmp_path):
    """Before anything is written, hooks are run, or somebody is shown what would be."""
    template = write(tmp_path, {"a": "a", "{{ 'A'|lower }}/b": "b"})

    message = refused(template)
    assert message.endswith(": 'a', which contains 'a/b', cannot be both a file and a folder")

    (template / "hooks").mkdir()
    (template / "hooks/pre_gen_project.py").write_text("open('a', 'w')")
    assert refused(template, leave=leave) == message


def test_a_name_by_chance_is_checked_as_any_other(tmp_path):
    """Looking at it first and rendering it again would not do."""
    template = write(tmp_path, {"{{ ['ok', '\\x2e\\x2e\\x2fevil']|random }}": "a"})

    for _ in range(20):
        try:
            assert rendered(template) == {"ok": "a"}
        except ConfigurationError as error:
            assert "is not a path" in str(error)  # noqa: PT017 - one of two endings


def test_a_name_that_is_no_text_is_refused(tmp_path):
    """As a file system may hold it."""
    template = write(tmp_path, {"a": "a"})
    (template / PROJECT / os.fsdecode(b"caf\xe9")).write_text("x")

    assert "is not in UTF-8" in refused(template)


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


METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


def zipped(path, entries, variables=LOAFER, top="", method=zipfile.ZIP_DEFLATED):
    """A zip with a template and whatever else."""
    with zipfile.ZipFile(path, "w", method) as archive:
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

    assert "is not a path" in refused(template)
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

    monkeypatch.setattr(template_files, "MOST_FILES", 3)
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


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_that_cannot_be_read_bit_by_bit_is_refused(tmp_path, method):
    """Of what is neither stored nor deflated a few bytes become gigabytes at once."""
    message = refused(zipped(tmp_path / "a.zip", [], method=method))

    assert "cannot be read as a zip file: 'cookiecutter.json is neither stored nor" in message


@functools.cache
def whole(method):
    """A zip that nothing is wrong with."""
    with tempfile.TemporaryDirectory() as folder:
        entries = [("é/b", "some text " * 20), ("c", bytes(range(256)))]
        return zipped(Path(folder, "a.zip"), entries, method=method).read_bytes()


@st.composite
def damaged(draw):
    """A zip of which some bytes are others, and the end is missing or not."""
    content = bytearray(whole(draw(st.sampled_from(METHODS))))
    places = st.integers(0, len(content) - 1)
    for place, byte in draw(st.dictionaries(places, st.integers(0, 255), max_size=8)).items():
        content[place] = byte
    return bytes(content[: draw(st.just(len(content)) | places)])


@settings(max_examples=500, deadline=None)
@given(damaged())
def test_whatever_is_wrong_with_a_zip_is_one_line(content):
    """Its lists, its names, what it is compressed with: or nothing is, that matters."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.zip")
        path.write_bytes(content)
        try:
            found = archives.of_zip(path)
        except ConfigurationError as error:
            assert "\n" not in str(error)  # noqa: PT017 - one of two endings
        else:
            assert isinstance(found, archives.Archive)


def test_an_entry_that_is_in_a_zip_twice_is_refused(tmp_path):
    """Whoever looks at it first must not see another than is used."""
    with pytest.warns(UserWarning, match="Duplicate name"):
        template = zipped(tmp_path / "a.zip", [(f"{PROJECT}/a", "other")])

    assert "is in it twice" in refused(template)


# Folders, in general


def test_a_folder_that_is_too_large_is_refused(tmp_path, monkeypatch):
    """By its bytes or by its files."""
    template = write(tmp_path, {"a": "x" * 100, "b": "x" * 100})
    monkeypatch.setattr(template_files, "MOST_BYTES", 150)
    assert "is too large for a template" in refused(template)

    monkeypatch.setattr(template_files, "MOST_BYTES", 1_000)
    monkeypatch.setattr(template_files, "MOST_FILES", 2)
    assert "is too large for a template" in refused(template)


@pytest.mark.parametrize("path", [f"{PROJECT}/a", "hooks/a", "cookiecutter.json"])
def test_a_file_that_is_too_large_is_not_read(tmp_path, path):
    """It takes no space on a disk, and would take all in memory."""
    template = write(tmp_path, {"a": "a"})
    (template / "hooks").mkdir()
    with (template / path).open("wb") as file:
        file.truncate(1 << 40)

    assert "is too large for a template" in refused(template)


def test_no_more_is_read_than_may_be(tmp_path, monkeypatch):
    """Though each file by itself is small enough."""
    template = write(tmp_path, {str(number): bytes(100_000) for number in range(100)})
    monkeypatch.setattr(template_files, "MOST_BYTES", 200_000)
    tracemalloc.start()
    try:
        assert "is too large for a template" in refused(template)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_what_is_no_file_is_never_opened(tmp_path, monkeypatch):
    """A pipe would be waited for without end."""
    template = write(tmp_path, {"a": "a"})
    os.mkfifo(template / PROJECT / "pipe")
    os.mkfifo(template / "hooks")
    monkeypatch.chdir(template / PROJECT)  # the path of a socket has to be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
    assert rendered(template) == {"a": "a"}

    (template / "cookiecutter.json").unlink()
    os.mkfifo(template / "cookiecutter.json")
    assert "it has no cookiecutter.json" in refused(template)


def test_a_name_that_is_no_text_is_one_line(tmp_path):
    """In a folder or in a repository."""
    template = write(tmp_path, {"a": "a"})
    Path(os.fsdecode(os.fsencode(template / PROJECT) + b"/\xff")).touch()
    message = f"the name of '{PROJECT}/\\udcff' is not in UTF-8"

    assert message in refused(template)
    commit(template)
    assert message in refused(f"git+{template}")


def test_what_cannot_be_read_is_one_line(tmp_path):
    """A link to itself, and folders without end."""
    template = write(tmp_path / "link", {"a": "a"})
    (template / PROJECT / "b").symlink_to("b")
    assert f"{PROJECT}/b" in refused(template)

    template = write(tmp_path / "deep", {"a": "a"})
    place = os.open(template / PROJECT, os.O_RDONLY)
    for _ in range(2_500):
        os.mkdir("x", dir_fd=place)
        place, above = os.open("x", os.O_RDONLY, dir_fd=place), place
        os.close(above)
    os.close(place)
    assert "cannot be read" in refused(template) or "too long" in refused(template)
    subprocess.run(["rm", "-r", template / PROJECT], check=True)  # Python cannot


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
        "https://password@example.invalid/x.git",
        "git+HTTPS://password@example.invalid/x.git",
        "http://password@example.invalid/x.git",
        "ssh://user:password@example.invalid/x.git",
        "https://password@[x",
        "https://" + "x" * 200_000,
        "git+./" + "x" * 200_000,
        "x" * 300,
        "./" + "x" * 300,
        "./x\udcff",
    ],
)
def test_a_place_that_is_never_fetched(reference):
    """It would run something, can be read by others, or leave a password in the lock."""
    with pytest.raises(ConfigurationError) as caught:
        load(reference)
    assert "password@" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("reference", ["ssh://git@example.invalid/x", "git@example.invalid:x"])
def test_as_whom_ssh_logs_in_is_no_secret(reference):
    """It is part of what such a place is called."""
    assert origins.named(reference).reference == reference


@pytest.mark.parametrize("reference", ["../x", "x", "git+https://example.invalid/x"])
@pytest.mark.parametrize("word", ["-x", "a\0b", "a\udcff", "a\x1b[2J", "a\u200bb", "x" * 200_000])
def test_what_a_lock_says_of_a_place_is_sane(reference, word):
    """Whatever kind of place it is."""
    for origin in (
        origins.Origin(reference, directory=word),
        origins.Origin(reference, commit=word),
        origins.Origin(reference + word.removeprefix("-x")),
        origins.Origin("git+https://example.invalid/x", checkout=word),
    ):
        if origin != origins.Origin(reference):
            with pytest.raises(ConfigurationError, match=r"is no commit|is no rev|names no templ"):
                origins.refuse_unsafe(origin)


@pytest.mark.parametrize("commit", ["", "abc", "0" * 39, "0" * 65, "g" * 40, "A" * 40])
def test_a_commit_in_a_lock_is_one(commit):
    """It is shown to people."""
    with pytest.raises(ConfigurationError, match="is no commit"):
        origins.refuse_unsafe(origins.Origin("../x", commit=commit))
    origins.refuse_unsafe(origins.Origin("../x", commit="0a" * 20))


@pytest.mark.parametrize("directory", ["x" * 300, "x/" * 1500])
def test_a_directory_that_cannot_be_is_one_line(tmp_path, directory):
    """Its name, or the path, is too long."""
    write(tmp_path, {"a": "a"})

    with pytest.raises(ConfigurationError, match=r"name too long|has no folder"):
        load(tmp_path, directory=directory)


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


def test_a_repository_s_attributes_change_nothing(repository, tmp_path, monkeypatch):
    """No text is filled in, no filter of the user's called, no file left out, no line end changed."""
    content = b"$Format:%B$ $Id$\r\n\n"
    (repository / PROJECT / "b").write_bytes(content)
    (repository / ".gitattributes").write_text(
        "a export-ignore filter=evil\nb export-subst ident\n* text eol=crlf\n"
    )
    git(repository, "config", "core.autocrlf", "false")
    git(repository, "config", "core.safecrlf", "false")
    (repository / ".git/info/attributes").write_text("* -text -ident -filter\n")
    commit(repository, "x" * 1000)
    ran = tmp_path / "ran"
    config = tmp_path / "gitconfig"
    config.write_text(
        f'[filter "evil"]\nsmudge = touch {ran}; cat\n[core]\nautocrlf = true\n'
        f"attributesFile = {repository}/.gitattributes\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))

    found = load(f"git+{repository}").files

    assert found[f"{PROJECT}/a"].content == b"two"
    assert found[f"{PROJECT}/b"].content == content
    assert not ran.exists()


def test_the_modes_of_a_repository_s_files_are_kept(repository):
    """Submodules are no files."""
    (repository / PROJECT / "run").write_text("#!/bin/sh\n")
    (repository / PROJECT / "run").chmod(0o755)
    git(repository, "add", "-A")
    newest = load(f"git+{repository}").origin.commit
    submodule = f"160000,{newest},{PROJECT}/submodule"
    git(repository, "update-index", "--add", "--cacheinfo", submodule)
    git(repository, "commit", "-q", "-m", "x")

    found = load(f"git+{repository}").files

    assert {path: file.executable for path, file in found.items()} == {
        "cookiecutter.json": False,
        f"{PROJECT}/a": False,
        f"{PROJECT}/run": True,
    }


def test_folders_in_folders_without_end_are_refused(repository):
    """A tree that holds another ten times, which holds another ten times: a few bytes."""
    tree = git(repository, "rev-parse", f"HEAD:{PROJECT}")
    for _ in range(9):
        entries = "".join(f"040000 tree {tree}\t{number}\n" for number in range(10))
        tree = git(repository, "mktree", content=entries)
    base = git(repository, "rev-parse", f"HEAD:{PROJECT}")
    project = f"040000 tree {tree}\tbomb\n040000 tree {base}\t{PROJECT}\n"
    bomb = git(repository, "mktree", content=project)
    git(repository, "branch", "bomb", git(repository, "commit-tree", "-m", "x", bomb))

    with pytest.raises(ConfigurationError, match="is too large for a template"):
        load(repository, "bomb")


@pytest.mark.parametrize("variable", ["GIT_DIR", "GIT_COMMON_DIR", "GIT_NAMESPACE"])
def test_a_variable_of_git_s_leads_to_no_other_repository(repository, monkeypatch, variable):
    """As a hook of git sets it, from which somebody may call us."""
    monkeypatch.setenv(variable, "/nowhere")

    assert rendered(load(repository, "v1")) == {"a": "one"}


def test_a_repository_gives_nothing_of_another_one(repository, tmp_path):
    """Though it names the place of its objects, and somebody the commit."""
    other = write(tmp_path / "other", {"a": "secret"})
    commit(other)
    secret = git(other, "rev-parse", "HEAD")
    place = repository / ".git/objects/info/alternates"
    place.write_text(f"{other}/.git/objects\n")
    assert git(repository, "cat-file", "-t", secret) == "commit"

    for revision in (secret, secret[:10]):
        with pytest.raises(ConfigurationError, match="has no revision"):
            load(repository, revision)


def test_an_object_is_what_its_name_says(repository):
    """Also in a repository on this machine, where git could take over the files as they are."""
    blob = git(repository, "rev-parse", f"HEAD:{PROJECT}/a")
    other = git(repository, "rev-parse", f"v1:{PROJECT}/a")
    place, source = (repository / ".git/objects" / name[:2] / name[2:] for name in (blob, other))
    place.chmod(0o600)
    place.write_bytes(source.read_bytes())

    with pytest.raises(ConfigurationError, match="git: "):
        load(f"git+{repository}")


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


DOUBLE = "{% set ns = namespace(x='a') %}{% for _ in range(40) %}STEP{% endfor %}"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps the limit")
@pytest.mark.parametrize(
    "text",
    [
        "{{ 'a' * 2000000000 }}",
        "{{ 'a'.ljust(10**9) }}",
        "{{ 'a'|center(10**9) }}",
        "{{ '{:>1000000000}'.format(1) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ range(100000)|join('b' * 1000000) }}",
        DOUBLE.replace("STEP", "{% set ns.x = ns.x ~ ns.x %}"),
        DOUBLE.replace("STEP", "{% set ns.x = [ns.x, ns.x] %}{% set ns.x = ns.x|string %}"),
    ],
)
def test_a_template_that_fills_the_memory_ends_in_one_line(tmp_path, text):
    """And whoever called has as much as before."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    template = write(tmp_path, {"a": text})

    with pytest.raises(ConfigurationError, match="it takes more memory than a project can need"):
        rendered(template)

    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_a_link_that_a_hook_leaves_is_not_taken_over(tmp_path):
    """Trusted code may do anything, but by mistake it shall not."""
    template = write(tmp_path, {"a": "a"})
    (template / "hooks").mkdir()
    (template / "hooks/post_gen_project.py").write_text(
        "import os; os.symlink('/etc/hostname', 'link')"
    )

    with pytest.raises(ConfigurationError, match="leads out"):
        render.render(load(template), SPEC, leave=leave)


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
        "made = render.render(template, {'name': 'x'}, leave=lambda lines: True)\n"
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
