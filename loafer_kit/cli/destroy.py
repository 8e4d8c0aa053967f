"""`loafer-kit destroy`: undoes the last `new`, `add` or `remove`."""

from functools import partial
from pathlib import Path

from loafer_kit.cli import writing
from loafer_kit.cli.terminal import custom_templates
from loafer_kit.cli.terminal.options import Project, option_groups
from loafer_kit.scaffold.project import history, locks, projects
from loafer_kit.scaffold.project.plans import Change


@option_groups
def destroy(
    path: Project = Path(),
    *,
    show: writing.Show,
    trust: custom_templates.Trust = False,
) -> None:
    """Undo the last `new`, `add` or `remove` in a project.

    If one of its files was edited since, the command names it and undoes nothing. Files that
    loafer-kit did not write stay.
    """
    template = custom_templates.TemplateOptions(trust=trust)
    left = writing.begin(path, show)
    is_done = left is not None and left.is_complete and left.command == "destroy"
    changed: list[Change] = []
    if not is_done:
        lock = projects.find_lock(path)
        changed = history.last(path, lock, partial(template.generator_of, path, lock))
    writing.write(changed, path, command="destroy", show=show)
    if locks.find(path) is None:
        _remove_folder(path, show)


def _remove_folder(project: Path, show: writing.Show) -> None:
    try:
        project.resolve().rmdir()
    except OSError:
        left = ", ".join(sorted(file.name for file in project.iterdir()))
        show.tell(f"{project} stays; it holds files that loafer-kit did not write: {left}")
