"""What `loafer-kit dlq …` does: it looks into dead-letter queues and sends letters back.

It imports botocore, which neither TAB nor `--help` waits for.
"""

import asyncio
import os
import shlex
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import datetime
from functools import partial
from json import dumps
from pathlib import Path
from typing import Any

import typer

from loafer_kit.cli import specs
from loafer_kit.cli.places import Place, name_of
from loafer_kit.cli.terminal.output import (
    Terminal,
    is_interactive,
    print_exactly,
    say,
    say_json,
    waiting_for_each,
)
from loafer_kit.dead_letters import replays
from loafer_kit.dead_letters.letters import (
    Broker,
    Choice,
    Export,
    Letter,
    Queue,
    Summary,
    Visit,
    summaries,
)
from loafer_kit.dead_letters.moves import Move, Mover, NoMoveTasksError
from loafer_kit.dead_letters.replays import Outcome
from loafer_kit.exceptions import ConfigurationError, LoaferKitError

Plan = Callable[[Visit, Choice], AsyncIterator[tuple[Letter, Outcome]]]
Work = Callable[[Visit, Choice], AsyncIterator[Outcome]]

#: Letters that `show` shows, and at which `list` looks; lines of a plan.
_SHOWN, _LOOKED_AT, _PLANNED = 100, 100, 20
#: Characters of a body that is not shown in full.
_PREVIEW = 200

_RISEN = "the receive count of each letter that was looked at rose by one"
#: An answer that is not the name of a queue.
_NOT = "no, leave it"
#: What happens to a letter: afterwards, and before.
_DONE = {"sent": "sent", "deleted": "deleted", "kept": "kept"}
_WOULD = {"sent": "send", "deleted": "delete", "kept": "keep"}


def list_queues(queue: str | None, prefix: str | None, *, json: bool) -> None:
    """List the dead-letter queues that are named, that a prefix finds, or of the service here."""
    place = Place(queue)
    dead, sources = ([queue] if queue else []), list[str]()
    if not queue and prefix is None and not place.on_rabbitmq:
        dead, sources = specs.dead_letter_queues_here()

    async def work(broker: Broker) -> AsyncIterator[Summary]:
        found = [] if queue else await broker.dead_letter_queues(sources, prefix=prefix)
        names = {name_of(address): address for address in [*found, *dead]}
        async for summary in summaries(broker, names, _LOOKED_AT):
            yield summary

    found = []
    for summary in waiting_for_each("looking", place.each(place.broker(), work)):
        found.append(summary)
        if not json:
            _say_summary(summary, place.kind.no_reason)
    if json:
        say_json([_summary_as_json(summary) for summary in found])
    elif not found:
        say("no dead-letter queue")
    if any(summary.seen for summary in found):
        say(_RISEN, err=True)
    if any(summary.problem for summary in found):
        raise typer.Exit(1)


def show(queue: str, choice: Choice, *, bodies: bool, json: bool) -> None:
    """Show letters; their receive counts rise."""
    limit = choice.limit or _SHOWN
    choice = replace(choice, limit=limit)
    remarks: list[str] = []
    facts = []
    place = Place(queue)
    for letter in waiting_for_each(
        "looking", place.each(place.visit(remarks), lambda visit: visit.letters(choice))
    ):
        facts.append(letter.facts() if json else {})
        if not json:
            _say_letter(letter, place.kind.no_reason, in_full=bodies)
    if len(facts) == limit:
        remarks.append(f"{limit} letters at most: --limit shows more")
    if json:
        say_json({"queue": queue, "letters": facts, "remarks": remarks})
    _say_remarks([*remarks, _RISEN if facts else "no letter"])


def export(queue: str, file: Path | None, choice: Choice) -> None:
    """Write letters to a new file, or to standard output, one JSON object a line."""
    remarks: list[str] = []
    count = 0
    place = Place(queue)
    found = waiting_for_each(
        "looking", place.each(place.visit(remarks), lambda visit: visit.letters(choice))
    )
    with ExitStack() as stack:
        write: Callable[[str], object] = print_exactly
        if file is not None:
            try:
                opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except OSError as error:
                raise LoaferKitError(f"{file}: {error.strerror}") from error
            write = stack.enter_context(os.fdopen(opened, "w", encoding="utf-8")).write
        try:
            for letter in found:
                write(f"{dumps(place.kind.exported(letter))}\n")
                count += 1
        finally:
            where = file or "standard output"
            _say_remarks([*remarks, f"{_letters(count)} of {queue} exported to {where}"])


def import_letters(file: Path, queue: str, rate: float | None, *, yes: bool, json: bool) -> None:
    """Send the letters of a file that `export` wrote to a queue."""
    place = Place(queue)
    export = Export.read(file, place.kind.imported)

    def work(found: tuple[Broker, Queue]) -> AsyncIterator[Outcome]:
        broker, target = found
        return replays.send_letters(broker, export.letters, target, export.key, rate=rate)

    if _is_confirmed(f"send {_letters(len(export.letters))} to", queue, yes=yes, json=json):
        _report(queue, waiting_for_each("sending", place.each(place.found(), work)), [], json=json)


def purge(queue: str, choice: Choice, *, yes: bool, json: bool) -> None:
    """Delete letters for good."""
    if not choice.is_everything:
        _act(queue, choice, replays.plan_purge, replays.purge, yes=yes, json=json)
        return

    place = Place(queue)

    async def counted(found: tuple[Broker, Queue]) -> AsyncIterator[int]:
        broker, target = found
        yield sum(await broker.counts(target))

    async def emptied(found: tuple[Broker, Queue]) -> AsyncIterator[None]:
        broker, target = found
        await broker.empty(target)
        yield

    count = _letters(*place.each(place.found(), counted))
    if _is_confirmed(f"delete all, about {count}, of", queue, yes=yes, json=json):
        list(place.each(place.found(), emptied))
        if json:
            say_json(_as_json(queue, [], [], done=True))
        say(f"deleted all, about {count}, of {queue}", err=json)


def move(
    queue: str, to: str | None, rate: int | None, *, cancel: bool, yes: bool, json: bool
) -> None:
    """Have SQS move all letters, or end a move; replay them on a server without moves."""
    place = Place(queue)
    if place.on_rabbitmq:
        raise ConfigurationError(
            f"RabbitMQ has no moves: use `loafer-kit dlq replay {queue}`, or a shovel of RabbitMQ"
        )
    steps = place.each(place.found(), partial(_moving, to=to, rate=rate, cancel=cancel))
    try:
        first = next(steps)
    except NoMoveTasksError as error:
        if cancel:
            raise
        say(f"{error}: its letters are replayed instead", err=True)
        replay(queue, Choice(), to, rate, edit=False, yes=yes, json=json)
        return
    if isinstance(first, str) and not _is_confirmed(first, queue, yes=yes, json=json):
        return
    try:
        last = _follow(steps)
    except KeyboardInterrupt:
        say(f"the move goes on; `loafer-kit dlq move {queue} --cancel` ends it", err=True)
        raise
    if last is None or last.failure:
        why = last.failure if last else "SQS does not list it"
        raise LoaferKitError(f"{queue}: the move failed: {why}")
    if json:
        say_json(asdict(last))
    else:
        say(f"{last.status.lower()}: moved {_letters(last.moved)} to {last.target}")


def replay(
    queue: str,
    choice: Choice,
    to: str | None,
    rate: float | None,
    *,
    edit: bool,
    yes: bool,
    json: bool,
) -> None:
    """Send letters back to the queues that they come from, or to one queue."""
    plan = partial(replays.plan, to=to)
    if not edit:
        work = partial(replays.replay, to=to, rate=rate)
        _act(queue, choice, plan, work, yes=yes, json=json)
        return
    folder = Path(tempfile.mkdtemp(prefix="loafer-kit-"))

    async def editing(visit: Visit, choice: Choice) -> AsyncIterator[Outcome]:
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


async def _edit(folder: Path, letter: Letter) -> str | None:
    """Return what a person makes of a letter's body; None if the editor fails, or leaves nothing."""
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
    choice: Choice,
    plan: Plan,
    work: Work,
    *,
    yes: bool,
    json: bool,
    quietly: bool = False,
) -> None:
    """Show what would be done with the chosen letters and ask, then do it with these."""
    remarks: list[str] = []
    place = Place(queue)
    if not yes:
        planned = list(
            waiting_for_each(
                "looking", place.each(place.visit(remarks), lambda visit: plan(visit, choice))
            )
        )
        outcomes = [outcome for _, outcome in planned]
        if json:
            say_json(_as_json(queue, outcomes, remarks, done=False))
        for letter, outcome in [] if json else planned[:_PLANNED]:
            reason = _one_line(letter.reason or place.kind.no_reason)
            say(f"would {_described(outcome, _WOULD)}: {reason}")
        more = len(planned) - _PLANNED
        _say_remarks([*remarks, *([f"and {_letters(more)} more"] if more > 0 else [])])
        what = _counted(outcomes, _WOULD)
        if not planned or not _is_confirmed(f"{what} of", queue, yes=yes, json=json):
            _say_remarks([_RISEN if planned else "no letter"])
            return
        choice, remarks = Choice(ids=frozenset(letter.id for letter, _ in planned)), []
    steps = place.each(place.visit(remarks), lambda visit: work(visit, choice))
    _report(queue, steps if quietly else waiting_for_each("working", steps), remarks, json=json)


def _is_confirmed(what: str, queue: str, *, yes: bool, json: bool) -> bool:
    """Return whether to do it: a person types the queue's name, or has said --yes."""
    name = name_of(queue)
    if not yes and (json or not is_interactive()):
        say(f"nothing was changed: --yes would {what} {name}", err=True)
    elif not yes:
        answer = Terminal().ask(f"This would {what} {name}. Type its name to do it", _NOT)
        yes = answer == name
        if not yes:
            say("nothing was changed", err=True)
    return yes


def _report(queue: str, outcomes: Iterator[Outcome], remarks: Sequence[str], *, json: bool) -> None:
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
    found: tuple[Any, Queue], *, to: str | None, rate: int | None, cancel: bool
) -> AsyncIterator[str | Move]:
    """Yield what is going to be done, if anything, then do it and yield the states of the move."""
    broker, queue = found
    mover = await Mover.of(broker, queue)
    last = await mover.last()
    is_running = last is not None and not last.is_over
    if cancel:
        if last is None or not is_running:
            raise LoaferKitError(f"No move of {queue.name} is running")
        yield f"cancel the move to {last.target} of"
        await mover.cancel(last)
    elif not is_running:
        target = await mover.target(to)
        yield f"move all letters to {name_of(target)} of"
        await mover.start(target, rate)
    async for state in mover.follow():
        yield state


def _follow(steps: Iterator[str | Move]) -> Move | None:
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


# Texts


def _letters(count: int) -> str:
    return f"{count} letter{'' if count == 1 else 's'}"


def _described(outcome: Outcome, words: Mapping[str, str] = _DONE) -> str:
    target = f" to {outcome.target}" if outcome.target else ""
    doubt = ", which may have been sent before" if outcome.possibly_doubled else ""
    problem = f": {outcome.problem}" if outcome.problem else ""
    return f"{words[outcome.status]} {outcome.letter}{target}{doubt}{problem}"


def _counted(outcomes: Sequence[Outcome], words: Mapping[str, str] = _DONE) -> str:
    counts = Counter(outcome.status for outcome in outcomes)
    doubled = [outcome.letter for outcome in outcomes if outcome.possibly_doubled]
    texts = [f"{words[status]} {_letters(count)}" for status, count in counts.items()]
    return ", ".join([*texts, *([f"possibly doubled: {' '.join(doubled)}"] if doubled else [])])


def _as_json(
    queue: str, outcomes: Sequence[Outcome], remarks: Sequence[str], *, done: bool
) -> dict[str, Any]:
    listed = [asdict(outcome) for outcome in outcomes]
    return {"queue": queue, "done": done, "outcomes": listed, "remarks": list(remarks)}


def _say_remarks(remarks: Iterable[str]) -> None:
    for remark in remarks:
        say(remark, err=True)


def _say_summary(summary: Summary, no_reason: str) -> None:
    facts = [_letters(summary.visible)]
    facts += [f"{summary.in_flight} in flight"] if summary.in_flight else []
    facts += [f"oldest sent {_time(summary.oldest)}"] if summary.oldest else []
    facts += [f"from {', '.join(summary.sources)}"] if summary.sources else []
    say(f"{summary.queue}: {', '.join(facts) if summary.url else 'unknown'}")
    for reason, count in summary.reasons.items():
        say(f"{count:>7}  {_one_line(reason or no_reason)}")
    if summary.seen < summary.visible and not summary.problem:
        say(f"{'':7}  the reasons of {_letters(summary.seen)}")
    if summary.problem:
        say(f"{'':7}  {summary.problem}")


def _summary_as_json(summary: Summary) -> dict[str, Any]:
    reasons = [{"reason": text, "letters": count} for text, count in summary.reasons.items()]
    oldest = summary.oldest and summary.oldest.isoformat()
    return {**asdict(summary), "oldest": oldest, "reasons": reasons}


def _say_letter(letter: Letter, no_reason: str, *, in_full: bool) -> None:
    source = f", from {name_of(letter.source)}" if letter.source else ""
    sent = f", sent {_time(letter.sent)}" if letter.sent else ""
    group = f", group {letter.group}" if letter.group else ""
    say(f"{letter.id}: received {letter.receive_count} times{sent}{source}{group}")
    say(f"  {_one_line(letter.reason or no_reason)}")
    if letter.original_id:
        say(f"  message {letter.original_id}")
    for name, value in letter.attributes.items():
        if not name.startswith("DeadLetter"):
            say(f"  {name}={value}")
    if in_full:
        say(letter.body)
    else:
        start = _one_line(letter.body[:_PREVIEW])
        size = len(letter.body.encode())
        say(f"  {start}{f' … ({size:,} bytes)' if len(letter.body) > _PREVIEW else ''}")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
