"""Decides what happens to each file when the template is rendered again, or the last command is undone.

Edits are kept.
"""

import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from pathlib import Path, PurePosixPath

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.escaping import escape_line
from loafer_kit.scaffold.project import git, locks, projects, texts
from loafer_kit.scaffold.project.locks import Base, Digest, Edit, Lock, Record
from loafer_kit.scaffold.project.plans import (
    VERSION,
    Action,
    Change,
    Plan,
    change,
    digest,
    is_executable,
    is_linked,
    read,
)
from loafer_kit.scaffold.project.projects import SPEC, Generator, Rendering
from loafer_kit.scaffold.spec.specs import Draft

# The part of its lines that a renamed file shares with the file before.
_SIMILAR = 0.6


@dataclass(frozen=True, slots=True)
class Candidate:
    """Three versions of a file: as last rendered, as it is in the project, as rendered now.

    All three have the line ends of the project's file; None means that the file does not exist. A
    base that the lock keeps by its hash alone is a `Digest`, unless one of the others has that
    hash. A file that `.gitignore` covers is created once and never changed. `executables` says of
    each version whether it is executable.
    """

    path: str
    base: Base | None
    ours: bytes | None
    theirs: bytes | None
    is_ignored: bool = False
    is_linked: bool = False
    executables: tuple[bool, bool, bool] = (False, False, False)

    @property
    def is_edited(self) -> bool:
        """Whether the project's file differs from both renderings."""
        return self.ours is not None and self.ours not in (self.base, self.theirs)

    def merged(self) -> Change:
        """The change that keeps every edit.

        Untouched files are overwritten and edited ones merged; deleted ones stay deleted. A file
        that the template no longer renders is removed if it is untouched.
        """
        is_gone = self.ours is None and self.base is not None
        if self._is_settled() or self.is_linked or is_gone:
            return self.kept()
        if not self.is_edited:
            is_removed = self.theirs is None
            return Change(self.path, "remove", self.ours, None) if is_removed else self.taken()
        if self.ours is None or self.theirs is None:
            return self.kept()
        if self.is_binary:
            note = f"the template's version is in {PurePosixPath(self.path).name}{VERSION}"
            return Change(self.path, "conflict", self.ours, self.ours, 1, note=note)
        return self.kept() if isinstance(self.base, Digest) else self._merge(self.ours, self.theirs)

    def _merge(self, ours: bytes, theirs: bytes) -> Change:
        assert not isinstance(self.base, Digest)  # noqa: S101 - there is nothing to merge from
        merge = texts.merge(self.base or b"", ours, theirs)
        found = replace(change(self.path, ours, merge.content), action="merge")
        if merge.conflicts:
            note = f"{merge.conflicts} {'place' if merge.conflicts == 1 else 'places'}"
            found = replace(found, action="conflict", conflicts=merge.conflicts, note=note)
        return self._with_mode(found)

    def kept(self) -> Change:
        """The change that leaves the content as it is."""
        if self._is_settled():
            return self._with_mode(Change(self.path, "unchanged", self.ours, self.ours))
        note = "edited in the project: the template's change is left out"
        if self.is_linked:
            note = "a symbolic link in the project: the template's file is left out"
        elif self.ours is None:
            note = "deleted in the project: the template's change is left out"
        elif self.theirs is None:
            note = "edited in the project; the template no longer has it"
        return Change(self.path, "keep", self.ours, self.ours, note=note)

    def taken(self) -> Change:
        """The change that overwrites the file; one that is no longer rendered is kept if edited."""
        if self.theirs is None or self.is_linked or (self.is_ignored and self._is_settled()):
            return self.merged()
        return self._with_mode(change(self.path, self.ours, self.theirs))

    @property
    def is_binary(self) -> bool:
        """Whether one of the versions is not text."""
        return any(
            isinstance(content, bytes) and texts.is_binary(content)
            for content in (self.base, self.ours, self.theirs)
        )

    def moved_from(self, old: "Candidate") -> Change:
        """The change that creates this file with the edits of another one, which it replaces."""
        base, ours, theirs = old.executables[0], old.executables[1], self.executables[2]
        made = replace(old, path=self.path, theirs=self.theirs, executables=(base, ours, theirs))
        found = made.merged()
        note = f"with the edits of {old.path}"
        if found.conflicts:
            note += f"; {found.note}"
        action: Action = "conflict" if found.conflicts else "create"
        executable = ours if base == theirs else theirs
        return replace(found, action=action, before=None, executable=executable, note=note)

    def _with_mode(self, found: Change) -> Change:
        """The change, with that of the executable bits; the project's own change of them stays."""
        base, ours, theirs = self.executables
        wanted = ours if base == theirs else theirs
        is_settled = self.is_ignored and self.ours is not None
        if found.after is None or self.theirs is None or wanted == ours or is_settled:
            return found
        if self.ours is None:
            return replace(found, executable=wanted)
        notes = [found.note] if found.note else []
        notes.append("now executable" if wanted else "no longer executable")
        action: Action = "update" if found.action == "unchanged" else found.action
        return replace(found, action=action, executable=wanted, note="; ".join(notes))

    def _is_settled(self) -> bool:
        """Whether the project already has what the template renders."""
        if self.is_ignored and (self.base, self.ours) != (None, None):
            return True
        return self.theirs in (self.base, self.ours)


def candidates(lock: Lock | None, plan: Plan, project: Path) -> tuple[Candidate, ...]:
    """Every file that the template rendered last time or renders now."""
    base, theirs = lock.files if lock else {}, plan.files
    before = lock.executables if lock else frozenset()
    paths = sorted({*base, *theirs})
    ignored = git.covered(paths, project, theirs)
    found = []
    for path in paths:
        linked = is_linked(project, path)
        ours = None if linked else read(project, path)
        new = texts.like(theirs.get(path), ours)
        found.append(
            Candidate(
                path=path,
                base=_resolved(base.get(path), ours, new),
                ours=ours,
                theirs=new,
                is_ignored=path in ignored,
                is_linked=linked,
                executables=(
                    path in before,
                    ours is not None and is_executable(project / path),
                    path in plan.executables,
                ),
            )
        )
    return tuple(found)


def decided(
    found: Iterable[Candidate], decide: Callable[[Candidate], Change], project: Path
) -> list[Change]:
    """The decision about each file, with the template's versions of edited binary files."""
    changed: list[Change] = []
    for candidate in found:
        change_ = decide(candidate)
        changed.append(change_)
        if change_.action == "conflict" and change_.before == change_.after and candidate.theirs:
            version = f"{candidate.path}{VERSION}"
            changed.append(change(version, read(project, version), candidate.theirs))
    return changed


def lacking(before: bytes, after: bytes, ours: bytes) -> str:
    """The lines that a change adds and a file lacks, as a text that follows a note."""
    known = {line.strip() for content in (before, ours) for line in content.splitlines()}
    lines = [line for line in after.splitlines() if line.strip() and line.strip() not in known]
    shown = "".join(f"\n           {line.decode(errors='replace')}" for line in lines)
    return f"; it lacks{shown}\n          " if shown else ""


def update(project: Path, lock: Lock, rendering: Rendering) -> list[Change]:
    """The changes that bring a project up to a rendering, including the change of the lock.

    The spec's file belongs to its owner: if edited, it stays as it is.
    """
    plan = rendering.plan
    spec = read(project, SPEC)
    if SPEC in plan.files and spec is not None and not locks.is_base(lock.files.get(SPEC), spec):
        plan = replace(plan, files={**plan.files, SPEC: spec})
    found = candidates(lock, plan, project)
    renamed = _renamed(found)
    moves = {old.path: new for new, old in renamed.items()}

    def decide(candidate: Candidate) -> Change:
        if candidate.path in moves:
            note = f"renamed to {moves[candidate.path].path}"
            return Change(candidate.path, "remove", candidate.ours, None, note=note)
        old = renamed.get(candidate)
        return candidate.merged() if old is None else candidate.moved_from(old)

    changed = decided(found, decide, project)
    after = rendering.locked(project, lock, lock.records)
    return [*changed, projects.lock_change(project, after)]


def _renamed(found: Sequence[Candidate]) -> Mapping[Candidate, Candidate]:
    """The new files that replace an edited one which the template no longer renders."""
    files = [item for item in found if not item.is_binary and not item.is_linked]
    born = [item for item in files if item.base is None and item.ours is None and item.theirs]
    renamed: dict[Candidate, Candidate] = {}
    for old in files:
        if old.theirs is None and old.is_edited and isinstance(old.base, bytes):
            scores = {_likeness(old.base, new): new for new in born if new not in renamed}
            if scores and max(scores) >= _SIMILAR:
                renamed[scores[max(scores)]] = old
    return renamed


def _likeness(base: bytes, new: Candidate) -> float:
    before, after = (texts.plain_lines(text) for text in (base, new.theirs or b""))
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    return matcher.ratio() if matcher.real_quick_ratio() >= _SIMILAR else 0


def _resolved(base: Base | None, ours: bytes | None, theirs: bytes | None) -> Base | None:
    """The content of a base, or the hash if none of the contents has it."""
    if not isinstance(base, Digest):
        return texts.like(base, ours)
    contents = (content for content in (ours, theirs) if content is not None)
    return next((content for content in contents if locks.is_base(base, content)), base)


# What the lock records, and how it is undone.


def record(command: str, changes: Iterable[Change], before: Mapping[str, object] | None) -> Record:
    """The record of a command that makes these changes; the lock's own change is not recorded."""
    return Record(command, tuple(_edit(item) for item in changes if item.writes), before)


def recorded(lock: Lock, command: str, changes: Sequence[Change]) -> Lock:
    """The lock with a record of a command, and with the spec that its changes leave."""
    spec = lock.spec
    for item in changes:
        if item.path == SPEC and item.after is not None:
            spec = tomllib.loads(item.after.decode("utf-8-sig"))
    records = (*lock.records, record(command, changes, lock.spec))
    return replace(lock, spec=spec, records=records)


def undo(project: Path, lock: Lock, generator: Callable[[], Generator]) -> list[Change]:
    """The changes that undo the lock's last record, including the change of the lock.

    `generator` returns the project's generator; it is called only if the lock needs a rendering.
    ConfigurationError names the files that were edited since.
    """
    if not lock.records:
        raise ConfigurationError(f"{project / locks.PATH}: there is no command to undo")
    newest = lock.records[-1]
    edits = {edit.path: edit for edit in _edits(newest, lock)}
    contents = {path: read(project, path) for path in edits if not is_linked(project, path)}
    edited = [
        path
        for path, edit in edits.items()
        if path not in contents or not _is_as_left(edit, contents[path], lock)
    ]
    if edited:
        raise ConfigurationError(
            f"nothing was undone: edited since `loafer-kit {escape_line(newest.command)}`: "
            f"{', '.join(edited)}"
        )
    changed = [
        undone(edit, contents[path])
        for path, edit in edits.items()
        if contents[path] is not None or edit.digest is None
    ]
    return [*changed, projects.lock_change(project, _before(project, lock, newest, generator))]


def _edits(newest: Record, lock: Lock) -> Iterator[Edit]:
    """The record's edits; for the first record also the files that updates created since."""
    yield from newest.edits
    if newest.before is None:
        for path in sorted(lock.files.keys() - {edit.path for edit in newest.edits}):
            yield Edit(path, locks.digest_of(lock.files[path]), 0, 0, None)


def _is_as_left(edit: Edit, content: bytes | None, lock: Lock) -> bool:
    """Whether a file is as the command left it, or as an update left it without other edits."""
    if content is None:
        return edit.removed is None or edit.digest is None
    if edit.removed is None and locks.is_base(lock.files.get(edit.path), content):
        return True
    return texts.form_with(edit.digest, content) is not None


def _before(
    project: Path, lock: Lock, newest: Record, generator: Callable[[], Generator]
) -> Lock | None:
    """The lock as it would be if the command had never run."""
    if newest.before is None:
        return None
    spec = Draft(newest.before, str(project / locks.PATH))
    return generator().again(spec).locked(project, lock, lock.records[:-1])


def undone(edit: Edit, content: bytes | None) -> Change:
    """The change that undoes an edit in a file that was not edited since; its line ends stay."""
    if edit.removed is None:
        return Change(edit.path, "remove", content, None)
    left = texts.form_with(edit.digest, content or b"") or b""
    before = left[: edit.offset] + edit.removed + left[edit.offset + edit.inserted :]
    if left != content:
        before = texts.like(before, content)
    return change(edit.path, content, before)


def _edit(item: Change) -> Edit:
    before, after = item.before or b"", item.after or b""
    start = texts.common_length(before, after)
    end = texts.common_length(before[start:][::-1], after[start:][::-1])
    return Edit(
        path=item.path,
        digest=None if item.after is None else digest(item.after),
        offset=start,
        inserted=len(after) - start - end,
        removed=None if item.before is None else before[start : len(before) - end],
    )
