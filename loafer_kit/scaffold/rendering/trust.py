"""The code that a template brings: showing it to somebody, and running it where that one lets it.

What runs is what was shown: a hook as it comes out of its variables, whoever's these are.
"""

import io
import subprocess
import sys
import tempfile
import tokenize
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from jinja2 import Environment

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.rendering.sandbox import SAFE_EXTENSIONS
from loafer_kit.scaffold.rendering.template_files import File
from loafer_kit.scaffold.rendering.templates import Template

#: Is shown code, line by line, and says whether it may run.
Leave = Callable[[Sequence[str]], bool]

_BEFORE, _AFTER = "pre_gen_project", "post_gen_project"


@dataclass(frozen=True, slots=True)
class Code:
    """What a template would run: its hooks by their paths, its extensions by their names."""

    hooks: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.hooks or self.extensions)

    def __str__(self) -> str:
        extensions = (f"the extension {name}" for name in self.extensions)
        return ", ".join(map(_harmless, (*self.hooks, *extensions)))


def code_of(template: Template) -> Code:
    """What a template would run if it were trusted; the built-in ones run nothing here."""
    if template.origin is None:
        return Code()
    hooks = [f"hooks/{name}" for stem in (_BEFORE, _AFTER) for name in _hooks(template, stem)]
    extensions = [name for name in template.extensions if name not in SAFE_EXTENSIONS]
    return Code(tuple(hooks), tuple(extensions))


def _hooks(template: Template, stem: str) -> list[str]:
    """The files that are hooks of a kind: not those that an editor kept as a backup."""
    found = sorted(name for name in template.below("hooks") if "/" not in name)
    return [name for name in found if PurePosixPath(name).stem == stem and name[-1] != "~"]


@contextmanager
def importable(template: Template, extensions: Sequence[str], leave: Leave) -> Iterator[None]:
    """Let extensions, and the modules that a template brings for them, be imported.

    ConfigurationError where that is not allowed.
    """
    modules = {name.partition(".")[0] for name in extensions}
    brought = {
        path: file
        for path, file in sorted(template.files.items())
        if path.partition("/")[0].removesuffix(".py") in modules
    }
    _ask([*(f"the extension {name}" for name in extensions), *_quoted(brought)], leave)
    before = set(sys.modules)
    with tempfile.TemporaryDirectory(prefix="loafer-kit-") as folder:
        for path, file in brought.items():
            place = Path(folder, path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.content)
        sys.path.insert(0, folder)
        try:
            yield
        finally:
            sys.path.remove(folder)
            for name in set(sys.modules) - before:
                if name.partition(".")[0] in modules:
                    del sys.modules[name]


def scripts(
    template: Template,
    hooks: Sequence[str],
    environment: Environment,
    context: object,
    leave: Leave,
) -> dict[str, File]:
    """What hooks come out as, by their paths; ConfigurationError where they may not run."""
    made = {}
    for path in hooks:
        source = environment.from_string(template.files[path].content.decode())
        made[path] = File(source.render(cookiecutter=context).encode())
    _ask([*_quoted(made)], leave)
    return made


def _ask(lines: Sequence[str], leave: Leave) -> None:
    if not leave([_harmless(line) for line in lines]):
        raise ConfigurationError("its code may not run: nothing was written")


def _quoted(files: Mapping[str, File]) -> Iterator[str]:
    """Files line by line; ConfigurationError for one that says something else to Python."""
    for path, file in files.items():
        yield f"{path}:"
        if file.text is None:
            yield f"  | {len(file.content)} bytes that are no text"
            continue
        if path.endswith(".py"):
            _refuse_other_encoding(path, file)
        yield from (f"  | {line}" for line in file.text.splitlines())


def _refuse_other_encoding(path: str, file: File) -> None:
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(file.content).readline)
    except SyntaxError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    if encoding not in ("utf-8", "utf-8-sig"):
        raise ConfigurationError(f"{path} is in {encoding}: only UTF-8 can be shown as it runs")


def _harmless(line: str) -> str:
    """A line in which nothing moves a terminal's cursor, or looks like another letter."""
    return "".join(
        character if " " <= character <= "~" else ascii(character)[1:-1] for character in line
    )


def run_before(scripts: Mapping[str, File], project: Path) -> None:
    """Run the hooks that come before the files are there."""
    _run(scripts, _BEFORE, project)


def run_after(scripts: Mapping[str, File], project: Path) -> None:
    """Run the hooks that come after the files are there."""
    _run(scripts, _AFTER, project)


def _run(scripts: Mapping[str, File], stem: str, project: Path) -> None:
    for path, script in scripts.items():
        if PurePosixPath(path).stem == stem:
            with tempfile.TemporaryDirectory(prefix="loafer-kit-") as folder:
                file = Path(folder, PurePosixPath(path).name)
                file.write_bytes(script.content)
                file.chmod(0o700)
                _execute(file, path, project)


def _execute(script: Path, name: str, project: Path) -> None:
    command = [sys.executable, str(script)] if script.suffix == ".py" else [str(script)]
    try:
        # Standard output is the command's own: what a hook says goes where the notes go.
        done = subprocess.run(command, cwd=project, check=False, stdout=2)  # noqa: S603 - trusted
    except OSError as error:
        raise ConfigurationError(f"{name} cannot be run: {error.strerror}") from error
    if done.returncode:
        raise ConfigurationError(
            f"{name} failed with exit code {done.returncode}: nothing was written"
        )
