"""Supervisor: runs a service in several processes, and replaces those that end, hang or grow.

The parent imports the service and runs nothing of it. It starts the children with its own command
line, asks each of them over a control socket of its own, and speaks for all of them.
"""

import asyncio
import contextlib
import json
import logging
import math
import os
import signal
import tempfile
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loafer_kit.engine.flow import full_jitter
from loafer_kit.exceptions import SettingError
from loafer_kit.logs import log_event
from loafer_kit.operations.control import CONTROL_VARIABLE
from loafer_kit.operations.crew import (
    PARENT_VARIABLE,
    Child,
    Crew,
    cores,
    follow_parent,
    memory_of,
    reap,
    start_process,
)
from loafer_kit.operations.health import STOP_MARGIN
from loafer_kit.operations.monitors import (
    FIRST_VARIABLE,
    HTTP_VARIABLE,
    http_address,
    serving_faces,
)
from loafer_kit.operations.probe import HEALTH_VARIABLE, STALLED
from loafer_kit.operations.recorder import recorder_of
from loafer_kit.runners import LoaferRunner, on_signals
from loafer_kit.services import Service

logger = logging.getLogger(__name__)

#: The variables of the environment: how many processes ("auto": one for each core), and the most
#: memory that a process may use, in MiB.
PROCESSES_VARIABLE, MEMORY_VARIABLE = "LOAFER_PROCESSES", "LOAFER_MAX_RSS"

_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """When the parent acts; durations are in seconds."""

    #: Between two looks at a child.
    look_every: float = 1.0
    #: Without an answer: the child hangs. The first one takes longer.
    stalled: float = STALLED
    first_answer: float = 120.0
    #: The first and the longest pause before a child that ended is replaced.
    backoff: float = 0.5
    longest_backoff: float = 30.0
    #: So many children ended in a row, none of which lived for `stable`: the service ends.
    most_crashes: int = 5
    stable: float = 60.0
    #: The age from which a child that uses too much memory is replaced.
    grown_up: float = 10.0


class Supervisor:
    """Keeps `count` processes of a service running, and speaks for all of them."""

    def __init__(
        self,
        service: Service,
        count: int,
        *,
        grace_time: float,
        max_rss: int | None = None,
    ) -> None:
        self._address = http_address(service.monitor.address if service.monitor else None)
        self._crew = Crew(count, recorder_of(service).snapshot())
        self._grace_time = grace_time
        self._max_rss = max_rss
        self._limits = Limits()
        self._folder = Path()
        self._tasks: set[asyncio.Task[object]] = set()
        self._started = 0
        self._crashes = 0
        self._restart_at = -math.inf
        self._stop_requests = 0
        self._exit_code = 0
        self._woken = asyncio.Event()

    async def run(self) -> int:
        """Run until a signal or a crash loop; return the exit code."""
        with tempfile.TemporaryDirectory(prefix="loafer-kit-") as folder:  # mode 0700
            self._folder = Path(folder)
            crew = self._crew
            actions = {**crew.actions(), "drain": self._drain}
            faces = serving_faces(crew, crew.snapshot, actions, self._address)
            async with faces:
                with on_signals(asyncio.get_running_loop(), self._handlers()):
                    await self._keep()
        return self._exit_code

    async def _keep(self) -> None:
        log_event(logger, logging.INFO, "supervisor.started", {"processes": self._crew.count})
        while True:
            self._woken.clear()
            self._step()
            if self._stop_requests and not self._crew.children:
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), self._limits.look_every / 2)

    def _handlers(self) -> dict[signal.Signals, Callable[[], object]]:
        """Return what each signal does."""
        handlers: dict[signal.Signals, Callable[[], object]] = {
            signal.SIGTERM: self.stop,
            signal.SIGINT: self.stop,
            signal.SIGCHLD: self._woken.set,
            signal.SIGHUP: self.roll,
            signal.SIGTTIN: lambda: self._resize(1),
            signal.SIGTTOU: lambda: self._resize(-1),
            signal.SIGUSR1: self._report_all,
        }
        if not os.isatty(0):
            handlers |= {
                signal.SIGTSTP: lambda: self._begin(self._crew.pause()),
                signal.SIGCONT: lambda: self._begin(self._crew.resume()),
            }
        return handlers

    # What an operator asks for

    def stop(self) -> None:
        """Drain all children; the second request ends them at once, the third kills them."""
        self._stop_requests += 1
        self._crew.stopping = True
        self._woken.set()
        log_event(logger, logging.INFO, "supervisor.stopping", {"request": self._stop_requests})
        for child in list(self._crew.children):
            if self._stop_requests == 1:
                self._end(child)
            elif self._stop_requests == 2:  # noqa: PLR2004 - the second
                child.end_now()
            else:
                child.process.kill()

    def roll(self) -> None:
        """Replace each child: a new one is ready before the old one drains."""
        for child in self._crew.children:
            child.outdated = not child.leaves
        log_event(logger, logging.INFO, "supervisor.rolling", {})
        self._woken.set()

    def _drain(self, pid: int | None = None) -> None:
        if pid is None:
            self.stop()
        else:
            self._end(self._crew.child(pid))

    def _resize(self, by: int) -> None:
        self._crew.count = max(1, self._crew.count + by)
        log_event(logger, logging.INFO, "supervisor.resized", {"processes": self._crew.count})
        self._woken.set()

    def _report_all(self) -> None:
        for child in self._crew.children:
            if child.answered is not None:  # before that, the signal would kill it
                child.process.send_signal(signal.SIGUSR1)

    def _begin(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log_event(logger, logging.ERROR, "supervisor.error", {}, str(error))

    # One look at the children

    def _step(self) -> None:
        now = time.monotonic()
        reap({child.pid: child for child in self._crew.children})
        for child in list(self._crew.children):
            if (code := child.process.returncode) is not None:
                self._ended(child, code, now)
        for child in self._crew.children:
            self._look_at(child, now)
        if not self._stop_requests:
            self._replace_next(now)
            self._start_missing(now)

    def _ended(self, child: Child, code: int, now: float) -> None:
        self._crew.remove(child)
        os.close(child.lifeline)
        code = 128 - code if code < 0 else code
        asked = child.leaves or bool(self._stop_requests)
        facts = {"pid": child.pid, "code": code, "after": child.age}
        log_event(logger, logging.INFO if asked else logging.ERROR, "process.ended", facts)
        if asked:
            if self._stop_requests and code not in (0, 128 + signal.SIGTERM):
                self._exit_code = self._exit_code or code
            return
        if child.replaces is not None:
            why = "the new process has ended; the old ones stay"
            log_event(logger, logging.ERROR, "supervisor.roll_failed", {}, why)
            for other in self._crew.children:
                other.outdated = False
            return
        self._crashed(child, code, now)

    def _crashed(self, child: Child, code: int, now: float) -> None:
        limits = self._limits
        self._crashes = 1 if child.age >= limits.stable else self._crashes + 1
        is_loop = self._crashes >= limits.most_crashes
        if is_loop and not any(other.age >= limits.stable for other in self._crew.children):
            why = (
                f"{self._crashes} processes have ended by themselves, the last one with exit code "
                f"{code}; its message stands above"
            )
            facts = {"crashes": self._crashes, "code": code}
            log_event(logger, logging.CRITICAL, "supervisor.crash_loop", facts, why)
            self._exit_code = code
            self.stop()
            return
        pause = full_jitter(self._crashes - 1, base=limits.backoff, cap=limits.longest_backoff)
        self._restart_at = now + pause

    def _look_at(self, child: Child, now: float) -> None:
        limits = self._limits
        if child.killed:
            return
        if now >= child.kill_at:
            self._kill(child, f"it has not ended within {self._grace_time + STOP_MARGIN:g} s")
        elif child.leaves:
            return
        elif child.answered is None and child.age > limits.first_answer:
            self._kill(child, f"it has not started within {limits.first_answer:g} s")
        elif child.answered is not None and now - child.answered > limits.stalled:
            self._kill(child, f"its event loop has not run for {now - child.answered:.0f} s")
        elif child.problems:
            _report(child, "process.unwell", "; ".join(child.problems))
            self._end(child)
        elif (
            self._max_rss is not None
            and not child.outdated
            and child.age >= limits.grown_up
            and (used := memory_of(child.pid)) > self._max_rss * _MIB
        ):
            why = f"it uses {used / _MIB:.0f} MiB; {MEMORY_VARIABLE} allows {self._max_rss}"
            _report(child, "process.too_large", why)
            child.outdated = True

    def _replace_next(self, now: float) -> None:
        """Start the replacement of the next child that is outdated; end the child when it is ready."""
        for new in self._crew.children:
            if new.replaces is not None and new.is_ready:
                old, new.replaces = new.replaces, None
                old.outdated = False
                if not old.leaves and old in self._crew.children:
                    self._end(old)
        outdated = [child for child in self._crew.children if child.outdated]
        under_way = any(child.replaces for child in self._crew.children)
        if outdated and not under_way and now >= self._restart_at:
            self._start(replaces=outdated[0])

    def _start_missing(self, now: float) -> None:
        kept = [child for child in self._crew.children if not child.leaves and not child.replaces]
        for child in kept[self._crew.count :]:
            self._end(child)
        for _ in range(self._crew.count - len(kept)):
            if now >= self._restart_at:
                self._start()

    def _start(self, replaces: Child | None = None) -> None:
        self._started += 1
        socket = self._folder / f"{self._started}.socket"
        environment = {
            CONTROL_VARIABLE: str(socket),
            FIRST_VARIABLE: json.dumps(list(self._crew.standing.values())),
            HTTP_VARIABLE: "",
            HEALTH_VARIABLE: "",
        }
        try:
            child = Child(*start_process(environment), socket, replaces)
        except OSError as error:  # no memory, or too many processes
            self._restart_at = time.monotonic() + self._limits.longest_backoff
            why = f"{error.strerror}; trying again in {self._limits.longest_backoff:g} s"
            log_event(logger, logging.ERROR, "supervisor.cannot_start", {}, why)
            return
        self._crew.children.append(child)
        limits = self._limits
        self._begin(self._crew.follow(child, limits.look_every, limits.stalled, self._woken.set))

    def _end(self, child: Child) -> None:
        """Have a child drain."""
        if not child.leaves:
            child.leaves = True
            child.kill_at = time.monotonic() + self._grace_time + STOP_MARGIN
            child.process.terminate()

    def _kill(self, child: Child, why: str) -> None:
        _report(child, "process.killed", why)
        child.killed = True
        child.process.kill()


def _report(child: Child, event: str, why: str) -> None:
    log_event(logger, logging.ERROR, event, {"pid": child.pid, "reason": why}, why)


def supervise(service: Service, runner: LoaferRunner, grace_time: float) -> bool:
    """In a parent, run the service in children to their end, and return True.

    In a child, tie it to its parent and return False. Raises `SettingError` for wrong variables,
    and `SystemExit` if the service has failed.
    """
    if lifeline := os.environ.pop(PARENT_VARIABLE, None):
        os.environ.pop(PROCESSES_VARIABLE, None)
        follow_parent(int(lifeline), runner, grace_time)
        return False
    count = processes_of(os.environ.get(PROCESSES_VARIABLE))
    max_rss = memory_limit(os.environ.get(MEMORY_VARIABLE))
    supervisor = Supervisor(service, count, grace_time=grace_time, max_rss=max_rss)
    if code := asyncio.run(supervisor.run()):
        raise SystemExit(code)
    return True


def processes_of(text: str | None) -> int:
    """Return how many processes a text asks for. Raises `SettingError` for another text."""
    if text == "auto":
        return cores()
    try:
        count = int(text or "1")
    except ValueError:
        count = 0
    if count < 1:
        raise SettingError(
            f"{PROCESSES_VARIABLE} must be a whole number of at least 1, or auto, not {text!r:.40}."
        )
    return count


def memory_limit(text: str | None) -> int | None:
    """Return the MiB that a text names; None without one. Raises `SettingError` for another text."""
    if not text:
        return None
    if not text.isascii() or not text.isdecimal() or int(text) == 0:
        raise SettingError(f"{MEMORY_VARIABLE} must be a whole number of MiB, not {text!r}.")
    if not memory_of(os.getpid()):
        raise SettingError(f"{MEMORY_VARIABLE} needs /proc, which this system does not have.")
    return int(text)
