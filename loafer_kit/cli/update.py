"""`loafer-kit update`: brings a project up to date with its template and its spec."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from loafer_kit.cli import writing
from loafer_kit.cli.terminal import custom_templates
from loafer_kit.cli.terminal.options import Project, option_groups
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.project import drift, projects, updates


@option_groups
def update(
    path: Project = Path(),
    *,
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing; exit code 1 if there is anything to write."),
    ] = False,
    show: writing.Show,
    checkout: custom_templates.Checkout = None,
    set_: custom_templates.Set = None,
    trust: custom_templates.Trust = False,
) -> None:
    """Bring a project up to date with its template and spec.

    The command renders the spec with the installed template, merges the result and keeps every
    edit. Where both changed the same lines, both versions stand between git's conflict marks,
    and the exit code is 1.
    """
    show = replace(show, dry_run=show.dry_run or check)
    template = custom_templates.TemplateOptions(checkout=checkout, settings=set_, trust=trust)
    writing.begin(path, show)
    lock = projects.find_lock(path)
    drift.refuse_conflicts(path, lock)
    rendering = template.generator_of(path, lock).again(projects.draft(path, lock))
    writing.show_notes(rendering)
    changed = updates.update(path, lock, rendering)
    if not check:
        writing.write(changed, path, command="update", show=show)
        return
    show.changes(changed, path)
    if rendering.differs_from(path, lock):
        raise ConfigurationError("the project is behind its template: run `loafer-kit update`")
