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
    save_spec: Path | None = None,
) -> None:
    """Make a project of a template and say what to do with it.

    `save_spec` is a file that gets what the project keeps as its spec.
    """
    plan = render.render(templates.locate(template), context)
    if save_spec is not None:
        _save(plan.files["loafer.toml"], save_spec, dry_run=dry_run, force=force)
    write(plan, target, dry_run=dry_run, force=force)
    if dry_run:
        return
    width = max(map(len, next_steps))
    typer.echo(f"\nNext: cd {target}")
    for command, purpose in next_steps.items():
        typer.echo(f"  {command:<{width}}  {purpose}")


def _save(spec: bytes, path: Path, *, dry_run: bool, force: bool) -> None:
    if path.suffix != ".toml":
        raise ConfigurationError(f"{path}: a spec is saved as TOML, in a file that ends in .toml")
    plan = Plan({path.name: spec})
    found = changes(plan, path.parent)
    _show(found, path.parent)
    if found[0].action == "overwrite" and not (force or dry_run):
        raise ConfigurationError(f"{path} exists and was not touched; --force overwrites it")
    if not dry_run:
        commits.commit(plan, path.parent, force=True)


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
