"""What `check`, `update` and `destroy` do to a project that has a lock."""

from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path

import typer

from loafer_kit.cli import writing
from loafer_kit.cli.own_templates import Wanted
from loafer_kit.cli.printing import say, say_json
from loafer_kit.cli.showing import Show
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold import checks, commits, projects, reversals
from loafer_kit.scaffold.plans import marked


def check(project: Path, *, json: bool) -> None:
    """Print every drift; exit code 1 when there is one."""
    drifts = checks.drifts(project, projects.find_lock(project))
    if json:
        listed = [asdict(drift) for drift in drifts]
        say_json({"project": str(project), "drifts": listed})
    else:
        for drift in drifts:
            say(drift)
        if not drifts:
            say("spec, code and lock agree")
    if drifts:
        raise typer.Exit(1)


def update(project: Path, wanted: Wanted, *, show: Show, check: bool) -> None:
    """Merge what the template renders today; with `check`, only judge whether that is needed."""
    if not show.only:
        commits.recover(project)
    lock = projects.find_lock(project)
    left = list(checks.conflicts(project, lock))
    if left:
        raise ConfigurationError("\n".join(map(str, left)))
    maker = wanted.maker_of(project, lock)
    rendering = maker.again(projects.draft(project, lock))
    found = projects.candidates(project, lock, rendering)
    changed = marked([candidate.merged() for candidate in found], rendering.plan)
    changed.append(projects.lock_change(project, rendering.locked(lock.records)))
    if check:
        show.changes(changed, project)
        if rendering.differs_from(lock):
            raise ConfigurationError("the project is behind its template: run `loafer-kit update`")
        return
    writing.write(changed, project, show=show)


def destroy(project: Path, wanted: Wanted, *, show: Show) -> None:
    """Take back what the lock's last record wrote."""
    if not show.only:
        commits.recover(project)
    lock = projects.find_lock(project)
    changed = reversals.last(project, lock, partial(wanted.maker_of, project, lock))
    writing.write(changed, project, show=show)
    with suppress(OSError):  # somebody's own files are in it
        project.rmdir()
