"""What `check`, `update` and `destroy` do to a project that has a lock."""

from dataclasses import asdict
from functools import partial
from pathlib import Path

import typer

from loafer_kit.cli.own_templates import Wanted
from loafer_kit.cli.printing import say, say_json
from loafer_kit.cli.showing import Show
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.project import drift, locks, projects


def check(project: Path, *, json: bool) -> None:
    """Print every drift; exit code 1 when there is one."""
    found = drift.find(project, projects.find_lock(project))
    if json:
        listed = [asdict(item) for item in found]
        say_json({"project": str(project), "drifts": listed})
    else:
        for item in found:
            say(item)
        if not found:
            say("spec, code and lock agree")
    if found:
        raise typer.Exit(1)


def update(project: Path, wanted: Wanted, *, show: Show, check: bool) -> None:
    """Merge what the template renders today; with `check`, only judge whether that is needed."""
    from loafer_kit.cli import writing
    from loafer_kit.scaffold.project import updates
    from loafer_kit.scaffold.project import writing as disk

    if not show.only:
        disk.recover(project)
    lock = projects.find_lock(project)
    drift.refuse_conflicts(project, lock)
    rendering = wanted.maker_of(project, lock).again(projects.draft(project, lock))
    changed = updates.update(project, lock, rendering)
    if check:
        show.changes(changed, project)
        if rendering.differs_from(project, lock):
            raise ConfigurationError("the project is behind its template: run `loafer-kit update`")
        return
    writing.write(changed, project, show=show)


def destroy(project: Path, wanted: Wanted, *, show: Show) -> None:
    """Take back what the lock's last record wrote."""
    from loafer_kit.cli import writing
    from loafer_kit.scaffold.project import undo
    from loafer_kit.scaffold.project import writing as disk

    if not show.only:
        disk.recover(project)
    lock = projects.find_lock(project)
    changed = undo.last(project, lock, partial(wanted.maker_of, project, lock))
    writing.write(changed, project, show=show)
    if any(change.path == locks.PATH and change.after is None for change in changed):
        _remove(project, show)


def _remove(project: Path, show: Show) -> None:
    """The folder of a project that is gone; what others put there stays, and is named."""
    try:
        project.rmdir()
    except OSError:
        left = ", ".join(sorted(file.name for file in project.iterdir()))
        show.tell(f"{project} stays, with what loafer-kit did not write: {left}")
