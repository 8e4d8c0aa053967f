"""Services in development: each has a process, starts again after a change, and reports deliveries."""

import asyncio
import json
import signal
import socket
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import IO, Any, Protocol, Self

from loafer_kit.exceptions import ConfigurationError, LoaferKitError
from loafer_kit.local import servers
from loafer_kit.local.queues import LocalQueue, LocalQueues

#: A service drains at the first SIGTERM and ends at once at the second; then it is killed.
_POLITE_REQUESTS = 2

#: Seconds to read the last reports of a process that has ended: a child of it may hold them open.
_LAST_REPORTS = 1.0

#: Failures after which `once` gives up a message that no dead-letter queue takes.
ATTEMPTS = 5

_BY_SQS = "moved by SQS, which gives no reason"
#: Receives of a dead-letter queue, ten messages each, and characters of a reason that are shown.
_MOST_RECEIVES, _LONGEST_REASON = 10, 100


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of a message and its outcome, as `message.handled` names it in the log."""

    queue: str
    message_id: str
    receive_count: int
    outcome: str


class Say(Protocol):
    """Reports what happens: as text for a person, as an event with details for a machine."""

    def __call__(self, text: str, event: str, **details: object) -> object:
        """Report one event."""


@dataclass(frozen=True, slots=True)
class Project:
    """A service in development: its package, the folder above it, and its queues.

    `rabbitmq` are its queues of RabbitMQ, each with the options that its route declares it with.
    """

    package: str
    folder: Path
    queues: Sequence[LocalQueue]
    rabbitmq: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def find_queue(projects: Sequence[Project], name: str) -> LocalQueue:
    """Return the queue with this name; raise `ConfigurationError` if no project has it."""
    queues = [queue for project in projects for queue in project.queues]
    for queue in queues:
        if queue.name == name:
            return queue
    owners = " and ".join(project.package for project in projects)
    have, them = ("has", "it has") if len(projects) == 1 else ("have", "they have")
    names = ", ".join(queue.name for queue in queues)
    raise ConfigurationError(f"{owners} {have} no queue {name!r}; {them}: {names}")


@dataclass(frozen=True, slots=True)
class Style:
    """How the lines of services appear; `output` gets what they print.

    A labelled log names its package in each line.
    """

    labelled: bool = False
    output: IO[str] | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the services of one run share.

    `prepare` creates a project's queues; `release_polls` answers the open polls of some queues, and
    `hold_polls` lets them wait again.
    """

    environment: Mapping[str, str]
    say: Say
    style: Style
    on_delivery: Callable[[Delivery], None]
    prepare: Callable[[Project], None]
    release_polls: Callable[[Sequence[str]], None]
    hold_polls: Callable[[Sequence[str]], None]


class ServiceKeeper:
    """Runs a project's service until it ends, is ended, or fails before any change.

    After a change of its files it drains, and starts again with the spec as it is then. If it fails
    then, it waits for the next change.
    """

    def __init__(self, read: Callable[[], Project], project: Project, around: Surroundings) -> None:
        self.project = project
        self._read = read
        self._around = around
        self._process: ServiceProcess | None = None
        self._changed = asyncio.Event()
        self._ends = False
        self._restarts = 0

    def end(self) -> None:
        """End the service as `ServiceProcess.end` does, and do not start it again."""
        self._ends = True
        self._around.release_polls(self._queue_names())
        if self._process is not None:
            self._process.end()
        self._changed.set()

    def restart(self, changed: Sequence[str]) -> None:
        """Start the service again once it has finished what it is doing."""
        package = self.project.package
        text = f"{', '.join(changed)} changed: restarting {package}"
        self._around.say(text, "changed", package=package, files=list(changed))
        self._around.release_polls(self._queue_names())
        if self._process is not None and not self._process.told_to_end:
            self._process.end()
        self._changed.set()

    async def keep(self) -> None:
        """Run the service; raise `LoaferKitError` if it failed."""
        package, say = self.project.package, self._around.say
        while True:
            self._changed.clear()
            code = await self._run()
            if self._ends and code in (0, -signal.SIGTERM):
                return
            if self._changed.is_set() and not self._ends:
                await self._renew()
            elif code == 0:
                say(f"{package} ended by itself", "ended", by_itself=True)
                return
            elif self._ends or not self._restarts:
                raise LoaferKitError(f"{package} ended with exit code {code}")
            else:
                text = f"{package} ended with exit code {code}: waiting for a change"
                say(text, "failed", package=package, exit_code=code)
                await self._changed.wait()
                if not self._ends:
                    await self._renew()
            if self._ends:
                return

    async def _run(self) -> int:
        around = self._around
        self._process = process = await ServiceProcess.start(
            self.project.package,
            self.project.folder,
            {
                "LOAFER_CONTROL": str(servers.control_path(self.project.package)),
                **around.environment,
            },
            around.style,
            around.on_delivery,
        )
        package, pid = self.project.package, process.pid
        text = f"started python -m {package} (pid {pid}); Ctrl-C ends it"
        around.say(text, "started", package=package, pid=pid)
        if self._ends:  # the signal came before there was a process to pass it to
            process.end()
        try:
            return await process.wait()
        finally:
            self._process = None

    async def _renew(self) -> None:
        """Read the project again, and create the queues that it has now."""
        self._restarts += 1
        self._around.hold_polls(self._queue_names())
        while not self._ends:
            self._changed.clear()
            try:
                project = await asyncio.to_thread(self._read)
                await asyncio.to_thread(self._around.prepare, project)
            except LoaferKitError as error:
                text = f"{error}: waiting for a change"
                self._around.say(text, "failed", package=self.project.package, error=str(error))
                await self._changed.wait()
            else:
                self.project = project
                return

    def _queue_names(self) -> list[str]:
        return [queue.name for queue in self.project.queues]


class ServiceProcess:
    """A process that runs `python -m package` in a folder; it ends when this process ends.

    It has its own session, so that a Ctrl-C on the terminal does not reach it.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        lifeline: asyncio.StreamWriter,
        reports: asyncio.Task[None],
    ) -> None:
        self._process = process
        self._lifeline = lifeline
        self._reports = reports
        self._requests = 0

    @classmethod
    async def start(
        cls,
        package: str,
        folder: Path,
        environment: Mapping[str, str],
        style: Style,
        on_delivery: Callable[[Delivery], None],
    ) -> Self:
        """Start the service; call `on_delivery` for each message that it delivers to a handler."""
        own_end, child_end = socket.socketpair()
        with child_end:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "loafer_kit.local.launcher",
                package,
                str(child_end.fileno()),
                package if style.labelled else "",
                cwd=folder,
                # A person reads the log, through a pipe too.
                env={"PYTHONUNBUFFERED": "1", "LOAFER_LOG": "text", **environment},
                stdout=style.output,
                pass_fds=[child_end.fileno()],
                start_new_session=True,
            )
        reader, writer = await asyncio.open_connection(sock=own_end)
        return cls(process, writer, asyncio.create_task(_read(reader, on_delivery)))

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @property
    def told_to_end(self) -> bool:
        """Whether `end` was called."""
        return self._requests > 0

    def end(self) -> None:
        """Tell the service to drain; at the second call to end at once; at the third kill it."""
        self._requests += 1
        if self._process.returncode is None:
            patient = self._requests <= _POLITE_REQUESTS
            self._process.send_signal(signal.SIGTERM if patient else signal.SIGKILL)

    async def wait(self) -> int:
        """Return the exit code, or the negative number of the signal that killed the process."""
        try:
            code = await self._process.wait()
            await asyncio.wait([self._reports], timeout=_LAST_REPORTS)
        finally:
            if self._process.returncode is None:
                self._process.kill()
            self._reports.cancel()
            self._lifeline.close()
        return code


async def _read(reader: asyncio.StreamReader, on_delivery: Callable[[Delivery], None]) -> None:
    async for line in reader:
        on_delivery(Delivery(*json.loads(line)))


class Tally:
    """Counts the deliveries of each queue."""

    def __init__(self) -> None:
        self.handled: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self._failures: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def record(self, delivery: Delivery) -> None:
        """Count a delivery. One that the handler did not finish counts as nothing."""
        failures = self._failures[delivery.queue]
        if delivery.outcome == "acknowledged":
            self.handled[delivery.queue] += 1
            failures.pop(delivery.message_id, None)
        elif delivery.outcome != "to be given back":
            self.failed[delivery.queue] += 1
            failures[delivery.message_id] += 1

    def given_up(self, queue: LocalQueue) -> int:
        """Return how many messages failed too often and have no dead-letter queue."""
        if queue.dead_letter_queue:
            return 0
        return sum(count >= ATTEMPTS for count in self._failures[queue.name].values())

    def has_another_attempt(self, queue: LocalQueue, delivery: Delivery) -> bool:
        """Return whether the message of a failed delivery is left on its queue and tried again."""
        if queue.dead_letter_queue:
            return delivery.outcome == "left" and delivery.receive_count < queue.max_receive_count
        failures = self._failures[queue.name][delivery.message_id]
        return delivery.outcome in {"left", "rejected"} and 0 < failures < ATTEMPTS


@dataclass(frozen=True, slots=True)
class QueueSummary:
    """How often messages of a queue were handled and failed, and its dead letters by reason."""

    queue: str
    handled: int
    failed: int
    dead_letter_queue: str | None
    dead_letters: Mapping[str, int]

    @property
    def is_empty(self) -> bool:
        """Whether there were no messages."""
        return not (self.handled or self.failed or self.dead_letters)


def summarise(
    queues: Sequence[LocalQueue], tally: Tally, server: LocalQueues
) -> list[QueueSummary]:
    """Return a summary of each queue; the dead letters are those on the server now.

    A dead letter that names no source counts for the first queue with its dead-letter queue.
    """
    letters: dict[str, list[tuple[str, str]]] = {}
    summaries = []
    for queue in queues:
        target = queue.dead_letter_queue
        if target and target not in letters:
            letters[target] = [
                (source or queue.name, reason) for source, reason in _dead_letters(server, target)
            ]
        reasons = Counter(
            reason for source, reason in letters.get(target or "", ()) if source == queue.name
        )
        summaries.append(
            QueueSummary(
                queue.name,
                tally.handled[queue.name],
                tally.failed[queue.name],
                target,
                dict(reasons.most_common()),
            )
        )
    return summaries


def _dead_letters(server: LocalQueues, queue: str) -> Iterable[tuple[str, str]]:
    """Yield the source, if the message names it, and the reason of each dead letter."""
    seen = set()
    for _ in range(_MOST_RECEIVES):
        messages = server.receive(queue, visibility_timeout=_MOST_RECEIVES)
        for message in messages:
            if message["MessageId"] in seen:
                continue
            seen.add(message["MessageId"])
            attributes = message.get("MessageAttributes", {})
            source, reason = (
                attributes.get(name, {}).get("StringValue", "")
                for name in ("DeadLetterSourceQueue", "DeadLetterReason")
            )
            yield source, " ".join(reason.split()) or _BY_SQS
        if not messages:
            return


def table(summaries: Sequence[QueueSummary]) -> str:
    """Return the summaries as a table of text; each reason has a line of its own."""
    rows = [("queue", "handled", "failed", "dead letters")]
    for summary in summaries:
        letters = [
            f"{number} in {summary.dead_letter_queue}: {_shortened(reason)}"
            for reason, number in summary.dead_letters.items()
        ]
        first = (summary.queue, str(summary.handled), str(summary.failed))
        rows += [
            (*(numbers or ("", "", "")), letter or "")
            for numbers, letter in zip_longest([first], letters)
        ]
    name, handled, failed, _ = (max(map(len, column)) for column in zip(*rows, strict=True))
    return "\n".join(
        f"{row[0]:{name}}  {row[1]:>{handled}}  {row[2]:>{failed}}  {row[3]}".rstrip()
        for row in rows
    )


def _shortened(reason: str) -> str:
    return reason if len(reason) <= _LONGEST_REASON else f"{reason[: _LONGEST_REASON - 1]}…"
