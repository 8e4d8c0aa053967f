"""A project on disk, and what its template makes of its spec now."""

import hashlib
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold import (
    contexts,
    extensions,
    line_ends,
    locks,
    names,
    templates,
    updates,
    validation,
)
from loafer_kit.scaffold.contexts import Context
from loafer_kit.scaffold.drafts import Draft
from loafer_kit.scaffold.locks import Lock
from loafer_kit.scaffold.plans import Change, Plan, change, read, refuse_links
from loafer_kit.scaffold.records import Record
from loafer_kit.scaffold.sources import files
from loafer_kit.scaffold.updates import Candidate

SPEC = "loafer.toml"


@dataclass(frozen=True, slots=True)
class Rendering:
    """What a template makes of a spec: the files, and what the lock says they are made from."""

    template: locks.Template
    spec: Mapping[str, Any]
    plan: Plan

    def differs_from(self, lock: Lock) -> bool:
        """Whether a project with this lock has still to take the rendering in."""
        return self.plan.files != lock.files

    def locked(self, records: tuple[Record, ...]) -> Lock:
        """The lock of a project that has taken this rendering in."""
        return Lock(self.template, self.spec, self.plan.files, records)


def render(name: str, context: Context, spec: Mapping[str, Any] | None = None) -> Rendering:
    """Render one of our templates; a service's spec is what its own `loafer.toml` says."""
    from loafer_kit.scaffold import render as rendering

    folder = templates.locate(name)
    plan = rendering.render(folder, context)
    if spec is None:
        spec = tomllib.loads(plan.files[SPEC].decode())
    return Rendering(locks.Template(name, digest(folder)), spec, plan)


def digest(template: Path) -> str:
    """A template's digest: that of its files and of their paths."""
    total = hashlib.sha256()
    for file in sorted(template.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            path = file.relative_to(template).as_posix()
            total.update(f"{path}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def find_lock(project: Path) -> Lock:
    """The lock of a project; ConfigurationError when the folder is none that we keep."""
    lock = locks.find(project)
    if lock is None:
        raise ConfigurationError(
            f"There is no {project / locks.PATH}: go to a project's folder or name it. "
            "`loafer-kit new` writes a project with one."
        )
    return lock


def draft(project: Path, lock: Lock) -> Draft:
    """The project's spec as it reads today: its own file's, or the lock's where it has none."""
    refuse_links(project, SPEC)
    if (project / SPEC).exists():
        return files.read(project / SPEC)
    return Draft(lock.spec, str(project / locks.PATH))


def render_again(template: locks.Template, spec: Draft) -> Rendering:
    """What a project's template, as it is installed now, makes of a spec."""
    maker = _MAKERS.get(template.name)
    if maker is None:
        name = names.shown(template.name)
        raise ConfigurationError(f"the lock says template {name}, which loafer-kit does not have")
    return maker(spec)


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


def _service(spec: Draft) -> Rendering:
    return render("service", contexts.service(validation.service(spec)))


def _extension(spec: Draft) -> Rendering:
    return render("extension", extensions.context(extensions.from_lock(spec.values)), spec.values)


_MAKERS: Mapping[str, Callable[[Draft], Rendering]] = {
    "extension": _extension,
    "service": _service,
}
