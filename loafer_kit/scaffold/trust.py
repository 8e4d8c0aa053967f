"""The code that a template brings: what of it would run, and running it once it is trusted."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from jinja2 import Environment

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.sandbox import SAFE_EXTENSIONS
from loafer_kit.scaffold.template_files import File
from loafer_kit.scaffold.templates import Template

_BEFORE, _AFTER = "pre_gen_project", "post_gen_project"


@dataclass(frozen=True, slots=True)
class Code:
    """What a template would run: its hooks by their paths, its extensions by their names."""

    hooks: tuple[str, ...]
    extensions: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.hooks or self.extensions)

    def __str__(self) -> str:
        extensions = (f"the extension {name}" for name in self.extensions)
        return ", ".join(map(_harmless, (*self.hooks, *extensions)))


def code_of(template: Template) -> Code:
    """What a template would run if it were trusted."""
    hooks = [f"hooks/{name}" for stem in (_BEFORE, _AFTER) for name in _hooks(template, stem)]
    extensions = [name for name in template.extensions if name not in SAFE_EXTENSIONS]
    return Code(tuple(hooks), tuple(extensions))


def shown(template: Template, code: Code) -> Iterator[str]:
    """The lines that show a person what would run."""
    for path in code.hooks:
        yield f"{_harmless(path)}:"
        yield from _quoted(template.files[path])
    for name in code.extensions:
        yield _harmless(f"the extension {name}")
    for path, file in _brought(template, code).items():
        yield _harmless(f"{path}, which can be imported:")
        yield from _quoted(file)


def _quoted(file: File) -> Iterator[str]:
    if file.text is None:
        yield f"  | {len(file.content)} bytes that are no text"
    else:
        yield from (f"  | {_harmless(line)}" for line in file.text.splitlines())


def _harmless(line: str) -> str:
    """A line in which nothing moves a terminal's cursor, or looks like another letter."""
    return "".join(
        character if " " <= character <= "~" else ascii(character)[1:-1] for character in line
    )


@contextmanager
def importable(template: Template, code: Code) -> Iterator[None]:
    """Let the modules that a trusted template brings for its extensions be imported."""
    brought = _brought(template, code)
    if not brought:
        yield
        return
    modules, before = _modules(code), set(sys.modules)
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


def _brought(template: Template, code: Code) -> dict[str, File]:
    """The files from which a template's extensions are imported, as far as it brings them."""
    modules = _modules(code)
    return {
        path: file
        for path, file in sorted(template.files.items())
        if path.partition("/")[0].removesuffix(".py") in modules
    }


def _modules(code: Code) -> set[str]:
    return {name.partition(".")[0] for name in code.extensions}


def run_before(
    template: Template, environment: Environment, context: object, project: Path
) -> None:
    """Run the hooks that come before the files are there."""
    _run(template, _BEFORE, environment, context, project)


def run_after(template: Template, environment: Environment, context: object, project: Path) -> None:
    """Run the hooks that come after the files are there."""
    _run(template, _AFTER, environment, context, project)


def _hooks(template: Template, stem: str) -> list[str]:
    """The files that are hooks of a kind: not those that an editor kept as a backup."""
    found = template.below("hooks")
    return [name for name in sorted(found) if PurePosixPath(name).stem == stem and name[-1] != "~"]


def _run(
    template: Template, stem: str, environment: Environment, context: object, project: Path
) -> None:
    for name in _hooks(template, stem):
        text = template.files[f"hooks/{name}"].content.decode()
        script = environment.from_string(text).render(cookiecutter=context)
        with tempfile.TemporaryDirectory(prefix="loafer-kit-") as folder:
            file = Path(folder, name)
            file.write_text(script, encoding="utf-8")
            file.chmod(0o700)
            _execute(file, f"hooks/{name}", project)


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
