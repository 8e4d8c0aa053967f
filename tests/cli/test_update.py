"""`loafer-kit update`: a project carried over a change of its template or of its spec."""

import base64
import dataclasses
import json
import shutil
import zlib
from pathlib import Path

import programs
import pytest
from kept_projects import OwnTemplates, check_out_with_crlf, content, loafer_kit, replace

from loafer_kit.scaffold.project import locks


@pytest.fixture
def later(tmp_path, monkeypatch):
    """The templates, as a later release may have them."""
    return OwnTemplates(tmp_path / "templates", monkeypatch)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A service with two queues, as it was written."""
    folder = tmp_path_factory.mktemp("written")
    queues = ["--queue", "a,wait_time=3", "--queue", "b"]
    done = loafer_kit("new", "service", "foobar", *queues, "--output-dir", folder)
    assert done.code == 0, done.error
    return folder / "foobar"


@pytest.fixture
def project(tmp_path, later, written):
    """A copy of that service."""
    return shutil.copytree(written, tmp_path / "foobar")


def test_a_project_that_is_up_to_date_is_left_alone(project):
    """Byte by byte, and every way to ask says so."""
    before = content(project)

    for flags in ([], ["--check"], ["--dry-run"], ["--diff"], ["--json"]):
        assert loafer_kit("update", project, *flags).code == 0
    assert content(project) == before


def test_every_edit_is_carried_over_a_template_change(project, later):
    """Untouched files are new, edited ones merged, deleted ones gone, stale ones only if untouched."""
    replace(
        project / "foobar/handlers.py", "    # TODO: do the work here.", "    print(message)  #"
    )
    replace(project / "pyproject.toml", 'version = "0.1.0"', 'version = "1.0.0"')
    replace(project / "__main__.py", "import runpy", "import runpy  # mine")
    (project / "README.md").unlink()
    (project / "mine.py").write_text("mine = 1\n")
    replace(later.file("foobar/handlers.py"), "True deletes its message.", "True is done with it.")
    replace(later.file("Dockerfile"), "python:3.13", "python:3.14")
    replace(later.file("pyproject.toml"), '"pytest"', '"pytest>=9"')
    replace(later.file("README.md"), "## Run", "## Running")
    later.file(".gitignore").unlink()
    later.file("__main__.py").unlink()
    later.file("foobar/version.py").write_text('version = "1"\n')

    done = loafer_kit("update", project)

    assert done.code == 0, done.error
    handlers = (project / "foobar/handlers.py").read_text()
    assert "True is done with it." in handlers
    assert handlers.count("print(message)") == 2
    assert "python:3.14" in (project / "Dockerfile").read_text()
    assert 'version = "1.0.0"' in (project / "pyproject.toml").read_text()
    assert '"pytest>=9"' in (project / "pyproject.toml").read_text()
    assert not (project / "README.md").exists()
    assert not (project / ".gitignore").exists()
    assert "# mine" in (project / "__main__.py").read_text()
    assert (project / "foobar/version.py").is_file()
    assert (project / "mine.py").read_text() == "mine = 1\n"
    assert "merge  foobar/handlers.py" in shown(done, project)
    assert "keep  README.md  (deleted in the project" in shown(done, project)
    assert "keep  __main__.py  (edited in the project" in shown(done, project)
    after = content(project)
    assert loafer_kit("update", project).code == 0
    assert content(project) == after
    assert loafer_kit("check", project).code == 0


def shown(done, project):
    return done.output.replace(f"{project}/", "")


@pytest.fixture
def torn(project, later):
    """A project and a template that changed the same line."""
    replace(project / "foobar/handlers.py", "and comes back when", "and stays until")
    replace(later.file("foobar/handlers.py"), "and comes back when", "and returns when")
    return project


MARKED = """\
<<<<<<< yours
message stays on its queue and stays until its visibility timeout ends.
=======
message stays on its queue and returns when its visibility timeout ends.
>>>>>>> template
"""


def test_a_conflict_is_marked_listed_and_no_success(torn):
    """In the file as git marks it, in the output, and by the exit code."""
    done = loafer_kit("update", torn)

    assert done.code == 1
    assert "conflict  foobar/handlers.py  (1 place)" in shown(done, torn)
    assert "conflicts are left in foobar/handlers.py" in done.error
    assert MARKED in (torn / "foobar/handlers.py").read_text()
    assert not list(torn.rglob("*.rej"))


def test_a_conflict_stays_a_failure_until_it_is_resolved(torn):
    """Neither `update` nor `check` passes over the marks; afterwards both do."""
    loafer_kit("update", torn)
    before = content(torn)

    for command in (["update"], ["update", "--check"], ["check"]):
        done = loafer_kit(*command, torn)
        assert done.code == 1
        assert "foobar/handlers.py:4: a conflict is left" in done.output + done.error
    assert content(torn) == before
    replace(
        torn / "foobar/handlers.py",
        MARKED,
        "message stays there until its visibility timeout ends.\n",
    )
    after = content(torn)
    assert loafer_kit("update", torn).code == 0
    assert loafer_kit("check", torn).code == 0
    assert content(torn) == after


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("turn", range(4))
def test_a_failure_in_the_middle_leaves_every_byte(torn, later, monkeypatch, turn, error):
    """The lock's too: the next run begins where this one did."""
    replace(later.file("Dockerfile"), "python:3.13", "python:3.14")
    later.file(".gitignore").unlink()
    before = content(torn)
    calls = iter(range(1000))
    for name in ("replace", "unlink"):
        original = getattr(Path, name)

        def step(self, *args, original=original, **kwargs):
            if next(calls) == turn:
                raise error
            return original(self, *args, **kwargs)

        monkeypatch.setattr(Path, name, step)

    done = loafer_kit("update", torn)

    monkeypatch.undo()
    assert done.code == (1 if isinstance(error, OSError) else 130)
    assert "conflicts are left" not in done.error
    assert content(torn) == before


def test_an_unwanted_update_is_only_shown(torn):
    """A list and its exit code 2; for CI, exit code 1; for machines, both and the diffs."""
    before = content(torn)

    assert loafer_kit("update", torn, "--dry-run").code == 2
    checked = loafer_kit("update", torn, "--check")
    assert (checked.code, checked.error) == (
        1, "the project is behind its template: run `loafer-kit update`",
    )  # fmt: skip
    done = loafer_kit("update", torn, "--dry-run", "--json")
    assert done.code == 2
    described = json.loads(done.output)
    assert described["written"] is False
    handlers, _lock = described["changes"]
    assert (handlers["action"], handlers["conflicts"]) == ("conflict", 1)
    assert "+<<<<<<< yours\n" in handlers["diff"]
    assert content(torn) == before


def test_what_concerns_no_file_is_not_due(project, later):
    """A template's digest, or a release's number, fails no pipeline."""
    replace(later.service.parent / "cookiecutter.json", '"foobar"', '"barfoo"')

    assert loafer_kit("update", project, "--check").code == 0


def test_a_new_queue_in_the_spec_reaches_edited_code(project):
    """Its handler stands after the edited one; the spec itself is its owner's."""
    replace(
        project / "foobar/handlers.py", "    # TODO: do the work here.", "    print(message)  #"
    )
    spec = project / "loafer.toml"
    spec.write_text(spec.read_text() + '\n[[queues]]  # mine\nhandler = "on_c"\nname = "c"\n')
    written = spec.read_bytes()

    assert "the queue 'c' was added" in loafer_kit("check", project).output
    done = loafer_kit("update", project)

    assert done.code == 0, done.error
    assert spec.read_bytes() == written
    handlers = (project / "foobar/handlers.py").read_text()
    assert handlers.count("print(message)") == 2
    assert handlers.index("async def on_c(") > handlers.index("async def handle_b(")
    assert loafer_kit("check", project).code == 0
    after = content(project)
    assert loafer_kit("update", project).code == 0
    assert content(project) == after


def test_a_checkout_with_crlf_is_up_to_date(project):
    """Line ends are no edit, neither of a file nor of the lock."""
    check_out_with_crlf(project)
    before = content(project)

    for command in (["update"], ["update", "--check"], ["update", "--dry-run"], ["check"]):
        done = loafer_kit(*command, project)
        assert done.code == 0, done.output + done.error
    assert content(project) == before


def test_an_untouched_checkout_with_crlf_is_rendered_anew_with_crlf(project, later):
    """Byte by byte what a fresh rendering is, but for its line ends."""
    replace(later.file("foobar/handlers.py"), "and comes back when", "and returns when")
    replace(later.file("loafer.toml"), "The spec of this service", "The spec of the service")
    later.file(".gitignore").unlink()
    flags = ["--queue", "a,wait_time=3", "--queue", "b", "--output-dir", project.parent / "fresh"]
    loafer_kit("new", "service", "foobar", *flags)
    fresh = content(project.parent / "fresh/foobar")
    check_out_with_crlf(project)

    done = loafer_kit("update", project)

    assert done.code == 0, done.error
    assert "overwrite  foobar/handlers.py" in shown(done, project)
    after = content(project)
    lock = after.pop(locks.PATH)
    assert lock.count(b"\r\n") == lock.count(b"\n")
    del fresh[locks.PATH]
    assert after == {path: file.replace(b"\n", b"\r\n") for path, file in fresh.items()}


def test_edits_of_a_checkout_with_crlf_are_merged_line_by_line(project, later):
    """Each file keeps its own line ends, and its byte order mark."""
    check_out_with_crlf(project)
    handlers, docker = project / "foobar/handlers.py", project / "Dockerfile"
    edited = handlers.read_bytes().replace(b"    # TODO", b"    print(message)  # TODO")
    handlers.write_bytes(b"\xef\xbb\xbf" + edited)
    docker.write_bytes(docker.read_bytes().replace(b"USER service\r", b"USER service"))
    replace(later.file("foobar/handlers.py"), "and comes back when", "and returns when")
    replace(later.file("Dockerfile"), "python:3.13", "python:3.14")
    wanted = docker.read_bytes().replace(b"python:3.13", b"python:3.14")

    done = loafer_kit("update", project)

    assert done.code == 0, done.error
    assert handlers.read_bytes() == b"\xef\xbb\xbf" + edited.replace(
        b"and comes back when", b"and returns when"
    )
    assert docker.read_bytes() == wanted


def test_a_conflict_in_a_checkout_with_crlf_is_found_by_its_line(torn):
    """The marks end as the lines around them do."""
    check_out_with_crlf(torn)

    assert loafer_kit("update", torn).code == 1

    handlers = (torn / "foobar/handlers.py").read_bytes()
    assert MARKED.replace("\n", "\r\n").encode() in handlers
    assert handlers.count(b"\r\n") == handlers.count(b"\n")
    assert "foobar/handlers.py:4: a conflict is left" in loafer_kit("check", torn).output


def test_an_extension_is_updated_from_what_its_lock_keeps(tmp_path, later):
    """It has no spec file of its own."""
    arguments = ["--setting", 'URL="redis://x"', "--setting", "N=1", "--required", "KEY", "--cli"]
    loafer_kit("new", "extension", "MyRedis", *arguments, "--output-dir", tmp_path)
    project = tmp_path / "loafer-kit-myredis"
    before = content(project)

    assert loafer_kit("check", project).code == 0
    assert loafer_kit("update", project, "--check").code == 0
    assert content(project) == before


def test_a_folder_without_a_lock_is_an_error_in_one_line(tmp_path):
    """Nothing is guessed about a folder of somebody else's."""
    for command in ("update", "check", "destroy"):
        done = loafer_kit(command, tmp_path)
        assert done.code == 1
        assert done.error.startswith("There is no ")
        assert "\n" not in done.error
    assert list(tmp_path.iterdir()) == []


def test_a_template_that_is_not_installed_is_one_line(project):
    """Nothing is rendered by another one in its stead."""
    lock = locks.find(project)
    other = dataclasses.replace(lock, template=locks.TemplateRef("../../evil", "0"))
    (project / locks.PATH).write_bytes(locks.content(other))
    before = content(project)

    done = loafer_kit("update", project)

    assert (done.code, done.error) == (
        1, "the lock says template '../../evil', which loafer-kit does not have",
    )  # fmt: skip
    assert content(project) == before


@pytest.mark.parametrize("path", ["/etc/hostname", "../outside"])
def test_a_hostile_lock_touches_nothing(project, path):
    """Whatever command reads it, and whatever hash it claims."""
    outside = project.parent / "outside"
    outside.write_bytes(b"x")
    file = project / locks.PATH
    values = json.loads(file.read_bytes())
    values["files"][path] = {
        "sha256": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
        "content": base64.b64encode(zlib.compress(b"x")).decode(),
    }
    file.write_text(json.dumps(values))
    before = content(project)

    for command in ("update", "destroy", "check"):
        done = loafer_kit(command, project)
        assert done.code == 1
        assert "not a path" in done.error
    assert content(project) == before
    assert outside.read_bytes() == b"x"


@pytest.mark.slow
def test_neither_a_home_nor_git_nor_a_network_is_needed(project, later):
    """The base is in the lock, and nothing is written elsewhere."""
    spec = project / "loafer.toml"
    spec.write_text(spec.read_text() + '\n[[queues]]\nname = "c"\nhandler = "handle_c"\n')
    replace(project / "foobar/handlers.py", "True deletes", "True ends")
    environment = {"HOME": "/dev/null", "PATH": "", "PYTHONDONTWRITEBYTECODE": "1"}

    for command in (
        ["update"],
        ["new", "service", "other", "--queue", "a"],
        ["check"],
        ["destroy"],
    ):
        folder = [project] if len(command) == 1 else ["--output-dir", project.parent]
        if command == ["destroy"]:
            folder = [project.parent / "other"]
        done = programs.run("-m", "loafer_kit", *command, *folder, env=environment)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
    assert "handle_c" in (project / "foobar/handlers.py").read_text()
    assert not (project.parent / "other").exists()


LARGE = 1024 * 1024 + 1


@pytest.fixture
def with_logo(tmp_path, later):
    """A service whose template has a large binary."""
    later.file("logo.bin").write_bytes(bytes(LARGE))
    loafer_kit("new", "service", "foobar", "--queue", "a", "--output-dir", tmp_path)
    return tmp_path / "foobar"


def test_a_large_binary_is_replaced_if_it_is_untouched(with_logo, later):
    """Its hash alone is in the lock, which stays small."""
    later.file("logo.bin").write_bytes(bytes(LARGE) + b"new")

    assert (with_logo / locks.PATH).stat().st_size < 20_000
    assert loafer_kit("update", with_logo).code == 0
    assert (with_logo / "logo.bin").read_bytes() == bytes(LARGE) + b"new"
    later.file("logo.bin").unlink()
    assert loafer_kit("update", with_logo).code == 0
    assert not (with_logo / "logo.bin").exists()


@pytest.mark.parametrize("size", [LARGE, 10])
def test_an_edited_binary_gets_the_templates_version_beside_it(with_logo, later, size):
    """It stays a conflict until one of the two is gone; a large file is in the lock by its hash."""
    later.file("logo.bin").write_bytes(bytes(size))
    assert loafer_kit("update", with_logo).code == 0
    (with_logo / "logo.bin").write_bytes(b"\0mine")
    later.file("logo.bin").write_bytes(bytes(size) + b"new")

    done = loafer_kit("update", with_logo)

    assert done.code == 1
    assert "conflict  logo.bin  (the template's version is in logo.bin.new)" in shown(
        done, with_logo
    )
    assert "in logo.bin: keep it or the .new file beside it" in done.error
    assert (with_logo / "logo.bin").read_bytes() == b"\0mine"
    assert (with_logo / "logo.bin.new").read_bytes() == bytes(size) + b"new"
    checked = loafer_kit("check", with_logo)
    assert (checked.code, checked.output.count("\n")) == (1, 1)
    assert checked.output.startswith("logo.bin.new: a conflict is left with logo.bin; keep one")
    assert loafer_kit("update", with_logo).code == 1
    (with_logo / "logo.bin.new").replace(with_logo / "logo.bin")
    assert loafer_kit("check", with_logo).code == 0
    assert loafer_kit("update", with_logo, "--check").code == 0


@pytest.fixture
def with_secret(tmp_path, later):
    """A service whose template draws a secret, and covers it with .gitignore."""
    ignore = later.file(".gitignore")
    ignore.write_text(ignore.read_text() + "secrets/\n")
    later.file("secrets").mkdir()
    later.file("secrets/key").write_text("drawn-first")
    loafer_kit("new", "service", "foobar", "--queue", "a", "--output-dir", tmp_path)
    later.file("secrets/key").write_text("drawn-again")
    return tmp_path / "foobar"


def test_a_file_that_gitignore_covers_is_never_rewritten(with_secret, tmp_path):
    """A secret stays as it was drawn, and the lock holds its hash alone."""
    before = content(with_secret)
    assert before["secrets/key"] == b"drawn-first"
    assert locks.find(with_secret).files["secrets/key"] == locks.Digest(
        "2b3fbf57be9a113cf6811108ddfabd3c3d92910963ae9ed125f1617a17058b4d"
    )

    again = ["new", "service", "foobar", "--queue", "a", "--output-dir", tmp_path, "--force"]
    for command in (["update", with_secret, "--check"], ["update", with_secret], again):
        done = loafer_kit(*command)
        assert done.code == 0
        assert "secrets/key" not in done.output
    assert content(with_secret) | {locks.PATH: b""} == before | {locks.PATH: b""}

    (with_secret / "secrets/key").write_text("mine")
    assert loafer_kit("add", "queue", "b", "--path", with_secret).code == 0
    assert loafer_kit("update", with_secret).code == 0
    assert (with_secret / "secrets/key").read_text() == "mine"
    assert loafer_kit("destroy", with_secret).code == 0
    assert b"drawn" not in (with_secret / locks.PATH).read_bytes()


def test_a_checkout_without_the_covered_file_stays_without_it(with_secret):
    """git does not bring it along; `destroy` does not miss it."""
    (with_secret / "secrets/key").unlink()

    assert loafer_kit("update", with_secret).code == 0
    assert not (with_secret / "secrets/key").exists()
    assert loafer_kit("update", with_secret, "--check").code == 0
    assert loafer_kit("destroy", with_secret).code == 0


def test_a_file_that_an_update_brings_and_covers_is_written_once(project, later):
    """With the line of .gitignore that covers it."""
    ignore = later.file(".gitignore")
    ignore.write_text(ignore.read_text() + "/.env\n")
    later.file(".env").write_text("one")
    assert loafer_kit("update", project).code == 0
    later.file(".env").write_text("two")

    assert loafer_kit("update", project).code == 0
    assert (project / ".env").read_text() == "one"
    (project / ".gitignore").unlink()
    assert loafer_kit("update", project).code == 0
    assert (project / ".env").read_text() == "one"


@pytest.mark.parametrize("is_text_changed", [True, False])
def test_executable_bits_are_merged_like_text(project, later, is_text_changed):
    """The template's change is taken in, the project's own stays."""
    script, main = later.file("run.sh"), later.file("foobar/__main__.py")
    script.write_text("#!/bin/sh\n")
    assert loafer_kit("update", project).code == 0
    (project / "README.md").chmod(0o755)
    script.chmod(0o755)
    if is_text_changed:
        script.write_text("#!/bin/bash\n")
        replace(later.file("README.md"), "#", "##")

    done = loafer_kit("update", project)

    assert done.code == 0
    assert "run.sh  (now executable)" in shown(done, project)
    assert (project / "run.sh").stat().st_mode & 0o111 == 0o111
    assert (project / "README.md").stat().st_mode & 0o777 == 0o755
    (project / "run.sh").chmod(0o644)
    main.write_text(main.read_text() + "# later\n")
    assert loafer_kit("update", project).code == 0
    assert (project / "run.sh").stat().st_mode & 0o777 == 0o644
    (project / "run.sh").chmod(0o755)
    script.chmod(0o644)
    assert "run.sh  (no longer executable)" in shown(loafer_kit("update", project), project)
    assert (project / "run.sh").stat().st_mode & 0o111 == 0


def test_a_renamed_file_carries_the_edits_along(project, later):
    """It says where they are now; a conflict in it is marked."""
    replace(project / "foobar/handlers.py", "return True", "return bool(message)")
    replace(later.file("foobar/handlers.py"), "Handle", "Treat")
    later.file("foobar/handlers.py").rename(later.file("foobar/handling.py"))

    done = loafer_kit("update", project)

    assert done.code == 0, done.error
    assert "create  foobar/handling.py  (with the edits of foobar/handlers.py)" in shown(
        done, project
    )
    assert "remove  foobar/handlers.py  (renamed to foobar/handling.py)" in shown(done, project)
    written = (project / "foobar/handling.py").read_text()
    assert "return bool(message)" in written
    assert not (project / "foobar/handlers.py").exists()


def test_an_edited_file_that_the_template_lost_is_named(project, later):
    """It stays; nothing new resembles it."""
    replace(project / "README.md", "foobar", "mine")
    later.file("README.md").unlink()
    later.file("OTHER.md").write_text("something else\n")

    done = loafer_kit("update", project)

    assert done.code == 0
    assert "keep  README.md  (edited in the project; the template no longer has it)" in shown(
        done, project
    )


def test_a_linked_file_is_left_alone(project, later, tmp_path):
    """The rest is updated, nothing is written through it, and the other commands work."""
    (project / "README.md").rename(tmp_path / "elsewhere.md")
    (project / "README.md").symlink_to(tmp_path / "elsewhere.md")
    before = (tmp_path / "elsewhere.md").read_bytes()
    replace(later.file("README.md"), "#", "##")
    later.file("new.txt").write_text("new")

    done = loafer_kit("update", project)

    assert done.code == 0, done.error
    assert "keep  README.md  (a symbolic link in the project" in shown(done, project)
    assert (tmp_path / "elsewhere.md").read_bytes() == before
    assert (project / "new.txt").read_text() == "new"
    assert (project / "README.md").is_symlink()
    assert loafer_kit("check", project).code == 0
    assert loafer_kit("add", "queue", "z", "--path", project).code == 0
    assert loafer_kit("destroy", project).code == 0
    assert (tmp_path / "elsewhere.md").read_bytes() == before


def test_a_linked_folder_is_left_alone(project, later, tmp_path):
    """What is in it is listed, neither read nor written, and the other commands work."""
    (project / "tests").rename(tmp_path / "elsewhere")
    (project / "tests").symlink_to(tmp_path / "elsewhere")
    before = content(tmp_path / "elsewhere")
    replace(later.file("tests/test_routes.py"), '"""The routes', '"""All routes')
    later.file("new.txt").write_text("new")

    done = loafer_kit("update", project)

    assert done.code == 0, done.error
    assert "keep  tests/test_routes.py  (a symbolic link in the project" in shown(done, project)
    assert (project / "new.txt").read_text() == "new"
    assert loafer_kit("check", project).code == 0
    done = loafer_kit("add", "queue", "z", "--path", project)
    assert done.code == 0, done.error
    assert "keep  tests/test_z.py  (a symbolic link in the project" in shown(done, project)
    done = loafer_kit("remove", "queue", "z", "--path", project)
    assert done.code == 0, done.error
    assert content(tmp_path / "elsewhere") == before


def test_code_is_not_inserted_through_a_linked_folder(project, tmp_path):
    """The command says what each file lacks, and writes nothing."""
    package = next(folder for folder in project.iterdir() if (folder / "handlers.py").exists())
    package.rename(tmp_path / "elsewhere")
    package.symlink_to(tmp_path / "elsewhere")
    before = content(tmp_path / "elsewhere")

    done = loafer_kit("add", "queue", "z", "--path", project)

    assert done.code == 1
    assert f"{package.name}/handlers.py: a symbolic link leads there; it lacks" in done.error
    assert "async def handle_z" in done.error
    assert content(tmp_path / "elsewhere") == before
    assert '"z"' not in (project / "loafer.toml").read_text()


def test_a_last_line_without_an_end_is_not_glued(project, later):
    """To what the template appends."""
    readme = project / "README.md"
    readme.write_text(readme.read_text().rstrip("\n") + " edited")
    with later.file("README.md").open("a") as file:
        file.write("appended\n")

    assert loafer_kit("update", project).code == 0

    assert readme.read_text().endswith(" edited\nappended\n")
