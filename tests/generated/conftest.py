"""The installations that generate and check projects: this checkout, and an installed wheel."""

import contextlib
import fcntl
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import programs
import pytest
from generated_projects import environment
from kept_projects import loafer_kit

from loafer_kit.local import LocalServer

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Installation:
    """A Python in which loafer_kit is installed."""

    python: str

    def run(self, *arguments, cwd, more=None, check=True):
        """Run a module of this Python; fail with its output if it fails."""
        variables = environment() | (more or {})
        if self.python == sys.executable:
            done = programs.run("-m", *arguments, cwd=cwd, env=variables)
        else:
            done = subprocess.run(
                [self.python, "-m", *map(str, arguments)],
                cwd=cwd,
                env=variables,
                capture_output=True,
                text=True,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def new(self, folder, *arguments):
        """Generate a service and return its project folder."""
        command = ("new", "service", "--output-dir", folder, *arguments)
        if self.python == sys.executable:
            assert loafer_kit(*command).code == 0
        else:
            self.run("loafer_kit", *command, cwd=folder)
        (project,) = (path.parent for path in folder.glob("*/loafer.toml"))
        return project


@pytest.fixture(scope="session")
def checkout():
    """The checkout that these tests belong to."""
    return Installation(sys.executable)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """A new environment with a built wheel, made once for all workers.

    The dependencies come from the environment of the tests; nothing is downloaded.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    environment = shared / "wheel"
    with _only_one(shared / "wheel.lock"):
        if not (environment / "complete").exists():
            _install_wheel(environment)
            (environment / "complete").touch()
    return Installation(str(environment / "bin/python"))


def _install_wheel(environment):
    def run(*command):
        subprocess.run(command, check=True, cwd=environment.parent, capture_output=True)

    dist = environment.with_name("dist")
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", dist, ROOT)
    (built,) = dist.glob("*.whl")
    python = environment / "bin/python"
    # pip also compiles the modules of the templates; rendering must leave these files out.
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--no-index", "--no-deps", built)
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")


@contextlib.contextmanager
def _only_one(lock):
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def server():
    """The embedded server that services run against."""
    with LocalServer() as server:
        yield server
