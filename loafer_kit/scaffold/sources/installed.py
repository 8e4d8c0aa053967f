"""Plugins: templates and sources that other packages add by entry points.

A package names a template under `loafer_kit.templates`: a module whose folder is the template, its
path, or a function without parameters that returns the path. It names a source under
`loafer_kit.sources`: a function from a text to a spec's values, or to a `Draft`.
"""

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.escaping import quoted
from loafer_kit.scaffold.spec import names

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Group = Literal["templates", "sources"]

# The built-in templates: `new` has a command for each.
_BUILTIN = ("service", "extension")


@dataclass(frozen=True, slots=True)
class Plugin:
    """An entry point: its name and its package."""

    name: str
    package: str
    version: str
    entry: "EntryPoint"

    def load(self) -> Any:
        """The object of the entry point; ConfigurationError if it cannot be imported."""
        try:
            return self.entry.load()
        except Exception as error:
            raise ConfigurationError(f"{self}: {type(error).__name__}: {error}") from error

    @property
    def what(self) -> str:
        """A description: kind, name and package."""
        kind = self.entry.group.rpartition(".")[2].removesuffix("s")
        return f"the {kind} {quoted(self.name)} of the package {self.package}"

    def __str__(self) -> str:
        return f"{self.what} cannot be used"


def plugins(group: Group) -> list[Plugin]:
    """The plugins of installed packages, by name; none is imported."""
    from importlib.metadata import entry_points  # slow, and most commands use no plugin

    found = [
        Plugin(entry.name, entry.dist.name, entry.dist.version, entry)
        for entry in entry_points(group=f"loafer_kit.{group}")
        if entry.dist is not None
    ]
    return sorted(found, key=lambda plugin: (plugin.name, plugin.package))


def is_installed(group: Group, name: str) -> bool:
    """Whether a package adds this name."""
    return any(plugin.name == name for plugin in plugins(group))


def one(group: Group, name: str) -> Plugin:
    """The plugin of a name; ConfigurationError if there is none, or more than one."""
    known = plugins(group)
    found = [plugin for plugin in known if plugin.name == name]
    if len(found) > 1:
        packages = " and ".join(plugin.package for plugin in found)
        raise ConfigurationError(f"{quoted(name)} is added by {packages}: uninstall one")
    if not found:
        raise ConfigurationError(_unknown(group, name, [plugin.name for plugin in known]))
    return found[0]


def folder(plugin: Plugin) -> Path:
    """The folder or zip file that a plugin names; ConfigurationError if there is none."""
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
        return f"{name!r} is built in: use `loafer-kit new {name}` without --template"
    hint = names.did_you_mean(name, known)
    listed = f": installed are {', '.join(known)}" if known else ": no package adds one"
    what = "neither a folder, a zip file, a URL nor an installed template"
    if group == "sources":
        what = "not an installed source"
    return f"{quoted(name)} is {what}{hint or listed}"
