"""`loafer-kit add …`: more of something in a service that exists, however it was edited."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loafer_kit.cli import completions, own_templates
from loafer_kit.cli.new import Diff, DryRun, Json

if TYPE_CHECKING:
    from loafer_kit.cli.showing import Show
    from loafer_kit.scaffold.additions.pieces import Apply
    from loafer_kit.scaffold.project.projects import Generator
    from loafer_kit.scaffold.spec.drafts import Draft

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Add to a service that exists.",
)

ProjectPath = Annotated[Path, typer.Option("--path", help="The service's folder.")]


@app.command()
def queue(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME[,key=value]...",
            help="The queue, and its settings if any.",
            autocompletion=completions.settings,
        ),
    ],
    path: ProjectPath = Path(),
    *,
    dry_run: DryRun = False,
    diff: Diff = False,
    json: Json = False,
    trust: own_templates.Trust = False,
) -> None:
    """Add a queue, with its route and its handler.

    Settings, code and tests change together; edited files are only inserted into. A queue that is
    there already is left as it is.
    """
    from loafer_kit.cli import showing
    from loafer_kit.scaffold.additions import queues

    addition = queues.plan(_draft(path), name, _maker(path, trust=trust))
    show = showing.Show(dry_run=dry_run, diff=diff, json=json)
    _write(path, addition.after, addition.apply, f"add queue {name}", show, rebase=True)


@app.command()
def route(
    queue: Annotated[
        str,
        typer.Argument(
            help="A queue of loafer.toml, by its name or URL there.",
            autocompletion=completions.queues,
        ),
    ],
    path: ProjectPath = Path(),
    *,
    dry_run: DryRun = False,
    diff: Diff = False,
    json: Json = False,
    trust: own_templates.Trust = False,
) -> None:
    """Add the route of a queue that loafer.toml has.

    Its handler and their tests are added too, where they are not there. The settings stay as they are.
    """
    from loafer_kit.cli import showing
    from loafer_kit.scaffold.additions import queues

    addition = queues.plan_route(_draft(path), queue, _maker(path, trust=trust))
    show = showing.Show(dry_run=dry_run, diff=diff, json=json)
    _write(path, addition.after, addition.apply, f"add route {queue}", show, rebase=True)


@app.command()
def handler(
    name: Annotated[
        str,
        typer.Argument(help="The function's name.", autocompletion=completions.missing_handlers),
    ],
    path: ProjectPath = Path(),
    *,
    dry_run: DryRun = False,
    diff: Diff = False,
    json: Json = False,
    trust: own_templates.Trust = False,
) -> None:
    """Add a handler and its test.

    It is for the queue whose handler it is, or for none yet.
    """
    from loafer_kit.cli import showing
    from loafer_kit.scaffold.additions import handlers

    apply, paths = handlers.plan(_draft(path), name, _maker(path, trust=trust))
    show = showing.Show(dry_run=dry_run, diff=diff, json=json)
    _write(path, paths, apply, f"add handler {name}", show)


@app.command()
def extension(
    reference: Annotated[
        str, typer.Argument(metavar="MODULE:CLASS", help="The extension, as it is imported.")
    ],
    path: ProjectPath = Path(),
    dry_run: DryRun = False,
    diff: Diff = False,
    json: Json = False,
) -> None:
    """Give the service an extension.

    It is called in the package's `__init__.py`. What the service has to depend on is said.
    """
    from loafer_kit.cli import showing
    from loafer_kit.scaffold.additions import extensions
    from loafer_kit.scaffold.spec import validation

    addition = extensions.plan(validation.service(_draft(path)).package, reference)
    show = showing.Show(dry_run=dry_run, diff=diff, json=json)
    _write(path, [addition.path], addition.apply, f"add extension {reference}", show)
    missing = extensions.missing_distribution(path, addition.package, addition.module)
    if missing is not None:
        show.tell(
            f"\nNext: add {missing} to `dependencies` in pyproject.toml; the service needs it"
        )


def _maker(project: Path, *, trust: bool) -> "Generator":
    from loafer_kit.scaffold.project import locks

    return own_templates.Wanted(trust=trust).maker_of(project, locks.find(project))


def _draft(project: Path) -> "Draft":
    from loafer_kit.exceptions import ConfigurationError
    from loafer_kit.scaffold.project.plans import refuse_links
    from loafer_kit.scaffold.sources import files

    file = project / "loafer.toml"
    if not file.exists():
        raise ConfigurationError(
            f"There is no {file}: go to a service's folder or name it with --path; "
            "`loafer-kit new service` writes one"
        )
    refuse_links(project, "loafer.toml")
    return files.read(file)


def _write(
    project: Path,
    paths: Collection[str],
    apply: "Apply",
    command: str,
    show: "Show",
    *,
    rebase: bool = False,
) -> None:
    from loafer_kit.cli import writing
    from loafer_kit.cli.printing import say_json
    from loafer_kit.scaffold.additions import pieces
    from loafer_kit.scaffold.project import drift, locks
    from loafer_kit.scaffold.project import writing as disk

    if not show.only:
        disk.recover(project)
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
    writing.write(everything, project, show=show)
    if not any(change.writes for change in changed):
        show.tell(f"nothing to do: {command.removeprefix('add ')} is there already")
