"""Sends letters back to where they come from, or to another queue, and deletes them.

A letter is sent first and deleted then; the journal is written before and after the send.
"""

import asyncio
import fcntl
import hashlib
import json
import os
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from loafer_kit.dead_letters.letters import Broker, Choice, Letter, Queue, Visit
from loafer_kit.exceptions import (
    ConfigurationError,
    LoaferKitError,
    ProviderError,
    TransientProviderError,
)
from loafer_kit.ext.aws.addresses import bare_name
from loafer_kit.ext.aws.requests.errors import AccessDeniedError

T = TypeVar("T")

#: Letters that are sent side by side.
_STEP = 10

#: "sending": the send was about to begin. "sent": the broker confirmed it. "over": nothing is left to do.
State = Literal["sending", "sent", "over"]

#: Seconds for which a journal counts: SQS keeps no message longer.
_LONGEST_RETENTION = 14 * 24 * 3600

#: Returns the new body of a letter, or None to leave the letter where it is.
Edit = Callable[[Letter], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of one letter: it is sent and deleted, only deleted, or kept.

    `target` is the queue that it is sent to, `problem` what failed. A letter that is
    `possibly_doubled` may be on its target twice, or there and still in the dead-letter queue.
    """

    letter: str
    status: Literal["sent", "deleted", "kept"]
    target: str | None = None
    problem: str | None = None
    possibly_doubled: bool = False


async def plan(
    visit: Visit, choice: Choice | None = None, *, to: str | None = None
) -> AsyncIterator[tuple[Letter, Outcome]]:
    """Yield each chosen letter and what `replay` would do with it."""
    targets = _Targets(visit, to)
    async for letter in visit.letters(choice):
        try:
            outcome = Outcome(letter.id, "sent", (await targets.of(letter)).name)
        except LoaferKitError as error:
            outcome = _kept(letter, str(error))
        yield letter, outcome


async def replay(
    visit: Visit,
    choice: Choice | None = None,
    *,
    to: str | None = None,
    rate: float | None = None,
    edit: Edit | None = None,
) -> AsyncIterator[Outcome]:
    """Send each chosen letter to its own queue, or to `to`, and delete it; `rate` letters a second.

    Letters of a message group are sent in their order: after one that cannot be sent, the later
    ones of its group are kept. A letter that an interrupted replay has sent is only deleted; one that
    it may have sent is sent again and possibly doubled.
    """
    choice = choice or Choice()
    with Journal(visit.queue.address) as journal:
        post = _Post(visit.broker, journal, rate)
        returning = _Return(visit, post, _Targets(visit, to), edit)
        is_ordered = any(map(visit.broker.is_ordered, (visit.queue.name, to or "")))
        left = choice.count
        async for batch in visit.batches(choice.enough):
            finished = await returning.finish(batch)
            for outcome in finished:
                yield outcome
            done = {outcome.letter for outcome in finished}
            wanted = [item for item in batch if item.id not in done and choice.matches(item)][:left]
            async for letters in post.in_steps(wanted, one_by_one=is_ordered or edit is not None):
                for outcome in await returning.send(letters):
                    yield outcome
                post.raise_denial()
            left = left and left - len(wanted)
            if left == 0:
                return


async def plan_purge(visit: Visit, choice: Choice) -> AsyncIterator[tuple[Letter, Outcome]]:
    """Yield each chosen letter and what `purge` would do with it."""
    async for letter in visit.letters(choice):
        yield letter, Outcome(letter.id, "deleted")


async def purge(visit: Visit, choice: Choice) -> AsyncIterator[Outcome]:
    """Delete the chosen letters one by one; `Broker.empty` deletes all at once."""
    async for letter in visit.letters(choice):
        problem = (await visit.delete([letter])).get(letter.id)
        yield Outcome(letter.id, "kept" if problem else "deleted", problem=problem)


async def send_letters(
    broker: Broker, letters: Sequence[Letter], queue: Queue, key: str, *, rate: float | None = None
) -> AsyncIterator[Outcome]:
    """Send copies of exported letters to a queue, in their order; `key` names their export.

    They keep what the service wrote on them only in the queue that they were exported from. What an
    interrupted call has sent is not sent again.
    """
    is_ordered = broker.is_ordered(queue.name)
    with Journal(f"{queue.address}.{key}") as journal:
        post = _Post(broker, journal, rate)
        copies = [
            _Copy(
                str(number),
                letter,
                queue,
                letter.body,
                uuid.uuid4().hex,
                letter.queue == queue.name,
            )
            for number, letter in enumerate(letters)
        ]
        has_failed = False
        async for step in post.in_steps(copies, one_by_one=is_ordered):
            for outcome in (await _finished(post.send(step))).values():
                has_failed |= outcome.problem is not None
                yield outcome
            post.raise_denial()
            if has_failed and is_ordered:
                raise ProviderError(f"{queue.name}: a letter was not sent, so those after it stay")
        if not has_failed:
            journal.record("over", list(journal.states))


class Journal:
    """What is known of letters by their ids, in a file that survives the process.

    `key` says what is sent: the address of a dead-letter queue, or a file and a queue. The files are in
    `$XDG_STATE_HOME/loafer-kit/dlq`, by default below `~/.local/state`. A file is locked while it is
    open; when nothing is left to do it is emptied.
    """

    def __init__(self, key: str) -> None:
        digest = hashlib.sha256(key.encode()).hexdigest()[:16]
        self._name = bare_name(key)
        label = re.sub(r"[^\w.-]", "_", self._name)
        self.path = _folder() / f"{label}-{digest}.jsonl"
        self.states: dict[str, State] = {}

    def __enter__(self) -> Self:
        path = self.path
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
            self._descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            raise ConfigurationError(
                f"The journal {path} cannot be written: {error.strerror}; name a folder that can by "
                "XDG_STATE_HOME"
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.states = _read(path)
        except BaseException as error:
            os.close(self._descriptor)
            if isinstance(error, BlockingIOError):
                raise LoaferKitError(
                    f"Another process on this machine sends from {self._name}: wait for it"
                ) from error
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        if not self.states:
            os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)

    def record(self, state: State, letters: Iterable[str]) -> None:
        """Record the state of letters; it is on the disk when this returns."""
        names = list(letters)
        if not names:
            return
        line = json.dumps({"at": int(time.time()), "state": state, "letters": names})
        os.write(self._descriptor, f"{line}\n".encode())
        os.fsync(self._descriptor)
        _apply(self.states, state, names)


def _folder() -> Path:
    base = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".local/state") / "loafer-kit/dlq"


def _read(path: Path) -> dict[str, State]:
    states: dict[str, State] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:  # the process was killed while it wrote the line, before it went on
            continue
        if entry["at"] > time.time() - _LONGEST_RETENTION:
            _apply(states, entry["state"], entry["letters"])
    return states


def _apply(states: dict[str, State], state: State, letters: list[str]) -> None:
    for letter in letters:
        if state == "over":
            states.pop(letter, None)
        else:
            states[letter] = state


@dataclass(frozen=True, slots=True)
class _Copy:
    """A copy of a letter to a queue; `key` is its name in the journal, `id` that at the queue."""

    key: str
    letter: Letter
    queue: Queue
    body: str
    id: str
    is_whole: bool = False


class _Post:
    """Sends copies and records in the journal which were sent."""

    def __init__(self, broker: Broker, journal: Journal, rate: float | None) -> None:
        self._broker = broker
        self.journal = journal
        self._rate = rate
        self._denial: AccessDeniedError | None = None

    async def send(self, copies: Sequence[_Copy]) -> dict[str, Outcome]:
        """Send copies side by side, except those that are sent; return the outcomes by key."""
        states = self.journal.states
        left = [copy for copy in copies if states.get(copy.key) != "sent"]
        if not left:
            return {copy.key: _sent(copy) for copy in copies}
        doubtful = {copy.key for copy in left if copy.key in states}
        self.journal.record("sending", [copy.key for copy in left])
        errors = await asyncio.gather(*(self._send(copy) for copy in left))
        failed = {copy.key: error for copy, error in zip(left, errors, strict=True) if error}
        refused = {
            key
            for key, error in failed.items()
            if key not in doubtful and not isinstance(error, TransientProviderError)
        }
        self.journal.record("over", refused)
        self.journal.record("sent", [copy.key for copy in left if copy.key not in failed])
        return {
            copy.key: replace(
                _kept(copy.letter, str(failed[copy.key])) if copy.key in failed else _sent(copy),
                possibly_doubled=copy.key in doubtful | (failed.keys() - refused),
            )
            for copy in copies
        }

    async def in_steps(self, items: Sequence[T], *, one_by_one: bool) -> AsyncIterator[Sequence[T]]:
        """Yield the items in the steps in which they are sent, with a pause after each."""
        size = 1 if one_by_one else min(_STEP, max(1, int(self._rate or _STEP)))
        for start in range(0, len(items), size):
            step = items[start : start + size]
            yield step
            if self._rate:
                await asyncio.sleep(len(step) / self._rate)

    def raise_denial(self) -> None:
        """Raise the error of a send that the credentials do not allow: others would fail too."""
        if self._denial is not None:
            raise self._denial

    async def _send(self, copy: _Copy) -> ProviderError | None:
        letter = copy.letter
        try:
            await self._broker.send(
                letter, copy.queue, copy.id, body=copy.body, whole=copy.is_whole
            )
        except AccessDeniedError as error:
            self._denial = error
            return error
        except ProviderError as error:
            return error
        return None


class _Return:
    """Sends letters of a visit and deletes them there."""

    def __init__(self, visit: Visit, post: _Post, targets: "_Targets", edit: Edit | None) -> None:
        self._visit = visit
        self._post = post
        self._targets = targets
        self._edit = edit
        self._halted: set[str | None] = set()  # message groups

    async def finish(self, letters: Sequence[Letter]) -> list[Outcome]:
        """Delete those that an interrupted replay has sent."""
        states = self._post.journal.states
        sent = [letter for letter in letters if states.get(letter.id) == "sent"]
        problems = await self._delete(sent)
        return [Outcome(letter.id, "sent", problem=problems.get(letter.id)) for letter in sent]

    async def send(self, letters: Sequence[Letter]) -> list[Outcome]:
        """Send letters, each to its target, and delete what was sent."""
        prepared = [await self._prepare(letter) for letter in letters]
        copies = [item for item in prepared if isinstance(item, _Copy)]
        done, problems = await _finished(self._deliver(copies))
        outcomes = [item if isinstance(item, Outcome) else done[item.key] for item in prepared]
        if self._visit.broker.is_ordered(self._visit.queue.name):
            kept = {outcome.letter for outcome in outcomes if outcome.problem}
            self._halted |= {letter.group for letter in letters if letter.id in kept}
        return [
            replace(outcome, problem=problems.get(outcome.letter, outcome.problem))
            for outcome in outcomes
        ]

    async def _deliver(self, copies: Sequence[_Copy]) -> tuple[dict[str, Outcome], dict[str, str]]:
        done = await self._post.send(copies)
        sent = [copy.letter for copy in copies if done[copy.key].status == "sent"]
        return done, await self._delete(sent)

    async def _prepare(self, letter: Letter) -> "_Copy | Outcome":
        if letter.group in self._halted:
            return _kept(letter, "an earlier letter of its message group was kept")
        try:
            target = await self._targets.of(letter)
        except LoaferKitError as error:
            return _kept(letter, str(error))
        body = await self._edit(letter) if self._edit else letter.body
        if body is None:
            return Outcome(letter.id, "kept")
        if not self._visit.holds(letter):
            return _kept(letter, "its time in hand is over: another consumer may have it")
        # SQS's own redrive uses the message id too. A letter that is sent twice, because this
        # process was killed, is one message on a FIFO queue.
        return _Copy(letter.id, letter, target, body, letter.id)

    async def _delete(self, letters: Sequence[Letter]) -> dict[str, str]:
        problems = await self._visit.delete(letters)
        gone = [letter.id for letter in letters if letter.id not in problems]
        self._post.journal.record("over", gone)
        return {
            name: f"it was sent and not deleted, which the next replay does: {why}"
            for name, why in problems.items()
        }


class _Targets:
    """Finds the queue that each letter of a visit goes back to; `to` is one queue for all."""

    def __init__(self, visit: Visit, to: str | None = None) -> None:
        self._visit = visit
        self._to = to
        self._found: dict[str | None, Queue | LoaferKitError] = {}

    async def of(self, letter: Letter) -> Queue:
        """Return the queue for a letter; raise `LoaferKitError` if there is none."""
        name = self._to or letter.source
        if name not in self._found:
            try:
                self._found[name] = await self._find(letter)
            except LoaferKitError as error:
                self._found[name] = error
        found = self._found[name]
        if isinstance(found, LoaferKitError):
            raise found
        return found

    async def _find(self, letter: Letter) -> Queue:
        visit = self._visit
        found = await (visit.broker.queue(self._to) if self._to else visit.home(letter))
        if found == visit.queue:
            raise ConfigurationError(f"{found.name} is the queue that the letters are in")
        return found


async def _finished(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`; it comes to its end before a cancellation takes effect."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


def _sent(copy: _Copy) -> Outcome:
    return Outcome(copy.letter.id, "sent", copy.queue.name)


def _kept(letter: Letter, problem: str) -> Outcome:
    return Outcome(letter.id, "kept", problem=problem)
