"""What a service has to depend on, so that what its code imports is there wherever it runs."""

import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.project.plans import read

_NAME = re.compile(r"[A-Za-z0-9._-]+")


def missing(project: Path, package: str, module: str) -> str | None:
    """The distribution of a module that the project's `pyproject.toml` does not declare.

    None where it does, or where none is needed; a description where the module is not installed.
    """
    top = module.partition(".")[0]
    if top == package or top in sys.stdlib_module_names:
        return None
    found = _distributions(top)
    if {_normal(name) for name in (*found, top)} & set(_declared(project)):
        return None
    return " or ".join(found) or f"the distribution of {top}"


def _distributions(top: str) -> list[str]:
    """The installed distributions that a package comes from, in order.

    An extension's entry point tells it also where the distribution is installed as editable.
    """
    entries = metadata.entry_points(group="loafer_kit.extensions")
    found = {e.dist.name for e in entries if e.dist and e.module.partition(".")[0] == top}
    return sorted(found or set(metadata.packages_distributions().get(top, [])))


def _declared(project: Path) -> Iterator[str]:
    """The names of what a project depends on; none where its `pyproject.toml` does not tell."""
    try:
        content = read(project, "pyproject.toml") or b""
        dependencies = tomllib.loads(content.decode("utf-8-sig"))["project"]["dependencies"]
    except (ConfigurationError, KeyError, TypeError, ValueError):
        return
    for requirement in dependencies if isinstance(dependencies, list) else ():
        name = _NAME.match(str(requirement).strip())
        if name is not None:
            yield _normal(name[0])


def _normal(name: str) -> str:
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()
