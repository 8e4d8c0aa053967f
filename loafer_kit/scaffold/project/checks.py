"""Whether a project's spec, its code and its lock agree."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields
from pathlib import Path

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.project import agreements, locks, merges, projects
from loafer_kit.scaffold.project.drifts import Drift
from loafer_kit.scaffold.project.locks import Lock
from loafer_kit.scaffold.project.plans import read
from loafer_kit.scaffold.spec import names, validation
from loafer_kit.scaffold.spec.problems import SpecError
from loafer_kit.scaffold.spec.specs import Draft, QueueSpec, ServiceSpec

# What a spec's file calls an attribute of `ServiceSpec`, where the two differ.
_KEYS = {"ships": "list `with`"}
_UPDATE = "`loafer-kit update` brings the code along"


def drifts(project: Path, lock: Lock) -> list[Drift]:
    """Every drift; a service's spec is what its `loafer.toml` says.

    SpecError where that has problems of its own, ConfigurationError where code does not parse.
    """
    found = list(conflicts(project, lock))
    if found or lock.template.name != "service" or projects.SPEC not in lock.files:
        return found
    if read(project, projects.SPEC) is None:
        return [Drift(projects.SPEC, None, "is missing", "restore it from your version control")]
    draft = projects.draft(project, lock)
    spec = validation.service(draft)
    try:
        before = validation.service(Draft(lock.spec, str(project / locks.PATH)))
    except SpecError:  # a release may forbid what an earlier one allowed
        return [Drift(locks.PATH, None, "its spec is no longer valid", _UPDATE)]
    found = [
        Drift(projects.SPEC, None, f"the {name} changed since the code was written", _UPDATE)
        for name in _changed(before, spec)
    ]
    moved = _moved(before, spec)
    found += [Drift(projects.SPEC, _line(draft, key, spec), moved[key], _UPDATE) for key in moved]
    if before.package == spec.package:
        found += _disagreements(project, lock, spec, moved)
    return found


def _disagreements(
    project: Path, lock: Lock, spec: ServiceSpec, moved: Collection[str]
) -> Iterator[Drift]:
    """Where the code does not say what the spec says; a template's own way is no drift of it."""
    code = agreements.read_modules(project, spec.package)
    base = agreements.modules(lock.files, spec.package)
    own = {(drift.path, drift.message) for drift in agreements.drifts(base, spec, except_for=moved)}
    for drift in agreements.drifts(code, spec, except_for=moved):
        if (drift.path, drift.message) not in own:
            yield drift


def conflicts(project: Path, lock: Lock) -> Iterator[Drift]:
    """Where a merge left marks that nobody has taken out yet."""
    for path in lock.files:
        line = merges.conflict_line(read(project, path) or b"")
        if line is not None:
            remedy = "choose between the lines that <<<<<<< and >>>>>>> enclose"
            yield Drift(path, line, "a conflict is left", remedy)


def refuse_conflicts(
    project: Path, lock: Lock | None, paths: Collection[str] | None = None
) -> None:
    """Make sure that no merge is left half done, in these files or in any."""
    left = [
        conflict
        for conflict in (conflicts(project, lock) if lock else ())
        if paths is None or conflict.path in paths
    ]
    if left:
        raise ConfigurationError("\n".join(map(str, left)))


def _changed(before: ServiceSpec, spec: ServiceSpec) -> list[str]:
    """What else than queues a spec says differently."""
    every = [field.name for field in fields(ServiceSpec) if field.name != "queues"]
    changed = [name for name in every if getattr(before, name) != getattr(spec, name)]
    return [_KEYS.get(name, name) for name in changed]


def _moved(before: ServiceSpec, spec: ServiceSpec) -> Mapping[str, str]:
    """The queues that a spec has, lacks or describes differently, and a sentence about each."""
    old, new = _queues(before), _queues(spec)
    verbs = dict.fromkeys(new.keys() - old.keys(), "was added")
    verbs |= dict.fromkeys(old.keys() - new.keys(), "was taken out")
    verbs |= {name: "changed" for name in old.keys() & new.keys() if old[name] != new[name]}
    return {
        name: f"the queue {names.shown(name)} {verbs[name]} since the code was written"
        for name in (*new, *old)
        if name in verbs
    }


def _queues(spec: ServiceSpec) -> Mapping[str, QueueSpec]:
    return {queue.queue_name: queue for queue in spec.queues}


def _line(draft: Draft, name: str, spec: ServiceSpec) -> int | None:
    """The line of a queue's name in the spec's file."""
    places = [index for index, queue in enumerate(spec.queues) if queue.queue_name == name]
    return draft.line(("queues", places[0], "name")) if places else None
