"""From a template and a context to a plan; the only user of cookiecutter."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loafer_kit.exceptions import ConfigurationError, MissingExtraError
from loafer_kit.scaffold import formatting
from loafer_kit.scaffold.contexts import Context
from loafer_kit.scaffold.plans import Plan

try:
    from cookiecutter.generate import generate_files
except ImportError as error:
    raise MissingExtraError("Writing a project", "scaffold") from error

# Said to cookiecutter, not to the templates. The newline is fixed: a template checked out with
# other line endings gives the same bytes.
_SETTINGS = {
    "_extensions": ["loafer_kit.scaffold.quoting.QuotingExtension"],
    "_jinja2_env_vars": {"trim_blocks": True, "lstrip_blocks": True},
    "_new_lines": "\n",
}


def render(template: Path, context: Context) -> Plan:
    """The project that a template makes of a context: parsed, formatted, in memory.

    Values stay literal whatever they hold, and no hook of the template runs.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="loafer-kit-") as staging:
            project = generate_files(
                repo_dir=str(template),
                context={"cookiecutter": plain(context) | _SETTINGS},
                output_dir=staging,
                accept_hooks=False,
            )
            files = dict(_files(Path(project)))
    except OSError as error:
        raise ConfigurationError(f"nothing was written: {error}") from error
    return Plan({path: formatting.finish(path, content) for path, content in files.items()})


def plain(value: object) -> Any:
    """The value, when it is made of text, numbers, lists and tables alone.

    A richer object would give a template its methods, and through them the interpreter.
    """
    if type(value) in (str, int, float, bool):
        return value
    if type(value) is list:
        return [plain(item) for item in value]
    if type(value) is dict:
        return {str(key): plain(item) for key, item in value.items()}
    raise TypeError(f"a template's context cannot hold a {type(value).__name__}")


def _files(project: Path) -> Iterator[tuple[str, bytes]]:
    for folder, folders, files in os.walk(project):
        # An installer may have compiled a template's modules, and cookiecutter copies what it finds.
        folders[:] = sorted(set(folders) - {"__pycache__"})
        for name in sorted(files):
            path = Path(folder, name)
            yield path.relative_to(project).as_posix(), path.read_bytes()
