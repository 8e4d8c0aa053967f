"""Which files a project's `.gitignore` covers."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from loafer_kit.scaffold.project.plans import is_linked, read

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

_NAME = ".gitignore"


def covered(paths: Iterable[str], project: Path, rendered: Mapping[str, bytes]) -> frozenset[str]:
    """The paths that a `.gitignore` covers, one in the project or one among the rendered files.

    A new project has none on disk yet, and an update may bring the line that covers a new file.
    Like git, it does not follow a symbolic link.
    """
    on_disk = _judge(lambda path: None if is_linked(project, path) else read(project, path))
    in_plan = _judge(rendered.get)
    return frozenset(path for path in paths if on_disk(path) or in_plan(path))


def _judge(content: Callable[[str], bytes | None]) -> Callable[[str], bool]:
    """Decides about a path as git does: an excluded folder excludes all that is in it."""

    @cache
    def spec(folder: str) -> "GitIgnoreSpec | None":
        found = content((PurePosixPath(folder) / _NAME).as_posix())
        return None if found is None else _parsed(found)

    def is_covered(path: str) -> bool:
        parts = path.split("/")
        folders = ["/".join(parts[:end]) for end in range(1, len(parts))]
        return any(_matches(place, spec) for place in (*(f"{f}/" for f in folders), path))

    return is_covered


def _matches(place: str, spec: Callable[[str], "GitIgnoreSpec | None"]) -> bool:
    """Whether the last pattern that matches a file or folder excludes it; deeper files win."""
    decision: bool | None = None
    for folder in reversed(PurePosixPath(place).parents):
        patterns = spec(folder.as_posix())
        if patterns is not None:
            found = patterns.check_file(place.removeprefix(f"{folder}/")).include
            decision = decision if found is None else found
    return decision is True


def _parsed(content: bytes) -> "GitIgnoreSpec":
    """The patterns of a file; like git, it skips invalid ones."""
    from pathspec import GitIgnoreSpec  # of the extra `scaffold`

    patterns = GitIgnoreSpec([])
    for line in content.decode(errors="replace").removeprefix("\ufeff").splitlines():
        with suppress(ValueError):
            patterns += GitIgnoreSpec.from_lines([line])
    return patterns
