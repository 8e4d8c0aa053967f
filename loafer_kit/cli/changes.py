"""The commands that change an existing project: `add`, `remove`, `update` and `destroy`."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from loafer_kit.cli import writing
from loafer_kit.cli.terminal import completions, custom_templates
from loafer_kit.cli.terminal.options import Command, Project, ProjectOption, group, option_groups
from loafer_kit.cli.terminal.output import say_json
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.project import drift, extensions, locks, pieces, projects, queues, updates
from loafer_kit.scaffold.project.plans import Change, refuse_links
from loafer_kit.scaffold.project.projects import Generator
from loafer_kit.scaffold.sources import documents
from loafer_kit.scaffold.spec import validation
from loafer_kit.scaffold.spec.specs import Draft

add = group("Extend an existing service.")
remove = group("Take out what `add` or `new` wrote.")

_KnownQueue = Annotated[
    str,
    typer.Argument(
        help="The name or URL of a queue in loafer.toml.", autocompletion=completions.queues
    ),
]


@add.command("queue", cls=Command)
@option_groups
def add_queue(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME[,key=value]...",
            help="The queue and its settings.",
            autocompletion=completions.settings,
        ),
    ],
    path: ProjectOption = Path(),
    *,
    show: writing.Show,
    trust: custom_templates.Trust = False,
) -> None:
    """Add a queue, with its route and its handler.

    Settings, code and tests change together. Edited files keep every line; new lines are
    inserted. If the queue exists already, nothing changes.
    """
    writing.begin(path, show)
    addition = queues.plan(_draft(path), name, _generator(path, trust=trust))
    _put(path, addition.after, addition.apply, f"add queue {name}", show, rebase=True)


@add.command("route", cls=Command)
@option_groups
def add_route(
    queue: _KnownQueue,
    path: ProjectOption = Path(),
    *,
    show: writing.Show,
    trust: custom_templates.Trust = False,
) -> None:
    """Add the route of a queue that is in loafer.toml.

    A missing handler and missing tests are added too. The settings do not change.
    """
    writing.begin(path, show)
    addition = queues.plan_route(_draft(path), queue, _generator(path, trust=trust))
    _put(path, addition.after, addition.apply, f"add route {queue}", show, rebase=True)


@add.command("handler", cls=Command)
@option_groups
def add_handler(
    name: Annotated[
        str | None,
        typer.Argument(help="The function's name.", autocompletion=completions.missing_handlers),
    ] = None,
    path: ProjectOption = Path(),
    *,
    type_: Annotated[
        str | None,
        typer.Option("--for", metavar="TYPE", help="A type of the queue's messages."),
    ] = None,
    queue: Annotated[
        str | None,
        typer.Option(
            help="The queue of that type, in loafer.toml.", autocompletion=completions.queues
        ),
    ] = None,
    show: writing.Show,
    trust: custom_templates.Trust = False,
) -> None:
    """Add a handler and its test.

    If a queue in loafer.toml names the handler, it is written for that queue. With --for and --queue
    it handles one more type of that queue's messages: loafer.toml and the route change too, and its
    name is by default made from the type.
    """
    if (type_ is None) != (queue is None) or (name is None and type_ is None):
        raise typer.BadParameter("Give the handler's NAME, or --for TYPE with --queue QUEUE")
    writing.begin(path, show)
    if type_ is not None and queue is not None:
        made = _generator(path, trust=trust)
        addition = queues.plan_type(_draft(path), type_, queue, name, made)
        command = f"add handler --for {type_} --queue {queue}"
        _put(path, addition.after, addition.apply, command, show, rebase=True)
        return
    assert name is not None  # noqa: S101 - one of the two is given
    apply, paths = queues.plan_handler(_draft(path), name, _generator(path, trust=trust))
    _put(path, paths, apply, f"add handler {name}", show)


@add.command("extension", cls=Command)
@option_groups
def add_extension(
    reference: Annotated[
        str, typer.Argument(metavar="MODULE:CLASS", help="The extension, as it is imported.")
    ],
    path: ProjectOption = Path(),
    *,
    show: writing.Show,
) -> None:
    """Add an extension to the service.

    The package's `__init__.py` creates it. If the service lacks a dependency, or a setting that
    the extension requires, the command names it.
    """
    _add_extension(path, reference, f"add extension {reference}", show)


@add.command("telemetry", cls=Command)
@option_groups
def add_telemetry(path: ProjectOption = Path(), *, show: writing.Show) -> None:
    """Add traces and metrics of OpenTelemetry to the service.

    The package's `__init__.py` creates the extension Telemetry.
    """
    _add_extension(path, extensions.TELEMETRY, "add telemetry", show)


@add.command("monitoring", cls=Command)
@option_groups
def add_monitoring(
    path: ProjectOption = Path(),
    *,
    show: writing.Show,
    trust: custom_templates.Trust = False,
) -> None:
    """Add metrics, a dashboard and alerts.

    The package's `__init__.py` makes the extension Monitoring, and `with` in loafer.toml names the
    files. If they are there already, nothing changes.
    """
    writing.begin(path, show)
    addition = extensions.plan_artefact(_draft(path), "monitoring", _generator(path, trust=trust))
    _put(path, addition.paths, addition.apply, "add monitoring", show, rebase=True)


@remove.command("queue", cls=Command)
@option_groups
def remove_queue(
    name: _KnownQueue,
    path: ProjectOption = Path(),
    *,
    show: writing.Show,
    trust: custom_templates.Trust = False,
) -> None:
    """Remove a queue, with its route, its handler and its tests.

    Code that was edited stays and is listed.
    """
    writing.begin(path, show)
    removal = queues.plan_removal(_draft(path), name, _generator(path, trust=trust))
    paths = [*{*removal.before, *removal.after}]
    _take_out(path, paths, removal.remove, f"remove queue {name}", show)


@remove.command("handler", cls=Command)
@option_groups
def remove_handler(
    name: Annotated[str, typer.Argument(help="The function's name.")],
    path: ProjectOption = Path(),
    *,
    show: writing.Show,
) -> None:
    """Remove a handler that no queue uses, and its test.

    Code that was edited stays and is listed.
    """
    writing.begin(path, show)
    take_out, paths = queues.plan_handler_removal(_draft(path), name, locks.find(path))
    _take_out(path, paths, take_out, f"remove handler {name}", show)


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
        changed = updates.undo(path, lock, partial(template.generator_of, path, lock))
    writing.write(changed, path, command="destroy", show=show)
    if locks.find(path) is None:
        _remove_folder(path, show)


def _remove_folder(project: Path, show: writing.Show) -> None:
    try:
        project.resolve().rmdir()
    except OSError:
        left = ", ".join(sorted(file.name for file in project.iterdir()))
        show.tell(f"{project} stays; it holds files that loafer-kit did not write: {left}")


def _generator(project: Path, *, trust: bool) -> Generator:
    """The generator of a project, or that of a service without a lock."""
    return custom_templates.TemplateOptions(trust=trust).generator_of(project, locks.find(project))


def _draft(project: Path) -> Draft:
    """The spec of a service; ConfigurationError if the folder has none."""
    file = project / "loafer.toml"
    if file.exists():
        refuse_links(project, file.name)
        return documents.read(file)
    lock = None if project.is_file() else locks.find(project)
    if lock is not None and lock.template.name == "service":
        raise ConfigurationError(
            f"There is no {file}: {lock.template.origin} is not a template for services, so `add` "
            "has no spec to add to"
        )
    raise ConfigurationError(
        f"There is no {file}: go to a service's folder or name it with --path; "
        "`loafer-kit new service` writes one"
    )


def _add_extension(project: Path, reference: str, command: str, show: writing.Show) -> None:
    writing.begin(project, show)
    addition = extensions.plan(validation.service(_draft(project)).package, reference)
    _put(project, [addition.path], addition.apply, command, show)
    missing = extensions.missing_distribution(project, addition.package, addition.module)
    if missing is not None:
        show.tell(
            f"\nNext: add {missing} to `dependencies` in pyproject.toml; the service needs it"
        )
    _, required = extensions.settings_of(addition.module, addition.name)
    if required:
        show.tell(
            f"\nNext: set {', '.join(required)} in the environment; the service does not start "
            "without"
        )


def _put(
    project: Path,
    paths: Collection[str],
    apply: pieces.Apply,
    command: str,
    show: writing.Show,
    *,
    rebase: bool = False,
) -> None:
    lock = locks.find(project)
    drift.refuse_conflicts(project, lock, paths)
    try:
        changed = pieces.changes(project, lock, paths, apply)
    except pieces.AdditionError as error:
        if show.json:
            keys = ("path", "why", "snippet")
            missing = [{key: getattr(item, key) for key in keys} for item in error.unplaced]
            say_json({"written": False, "missing": missing})
        raise
    everything = pieces.recorded(project, lock, changed, command, apply if rebase else None)
    writing.write(everything, project, command=command, show=show)
    if not any(change.writes for change in changed):
        show.tell(f"nothing to do: {command.removeprefix('add ')} is there already")


def _take_out(
    project: Path,
    paths: Sequence[str],
    remove: pieces.Remove,
    command: str,
    show: writing.Show,
) -> None:
    lock = locks.find(project)
    drift.refuse_conflicts(project, lock, paths)
    changed = pieces.removed(project, lock, paths, remove, command)
    writing.write(changed, project, command=command, show=show)
    if not any(change.writes for change in changed):
        show.tell(f"nothing to do: {command.removeprefix('remove ')} is not there")
