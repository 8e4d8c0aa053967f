"""Adds an extension to a service, or an artefact with its files and the extension that goes with it."""

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.additions import spec_file
from loafer_kit.scaffold.additions.pieces import LeftOutError, UnplacedError
from loafer_kit.scaffold.escaping import quoted
from loafer_kit.scaffold.project import code, texts
from loafer_kit.scaffold.project.code import Module, UnrecognisedError, defined, names_of, targets
from loafer_kit.scaffold.project.plans import read
from loafer_kit.scaffold.project.projects import SPEC, Generator
from loafer_kit.scaffold.spec import names, validation
from loafer_kit.scaffold.spec.fields import ARTEFACT_NAMES
from loafer_kit.scaffold.spec.specs import Draft

#: The extension of `add telemetry`.
TELEMETRY = "loafer_kit.contrib.telemetry:Telemetry"

# The extras of loafer_kit that its own extensions need.
_EXTRAS = {
    "loafer_kit.contrib.database": "database",
    "loafer_kit.contrib.telemetry": "otel",
    "loafer_kit.ext.amqp": "amqp",
}
# The extensions that artefacts bring along: module and class.
_EXTENSIONS = {"monitoring": ("loafer_kit.contrib.monitoring", "Monitoring")}
_SERVICES = ("Application", "LoaferManager")
_REFERENCE = re.compile(
    rf"(?P<module>{names.IDENTIFIER.pattern}(?:\.{names.IDENTIFIER.pattern})*)"
    rf":(?P<name>{names.IDENTIFIER.pattern})"
)
_DISTRIBUTION = re.compile(r"([A-Za-z0-9._-]+)\s*(?:\[([^\]]*)\])?")


@dataclass(frozen=True, slots=True)
class ExtensionAddition:
    """An extension class to be constructed with the service of a package."""

    package: str
    module: str
    name: str

    @property
    def path(self) -> str:
        """The file that makes the service."""
        return f"{self.package}/__init__.py"

    def apply(self, path: str, ours: bytes | None) -> bytes | None:
        """The file with the extension; UnplacedError unless it makes exactly one service."""
        if ours is None:
            raise UnplacedError(path, "the file is missing", self._text("app"))
        try:
            return self._added(Module.parse(ours)).content
        except UnrecognisedError as error:
            raise UnplacedError(path, str(error), self._text("app")) from error

    def _added(self, module: Module) -> Module:
        if self._is_imported(module):
            calls = [item for item in ast.walk(module.tree) if isinstance(item, ast.Call)]
            if any(isinstance(call.func, ast.Name) and call.func.id == self.name for call in calls):
                return module
        elif self.name in defined(module.tree.body):
            raise UnrecognisedError(f"it uses the name {self.name} for something else")
        service = _service(module)
        line = self._line(module, service)
        body = module.tree.body
        index = max(
            at
            for at, item in enumerate(body)
            if isinstance(item, (ast.Assign, ast.AnnAssign, ast.Expr)) and service in names_of(item)
        )
        module = code.after_statement(module, body, index, line)
        if self._is_imported(module):
            return module
        source = ast.ImportFrom(self.module, [ast.alias(self.name)], 0)
        return code.imported(module, source, self.name, self.package)

    def _is_imported(self, module: Module) -> bool:
        return any(
            isinstance(item, ast.ImportFrom)
            and item.module == self.module
            and self.name in defined([item])
            for item in module.tree.body
        )

    def _line(self, module: Module, service: str) -> str:
        variable = names.snake_case(self.name)
        taken = variable == self.name or variable in defined(module.tree.body)
        return f"{variable}{'_extension' if taken else ''} = {self.name}({service})"

    def _text(self, service: str) -> str:
        line = self._line(Module.parse(b""), service)
        return f"from {self.module} import {self.name}\n\n{line}"


@dataclass(frozen=True, slots=True)
class ArtefactAddition:
    """An artefact, and the service's files as the template renders them without it and with it."""

    name: str
    package: str
    before: Mapping[str, bytes]
    after: Mapping[str, bytes]

    @property
    def paths(self) -> list[str]:
        """The files that differ."""
        return [path for path in self.after if self.after[path] != self.before.get(path)]

    def apply(self, path: str, ours: bytes | None) -> bytes | None:
        """A file of the project with the artefact; UnplacedError if its code is not recognised.

        LeftOutError if the change conflicts with an edit.
        """
        if path not in self.paths:
            return ours
        if ours is None:  # a deleted file stays deleted
            return None if path in self.before else self.after[path]
        before = texts.like(self.before.get(path), ours)
        after = texts.like(self.after[path], ours)
        if ours in (before, after):
            return after
        if path == SPEC:
            return spec_file.with_artefact(ours, self.name)
        if path == f"{self.package}/__init__.py" and self.name in _EXTENSIONS:
            return ExtensionAddition(self.package, *_EXTENSIONS[self.name]).apply(path, ours)
        merge = texts.merge(before or after, ours, after)
        if merge.conflicts:
            raise LeftOutError
        return merge.content


def plan(package: str, reference: str) -> ExtensionAddition:
    """The addition of the extension `MODULE:CLASS` to a package.

    ConfigurationError if its distribution is installed and has no such class.
    """
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        raise ConfigurationError(
            f"{quoted(reference)} must have the form MODULE:CLASS, like loafer_kit_redis:Redis"
        )
    _refuse_unknown(found["module"], found["name"])
    return ExtensionAddition(package, found["module"], found["name"])


def _refuse_unknown(module: str, name: str) -> None:
    """Raise ConfigurationError if an installed package lacks a module or the module a name."""
    try:
        found = import_module(module)
        # A module may make its names when they are asked for.
        extension = getattr(found, name, None)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if "." in missing and f"{module}.".startswith(f"{missing}."):
            raise ConfigurationError(f"there is no module {missing}") from error
        return
    except Exception:  # noqa: BLE001 - the module may raise anything
        return
    if extension is None:
        hint = names.did_you_mean(name, [known for known in dir(found) if known[:1] != "_"])
        raise ConfigurationError(f"{module} has no {name}{hint}")
    if not any(hasattr(extension, word) for word in ("init_app", "DEFAULT_SETTINGS")):
        raise ConfigurationError(f"{module}:{name} is not an extension: it has no init_app")


def plan_artefact(draft: Draft, name: str, generator: Generator) -> ArtefactAddition:
    """The addition of an artefact to the service that `loafer.toml` describes.

    SpecError if such a service cannot have it.
    """
    spec = validation.service(draft)
    others = tuple(other for other in spec.ships if other != name)
    ships = [known for known in ARTEFACT_NAMES if known in (*others, name)]
    wider = validation.service(replace(draft, values={**draft.values, "with": ships}))
    return ArtefactAddition(
        name=name,
        package=spec.package,
        before=generator.service(replace(spec, ships=others)).plan.files,
        after=generator.service(wider).plan.files,
    )


def settings_of(module: str, name: str) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """The default settings and the required ones of an extension; none if it is not importable."""
    try:
        extension = getattr(import_module(module), name)
        return dict(extension.DEFAULT_SETTINGS), tuple(extension.REQUIRED_SETTINGS)
    except Exception:  # noqa: BLE001 - its module may raise anything
        return {}, ()


def used_by(content: bytes) -> Iterator[tuple[str, str]]:
    """The module and the name of each class that a service's module imports and constructs."""
    tree = ast.parse(content)
    called = {ast.unparse(item.func) for item in ast.walk(tree) if isinstance(item, ast.Call)}
    for item in tree.body:
        if isinstance(item, ast.ImportFrom) and item.module and not item.level:
            for alias in item.names:
                if (alias.asname or alias.name) in called:
                    yield item.module, alias.name


def _service(module: Module) -> str:
    """The name of the only service that a module makes."""
    found = [
        target.id
        for item in module.tree.body
        if isinstance(item, (ast.Assign, ast.AnnAssign)) and isinstance(item.value, ast.Call)
        for target in targets(item)
        if isinstance(target, ast.Name) and _called(item.value) in _SERVICES
    ]
    if len(found) != 1:
        raise UnrecognisedError("it does not make exactly one LoaferManager or Application")
    return found[0]


def _called(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def missing_distribution(project: Path, package: str, module: str) -> str | None:
    """The distribution of a module if the project's `pyproject.toml` does not declare it.

    None if it is declared or not needed; a description if the module is not installed. An extra of
    loafer_kit counts as a distribution of its own.
    """
    top = module.partition(".")[0]
    if top == "loafer_kit":
        return _missing_extra(project, module)
    if top == package:
        return None
    found = _distributions(top)
    if {_normal(name) for name in (*found, top)} & _declared(project).keys():
        return None
    return " or ".join(found) or f"the distribution of {top}"


def _missing_extra(project: Path, module: str) -> str | None:
    """The extra of loafer_kit that a module needs if the project's `pyproject.toml` lacks it."""
    extra = next((_EXTRAS[own] for own in _EXTRAS if f"{module}.".startswith(f"{own}.")), None)
    if extra is None or {extra, "all"} & set(_declared(project).get("loafer-kit", ())):
        return None
    return f"loafer-kit[{extra}]"


def _distributions(top: str) -> list[str]:
    """The installed distributions that contain a package, sorted.

    The entry point of an extension names its distribution even if that is an editable install.
    """
    entries = metadata.entry_points(group="loafer_kit.extensions")
    found = {e.dist.name for e in entries if e.dist and e.module.partition(".")[0] == top}
    return sorted(found or set(metadata.packages_distributions().get(top, [])))


def _declared(project: Path) -> dict[str, set[str]]:
    """A project's dependencies and their extras; none if its `pyproject.toml` is unreadable."""
    try:
        content = read(project, "pyproject.toml") or b""
        dependencies = tomllib.loads(content.decode("utf-8-sig"))["project"]["dependencies"]
    except (ConfigurationError, KeyError, TypeError, ValueError):
        return {}
    found: dict[str, set[str]] = {}
    for requirement in dependencies if isinstance(dependencies, list) else ():
        match = _DISTRIBUTION.match(str(requirement).strip())
        if match is not None:
            extras = {_normal(extra.strip()) for extra in (match[2] or "").split(",")}
            found.setdefault(_normal(match[1]), set()).update(extras)
    return found


def _normal(name: str) -> str:
    """A distribution's name, normalised as package indexes do."""
    return re.sub(r"[-_.]+", "-", name).lower()
