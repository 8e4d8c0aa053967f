"""`loafer-kit dlq …`: looks into dead-letter queues and sends letters back."""

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import typer

from loafer_kit.cli import specs
from loafer_kit.cli.terminal import completions
from loafer_kit.cli.terminal.options import Command, Json, enclosing_project, group, option_groups

if TYPE_CHECKING:
    from loafer_kit.dead_letters.letters import Choice

app = group("Look into dead-letter queues and send letters back.")


def _doing() -> ModuleType:
    from loafer_kit.cli import dead_letters  # imports botocore, which TAB need not wait for

    return dead_letters


def _filled(name: str | None) -> str | None:
    """Return the name of a queue with the values of its parameters, as `send` does."""
    return name and specs.filled(name, [enclosing_project(Path())])


_NAMED = "its name, URL or ARN."
Queue = Annotated[
    str,
    typer.Argument(
        metavar="QUEUE",
        help=f"The dead-letter queue: {_NAMED}",
        autocompletion=completions.dead_letter_queues,
        callback=_filled,
    ),
]
To = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="QUEUE",
        help="The queue that gets all letters, instead of the one that each comes from.",
        autocompletion=completions.queues,
        callback=_filled,
    ),
]
Rate = Annotated[
    float | None, typer.Option(metavar="NUMBER", min=0.01, help="Send so many letters a second.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do it, without a question.")]


@dataclass(frozen=True)
class Chosen:
    """The options that choose letters."""

    where: Annotated[
        str | None,
        typer.Option(metavar="JMESPATH", help="Only letters for which this expression is true."),
    ] = None
    id: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID", help="Only the letter with this id, or of this message; repeatable."
        ),
    ] = None
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="NUMBER", help="So many letters at most.")
    ] = None

    def choice(self) -> "Choice":
        choice: Choice = _doing().Choice(self.where, frozenset(self.id or ()), self.limit)
        return choice


@app.command("list", cls=Command)
def list_queues(
    queue: Annotated[
        str | None,
        typer.Argument(
            metavar="QUEUE",
            help=f"A dead-letter queue: {_NAMED}",
            show_default="those of the service around the current folder",
            autocompletion=completions.dead_letter_queues,
            callback=_filled,
        ),
    ] = None,
    *,
    prefix: Annotated[
        str | None,
        typer.Option(
            help="Of the queues whose names begin like this, the dead-letter queues, and those of the "
            "others."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """List dead-letter queues: how many letters, how old, from where and why.

    Reasons are those of the first 100 letters. Looking raises the receive counts of these.
    """
    _doing().list_queues(queue, prefix, json=json)


@app.command(cls=Command)
@option_groups
def show(
    queue: Queue,
    *,
    chosen: Chosen,
    bodies: Annotated[bool, typer.Option("--bodies", help="Show bodies in full.")] = False,
    json: Json = False,
) -> None:
    """Show letters: why each is dead, and its body.

    100 letters, unless --limit says otherwise. Looking raises their receive counts; afterwards they
    are visible again.
    """
    _doing().show(queue, chosen.choice(), bodies=bodies, json=json)


@app.command(cls=Command)
@option_groups
def export(
    queue: Queue,
    file: Annotated[
        Path | None,
        typer.Argument(help="A file that does not exist.", show_default="standard output"),
    ] = None,
    *,
    chosen: Chosen,
) -> None:
    """Write letters to a file, one JSON object a line.

    They stay in the queue, and their receive counts rise. `import` reads the file.
    """
    _doing().export(queue, file, chosen.choice())


@app.command(cls=Command)
@option_groups
def replay(
    queue: Queue,
    *,
    chosen: Chosen,
    to: To = None,
    edit: Annotated[
        bool, typer.Option("--edit", help="Open each letter's body in $EDITOR before it is sent.")
    ] = False,
    rate: Rate = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Send letters back to the queues that they come from.

    What would be done is shown; --yes, or the queue's name typed on a terminal, does it. Each letter
    is sent, then deleted. A replay that was interrupted is resumed by the next one. The exit code is
    1 if a letter was not sent back or may be doubled.
    """
    _doing().replay(queue, chosen.choice(), to, rate, edit=edit, yes=yes, json=json)


@app.command("import", cls=Command)
def import_letters(
    file: Annotated[Path, typer.Argument(help="A file that `export` wrote.")],
    queue: Annotated[
        str,
        typer.Argument(
            metavar="QUEUE",
            help=f"The queue that gets the letters: {_NAMED}",
            autocompletion=completions.queues,
            callback=_filled,
        ),
    ],
    *,
    rate: Rate = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Send the letters of a file to a queue.

    An import that was interrupted is resumed by the same command.
    """
    _doing().import_letters(file, queue, rate, yes=yes, json=json)


@app.command(cls=Command)
@option_groups
def purge(queue: Queue, *, chosen: Chosen, yes: Yes = False, json: Json = False) -> None:
    """Delete letters for good: the chosen ones, or all.

    What would be done is shown; --yes, or the queue's name typed on a terminal, does it.
    """
    _doing().purge(queue, chosen.choice(), yes=yes, json=json)


@app.command(cls=Command)
def move(
    queue: Queue,
    *,
    to: To = None,
    rate: Annotated[
        int | None,
        typer.Option(metavar="NUMBER", min=1, max=500, help="Move so many letters a second."),
    ] = None,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="End the running move; what it moved stays there.")
    ] = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Have SQS itself move all letters to one queue.

    That is fast, and goes on without this command, which follows it. A server that has no such moves
    gets a replay instead.
    """
    _doing().move(queue, to, rate, cancel=cancel, yes=yes, json=json)
