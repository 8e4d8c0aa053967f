"""The processes of one service: how a parent starts, measures and reaps them, and how they follow it."""

import contextlib
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from loafer_kit.operations.samples import Family
from loafer_kit.operations.states import STOP_MARGIN, State
from loafer_kit.runners import LoaferRunner

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
    answered: float | None = None
    state: State = "starting"
    problems: list[str] = field(default_factory=list)
    unready: list[str] = field(default_factory=list)
    families: list[Family] = field(default_factory=list)
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

    def end_now(self) -> None:
        """Have it release the messages in hand instead of finishing them."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self.lifeline, b"!")


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
