"""`loafer-kit add …`: extends an existing service, however its code was edited."""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import typer

from loafer_kit.cli import writing
from loafer_kit.cli.terminal import completions, custom_templates
from loafer_kit.cli.terminal.options import ProjectOption, option_groups
from loafer_kit.cli.terminal.output import say_json
from loafer_kit.cli.terminal.typer_commands import Command, group
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.additions import extensions, pieces, queues
from loafer_kit.scaffold.project import drift, locks
from loafer_kit.scaffold.project.plans import refuse_links
from loafer_kit.scaffold.project.projects import Generator
from loafer_kit.scaffold.sources import documents
from loafer_kit.scaffold.spec import validation
from loafer_kit.scaffold.spec.specs import Draft

app = group("Extend an existing service.")


@app.command(cls=Command)
@option_groups
def queue(
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
    addition = queues.plan(draft(path), name, generator(path, trust=trust))
    _write(path, addition.after, addition.apply, f"add queue {name}", show, rebase=True)


@app.command(cls=Command)
@option_groups
def route(
    queue: Annotated[
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
    """Add the route of a queue that is in loafer.toml.

    A missing handler and missing tests are added too. The settings do not change.
    """
    writing.begin(path, show)
    addition = queues.plan_route(draft(path), queue, generator(path, trust=trust))
    _write(path, addition.after, addition.apply, f"add route {queue}", show, rebase=True)


@app.command(cls=Command)
@option_groups
def handler(
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
        made = generator(path, trust=trust)
        addition = queues.plan_type(draft(path), type_, queue, name, made)
        command = f"add handler --for {type_} --queue {queue}"
        _write(path, addition.after, addition.apply, command, show, rebase=True)
        return
    assert name is not None  # noqa: S101 - one of the two is given
    apply, paths = queues.plan_handler(draft(path), name, generator(path, trust=trust))
    _write(path, paths, apply, f"add handler {name}", show)


@app.command(cls=Command)
@option_groups
def extension(
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
    writing.begin(path, show)
    addition = extensions.plan(validation.service(draft(path)).package, reference)
    _write(path, [addition.path], addition.apply, f"add extension {reference}", show)
    missing = extensions.missing_distribution(path, addition.package, addition.module)
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


@app.command(cls=Command)
@option_groups
def telemetry(path: ProjectOption = Path(), *, show: writing.Show) -> None:
    """Add traces and metrics of OpenTelemetry to the service.

    The package's `__init__.py` creates the extension Telemetry.
    """
    writing.begin(path, show)
    addition = extensions.plan(validation.service(draft(path)).package, extensions.TELEMETRY)
    _write(path, [addition.path], addition.apply, "add telemetry", show)
    if not extensions.declares_extra(path, "otel"):
        show.tell("\nNext: write loafer-kit[otel] in `dependencies` of pyproject.toml")


@app.command(cls=Command)
@option_groups
def monitoring(
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
    addition = extensions.plan_artefact(draft(path), "monitoring", generator(path, trust=trust))
    _write(path, addition.paths, addition.apply, "add monitoring", show, rebase=True)


def generator(project: Path, *, trust: bool) -> Generator:
    """The generator of a project, or that of a service without a lock."""
    return custom_templates.TemplateOptions(trust=trust).generator_of(project, locks.find(project))


def draft(project: Path) -> Draft:
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


def _write(
    project: Path,
    paths: Collection[str],
    apply: pieces.Apply,
    command: str,
    show: writing.Show,
    *,
    rebase: bool = False,
) -> None:
    drift.refuse_conflicts(project, locks.find(project), paths)
    try:
        changed = pieces.changes(project, paths, apply)
    except pieces.AdditionError as error:
        if show.json:
            keys = ("path", "why", "snippet")
            missing = [{key: getattr(item, key) for key in keys} for item in error.unplaced]
            say_json({"written": False, "missing": missing})
        raise
    everything = pieces.recorded(project, changed, command, apply if rebase else None)
    writing.write(everything, project, command=command, show=show)
    if not any(change.writes for change in changed):
        show.tell(f"nothing to do: {command.removeprefix('add ')} is there already")
