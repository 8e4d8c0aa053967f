"""Shows changes and commits them: what every command that writes files ends with."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loafer_kit.cli import collisions, terminal
from loafer_kit.cli.printing import say
from loafer_kit.cli.showing import Show
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold import commits, locks, projects, records, repositories, updates
from loafer_kit.scaffold.contexts import Context
from loafer_kit.scaffold.plans import Change, Plan, changes, marked
from loafer_kit.scaffold.projects import Maker, Rendering
from loafer_kit.scaffold.updates import Candidate


def generate(
    maker: Maker,
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
) -> None:
    """Make a project of a template, in a folder of its own, and say what to do with it.

    `spec` is what the lock keeps of a project whose files do not hold it; `save_spec` is a file
    that gets what the project keeps as its spec. With `git` a repository is begun in the folder.
    """
    if git and not show.only:
        repositories.refuse_missing_git()
    rendering = maker.render(context, spec)
    target = output_dir / rendering.folder
    rendering = rendering.moved(target)
    if save_spec is not None:
        ours = rendering if projects.SPEC in rendering.plan.files else _ours(context)
        _save(ours.plan.files[projects.SPEC], save_spec, show=show, force=force)
    if not show.only:
        commits.recover(target)
    lock = locks.find(target)
    found = updates.candidates(lock.files if lock else {}, rendering.plan.files, target)
    changed = marked(_decided(found, target, force=force, show=show), rendering.plan)
    record = records.record(command, changed, lock.spec if lock else None)
    before = lock.records if lock else ()
    after = rendering.locked((*before, record) if record.edits else before)
    write([*changed, projects.lock_change(target, after)], target, show=show)
    if git:
        _begin_repository(target, [locks.PATH, *rendering.plan.files], show)
    show.tell(f"\nNext: cd {shlex.quote(str(target))}")
    if maker.template.purpose is not None:
        width = max(map(len, next_steps))
        for step, purpose in next_steps.items():
            show.tell(f"  {step:<{width}}  {purpose}")


def _begin_repository(target: Path, paths: Sequence[str], show: Show) -> None:
    place = repositories.around(target)
    if place is not None:
        say(f"no repository was begun: {target} is in that of {place}", err=True)
    elif repositories.begin(target, paths, f"Begin {target.name} as loafer-kit writes it"):
        show.tell("\nA git repository was begun, with a first commit.")
    else:
        why = "git does not know your name and e-mail address"
        say(f"a repository was begun, the first commit is yours: {why}", err=True)


def _ours(context: Context) -> Rendering:
    return projects.ours("service").render(context)


def _save(spec: bytes, path: Path, *, show: Show, force: bool) -> None:
    if path.suffix != ".toml":
        raise ConfigurationError(f"{path}: a spec is saved as TOML, in a file that ends in .toml")
    plan = Plan({path.name: spec})
    found = changes(plan, path.parent)
    if not show.json:
        show.changes(found, path.parent)
    if found[0].action == "overwrite" and not (force or show.only):
        raise ConfigurationError(f"{path} exists and was not touched; --force overwrites it")
    if not show.only:
        commits.commit(plan, path.parent, force=True)


def write(changed: Sequence[Change], target: Path, *, show: Show) -> None:
    """Show changes and make them all; leaves after showing them when that was all to do.

    ConfigurationError where conflicts are left for a person: that is no success.
    """
    if show.only or not show.json:
        show.changes(changed, target)
    show.end(changed)
    commits.apply(changed, target)
    if show.json:
        show.changes(changed, target)
    conflicts = [change.path for change in changed if change.conflicts]
    if conflicts:
        raise ConfigurationError(
            f"conflicts are left in {', '.join(conflicts)}: choose between the lines that "
            f"<<<<<<< and >>>>>>> enclose, then run "
            f"`loafer-kit check {shlex.quote(str(target))}`"
        )


def _decided(
    found: Sequence[Candidate], target: Path, *, force: bool, show: Show
) -> Sequence[Change]:
    """What becomes of each file, by the rules or by the person who is asked.

    In a folder that exists, nobody's silence is consent: it takes a terminal or `--force`.
    """
    if force:
        return [candidate.taken() for candidate in found]
    changed = [candidate.merged() for candidate in found]
    if not target.exists() or show.only or not any(change.writes for change in changed):
        return changed
    if not terminal.is_interactive() or show.json:
        Show(dry_run=True, json=show.json).changes(changed, target)
        raise ConfigurationError(
            f"{target} exists and was not touched; on a terminal you are asked file by file, "
            "--force writes the template's files over it"
        )
    return collisions.decide(found, terminal.Terminal())
