"""Projects in temporary folders, and the command line run on them."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import programs
import pytest

from loafer_kit import commands


class Project:
    """The current directory of a user: modules that are written, and commands run on them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def write(self, path, source):
        """Write a file; packages on the way get their `__init__.py`."""
        file = self.directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        for package in file.relative_to(self.directory).parents[:-1]:
            (self.directory / package / "__init__.py").touch()
        file.write_text(textwrap.dedent(source))
        return file

    def command(self, *arguments, **options):
        """Run `python -m loafer_kit` to its end."""
        return programs.run("-m", "loafer_kit", *arguments, cwd=self.directory, **options)

    def start(self, *arguments):
        """Start `python -m loafer_kit`, its output on one pipe."""
        return programs.Program(
            *("-m", "loafer_kit", *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.directory,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project that is the current directory; what it imported is forgotten afterwards."""
    modules, path = set(sys.modules), sys.path[:]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    with commands.isolated():
        yield Project(tmp_path)
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if getattr(sys.modules[name], "__file__", None) is None or str(tmp_path) in str(
            sys.modules[name].__file__
        ):
            del sys.modules[name]
