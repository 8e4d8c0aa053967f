"""A full disk, and a home directory that nobody may write to: real processes on real files."""

import ctypes
import os
import resource
import shutil
import signal
import subprocess
import sys

import pytest
from kept_projects import loafer_kit, replace
from scaffold.custom_templates import commit, write
from terminals import COMMAND

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("python_copies")]


def run(*arguments, **options):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        **options,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A service that every command has something to do in."""
    above = tmp_path_factory.mktemp("made")
    folder = above / "foobar"
    loafer_kit("new", "service", "foobar", "--queue", "a", "--output-dir", above)
    assert loafer_kit("add", "queue", "b", "--path", folder).code == 0
    spec = folder / "loafer.toml"
    spec.write_text(spec.read_text() + '\n[[queues]]\nname = "c"\n')
    return folder


@pytest.fixture
def project(made, tmp_path):
    """A copy of it."""
    return shutil.copytree(made, tmp_path / "foobar")


WRITING = {
    "update": ["update", "."],
    "add": ["add", "queue", "d"],
    "destroy": ["destroy", "."],
}


def everything(folder):
    """Every file's bytes and mode; every folder's mode."""
    return {
        place.relative_to(folder).as_posix(): (
            place.stat().st_mode,
            place.read_bytes() if place.is_file() else None,
        )
        for place in folder.rglob("*")
    }


@pytest.mark.parametrize(
    ("command", "size"),
    [
        ("update", 0),
        ("update", "of the lock"),
        ("add", 1000),
        ("add", "of the lock"),
        ("destroy", 1000),
    ],
)
def test_a_full_disk_leaves_every_byte_as_before(project, command, size):
    """It ends before the first file, between two of them, and at the last, a lock that has grown.

    The limit on a file's size stands for the disk's end.
    """
    if size == "of the lock":
        size = (project / ".loafer-kit/lock.json").stat().st_size
    if command == "destroy":  # takes back what `add` wrote, in files that were not edited since
        replace(project / "loafer.toml", '\n[[queues]]\nname = "c"\n', "")
    before = everything(project)

    done = run(*WRITING[command], cwd=project, preexec_fn=lambda: _end_disk_after(size))

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "nothing was written" in done.stderr
    assert "File too large" in done.stderr
    assert everything(project) == before


def _end_disk_after(size):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home directory that cannot be written to, as some containers have it."""
    folder = tmp_path / "home"
    folder.mkdir(mode=0o500)
    for name in [name for name in os.environ if name.startswith(("GIT_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "A")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "a@example.org")
    tried = subprocess.run(
        ["touch", folder / "x"], check=False, preexec_fn=_obey_modes
    )  # noqa: S607
    if tried.returncode == 0:
        (folder / "x").unlink()
        pytest.skip("here root writes into every folder, and cannot be kept from it")
    yield folder
    assert list(folder.iterdir()) == []
    folder.chmod(0o700)


def _obey_modes():
    """Without this capability, root itself writes only where the modes of its folders let it."""
    cap_dac_override, pr_capbset_drop, version = 1, 24, 0x20080522
    if os.geteuid() == 0 and sys.platform == "linux":
        system = ctypes.CDLL(None)
        system.prctl(pr_capbset_drop, cap_dac_override, 0, 0, 0)  # for the programs it starts
        this_process, sets = (ctypes.c_uint32 * 2)(version, 0), (ctypes.c_uint32 * 6)()
        system.capget(this_process, sets)
        for number in range(3):  # effective, permitted and inheritable
            sets[number] &= ~(1 << cap_dac_override)
        system.capset(this_process, sets)


def test_a_home_that_cannot_be_written_to_is_in_nobodys_way(home, project, tmp_path):
    """Nothing is even tried there that would be told."""
    repository = write(tmp_path / "repository", {"a": "one"})
    commit(repository)

    commands = {
        "add queue e": project,
        "destroy .": project,
        "update .": project,
        "check .": project,
        "templates": project,
        "new service shop --queue a --git": tmp_path,
        f"new service other --template git+{repository} --trust": tmp_path,
        "update other --check --trust": tmp_path,
        "destroy other": tmp_path,
    }
    for command, folder in commands.items():
        done = run(*command.split(), cwd=folder, preexec_fn=_obey_modes)
        said = "" if "--trust" not in command else "the template is code that runs with your rights"
        assert (done.returncode, done.stderr.partition(":")[0]) == (0, said), command

    assert "handle_c" in (project / "foobar/handlers.py").read_text()
    log = subprocess.run(
        ["git", "-C", tmp_path / "shop", "log", "--format=%an"],  # noqa: S607
        check=True,
        capture_output=True,
        text=True,
    )
    assert log.stdout == "A\n"
    assert not (tmp_path / "other").exists()
