"""What other packages add by entry points: templates and sources of specs.

A package names a template under `loafer_kit.templates`: a module whose folder is the template, its
path, or a function without parameters that returns the path. It names a source under
`loafer_kit.sources`: a function from a text to a spec's values, or to a `Draft`.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.spec import names

Group = Literal["templates", "sources"]

# Templates of loafer-kit: `new` has a command for each.
_BUILTIN = ("service", "extension")


@dataclass(frozen=True, slots=True)
class Plugin:
    """One entry point, by its name and the package that has it."""

    name: str
    package: str
    version: str
    entry: EntryPoint

    def load(self) -> Any:
        """What the entry point names; ConfigurationError when that cannot be imported."""
        try:
            return self.entry.load()
        except Exception as error:
            raise ConfigurationError(f"{self}: {type(error).__name__}: {error}") from error

    @property
    def what(self) -> str:
        """What it is, and whose."""
        kind = self.entry.group.rpartition(".")[2].removesuffix("s")
        return f"the {kind} {names.shown(self.name)} of the package {self.package}"

    def __str__(self) -> str:
        return f"{self.what} cannot be used"


def installed(group: Group) -> list[Plugin]:
    """Everything that installed packages add, by name; nothing of it is imported."""
    found = [
        Plugin(entry.name, entry.dist.name, entry.dist.version, entry)
        for entry in entry_points(group=f"loafer_kit.{group}")
        if entry.dist is not None
    ]
    return sorted(found, key=lambda plugin: (plugin.name, plugin.package))


def is_installed(group: Group, name: str) -> bool:
    """Whether some package adds this name."""
    return any(plugin.name == name for plugin in installed(group))


def template(name: str) -> Path:
    """The folder, or zip file, of an installed template."""
    return folder(one("templates", name))


def one(group: Group, name: str) -> Plugin:
    """What is installed under a name; ConfigurationError where nothing, or too much, is."""
    plugins = installed(group)
    found = [plugin for plugin in plugins if plugin.name == name]
    if len(found) > 1:
        packages = " and ".join(plugin.package for plugin in found)
        raise ConfigurationError(f"{names.shown(name)} is added by {packages}: uninstall one")
    if not found:
        raise ConfigurationError(_unknown(group, name, [plugin.name for plugin in plugins]))
    return found[0]


def folder(plugin: Plugin) -> Path:
    """The folder, or zip file, that a plugin names; ConfigurationError where it names none."""
    place = plugin.load()
    if isinstance(place, ModuleType):
        if place.__file__ is None:
            raise ConfigurationError(f"{plugin}: its folder has no __init__.py")
        return Path(place.__file__).parent
    try:
        path = Path(place() if callable(place) else place)
    except Exception as error:
        raise ConfigurationError(f"{plugin}: {type(error).__name__}: {error}") from error
    if not path.exists():
        raise ConfigurationError(f"{plugin}: there is no {path}")
    return path


def _unknown(group: Group, name: str, known: list[str]) -> str:
    if group == "templates" and name in _BUILTIN:
        return f"{name!r} is a template of loafer-kit: `loafer-kit new {name}` uses it"
    near = get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    listed = f": installed are {', '.join(known)}" if known else ": no package adds one"
    what = "neither a folder, a zip file, a URL nor an installed template"
    if group == "sources":
        what = "no installed source"
    return f"{names.shown(name)} is {what}{hint or listed}"
