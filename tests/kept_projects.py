"""Helpers for tests that run commands on projects."""

import contextlib
import io
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from typer.testing import CliRunner

from loafer_kit.cli import app, main
from loafer_kit.exceptions import LoaferKitError
from loafer_kit.scaffold.rendering import templates


@dataclass(frozen=True)
class Done:
    """The output of a command, its error, and its exit code."""

    code: int
    output: str
    error: str


def loafer_kit(*arguments):
    """Run the command line in this process; unexpected exceptions are raised."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, LoaferKitError):
        return Done(1, result.stdout, str(result.exception))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.stdout, result.stderr)


def run(*arguments, stdin=""):
    """Run `main` in this process; the result is like that of `subprocess.run`."""
    words = ["loafer-kit", *map(str, arguments)]
    code = 0
    with contextlib.ExitStack() as stack:
        output, error = (stack.enter_context(_TextFile()) for _ in range(2))
        for name, value in {
            "argv": words,
            "stdin": stack.enter_context(_TextFile(stdin)),
            "stdout": output,
            "stderr": error,
        }.items():
            stack.enter_context(mock.patch.object(sys, name, value))
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        return subprocess.CompletedProcess(words, code, output.text(), error.text())


class _TextFile(io.TextIOWrapper):
    """A text file in memory, with its bytes below it, as standard streams have them."""

    def __init__(self, content=""):
        super().__init__(io.BytesIO(content.encode()), "utf-8", write_through=True)

    def text(self):
        return self.buffer.getvalue().decode()


def content(folder):
    """The bytes of every file of a folder, by path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def replace(file, old, new):
    """Replace a text that must be in the file."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def check_out_with_crlf(project):
    """Give files the line ends of a checkout with `core.autocrlf`."""
    for path, file in content(project).items():
        (project / path).write_bytes(file.replace(b"\n", b"\r\n"))


class OwnTemplates:
    """Copies of the built-in templates that a test may change, as a later release might."""

    def __init__(self, folder: Path, monkeypatch) -> None:
        shutil.copytree(
            templates.locate("service").parent,
            folder,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        self.service = folder / "service/{{cookiecutter.package}}"
        monkeypatch.setattr(templates, "locate", lambda name: folder / name)

    def file(self, path: str) -> Path:
        return self.service / path.replace("foobar", "{{cookiecutter.package}}")
