"""What `check`, `update` and `destroy` do to a project that has a lock."""

from dataclasses import asdict
from functools import partial
from pathlib import Path

import typer

from loafer_kit.cli.custom_templates import Wanted
from loafer_kit.cli.printing import say, say_json
from loafer_kit.cli.showing import Show
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.project import checks, locks, projects
from loafer_kit.scaffold.project.plans import marked


def check(project: Path, *, json: bool) -> None:
    """Print every drift; exit code 1 when there is one."""
    lock = projects.find_lock(project)
    drifts = checks.drifts(project, lock)
    if json:
        listed = [asdict(drift) for drift in drifts]
        say_json({"project": str(project), "drifts": listed})
    else:
        for drift in drifts:
            say(drift)
        if drifts:
            pass
        elif lock.template.name == "service" and projects.SPEC not in lock.files:
            what = f"{lock.template.origin} is not a template for services"
            say(f"no conflict is left; {what}: there is no spec to compare with the code")
        else:
            say("spec, code and lock agree")
    if drifts:
        raise typer.Exit(1)


def update(project: Path, wanted: Wanted, *, show: Show, check: bool) -> None:
    """Merge what the template renders today; with `check`, only judge whether that is needed."""
    from loafer_kit.cli import writing
    from loafer_kit.scaffold.project import commits

    if not show.only:
        commits.recover(project)
    lock = projects.find_lock(project)
    checks.refuse_conflicts(project, lock)
    maker = wanted.maker_of(project, lock)
    rendering = maker.again(projects.draft(project, lock))
    writing.show_notes(rendering)
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
    from loafer_kit.cli import writing
    from loafer_kit.scaffold.project import commits
    from loafer_kit.scaffold.project import undo as reversals

    if not show.only:
        commits.recover(project)
    lock = projects.find_lock(project)
    changed = reversals.last(project, lock, partial(wanted.maker_of, project, lock))
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
