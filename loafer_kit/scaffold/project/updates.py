"""What becomes of each file of a project when its template renders anew: never at an edit's cost."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from loafer_kit.scaffold.project import merges
from loafer_kit.scaffold.project.line_ends import like
from loafer_kit.scaffold.project.plans import Change, change, read


@dataclass(frozen=True, slots=True)
class Candidate:
    """One file three times: as the template last rendered it, as it is, as it is rendered now.

    All three have the line ends of the file as it is; None where it does not exist.
    """

    path: str
    base: bytes | None
    ours: bytes | None
    theirs: bytes | None

    @property
    def is_edited(self) -> bool:
        """Whether somebody's own work lies in the file's place."""
        return self.ours is not None and self.ours not in (self.base, self.theirs)

    def merged(self) -> Change:
        """The change that keeps every edit.

        Untouched files are rendered anew, edited ones merged, deleted ones stay deleted, and those
        the template no longer has go when they are untouched.
        """
        if self.theirs in (self.base, self.ours):
            return self.kept()
        if self.ours is None:
            return self.kept() if self.base is not None else self.taken()
        if self.theirs is None:
            return self.kept() if self.is_edited else Change(self.path, "remove", self.ours, None)
        if not self.is_edited:
            return self.taken()
        merge = merges.merge(self.base or b"", self.ours, self.theirs)
        if merge.conflicts:
            return Change(self.path, "conflict", self.ours, merge.content, merge.conflicts)
        return replace(change(self.path, self.ours, merge.content), action="merge")

    def kept(self) -> Change:
        """The file stays as it is."""
        settled = self.theirs in (self.base, self.ours)
        return Change(self.path, "unchanged" if settled else "keep", self.ours, self.ours)

    def taken(self) -> Change:
        """The file becomes what the template renders; one that it no longer has is kept if edited."""
        if self.theirs is None:
            return self.merged()
        return change(self.path, self.ours, self.theirs)


def candidates(
    base: Mapping[str, bytes], theirs: Mapping[str, bytes], project: Path
) -> tuple[Candidate, ...]:
    """Every file that the template rendered then or renders now."""
    return tuple(
        Candidate(path, like(base.get(path), ours), ours, like(theirs.get(path), ours))
        for path in sorted({*base, *theirs})
        for ours in [read(project, path)]
    )
