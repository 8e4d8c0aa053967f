"""ServiceKeeper: keeps one service running, and starts it again after a change of its files."""

import asyncio
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from loafer_kit.exceptions import ConfigurationError, LoaferKitError
from loafer_kit.local import records
from loafer_kit.local.processes import ServiceProcess, Style
from loafer_kit.local.queues import LocalQueue
from loafer_kit.local.tallies import Delivery


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
                "LOAFER_CONTROL": str(records.control_path(self.project.package)),
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
