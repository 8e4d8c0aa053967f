"""Decides what happens to each file when the template is rendered again; edits are kept."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from loafer_kit.scaffold.project import gitignore, line_ends, locks, merges, projects
from loafer_kit.scaffold.project.line_ends import like
from loafer_kit.scaffold.project.locks import Base, Digest, Lock
from loafer_kit.scaffold.project.plans import Change, change, marked, read
from loafer_kit.scaffold.project.projects import SPEC, Rendering


@dataclass(frozen=True, slots=True)
class Candidate:
    """Three versions of a file: as last rendered, as it is in the project, as rendered now.

    All three have the line ends of the project's file; None means that the file does not exist. A
    base that the lock keeps by its hash alone is a `Digest`, unless one of the others has that
    hash. A file that `.gitignore` covers is created once and never changed.
    """

    path: str
    base: Base | None
    ours: bytes | None
    theirs: bytes | None
    is_ignored: bool = False

    @property
    def is_edited(self) -> bool:
        """Whether the project's file differs from both renderings."""
        return self.ours is not None and self.ours not in (self.base, self.theirs)

    def merged(self) -> Change:
        """The change that keeps every edit.

        Untouched files are overwritten and edited ones merged; deleted ones stay deleted. A file
        that the template no longer renders is removed if it is untouched.
        """
        if self._is_settled() or (self.ours is None and self.base is not None):
            return self.kept()
        if not self.is_edited and self.theirs is None:
            return Change(self.path, "remove", self.ours, None)
        if not self.is_edited:
            return self.taken()
        if self.theirs is None or isinstance(self.base, Digest):
            return self.kept()
        merge = merges.merge(self.base or b"", self.ours or b"", self.theirs)
        if merge.conflicts:
            return Change(self.path, "conflict", self.ours, merge.content, merge.conflicts)
        return replace(change(self.path, self.ours, merge.content), action="merge")

    def kept(self) -> Change:
        """The change that leaves the file as it is."""
        return Change(
            self.path, "unchanged" if self._is_settled() else "keep", self.ours, self.ours
        )

    def taken(self) -> Change:
        """The change that overwrites the file; one that is no longer rendered is kept if edited."""
        if self.theirs is None or (self.is_ignored and self._is_settled()):
            return self.merged()
        return change(self.path, self.ours, self.theirs)

    def _is_settled(self) -> bool:
        """Whether the project already has what the template renders."""
        if self.is_ignored and (self.base, self.ours) != (None, None):
            return True
        return self.theirs in (self.base, self.ours)


def candidates(
    base: Mapping[str, Base], theirs: Mapping[str, bytes], project: Path
) -> tuple[Candidate, ...]:
    """Every file that the template rendered last time or renders now."""
    paths = sorted({*base, *theirs})
    ignored = gitignore.covered(paths, project, theirs)
    found = []
    for path in paths:
        ours = read(project, path)
        new = like(theirs.get(path), ours)
        old = _resolved(base.get(path), ours, new)
        found.append(Candidate(path, old, ours, new, path in ignored))
    return tuple(found)


def update(project: Path, lock: Lock, rendering: Rendering) -> list[Change]:
    """The changes that bring a project up to a rendering, including the change of the lock.

    The spec's file belongs to its owner: if edited, it stays as it is.
    """
    theirs = dict(rendering.plan.files)
    spec = read(project, SPEC)
    if SPEC in theirs and spec is not None and not locks.is_base(lock.files.get(SPEC), spec):
        theirs[SPEC] = spec
    found = candidates(lock.files, theirs, project)
    changed = marked([candidate.merged() for candidate in found], rendering.plan)
    after = rendering.locked(project, lock, lock.records)
    return [*changed, projects.lock_change(project, after)]


def _resolved(base: Base | None, ours: bytes | None, theirs: bytes | None) -> Base | None:
    """The content of a base, or the hash if none of the contents has it."""
    if not isinstance(base, Digest):
        return like(base, ours)
    contents = (content for content in (ours, theirs) if content is not None)
    return next((content for content in contents if line_ends.has_digest(content, base)), base)
