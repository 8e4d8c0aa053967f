"""Development: a run of `loafer-kit dev`, services and their queues on one machine."""

import asyncio
import contextlib
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from loafer_kit.exceptions import LoaferKitError, ProviderError, ServiceError
from loafer_kit.local import servers, services
from loafer_kit.local.queues import LocalQueue, LocalQueues
from loafer_kit.local.rabbitmq import Retries, dead_letters, development_broker, put
from loafer_kit.local.reloading import load_watchfiles, watch_options
from loafer_kit.local.servers import LocalServer, child_environment
from loafer_kit.local.services import Project, Say, ServiceKeeper, Style, Surroundings, find_queue
from loafer_kit.operations.control import ControlError, ask
from loafer_kit.runners import on_signals

#: Seconds between two checks of the queues, and between two reports of how many messages are left.
_LOOK_EVERY, _REPORT_EVERY = 0.2, 5.0

Waiting = Callable[[str], contextlib.AbstractContextManager[object]]


@dataclass(frozen=True, slots=True)
class Development:
    """One run of some services: the messages to send first, and when to end.

    Each of `readers` reads the spec of a service, again when it changes. With `once` the run ends
    when the services have started and the queues are empty, except for messages that failed five
    times and have no dead-letter queue; nothing is restarted. `endpoint_url` is a running server; by
    default an embedded one is started. `console(url)` is entered while services run against the
    server at `url`, unless `once`.
    """

    readers: Sequence[Callable[[], Project]]
    messages: Sequence[tuple[str, str]] = ()
    once: bool = False
    reload: bool = True
    endpoint_url: str | None = None
    style: Style = field(default_factory=Style)
    console: Callable[[str], AbstractAsyncContextManager[object]] = contextlib.nullcontext

    def run(self, say: Say, waiting: Waiting = contextlib.nullcontext) -> None:
        """Run until a signal, until the queues are empty with `once`, or until a service ends.

        `waiting(text)` is entered while the server starts. Raises `LoaferKitError` if a service
        failed.
        """
        projects = [read() for read in self.readers]
        on_rabbitmq = self._check(projects)
        if self.reload and not self.once:
            load_watchfiles("local")  # raises without the extra, before anything is started
        with contextlib.ExitStack() as stack:
            server, url, broker = None, self.endpoint_url, None
            with waiting("preparing the queues"):
                if url is None:
                    server = stack.enter_context(LocalServer())
                    url = server.url
                if on_rabbitmq:
                    broker = stack.enter_context(development_broker())
                queues = stack.enter_context(contextlib.closing(LocalQueues(url)))
                for project in projects:
                    queues.create(*project.queues)
            record = replace(_record(url, projects), rabbitmq=broker)
            stack.enter_context(servers.announce(record))
            _tell(record, projects, say, embedded=server is not None)
            for name, body in self.messages:
                details, where = {"queue": name}, name
                if name in on_rabbitmq:
                    put(str(broker), name, on_rabbitmq[name], [body])
                else:
                    queue = find_queue(projects, name)
                    details["message_id"] = _send(queues, queue, body)
                    if policy := queue.subscription.get("FilterPolicy"):
                        where += f", if its filter policy {policy} matches"
                say(f"sent to {where}: {body}", "sent", **details)
            run = _Run(self, projects, queues, say, server=server, broker=broker)
            asyncio.run(run.run())

    def _check(self, projects: Sequence[Project]) -> Mapping[str, Mapping[str, Any]]:
        """Return the queues of RabbitMQ; raise `ConfigurationError` for a message to no queue."""
        found = _rabbitmq_queues(projects)
        for name, _ in self.messages:
            if name not in found:
                find_queue(projects, name)  # raises before anything is started
        return found


class _Run:
    """The services of one development while they run."""

    def __init__(
        self,
        development: Development,
        projects: Sequence[Project],
        queues: LocalQueues,
        say: Say,
        *,
        server: LocalServer | None,
        broker: str | None,
    ) -> None:
        self._broker = broker
        self._development = development
        self._queues = queues
        self._server = server
        self._say = say
        self._tally = services.Tally()
        self._on_rabbitmq = _rabbitmq_queues(projects)
        self._retries = Retries(self._on_rabbitmq)
        around = self._surroundings()
        self._keepers = [
            ServiceKeeper(read, project, around)
            for read, project in zip(development.readers, projects, strict=True)
        ]
        self._ends = False

    async def run(self) -> None:
        """Run the services until one ends or a signal ends them, and sum up."""
        handlers = dict.fromkeys((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), self._end)
        with on_signals(asyncio.get_running_loop(), handlers):
            try:
                if self._development.once:
                    await self._run_all()
                else:
                    async with self._development.console(self._queues.url):
                        await self._run_all()
            finally:
                await asyncio.to_thread(self._sum_up)
        if left_over := self._left_over():
            raise LoaferKitError(f"Failed {services.ATTEMPTS} times: {', '.join(left_over)}")

    async def _run_all(self) -> None:
        tasks: list[asyncio.Task[None]] = []
        if self._development.once:
            tasks.append(asyncio.create_task(self._end_when_empty()))
        elif self._development.reload:
            changes = self._watch()
            await anext(changes)  # now the watch has begun: no change is missed
            tasks.append(asyncio.create_task(self._restart_on(changes)))
        services = [asyncio.create_task(keeper.keep()) for keeper in self._keepers]
        tasks += services
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            told_to_end = self._ends
            if not told_to_end:
                self._end()
            await asyncio.wait(services)  # a failure of one does not cut the others short
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if told_to_end:
            self._say("ended", "ended", by_itself=False)

    def _end(self) -> None:
        self._ends = True
        for keeper in self._keepers:
            keeper.end()

    def _surroundings(self) -> Surroundings:
        server = self._server

        def on_delivery(delivery: services.Delivery) -> None:
            self._tally.record(delivery)
            self._retries.record(delivery)
            if self._development.once and server is not None:
                loop = asyncio.get_running_loop()
                loop.run_in_executor(None, self._deliver_again, server, delivery)

        environment = child_environment(self._queues.url)
        if self._broker is not None:
            environment["LOAFER_AMQP_URL"] = self._broker
        if self._development.once:
            environment |= self._retries.environment
        return Surroundings(
            environment,
            self._say,
            self._development.style,
            on_delivery,
            prepare=lambda project: self._queues.create(*project.queues),
            release_polls=server.polls.release if server else lambda *_: None,
            hold_polls=server.polls.hold if server else lambda *_: None,
        )

    def _deliver_again(self, server: LocalServer, delivery: services.Delivery) -> None:
        """Make a message that its handler left visible again, without waiting for its lease."""
        queue = next((q for q in self._own_queues() if q.name == delivery.queue), None)
        if queue is None or not self._tally.has_another_attempt(queue, delivery):
            return
        handle = server.polls.handles[queue.name].get(delivery.message_id)
        with contextlib.suppress(ServiceError):  # then it comes back by itself
            if handle is not None:
                self._queues.make_visible(queue.name, handle)

    def _watch(self) -> AsyncIterator[set[Path]]:
        folders = {keeper.project.folder for keeper in self._keepers}
        batches = load_watchfiles().awatch(*folders, **watch_options())
        return ({Path(path) for _, path in batch} async for batch in batches)

    async def _restart_on(self, changes: AsyncIterator[set[Path]]) -> None:
        async for changed in changes:
            for keeper in self._keepers:
                files = _below(keeper.project.folder, changed)
                if files and not self._ends:
                    keeper.restart(files)

    async def _end_when_empty(self) -> None:
        loop = asyncio.get_running_loop()
        report_at = loop.time() + _REPORT_EVERY
        was_empty = False
        while True:
            left = await asyncio.to_thread(self._left) + await self._left_on_rabbitmq()
            server = self._server
            was_polled = server is None or server.polls.was_polled or not self._own_queues()
            is_empty = not left and was_polled
            if is_empty and was_empty:  # twice: a handler may have sent to a queue already counted
                break
            was_empty = is_empty
            if left and loop.time() >= report_at:
                self._say(f"waiting for {', '.join(left)}", "waiting", left=left)
                report_at += _REPORT_EVERY
            await asyncio.sleep(_LOOK_EVERY)
        failed = self._left_over()
        text = "nothing is left to do" if failed else "the queues are empty"
        self._say(text, "done", failed=failed)
        self._end()

    def _left(self) -> list[str]:
        counts = {queue: self._queues.counts(queue.name) for queue in self._own_queues()}
        return [
            f"{count} in {queue.name}"
            for queue, count in counts.items()
            if count.total > self._tally.given_up(queue)
        ]

    async def _left_on_rabbitmq(self) -> list[str]:
        """Return what is left as the services say: RabbitMQ tells no more than what is ready."""
        left = []
        for project in [keeper.project for keeper in self._keepers if keeper.project.rabbitmq]:
            socket = servers.control_path(project.package)
            try:
                status, depths = await ask(socket, "status"), await ask(socket, "queues")
            except ControlError:
                left.append(f"the start of {project.package}")
                continue
            counts = Counter({name: self._retries.waiting(name) for name in project.rabbitmq})
            for route in status["routes"]:
                running = sum(len(call["message_ids"]) for call in route["running"])
                counts[route["queue"]] += running + route["backlog"] + route["unsettled"]
            ready = {row["queue"]: row.get("visible", 1) for row in depths}  # unknown: not empty
            counts.update({name: ready.get(name, 0) for name in project.rabbitmq})
            left += [f"{count} in {name}" for name, count in counts.items() if count]
        return left

    def _left_over(self) -> list[str]:
        numbers = {queue.name: self._tally.given_up(queue) for queue in self._own_queues()}
        return [
            f"{number} in {name}, which has no dead-letter queue"
            for name, number in numbers.items()
            if number and self._development.once
        ]

    def _sum_up(self) -> None:
        try:
            summaries = services.summarise(self._own_queues(), self._tally, self._queues)
            summaries += [
                self._rabbitmq_summary(name, options) for name, options in self._on_rabbitmq.items()
            ]
        except (ProviderError, ServiceError) as error:
            self._say(f"the dead letters are unknown: {error}", "failed", error=str(error))
            return
        if not all(summary.is_empty for summary in summaries):
            details = [asdict(summary) for summary in summaries]
            self._say(services.table(summaries), "summary", queues=details)

    def _rabbitmq_summary(self, queue: str, options: Mapping[str, Any]) -> services.QueueSummary:
        dead = str(options.get("dead_letter_queue", f"{queue}.dead"))
        letters = dead_letters(str(self._broker), dead)
        reasons = Counter(str(reason) for source, reason in letters if source in (queue, None))
        handled, failed = self._tally.handled[queue], self._tally.failed[queue]
        return services.QueueSummary(queue, handled, failed, dead, dict(reasons.most_common()))

    def _own_queues(self) -> list[LocalQueue]:
        return _queues_of([keeper.project for keeper in self._keepers])


def _below(folder: Path, paths: Iterable[Path]) -> list[str]:
    """Return the paths in a folder, as a person in the current folder writes them."""
    inside = folder.resolve()
    return sorted(os.path.relpath(path) for path in paths if path.resolve().is_relative_to(inside))


def _queues_of(projects: Sequence[Project]) -> list[LocalQueue]:
    """Return the queues of all projects; one that several have, once."""
    return list({queue.name: queue for project in projects for queue in project.queues}.values())


def _rabbitmq_queues(projects: Sequence[Project]) -> dict[str, Mapping[str, Any]]:
    return {name: options for item in projects for name, options in item.rabbitmq.items()}


def _tell(
    record: servers.ServerRecord, projects: Sequence[Project], say: Say, *, embedded: bool
) -> None:
    """Say what runs where, and with which queues."""
    if record.rabbitmq is not None:
        say(f"RabbitMQ runs on {record.rabbitmq}", "broker", url=record.rabbitmq)
    if record.rabbitmq is None or record.queues:
        what = "SQS and SNS run" if embedded else "using the server"
        say(f"{what} on {record.url}", "server", url=record.url, embedded=embedded)
    for queue in _queues_of(projects):
        say(f"queue {_describe(queue)}", "queue", **_facts(queue))
    for name in [name for project in projects for name in project.rabbitmq]:
        say(f"queue {name} of RabbitMQ", "queue", name=name)


def _record(url: str, projects: Sequence[Project]) -> servers.ServerRecord:
    return servers.ServerRecord(
        url,
        " and ".join(project.package for project in projects),
        queues=[
            name
            for queue in _queues_of(projects)
            for name in (queue.name, queue.dead_letter_queue)
            if name
        ],
        topics=sorted({queue.topic for queue in _queues_of(projects) if queue.topic}),
    )


def _send(queues: LocalQueues, queue: LocalQueue, body: str) -> str:
    return queues.publish(queue.topic, body) if queue.topic else queues.send(queue.name, body)


def _facts(queue: LocalQueue) -> dict[str, object]:
    """Return what an event says of a queue; what the server applies beside stands in the spec."""
    facts = asdict(queue)
    del facts["attributes"], facts["subscription"]
    return facts


def _describe(queue: LocalQueue) -> str:
    parts = [queue.name]
    if queue.topic:
        parts.append(f"subscribed to topic {queue.topic}")
    if queue.dead_letter_queue:
        parts.append(f"after {queue.max_receive_count} attempts to {queue.dead_letter_queue}")
    return ", ".join(parts)
