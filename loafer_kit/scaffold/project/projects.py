"""A project on disk, and the rendering of its spec by its template."""

import os
import shlex
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loafer_kit.exceptions import ConfigurationError, MissingExtraError
from loafer_kit.scaffold.escaping import quoted
from loafer_kit.scaffold.project import locks, texts
from loafer_kit.scaffold.project.locks import Lock, Record
from loafer_kit.scaffold.project.plans import Change, Plan, change, read, refuse_links
from loafer_kit.scaffold.rendering import contexts, templates
from loafer_kit.scaffold.rendering.contexts import Context
from loafer_kit.scaffold.rendering.templates import File, Origin, Template, refuse_unsafe
from loafer_kit.scaffold.sources import documents
from loafer_kit.scaffold.spec import names, validation
from loafer_kit.scaffold.spec.specs import Draft, QueueSpec, ServiceSpec, SpecError

if TYPE_CHECKING:
    from loafer_kit.scaffold.rendering.custom_templates import CustomTemplate

SPEC = "loafer.toml"

#: Fetches a custom template; a relative path starts at the given folder.
Load = Callable[[Origin, Path], "CustomTemplate"]
# The built-in template of the tests of one queue.
_QUEUE_TESTS = "templates/queue_tests.py"
_VARIABLES = "cookiecutter.json"
_NAMES = ("extension", "service")


@dataclass(frozen=True, slots=True)
class Rendering:
    """The files that a template renders, with the template and the spec that the lock keeps.

    `folder` is the name of the project's folder; `notes` name what the project cannot hold.
    """

    template: locks.TemplateRef
    spec: Mapping[str, Any]
    plan: Plan
    folder: str
    notes: tuple[str, ...] = ()

    def locked(self, project: Path, before: Lock | None, records: tuple[Record, ...]) -> Lock:
        """The lock of a project after it took in this rendering; `before` is its lock until then."""
        files = locks.bases(project, self.plan.files, before.files if before else {})
        return Lock(self.template, self.spec, files, records, self.plan.executables)

    def differs_from(self, project: Path, lock: Lock) -> bool:
        """Whether the project has yet to take in this rendering."""
        after = self.locked(project, lock, ())
        return (after.files, after.executables) != (lock.files, lock.executables)

    def moved(self, project: Path) -> "Rendering":
        """The same rendering, with the template's path relative to the project's folder."""
        origin = self.template.origin
        if origin is None:
            return self
        template = replace(self.template, origin=origin.moved(Path(), project))
        return replace(self, template=template)


@dataclass(frozen=True, slots=True)
class Generator:
    """A template with everything it needs besides a spec; `name` is the kind of project it makes.

    With `ask` a person is asked for the variables of a custom template. `lock` is that of an existing
    project.
    """

    name: str
    template: "Template | CustomTemplate"
    answers: Mapping[str, object] = field(default_factory=dict)
    ask: bool = False
    lock: Lock | None = None

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
        """Render a context; without `spec`, the lock keeps what the service's `loafer.toml` says."""
        if isinstance(self.template, Template):
            from loafer_kit.scaffold.rendering import builtin  # `check` renders nothing

            made = builtin.render(self.template, context)
        else:
            made = self.template.render(context, self.answers, ask=self.ask)
        if spec is None:
            spec = contexts.kept(context)
        origin, digest = self.template.origin, self.template.digest
        template = locks.TemplateRef(self.name, digest, origin, made.answers)
        return Rendering(template, spec, made.plan, made.folder, made.notes)

    def again(self, spec: Draft) -> Rendering:
        """Render a project's current spec."""
        if self.name == "extension":
            from loafer_kit.scaffold.spec import extensions  # most projects are services

            return self.render(extensions.from_lock(spec.values), spec.values)
        if not self.takes_spec and not spec.values.get("queues"):
            name = spec.values.get("name")
            return self.render({"name": name} if isinstance(name, str) else {}, spec.values)
        return self.service(validation.service(spec))

    def service(self, spec: ServiceSpec, separate_tests: Collection[str] = ()) -> Rendering:
        """Render a service, with the tests of some queues in files of their own.

        Those are the named queues, and the queues that have such a file in the lock.
        """
        rendering = self.render(contexts.service(spec))
        separate = self._separate(spec, separate_tests, rendering.plan.files)
        if not (separate and isinstance(self.template, Template)):
            return rendering
        project = self.template.project
        tests = {
            path: file
            for path, file in self.template.files.items()
            if path.startswith(f"{project}/tests/")
        }
        shared = tuple(queue for queue in spec.queues if queue not in separate.values())
        files = {**rendering.plan.files, **self._tests(replace(spec, queues=shared), tests)}
        for path, queue in separate.items():
            own = {f"{project}/{path}": self.template.files[_QUEUE_TESTS]}
            files |= self._tests(replace(spec, queues=(queue,)), own)
        return replace(rendering, plan=replace(rendering.plan, files=files))

    def locked_queues(self) -> frozenset[str]:
        """The names of the queues that the lock's spec has."""
        if self.lock is None:
            return frozenset()
        try:
            spec = validation.service(Draft(self.lock.spec))
        except SpecError:  # a release may forbid what an earlier one allowed
            return frozenset()
        return frozenset(queue.queue_name for queue in spec.queues)

    def _separate(
        self, spec: ServiceSpec, separate_tests: Collection[str], rendered: Collection[str]
    ) -> Mapping[str, QueueSpec]:
        """The queues whose tests have a file of their own, by its path; at least one has not."""
        if not isinstance(self.template, Template) or _QUEUE_TESTS not in self.template.files:
            return {}
        locked = self.lock.files if self.lock else ()
        found: dict[str, QueueSpec] = {}
        for queue in spec.queues:
            path = f"tests/test_{names.snake_case(queue.queue_name)}.py"
            is_separate = queue.queue_name in separate_tests or path in locked
            if is_separate and path not in rendered:
                found.setdefault(path, queue)
        return found if len(found) < len(spec.queues) else {}

    def _tests(self, spec: ServiceSpec, files: Mapping[str, File]) -> Mapping[str, bytes]:
        assert isinstance(self.template, Template)  # noqa: S101 - only these have `separate` queues
        shared = {
            path: file
            for path, file in self.template.files.items()
            if path == _VARIABLES or path.startswith("templates/")
        }
        template = Template({**shared, **files})
        return replace(self, template=template).render(contexts.service(spec)).plan.files


def refuse_missing_extra() -> None:
    """Raise MissingExtraError if a package that renders or formats templates is missing."""
    if any(find_spec(package) is None for package in ("black", "cookiecutter", "jinja2", "yaml")):
        raise MissingExtraError("Writing a project", "scaffold")


def builtin(name: str) -> Generator:
    """The generator of a built-in template."""
    return Generator(name, templates.builtin(name))


def generator_of(
    project: Path,
    lock: Lock | None,
    *,
    checkout: str | None = None,
    answers: Mapping[str, object] | None = None,
    load: Load,
) -> Generator:
    """The generator of a project: its template as it is now, or at another revision.

    ConfigurationError if a custom template is gone.
    """
    if lock is None:
        return builtin("service")
    made = lock.template
    if made.name not in _NAMES:
        name = quoted(made.name)
        raise ConfigurationError(f"the lock says template {name}, which loafer-kit does not have")
    if made.origin is None:
        return replace(builtin(made.name), lock=lock)
    origin = made.origin
    if checkout is not None:
        origin = replace(origin, checkout=checkout)
        refuse_unsafe(origin)
    if origin.is_path and not os.path.lexists(project / origin.place):
        raise ConfigurationError(
            f"there is no {project / origin.place}, the template of this project: write its "
            f"new place into {project / locks.PATH}, as the `reference` of its origin"
        )
    template = load(replace(origin, commit=None), project)
    return Generator(made.name, template, {**made.answers, **(answers or {})}, lock=lock)


def find_lock(project: Path) -> Lock:
    """The lock of a project; ConfigurationError if the folder has none."""
    lock = None if project.is_file() else locks.find(project)
    if lock is None:
        raise ConfigurationError(
            f"There is no {project / locks.PATH}: go to a project's folder or name it; "
            "`loafer-kit new` writes a project with one"
        )
    return lock


def draft(project: Path, lock: Lock) -> Draft:
    """The project's current spec: that of its own file, or the lock's if it has none."""
    refuse_links(project, SPEC)
    if (project / SPEC).exists():
        return documents.read(project / SPEC)
    return Draft(lock.spec, str(project / locks.PATH))


def lock_change(project: Path, lock: Lock | None) -> Change:
    """The change that writes a project's lock, or removes it."""
    before = read(project, locks.PATH)
    if lock is None:
        return Change(locks.PATH, "remove", before, None)
    return change(locks.PATH, before, texts.like(locks.content(lock), before))
