"""A project on disk, and what its template makes of its spec now."""

import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loafer_kit.exceptions import ConfigurationError, MissingExtraError
from loafer_kit.scaffold.project import line_ends, locks, updates
from loafer_kit.scaffold.project.history import Record
from loafer_kit.scaffold.project.locks import Lock
from loafer_kit.scaffold.project.plans import Change, Plan, change, read, refuse_links
from loafer_kit.scaffold.project.updates import Candidate
from loafer_kit.scaffold.rendering import contexts, templates
from loafer_kit.scaffold.rendering.contexts import Context
from loafer_kit.scaffold.rendering.origins import Origin, refuse_unsafe
from loafer_kit.scaffold.rendering.templates import Template
from loafer_kit.scaffold.sources import documents
from loafer_kit.scaffold.spec import names, validation
from loafer_kit.scaffold.spec.specs import Draft

if TYPE_CHECKING:
    from loafer_kit.scaffold.rendering.custom_templates import CustomTemplate

SPEC = "loafer.toml"

#: Fetches a custom template, a relative path being seen from a folder.
Load = Callable[[Origin, Path], "CustomTemplate"]


@dataclass(frozen=True, slots=True)
class Rendering:
    """What a template makes of a spec: the files, and what the lock says they are made from.

    `folder` is what the template calls the project's folder.
    """

    template: locks.TemplateRef
    spec: Mapping[str, Any]
    plan: Plan
    folder: str
    notes: tuple[str, ...] = ()

    def differs_from(self, lock: Lock) -> bool:
        """Whether a project with this lock has still to take the rendering in."""
        return self.plan.files != lock.files

    def locked(self, records: tuple[Record, ...]) -> Lock:
        """The lock of a project that has taken this rendering in."""
        return Lock(self.template, self.spec, self.plan.files, records)

    def moved(self, project: Path) -> "Rendering":
        """The same for a lock in a project's folder, which a template's path is then seen from."""
        origin = self.template.origin
        if origin is None:
            return self
        template = replace(self.template, origin=origin.moved(Path(), project))
        return replace(self, template=template)


@dataclass(frozen=True, slots=True)
class Generator:
    """A template, and all that it needs besides a spec; `name` says what it makes.

    With `ask` a person is asked for the variables of a custom template.
    """

    name: str
    template: "Template | CustomTemplate"
    answers: Mapping[str, object] = field(default_factory=dict)
    ask: bool = False

    def __post_init__(self) -> None:
        purpose = self.template.purpose
        if purpose not in (None, self.name):
            raise ConfigurationError(
                f"{self.template.origin} is a template for `loafer-kit new {shlex.quote(purpose)}`"
            )

    @property
    def takes_spec(self) -> bool:
        """Whether the template is for a service or an extension, not for any project."""
        return self.template.purpose is not None

    def render(self, context: Context, spec: Mapping[str, Any] | None = None) -> Rendering:
        """Render a context; a service's spec is what its `loafer.toml` says, or would say."""
        if isinstance(self.template, Template):
            from loafer_kit.scaffold.rendering import builtin

            made = builtin.render(self.template, context)
        else:
            from loafer_kit.scaffold.rendering import custom_templates

            made = custom_templates.render(self.template, context, self.answers, ask=self.ask)
        if spec is None:
            spec = contexts.kept(context)
        origin, digest = self.template.origin, self.template.digest
        template = locks.TemplateRef(self.name, digest, origin, made.answers)
        return Rendering(template, spec, made.plan, made.folder, made.notes)

    def again(self, spec: Draft) -> Rendering:
        """Render what a project's spec says now."""
        if self.name == "extension":
            from loafer_kit.scaffold.spec import extensions

            context = extensions.context(extensions.from_lock(spec.values))
            return self.render(context, spec.values)
        if not self.takes_spec and not spec.values.get("queues"):
            name = spec.values.get("name")
            return self.render({"name": name} if isinstance(name, str) else {}, spec.values)
        return self.render(contexts.service(validation.service(spec)))


def refuse_missing_extra() -> None:
    """Make sure that what templates are read, rendered and formatted with is installed."""
    if any(find_spec(package) is None for package in ("black", "cookiecutter", "jinja2", "yaml")):
        raise MissingExtraError("Writing a project", "scaffold")


def ours(name: str) -> Generator:
    """One of our own templates."""
    return Generator(name, templates.builtin(name))


def maker_of(
    project: Path,
    lock: Lock | None,
    *,
    checkout: str | None = None,
    answers: Mapping[str, object] | None = None,
    load: Load | None = None,
) -> Generator:
    """The template that made a project, as it is now, or of another revision.

    ConfigurationError where a custom template is no longer there, or there is no `load` for it.
    """
    if lock is None:
        return ours("service")
    made = lock.template
    if made.name not in _NAMES:
        name = names.shown(made.name)
        raise ConfigurationError(f"the lock says template {name}, which loafer-kit does not have")
    if made.origin is None:
        return ours(made.name)
    origin = made.origin
    if checkout is not None:
        origin = replace(origin, checkout=checkout)
        refuse_unsafe(origin)
    if origin.is_path and not os.path.lexists(project / origin.place):
        raise ConfigurationError(
            f"there is no {project / origin.place}, of which this project was made: where the "
            f"template is now, say in {project / locks.PATH} as the `reference` of its origin"
        )
    if load is None:
        raise ConfigurationError(f"{origin} is not a template of loafer-kit: it may not run here")
    template = load(replace(origin, commit=None), project)
    return Generator(made.name, template, {**made.answers, **(answers or {})})


def find_lock(project: Path) -> Lock:
    """The lock of a project; ConfigurationError when the folder is none that we keep."""
    lock = None if project.is_file() else locks.find(project)
    if lock is None:
        raise ConfigurationError(
            f"There is no {project / locks.PATH}: go to a project's folder or name it; "
            "`loafer-kit new` writes a project with one"
        )
    return lock


def draft(project: Path, lock: Lock) -> Draft:
    """The project's spec as it reads today: its own file's, or the lock's where it has none."""
    refuse_links(project, SPEC)
    if (project / SPEC).exists():
        return documents.read(project / SPEC)
    return Draft(lock.spec, str(project / locks.PATH))


def candidates(project: Path, lock: Lock, rendering: Rendering) -> tuple[Candidate, ...]:
    """The files of an update. The spec is its owner's: edited, it says already what it shall say."""
    theirs = dict(rendering.plan.files)
    spec = read(project, SPEC)
    if SPEC in theirs and spec not in (None, line_ends.like(lock.files.get(SPEC), spec)):
        theirs[SPEC] = spec
    return updates.candidates(lock.files, theirs, project)


def lock_change(project: Path, lock: Lock | None) -> Change:
    """Write a project's lock, or take it away."""
    before = read(project, locks.PATH)
    if lock is None:
        return Change(locks.PATH, "remove", before, None)
    return change(locks.PATH, before, line_ends.like(locks.content(lock), before))


_NAMES = ("extension", "service")
