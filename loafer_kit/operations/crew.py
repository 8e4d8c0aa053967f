"""Crew: the processes of one service, which a parent starts, asks, measures and shows as one."""

import asyncio
import contextlib
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from loafer_kit.operations.control import RECENT, Actions, ControlError, ask
from loafer_kit.operations.health import STOP_MARGIN, State
from loafer_kit.operations.snapshot import Snapshot, lasting, merged
from loafer_kit.runners import LoaferRunner

#: Actions whose effect new children inherit.
_STANDING = ("pause", "resume", "rate", "concurrency")

#: Seconds that a child gets to answer what an operator asks.
_ANSWER_TIME = 5.0

#: The pipe that tells a child that its parent has ended; only children have this variable.
PARENT_VARIABLE = "_LOAFER_PARENT"


@dataclass(slots=True, eq=False)
class Child:
    """One process of the service."""

    process: subprocess.Popen[bytes]
    #: The end of the pipe that the child watches.
    lifeline: int
    socket: Path
    #: The child whose place it takes when it is ready.
    replaces: "Child | None" = None
    started: float = field(default_factory=time.monotonic)
    #: When it answered last, and what it said.
    answered: float | None = None
    snapshot: Snapshot | None = None
    problems: list[str] = field(default_factory=list)
    unready: list[str] = field(default_factory=list)
    #: Whether it is to be replaced.
    outdated: bool = False
    #: Whether it has been told to end, and when it is killed.
    leaves: bool = False
    kill_at: float = math.inf
    killed: bool = False

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self.process.pid

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self.started

    @property
    def is_ready(self) -> bool:
        """Whether it handles messages."""
        return self.snapshot is not None and self.snapshot.state == "ready"

    def end_now(self) -> None:
        """Have it release the messages in hand instead of finishing them."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self.lifeline, b"!")


class Crew:
    """The children of a parent. It is what the pages, the health file and the socket show."""

    def __init__(self, count: int, parent: Snapshot) -> None:
        #: How many children there should be.
        self.count = count
        self._began = time.monotonic()
        self.children: list[Child] = []
        self.stopping = False
        #: What operators have changed, and new children have to do first.
        self.standing: dict[tuple[str, str], dict[str, Any]] = {}
        #: What the parent and children that have ended count.
        self._departed = parent
        #: The routes that `pause` has paused.
        self._paused: list[str] = []

    def remove(self, child: Child) -> None:
        """Take a child out that has ended; what it counted stays."""
        self.children.remove(child)
        if child.snapshot is not None:
            self._departed = merged([self._departed, lasting(child.snapshot)])

    @property
    def state(self) -> State:
        """Ready when as many children are as there should be."""
        if self.stopping:
            return "stopping"
        ready = sum(child.is_ready and not child.leaves for child in self.children)
        return "ready" if ready >= self.count else "starting"

    def problems(self) -> list[str]:
        """Return the problems of all children."""
        return _named((child, child.problems) for child in self.children)

    def unready(self) -> list[str]:
        """Return what all children wait for."""
        return _named((child, child.unready) for child in self.children)

    def snapshot(self) -> Snapshot:
        """Return what all children do, as it was within the last second."""
        return self._together(
            child.snapshot for child in self.children if child.snapshot is not None
        )

    def _together(self, snapshots: Iterable[Snapshot]) -> Snapshot:
        uptime = time.monotonic() - self._began
        return replace(merged([*snapshots, self._departed]), state=self.state, uptime=uptime)

    async def follow(
        self, child: Child, every: float, patience: float, answered: Callable[[], object]
    ) -> None:
        """Ask a child how it is, until it ends."""
        while child in self.children:
            with contextlib.suppress(ControlError, TimeoutError):
                async with asyncio.timeout(patience):
                    vitals = await ask(child.socket, "vitals")
                    if child.answered is None:  # what was asked for while it started
                        for request in list(self.standing.values()):
                            await ask(child.socket, **request)
                child.answered = time.monotonic()
                child.problems, child.unready = vitals["problems"], vitals["unready"]
                child.snapshot = Snapshot.of(vitals["snapshot"])
                answered()
            await asyncio.sleep(every)

    def actions(self) -> Actions:
        """Return what an operator can ask of all children, or of one by its process id."""
        names = ("status", "recent", "queues", "dump", *_STANDING)
        return {name: partial(self._perform, name) for name in names}

    async def _perform(self, action: str, pid: int | None = None, **parameters: object) -> Any:
        if pid is not None:
            return await self._ask(self.child(pid), action, parameters)
        return await self._ask_all(action, parameters)

    async def pause(self) -> None:
        """Pause the routes that are not paused."""
        routes = [route for route in self.snapshot().routes if route.slots]
        names = {route.name for route in routes} - {route.name for route in routes if route.paused}
        self._paused += names
        for name in names:
            await self._ask_all("pause", {"route": name})

    async def resume(self) -> None:
        """Resume the routes that `pause` has paused."""
        paused, self._paused = self._paused, []
        for name in paused:
            await self._ask_all("resume", {"route": name})

    def child(self, pid: object) -> Child:
        """Return the child with this process id; raise `ControlError` if there is none."""
        for child in self.children:
            if child.pid == pid:
                return child
        known = ", ".join(str(child.pid) for child in self.children)
        raise ControlError(f"There is no process {pid!r}; there are: {known}")

    async def _ask(self, child: Child, action: str, parameters: Mapping[str, object]) -> Any:
        try:
            async with asyncio.timeout(_ANSWER_TIME):
                return await ask(child.socket, action, **parameters)
        except TimeoutError:
            raise ControlError(
                f"Process {child.pid} has not answered within {_ANSWER_TIME:g} s."
            ) from None

    async def _ask_all(self, action: str, parameters: dict[str, object]) -> Any:
        steers = action in _STANDING
        children = [
            child
            for child in self.children
            if child.answered is not None and not (steers and child.leaves)
        ]
        if not children:
            raise ControlError("No process has started yet: try again.")
        asked = children[:1] if action == "queues" else children
        answers = await asyncio.gather(
            *(self._ask(child, action, parameters) for child in asked), return_exceptions=True
        )
        results, errors = [], []
        for child, answer in zip(asked, answers, strict=True):
            if isinstance(answer, BaseException):
                errors += [] if child.leaves or child not in self.children else [answer]
            else:
                results.append((child, answer))
        if steers and results:
            self._remember(action, parameters)
        if errors and (steers or not results):
            raise errors[0]
        if not results:
            raise ControlError("The processes are ending: try again.")
        return self._joined(action, results)

    def _remember(self, action: str, parameters: dict[str, object]) -> None:
        """Have later children do it first; a later change of the same kind replaces it."""
        kind = "pause" if action == "resume" else action
        route = parameters.get("route")
        if route is not None:
            self.standing[kind, str(route)] = {"action": action, **parameters}
            return
        self.standing = {key: asked for key, asked in self.standing.items() if key[0] != kind}

    def _joined(self, action: str, results: list[tuple[Child, Any]]) -> Any:
        answers = [answer for _, answer in results]
        if action == "status":
            processes = [
                {
                    "pid": child.pid,
                    **{name: found[name] for name in ("state", "uptime", "loop_lag")},
                    "memory": memory_of(child.pid),
                }
                for child, found in results
            ]
            together = self._together(map(Snapshot.of, answers))
            routes = tuple(route for route in together.routes if route.slots)  # those that run
            return {**replace(together, routes=routes).as_dict(), "processes": processes}
        if action == "recent":
            everything = [message for answer in answers for message in answer]
            return sorted(everything, key=lambda message: message["time"])[-RECENT:]
        if action == "dump":
            return [{"pid": child.pid, **call} for child, answer in results for call in answer]
        return answers[0]


def _named(lines: Iterable[tuple[Child, list[str]]]) -> list[str]:
    return [f"process {child.pid}: {line}" for child, found in lines for line in found]


def start_process(environment: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], int]:
    """Run the command line of this process again; return the end of its lifeline too."""
    watched, lifeline = os.pipe()
    # Ctrl-C reaches the children by the terminal, and would cut their drain short. It waits until
    # `follow_parent` ignores it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        process = subprocess.Popen(  # noqa: S603 - our own command, without a shell
            [sys.executable, *sys.orig_argv[1:]],
            env={**os.environ, **environment, PARENT_VARIABLE: str(watched)},
            stdin=subprocess.DEVNULL,
            pass_fds=[watched],
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(watched)
    return process, lifeline


def cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return the cores that this process may use: a container often has fewer than the machine."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        most, period = quota.read_text().split()
        count = min(count, math.ceil(int(most) / int(period)))
    return max(1, count)


def memory_of(pid: int) -> int:
    """Return the bytes of memory that a process uses; 0 if that is not known."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def reap(children: Mapping[int, Child]) -> None:
    """Take note of children that have ended; as PID 1, reap the orphans of others too."""
    for child in children.values():
        child.process.poll()
    if os.getpid() != 1:
        return
    for pid in _ended_processes():
        if pid in children:
            children[pid].process.poll()
        else:
            os.waitpid(pid, 0)


def _ended_processes() -> Iterator[int]:
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            yield found.si_pid


def follow_parent(lifeline: int, runner: LoaferRunner, grace_time: float) -> None:
    """Drain when the parent ends, however it ends; leave Ctrl-C to the parent."""
    os.set_inheritable(lifeline, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    runner.has_parent = True

    def watch() -> None:
        while os.read(lifeline, 1):
            with contextlib.suppress(RuntimeError):  # the loop is closed
                runner.loop.call_soon_threadsafe(runner.stop_now)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace_time + STOP_MARGIN)
        os._exit(1)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
