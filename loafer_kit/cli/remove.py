"""`loafer-kit remove …`: takes out of a service what `add` or `new` wrote."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from loafer_kit.cli import add, writing
from loafer_kit.cli.terminal import completions, custom_templates
from loafer_kit.cli.terminal.options import ProjectOption, option_groups
from loafer_kit.cli.terminal.typer_commands import Command, group
from loafer_kit.scaffold.additions import removals
from loafer_kit.scaffold.project import drift, locks

app = group("Take out what `add` or `new` wrote.")


@app.command(cls=Command)
@option_groups
def queue(
    name: Annotated[
        str,
        typer.Argument(
            help="The name or URL of a queue in loafer.toml.", autocompletion=completions.queues
        ),
    ],
    path: ProjectOption = Path(),
    *,
    show: writing.Show,
    trust: custom_templates.Trust = False,
) -> None:
    """Remove a queue, with its route, its handler and its tests.

    Code that was edited stays and is listed.
    """
    writing.begin(path, show)
    removal = removals.queue(add.draft(path), name, add.generator(path, trust=trust))
    paths = sorted({*removal.before, *removal.after})
    _write(path, paths, removal.remove, f"remove queue {name}", show)


@app.command(cls=Command)
@option_groups
def handler(
    name: Annotated[str, typer.Argument(help="The function's name.")],
    path: ProjectOption = Path(),
    *,
    show: writing.Show,
) -> None:
    """Remove a handler that no queue uses, and its test.

    Code that was edited stays and is listed.
    """
    writing.begin(path, show)
    remove, paths = removals.handler(add.draft(path), name, locks.find(path))
    _write(path, paths, remove, f"remove handler {name}", show)


def _write(
    project: Path,
    paths: Sequence[str],
    remove: removals.Remove,
    command: str,
    show: writing.Show,
) -> None:
    lock = locks.find(project)
    drift.refuse_conflicts(project, lock, paths)
    changed = removals.changes(project, lock, paths, remove, command)
    writing.write(changed, project, command=command, show=show)
    if not any(change.writes for change in changed):
        show.tell(f"nothing to do: {command.removeprefix('remove ')} is not there")
