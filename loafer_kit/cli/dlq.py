"""`loafer-kit dlq …`: looks into dead-letter queues and sends letters back."""

import os
import shlex
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, aclosing
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from loafer_kit.cli.terminal import completions
from loafer_kit.cli.terminal.options import Json, enclosing_project, option_groups
from loafer_kit.cli.terminal.output import print_exactly, say, say_json, waiting, waiting_for_each
from loafer_kit.cli.terminal.prompts import Terminal, is_interactive
from loafer_kit.cli.terminal.typer_commands import Command, group
from loafer_kit.exceptions import ConfigurationError, LoaferKitError
from loafer_kit.ext.aws.addresses import bare_name

if TYPE_CHECKING:
    from loafer_kit.dead_letters.letters import Choice, Letter
    from loafer_kit.dead_letters.moves import Move
    from loafer_kit.dead_letters.queues import Summary
    from loafer_kit.dead_letters.replays import Outcome
    from loafer_kit.dead_letters.visits import Visit
    from loafer_kit.ext.aws.requests.clients import Clients

    Plan = Callable[[Visit, Choice], AsyncIterator[tuple[Letter, Outcome]]]
    Work = Callable[[Visit, Choice], AsyncIterator[Outcome]]

T = TypeVar("T")

#: Letters that `show` shows, and at which `list` looks; lines of a plan.
_SHOWN, _LOOKED_AT, _PLANNED = 100, 100, 20
#: Characters of a body that is not shown in full.
_PREVIEW = 200

_NO_REASON = "no reason: SQS moved it after its last receive"
_RISEN = "the receive count of each letter that was looked at rose by one"
#: An answer that is not the name of a queue.
_NOT = "no, leave it"
#: What happens to a letter: afterwards, and before.
_DONE = {"sent": "sent", "deleted": "deleted", "kept": "kept"}
_WOULD = {"sent": "send", "deleted": "delete", "kept": "keep"}

app = group("Look into dead-letter queues and send letters back.")


def _filled(name: str | None) -> str | None:
    """Return the name of a queue with the values of its parameters, as `send` does."""
    if name is None or "${" not in name:
        return name
    from loafer_kit.cli.send import filled

    return filled(name, [enclosing_project(Path())])


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

    def choice(self, limit: int | None = None) -> "Choice":
        """Return the choice; `limit` is the default."""
        from loafer_kit.dead_letters.letters import Choice

        return Choice(self.where, frozenset(self.id or ()), self.limit or limit)


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
        typer.Option(help="Those among the queues whose names begin like this, and of them."),
    ] = None,
    json: Json = False,
) -> None:
    """List dead-letter queues: how many letters, how old, from where and why.

    Reasons are those of the first 100 letters. Looking raises the receive counts of these.
    """
    from loafer_kit.dead_letters import queues

    dead, sources = ([queue] if queue else []), list[str]()
    if not queue and prefix is None:
        dead, sources = _of_the_service()

    async def work(clients: "Clients", _url: str) -> AsyncIterator["Summary"]:
        found = await queues.dead_letter_queues(clients, sources, prefix=prefix)
        names = {bare_name(name): name for name in [*found, *dead]}
        async for summary in queues.summaries(clients, names.values(), _LOOKED_AT):
            yield summary

    found = []
    for summary in waiting_for_each("looking", _each(work, queue, names_it=False)):
        found.append(summary)
        if not json:
            _say_summary(summary)
    if json:
        say_json([_summary_as_json(summary) for summary in found])
    elif not found:
        say("no dead-letter queue")
    if any(summary.seen for summary in found):
        say(_RISEN, err=True)
    if any(summary.problem for summary in found):
        raise typer.Exit(1)


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
    choice = chosen.choice(_SHOWN)
    remarks: list[str] = []
    facts = []
    for letter in waiting_for_each("looking", _visit(_looking, queue, choice, remarks)):
        facts.append(letter.facts() if json else {})
        if not json:
            _say_letter(letter, in_full=bodies)
    if len(facts) == choice.limit:
        remarks.append(f"{choice.limit} letters at most: --limit shows more")
    if json:
        say_json({"queue": queue, "letters": facts, "remarks": remarks})
    _say_remarks([*remarks, _RISEN if facts else "no letter"])


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
    from loafer_kit.dead_letters import exports

    remarks: list[str] = []
    count = 0
    letters = waiting_for_each("looking", _visit(_looking, queue, chosen.choice(), remarks))
    with ExitStack() as stack:
        write: Callable[[str], object] = print_exactly
        if file is not None:
            try:
                opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except OSError as error:
                raise LoaferKitError(f"{file}: {error.strerror}") from error
            write = stack.enter_context(os.fdopen(opened, "w", encoding="utf-8")).write
        try:
            for letter in letters:
                write(exports.line(letter))
                count += 1
        finally:
            where = file or "standard output"
            _say_remarks([*remarks, f"{_letters(count)} of {queue} exported to {where}"])


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
    _replay(queue, chosen.choice(), to, rate, edit=edit, yes=yes, json=json)


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
    from loafer_kit.dead_letters import exports, replays

    export = exports.read(file)

    def work(clients: "Clients", url: str) -> AsyncIterator["Outcome"]:
        return replays.send_letters(clients, export.letters, url, export.key, rate=rate)

    if _is_confirmed(f"send {_letters(len(export.letters))} to", queue, yes=yes, json=json):
        _report(queue, waiting_for_each("sending", _each(work, queue)), [], json=json)


@app.command(cls=Command)
@option_groups
def purge(queue: Queue, *, chosen: Chosen, yes: Yes = False, json: Json = False) -> None:
    """Delete letters for good: the chosen ones, or all.

    What would be done is shown; --yes, or the queue's name typed on a terminal, does it.
    """
    from loafer_kit.dead_letters import queues, replays

    choice = chosen.choice()
    if not choice.is_everything:
        _act(queue, choice, replays.plan_purge, replays.purge, yes=yes, json=json)
        return

    async def work(clients: "Clients", url: str) -> AsyncIterator[str]:
        async for summary in queues.summaries(clients, [url], look_at=0):
            yield _letters(summary.visible + summary.in_flight)
        await replays.empty(clients, url)

    steps = _each(work, queue)
    count = next(steps)
    if _is_confirmed(f"delete all, about {count}, of", queue, yes=yes, json=json):
        list(steps)
        if json:
            say_json(_as_json(queue, [], [], done=True))
        say(f"deleted all, about {count}, of {queue}", err=json)


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
    from loafer_kit.dead_letters.moves import NoMoveTasksError

    steps = _each(partial(_moving, to=to, rate=rate, cancel=cancel), queue)
    try:
        first = next(steps)
    except NoMoveTasksError as error:
        if cancel:
            raise
        say(f"{error}: its letters are replayed instead", err=True)
        _replay(queue, Chosen().choice(), to, rate, yes=yes, json=json)
        return
    if isinstance(first, str) and not _is_confirmed(first, queue, yes=yes, json=json):
        return
    try:
        last = _follow(steps)
    except KeyboardInterrupt:
        say(f"the move goes on; `loafer-kit dlq move {queue} --cancel` ends it", err=True)
        raise
    if last is None or last.failure:
        raise LoaferKitError(f"{queue}: the move failed: {last and last.failure}")
    if json:
        say_json(asdict(last))
    else:
        say(f"{last.status.lower()}: moved {_letters(last.moved)} to {last.target}")


def _replay(
    queue: str,
    choice: "Choice",
    to: str | None,
    rate: float | None,
    *,
    edit: bool = False,
    yes: bool,
    json: bool,
) -> None:
    from loafer_kit.dead_letters import replays

    plan = partial(replays.plan, to=to)
    if not edit:
        work = partial(replays.replay, to=to, rate=rate)
        _act(queue, choice, plan, work, yes=yes, json=json)
        return
    folder = Path(tempfile.mkdtemp(prefix="loafer-kit-"))

    async def editing(visit: "Visit", choice: "Choice") -> AsyncIterator["Outcome"]:
        edited = partial(_edit, folder)
        async for outcome in replays.replay(visit, choice, to=to, rate=rate, edit=edited):
            if outcome.status == "sent":
                (folder / outcome.letter).unlink(missing_ok=True)
            yield outcome

    try:
        _act(queue, choice, plan, editing, yes=yes, json=json, quietly=True)
    finally:
        if any(folder.iterdir()):
            say(f"edited letters that were not sent are in {folder}", err=True)
        else:
            folder.rmdir()


async def _edit(folder: Path, letter: "Letter") -> str | None:
    """Return what a person makes of a letter's body; None if the editor fails, or leaves nothing."""
    import asyncio

    file = folder / letter.id
    file.write_text(letter.body, encoding="utf-8", newline="")
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    command = [*shlex.split(editor), str(file)]
    try:
        done = await asyncio.to_thread(subprocess.run, command, check=False)  # noqa: S603
    except OSError as error:
        raise LoaferKitError(f"{editor}: {error.strerror}; set EDITOR") from error
    try:
        body = file.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise LoaferKitError(f"{file}: not UTF-8 (byte {error.start})") from error
    if not letter.body.endswith("\n"):
        body = body.removesuffix("\n")  # most editors end a file with one
    if done.returncode or not body:
        file.unlink()
        return None
    return body


def _act(
    queue: str,
    choice: "Choice",
    plan: "Plan",
    work: "Work",
    *,
    yes: bool,
    json: bool,
    quietly: bool = False,
) -> None:
    """Show what would be done with the chosen letters and ask, then do it with these."""
    from loafer_kit.dead_letters.letters import Choice

    remarks: list[str] = []
    if not yes:
        planned = list(waiting_for_each("looking", _visit(plan, queue, choice, remarks)))
        outcomes = [outcome for _, outcome in planned]
        if json:
            say_json(_as_json(queue, outcomes, remarks, done=False))
        for letter, outcome in [] if json else planned[:_PLANNED]:
            say(f"would {_described(outcome, _WOULD)}: {letter.reason or _NO_REASON}")
        more = len(planned) - _PLANNED
        _say_remarks([*remarks, *([f"and {_letters(more)} more"] if more > 0 else [])])
        what = _counted(outcomes, _WOULD)
        if not planned or not _is_confirmed(f"{what} of", queue, yes=yes, json=json):
            _say_remarks([_RISEN if planned else "no letter"])
            return
        choice, remarks = Choice(ids=frozenset(letter.id for letter, _ in planned)), []
    steps = _visit(work, queue, choice, remarks)
    _report(queue, steps if quietly else waiting_for_each("working", steps), remarks, json=json)


def _is_confirmed(what: str, queue: str, *, yes: bool, json: bool) -> bool:
    """Return whether to do it: a person types the queue's name, or has said --yes."""
    name = bare_name(queue)
    if not yes and (json or not is_interactive()):
        say(f"nothing was changed: --yes would {what} {name}", err=True)
    elif not yes:
        answer = Terminal().ask(f"This would {what} {name}. Type its name to do it", _NOT)
        yes = answer == name
        if not yes:
            say("nothing was changed", err=True)
    return yes


def _report(
    queue: str, outcomes: Iterator["Outcome"], remarks: Sequence[str], *, json: bool
) -> None:
    """Say what was done, also before an error; the exit code is 1 if a letter needs a person."""
    done: list[Outcome] = []
    try:
        for outcome in outcomes:
            done.append(outcome)
            if not json:
                say(_described(outcome))
    finally:
        if json:
            say_json(_as_json(queue, done, remarks, done=True))
        else:
            say(_counted(done) or "no letter")
    _say_remarks(remarks)
    if any(outcome.problem or outcome.possibly_doubled for outcome in done):
        raise typer.Exit(1)


async def _moving(
    clients: "Clients", url: str, *, to: str | None, rate: int | None, cancel: bool
) -> AsyncIterator["str | Move"]:
    """Yield what is going to be done, if anything, then do it and yield the states of the move."""
    from loafer_kit.dead_letters.moves import Mover

    mover = await Mover.of(clients, url)
    last = await mover.last()
    is_running = last is not None and not last.is_over
    if cancel:
        if last is None or not is_running:
            raise LoaferKitError(f"No move of {bare_name(url)} is running")
        yield f"cancel the move to {last.target} of"
        await mover.cancel(last)
    elif not is_running:
        target = await mover.target(to)
        yield f"move all letters to {bare_name(target)} of"
        await mover.start(target, rate)
    async for state in mover.follow():
        yield state


def _follow(steps: Iterator["str | Move"]) -> "Move | None":
    """Return the last state of a move; show its progress on a terminal."""
    last: Move | None = None
    with typer.progressbar(length=1, label="moving", file=sys.stderr, width=0) as bar:
        for state in steps:
            if isinstance(state, str):
                continue
            last = state
            if sys.stderr.isatty():
                bar.length = max(state.total or 0, state.moved, 1)
                bar.update(state.moved - bar.pos)
    return last


# Clients: a command is synchronous, what it does is not.


def _each(
    work: "Callable[[Clients, str], AsyncIterator[T]]", queue: str | None, *, names_it: bool = True
) -> Iterator[T]:
    """Yield what `work` yields, given clients for the server that has the queue, and its URL."""
    import asyncio

    from loafer_kit.ext.aws.requests.clients import borrowed
    from loafer_kit.local import sending

    with waiting(f"looking for {queue or 'queues'}"):
        server = sending.server_with(queue)
    say(f"{queue or 'queues'} on {server.place}", err=True)

    async def items() -> AsyncIterator[T]:
        async with borrowed(server.clients.options, queue or "") as clients:
            url = await clients.queue_url(queue) if queue and names_it else ""
            found: Any = work(clients, url)
            async with aclosing(found):
                async for item in found:
                    yield item

    async def step(found: Any) -> list[T]:
        try:
            return [await anext(found)]
        except StopAsyncIteration:
            return []

    with asyncio.Runner() as runner:
        found: Any = items()
        try:
            while item := runner.run(step(found)):
                yield from item
        finally:
            runner.run(found.aclose())


def _visit(
    work: "Callable[[Visit, Choice], AsyncIterator[T]]",
    queue: str,
    choice: "Choice",
    remarks: list[str],
) -> Iterator[T]:
    """Yield what `work` yields on a visit to the queue; what it did not see is a remark."""
    from loafer_kit.dead_letters.visits import visiting

    async def visited(clients: "Clients", url: str) -> AsyncIterator[T]:
        async with visiting(clients, url) as visit:
            found: Any = work(visit, choice)
            async with aclosing(found):
                async for item in found:
                    yield item
            remarks.extend([visit.remark] if visit.remark else [])

    return _each(visited, queue)


def _looking(visit: "Visit", choice: "Choice") -> AsyncIterator["Letter"]:
    return visit.letters(choice)


def _of_the_service() -> tuple[list[str], list[str]]:
    """Return the dead-letter queues that the spec names, and the queues without one."""
    from loafer_kit.scaffold.sources import documents
    from loafer_kit.scaffold.spec import validation

    file = enclosing_project(Path()) / "loafer.toml"
    if not file.exists():
        raise ConfigurationError(
            "There is no service here: name a QUEUE or a --prefix, or go to a service's folder"
        )
    spec = validation.service(documents.read(file)).resolved(os.environ)
    if spec.on_rabbitmq:
        raise ConfigurationError(
            f"dlq is for SQS, and {spec.name} reads queues of RabbitMQ: look at their dead letters "
            "with RabbitMQ's own tools"
        )
    queues = spec.queues
    dead = {queue.dead_letter_queue: None for queue in queues if queue.dead_letter_queue}
    return list(dead), [queue.name for queue in queues if not queue.dead_letter_queue]


# Texts


def _letters(count: int) -> str:
    return f"{count} letter{'' if count == 1 else 's'}"


def _described(outcome: "Outcome", words: Mapping[str, str] = _DONE) -> str:
    target = f" to {outcome.target}" if outcome.target else ""
    doubt = ", which may have been sent before" if outcome.possibly_doubled else ""
    problem = f": {outcome.problem}" if outcome.problem else ""
    return f"{words[outcome.status]} {outcome.letter}{target}{doubt}{problem}"


def _counted(outcomes: Sequence["Outcome"], words: Mapping[str, str] = _DONE) -> str:
    counts = Counter(outcome.status for outcome in outcomes)
    doubled = [outcome.letter for outcome in outcomes if outcome.possibly_doubled]
    texts = [f"{words[status]} {_letters(count)}" for status, count in counts.items()]
    return ", ".join([*texts, *([f"possibly doubled: {' '.join(doubled)}"] if doubled else [])])


def _as_json(
    queue: str, outcomes: Sequence["Outcome"], remarks: Sequence[str], *, done: bool
) -> dict[str, Any]:
    listed = [asdict(outcome) for outcome in outcomes]
    return {"queue": queue, "done": done, "outcomes": listed, "remarks": list(remarks)}


def _say_remarks(remarks: Iterable[str]) -> None:
    for remark in remarks:
        say(remark, err=True)


def _say_summary(summary: "Summary") -> None:
    facts = [_letters(summary.visible)]
    facts += [f"{summary.in_flight} in flight"] if summary.in_flight else []
    facts += [f"oldest sent {_time(summary.oldest)}"] if summary.oldest else []
    facts += [f"from {', '.join(summary.sources)}"] if summary.sources else []
    say(f"{summary.queue}: {', '.join(facts) if summary.url else 'unknown'}")
    for reason, count in summary.reasons.items():
        say(f"{count:>7}  {reason or _NO_REASON}")
    if summary.seen < summary.visible and not summary.problem:
        say(f"{'':7}  the reasons of {_letters(summary.seen)}")
    if summary.problem:
        say(f"{'':7}  {summary.problem}")


def _summary_as_json(summary: "Summary") -> dict[str, Any]:
    reasons = [{"reason": text, "letters": count} for text, count in summary.reasons.items()]
    oldest = summary.oldest and summary.oldest.isoformat()
    return {**asdict(summary), "oldest": oldest, "reasons": reasons}


def _say_letter(letter: "Letter", *, in_full: bool) -> None:
    source = f", from {bare_name(letter.source)}" if letter.source else ""
    sent = f", sent {_time(letter.sent)}" if letter.sent else ""
    group = f", group {letter.group}" if letter.group else ""
    say(f"{letter.id}: received {letter.receive_count} times{sent}{source}{group}")
    say(f"  {letter.reason or _NO_REASON}")
    if letter.original_id:
        say(f"  message {letter.original_id}")
    for name, value in letter.attributes.items():
        if not name.startswith("DeadLetter"):
            say(f"  {name}={value}")
    if in_full:
        say(letter.body)
    else:
        start = " ".join(letter.body[:_PREVIEW].split())
        size = len(letter.body.encode())
        say(f"  {start}{f' … ({size:,} bytes)' if len(letter.body) > _PREVIEW else ''}")


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
