"""Development: a run of `loafer-kit dev`, a service and its queues on one machine."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Protocol, Self

from loafer_kit.exceptions import ConfigurationError, LoaferKitError
from loafer_kit.local import records
from loafer_kit.local.environments import child_environment
from loafer_kit.local.queues import LocalQueue, LocalQueues
from loafer_kit.local.servers import LocalServer

#: Seconds between two checks of the queues, and between two reports of how many messages are left.
_LOOK_EVERY, _REPORT_EVERY = 0.2, 5.0

#: Receives after which `once` does not wait for a message of a queue without a dead-letter queue.
_ATTEMPTS = 5

#: A service drains at the first SIGTERM and ends at once at the second; then it is killed.
_POLITE_REQUESTS = 2

Waiting = Callable[[str], contextlib.AbstractContextManager[object]]


class Say(Protocol):
    """Reports what happens: as text for a person, as an event with details for a machine."""

    def __call__(self, text: str, event: str, **details: object) -> object:
        """Report one event."""


@dataclass(frozen=True, slots=True)
class Project:
    """A service in development: its package, the folder above it, and its queues."""

    package: str
    folder: Path
    queues: Sequence[LocalQueue]

    def queue(self, name: str) -> LocalQueue:
        """Return the queue with this name."""
        for queue in self.queues:
            if queue.name == name:
                return queue
        names = ", ".join(queue.name for queue in self.queues)
        raise ConfigurationError(f"{self.package} has no queue {name!r}; it has: {names}")


@dataclass(frozen=True, slots=True)
class Development:
    """One run of a project: the messages to send first, and when to end.

    With `once` it ends when the service has started and its queues are empty, except for messages
    that failed five times and have no dead-letter queue.
    `endpoint_url` is a running server; by default an embedded one is started.
    `service_output` receives the service's standard output, by default this process's does.
    """

    project: Project
    messages: Sequence[tuple[str, str]] = ()
    once: bool = False
    endpoint_url: str | None = None
    service_output: IO[str] | None = None

    def run(self, say: Say, waiting: Waiting = contextlib.nullcontext) -> None:
        """Run until a signal, until the queues are empty with `once`, or until the service ends.

        `waiting(text)` is entered while the server starts. Raises `LoaferKitError` if the service
        failed.
        """
        for name, _ in self.messages:
            self.project.queue(name)
        with contextlib.ExitStack() as stack:
            server, url = None, self.endpoint_url
            with waiting("preparing the queues"):
                if url is None:
                    server = stack.enter_context(LocalServer())
                    url = server.url
                queues = stack.enter_context(contextlib.closing(LocalQueues(url)))
                queues.create(*self.project.queues)
            stack.enter_context(records.announce(self._record(url)))
            what = "SQS and SNS run" if server else "using the server"
            say(f"{what} on {url}", "server", url=url, embedded=server is not None)
            for queue in self.project.queues:
                say(f"queue {_describe(queue)}", "queue", **asdict(queue))
            for name, body in self.messages:
                message_id = self._send(queues, name, body)
                say(f"sent to {name}: {body}", "sent", queue=name, message_id=message_id)
            asyncio.run(self._supervise(queues, server, say))

    def _record(self, url: str) -> records.ServerRecord:
        queues = self.project.queues
        return records.ServerRecord(
            url,
            self.project.package,
            topics={queue.name: queue.topic for queue in queues if queue.topic},
            queues=[
                name for queue in queues for name in (queue.name, queue.dead_letter_queue) if name
            ],
        )

    def _send(self, queues: LocalQueues, name: str, body: str) -> str:
        topic = self.project.queue(name).topic
        return queues.publish(topic, body) if topic else queues.send(name, body)

    async def _supervise(self, queues: LocalQueues, server: LocalServer | None, say: Say) -> None:
        package = self.project.package
        service = await ServiceProcess.start(
            package, self.project.folder, child_environment(queues.url), self.service_output
        )
        text = f"started python -m {package} (pid {service.pid}); Ctrl-C ends it"
        say(text, "started", package=package, pid=service.pid)

        def end() -> None:
            service.end()
            if server is not None:
                server.release_polls()

        with _signals(end):
            watch = asyncio.create_task(self._end_when_empty(queues, server, end, say))
            try:
                code = await service.wait()
            finally:
                watch.cancel()
        if watch.done():
            watch.result()
        if left_over := self._left_over(server):
            raise LoaferKitError(f"Failed {_ATTEMPTS} times: {', '.join(left_over)}")
        if service.told_to_end and code in (0, -signal.SIGTERM):
            say("ended", "ended", by_itself=False)
        elif code:
            raise LoaferKitError(f"{package} ended with exit code {code}")
        else:
            say(f"{package} ended by itself", "ended", by_itself=True)

    async def _end_when_empty(
        self, queues: LocalQueues, server: LocalServer | None, end: Callable[[], None], say: Say
    ) -> None:
        if not self.once:
            return
        loop = asyncio.get_running_loop()
        report_at = loop.time() + _REPORT_EVERY
        while True:
            try:
                left = await asyncio.to_thread(self._left, queues, server)
            except LoaferKitError:
                end()
                raise
            if not left and (server is None or server.was_polled):
                break
            if left and loop.time() >= report_at:
                say(f"waiting for {', '.join(left)}", "waiting", left=left)
                report_at += _REPORT_EVERY
            await asyncio.sleep(_LOOK_EVERY)
        failed = self._left_over(server)
        text = "nothing is left to do" if failed else "the queues are empty"
        say(text, "done", failed=failed)
        end()

    def _left(self, queues: LocalQueues, server: LocalServer | None) -> list[str]:
        counts = {queue: queues.counts(queue.name) for queue in self.project.queues}
        return [
            f"{count} in {queue.name}"
            for queue, count in counts.items()
            if count.total > _failed_for_good(queue, server)
        ]

    def _left_over(self, server: LocalServer | None) -> list[str]:
        numbers = {queue.name: _failed_for_good(queue, server) for queue in self.project.queues}
        return [
            f"{number} in {name}, which has no dead-letter queue"
            for name, number in numbers.items()
            if number and self.once
        ]


def _failed_for_good(queue: LocalQueue, server: LocalServer | None) -> int:
    """Return how many messages of a queue failed too often and have no dead-letter queue."""
    if server is None or queue.dead_letter_queue:
        return 0
    return server.received_more_than(_ATTEMPTS, queue.name)


def _describe(queue: LocalQueue) -> str:
    parts = [queue.name]
    if queue.topic:
        parts.append(f"subscribed to topic {queue.topic}")
    if queue.dead_letter_queue:
        parts.append(f"after {queue.max_receive_count} attempts to {queue.dead_letter_queue}")
    return ", ".join(parts)


@contextlib.contextmanager
def _signals(handler: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


class ServiceProcess:
    """A process that runs `python -m package` in `folder`; it ends when this process ends.

    It has its own session, so that a Ctrl-C on the terminal does not reach it.
    """

    def __init__(self, process: asyncio.subprocess.Process, lifeline: int) -> None:
        self._process = process
        self._lifeline = lifeline
        self._requests = 0

    @classmethod
    async def start(
        cls,
        package: str,
        folder: Path,
        environment: Mapping[str, str],
        output: IO[str] | None = None,
    ) -> Self:
        """Start the service; `output` receives its standard output, by default this process's does."""
        child_end, own_end = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "loafer_kit.local.launcher",
                package,
                str(child_end),
                cwd=folder,
                env={"PYTHONUNBUFFERED": "1", **environment},
                stdout=output,
                pass_fds=[child_end],
                start_new_session=True,
            )
        finally:
            os.close(child_end)
        return cls(process, own_end)

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
            return await self._process.wait()
        finally:
            if self._process.returncode is None:
                self._process.kill()
            os.close(self._lifeline)
