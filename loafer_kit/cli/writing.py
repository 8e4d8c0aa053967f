"""Shows changes and commits them: what every command that writes files ends with."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loafer_kit.cli import collisions, terminal
from loafer_kit.cli.printing import say
from loafer_kit.cli.showing import Show, described
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.project import git as repositories
from loafer_kit.scaffold.project import history, locks, projects, updates
from loafer_kit.scaffold.project import writing as disk
from loafer_kit.scaffold.project.plans import Change, Plan, changes, marked
from loafer_kit.scaffold.project.projects import Generator, Rendering
from loafer_kit.scaffold.project.updates import Candidate
from loafer_kit.scaffold.rendering.contexts import Context


@dataclass(frozen=True, slots=True)
class _Beside:
    """A file outside the project that is written together with it."""

    change: Change
    folder: Path


def generate(
    maker: Generator,
    context: Context,
    output_dir: Path,
    *,
    command: str,
    show: Show,
    force: bool,
    git: bool,
    next_steps: Mapping[str, str],
    spec: Mapping[str, Any] | None = None,
    save_spec: Path | None = None,
    notes: Sequence[str] | None = None,
) -> None:
    """Make a project of a template, in a folder of its own, and say what to do with it.

    `spec` is what the lock keeps of a project whose files do not hold it; `save_spec` is a file
    that gets what the project keeps as its spec; `notes` are for machines, about where the spec
    comes from. With `git` a repository is begun in the folder.
    """
    if git and not show.only:
        _refuse_missing_git()
    rendering = maker.render(context, spec)
    target = output_dir / rendering.folder
    rendering = rendering.moved(target)
    saved = None
    if save_spec is not None:
        ours = rendering if projects.SPEC in rendering.plan.files else _ours(context)
        saved = _saved(ours.plan.files[projects.SPEC], save_spec, target, force=force or show.only)
    if not show.only:
        disk.recover(target)
    lock = locks.find(target)
    found = updates.candidates(lock.files if lock else {}, rendering.plan.files, target)
    changed = marked(_decided(found, target, force=force, show=show), rendering.plan)
    record = history.record(command, changed, lock.spec if lock else None)
    before = lock.records if lock else ()
    after = rendering.locked(target, lock, (*before, record) if record.edits else before)
    changed = [*changed, projects.lock_change(target, after)]
    write(changed, target, show=show, saved=saved, notes=notes)
    if git:
        _begin_repository(target, [locks.PATH, *rendering.plan.files], show)
    show.tell(f"\nNext: cd {shlex.quote(str(target))}")
    if maker.template.purpose is not None:
        width = max(map(len, next_steps))
        for step, purpose in next_steps.items():
            show.tell(f"  {step:<{width}}  {purpose}")


def _refuse_missing_git() -> None:
    try:
        repositories.refuse_missing_git()
    except ConfigurationError as error:
        raise ConfigurationError(f"{error}: install it, or leave out --git") from error


def _begin_repository(target: Path, paths: Sequence[str], show: Show) -> None:
    place = repositories.around(target)
    if place is not None:
        say(f"no repository was begun: {target} is in that of {place}", err=True)
    elif repositories.begin(target, paths, f"Begin {target.name} as loafer-kit writes it"):
        show.tell("\nA git repository was begun, with a first commit.")
    else:
        why = "git does not know your name and e-mail address"
        what = "a repository was begun and everything staged, the first commit is yours"
        say(f"{what}: {why}", err=True)


def _ours(context: Context) -> Rendering:
    return projects.builtin("service").render(context)


def _saved(spec: bytes, path: Path, target: Path, *, force: bool) -> _Beside:
    if path.suffix != ".toml":
        raise ConfigurationError(f"{path}: a spec is saved as TOML, in a file that ends in .toml")
    if path.resolve().is_relative_to(target.resolve()):
        raise ConfigurationError(f"{path} is in the project, which keeps its spec by itself")
    [change] = changes(Plan({path.name: spec}), path.parent)
    if change.action == "overwrite" and not force:
        raise ConfigurationError(f"{path} exists and was not touched; --force overwrites it")
    return _Beside(change, path.parent)


def write(
    changed: Sequence[Change],
    target: Path,
    *,
    show: Show,
    saved: _Beside | None = None,
    notes: Sequence[str] | None = None,
) -> None:
    """Show changes and make them all; leaves after showing them when that was all to do.

    ConfigurationError where conflicts are left for a person: that is no success.
    """
    more: dict[str, object] = {} if notes is None else {"notes": list(notes)}
    beside = [] if saved is None else [saved.change]
    if saved is not None:
        more["saved_spec"] = {"folder": str(saved.folder), **described(saved.change)}
        if not show.json:
            show.changes(beside, saved.folder)
    if show.only or not show.json:
        show.changes(changed, target, more)
    show.end([*changed, *beside])
    with _written(saved):
        disk.apply(changed, target)
    if show.json:
        show.changes(changed, target, more)
    conflicts = [change.path for change in changed if change.conflicts]
    if conflicts:
        raise ConfigurationError(
            f"conflicts are left in {', '.join(conflicts)}: choose between the lines that "
            f"<<<<<<< and >>>>>>> enclose, then run "
            f"`loafer-kit check {shlex.quote(str(target))}`"
        )


@contextmanager
def _written(saved: _Beside | None) -> Iterator[None]:
    """Write a file, and take that back where the project beside it cannot be written."""
    if saved is None:
        yield
        return
    change, is_new = saved.change, not saved.folder.exists()
    disk.apply([change], saved.folder)
    try:
        yield
    except BaseException:
        back = Change(change.path, "overwrite", change.after, change.before)
        disk.apply([back], saved.folder)
        if is_new:
            with suppress(OSError):
                saved.folder.rmdir()
        raise


def _decided(
    found: Sequence[Candidate], target: Path, *, force: bool, show: Show
) -> Sequence[Change]:
    """What becomes of each file, by the rules or by the person who is asked.

    In a folder that holds anything, nobody's silence is consent: it takes a terminal or `--force`.
    """
    if force:
        return [candidate.taken() for candidate in found]
    changed = [candidate.merged() for candidate in found]
    nothing_to_lose = not target.exists() or _is_empty(target)
    if nothing_to_lose or show.only or not any(change.writes for change in changed):
        return changed
    if not terminal.is_interactive() or show.json:
        Show(dry_run=True, json=show.json).changes(changed, target)
        raise ConfigurationError(
            f"{target} exists and was not touched; on a terminal you are asked file by file, "
            "--force writes the template's files over it"
        )
    return collisions.decide(found, terminal.Terminal())


def _is_empty(folder: Path) -> bool:
    try:
        return not any(folder.iterdir())
    except OSError:  # no folder, or one that nobody may look into
        return False
