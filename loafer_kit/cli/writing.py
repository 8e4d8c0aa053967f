"""Shows a plan and commits it: what every command that writes files ends with."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import typer

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold import commits, render, templates
from loafer_kit.scaffold.contexts import Context
from loafer_kit.scaffold.plans import Change, Plan, changes


def generate(
    template: str,
    context: Context,
    target: Path,
    *,
    dry_run: bool,
    force: bool,
    next_steps: Mapping[str, str],
) -> None:
    """Make a project of a template and say what to do with it."""
    plan = render.render(templates.locate(template), context)
    write(plan, target, dry_run=dry_run, force=force)
    if dry_run:
        return
    width = max(map(len, next_steps))
    typer.echo(f"\nNext: cd {target}")
    for command, purpose in next_steps.items():
        typer.echo(f"  {command:<{width}}  {purpose}")


def write(plan: Plan, target: Path, *, dry_run: bool, force: bool) -> None:
    """Commit a plan and list what changed; with `dry_run`, only list what would."""
    found = changes(plan, target)
    _show(found, target)
    if dry_run:
        return
    if target.exists() and not force and any(change.action != "unchanged" for change in found):
        raise ConfigurationError(
            f"{target} exists and was not touched; --force makes the changes above"
        )
    commits.commit(plan, target, force=True)


def _show(changed: Sequence[Change], target: Path) -> None:
    wanted = [change for change in changed if change.action != "unchanged"]
    for change in wanted:
        typer.echo(f"{change.action:>9}  {target / change.path}")
    if len(wanted) < len(changed):
        typer.echo(f"unchanged  {len(changed) - len(wanted)} of {len(changed)} files")
