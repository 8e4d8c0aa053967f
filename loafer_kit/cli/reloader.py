"""The reloader: a service in a child process, started anew when its files change."""

import asyncio
import contextlib
import importlib.util
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from loafer_kit.cli.printing import say
from loafer_kit.cli.service_path import ServiceNotFound, put_current_directory_first
from loafer_kit.exceptions import MissingExtraError

_SUFFIXES = (".ini", ".toml")


def run_reloading(application_path: str, options: Sequence[str]) -> int:
    """Run `loafer-kit run` with `options` in a child until a signal ends both; return its exit code."""
    command = [sys.executable, "-m", "loafer_kit", "run", application_path, *options]
    changes = watch(root_of(application_path))
    return asyncio.run(Reloader(command).run(changes))


def root_of(application_path: str) -> Path:
    """Return the directory to watch: the current one, or the module's own where it is elsewhere."""
    put_current_directory_first()
    top_level = application_path.partition(":")[0].partition(".")[0]
    spec = importlib.util.find_spec(top_level) if top_level.isidentifier() else None
    places = spec and ([spec.origin] if spec.origin else spec.submodule_search_locations)
    if not places:
        raise ServiceNotFound(f"There is no module {top_level!r} in {Path.cwd()} to run")
    place = Path(next(iter(places)))
    directory = place if place.is_dir() else place.parent
    return Path.cwd() if directory.is_relative_to(Path.cwd()) else directory


def watch(root: Path) -> AsyncIterator[list[str]]:
    """Yield the names of the source and configuration files under `root` that change."""
    try:
        from watchfiles import PythonFilter, awatch
    except ImportError as error:
        raise MissingExtraError("The reloader", "reload") from error
    batches = awatch(root, watch_filter=PythonFilter(extra_extensions=_SUFFIXES))
    return (sorted({os.path.relpath(path) for _, path in batch}) async for batch in batches)


class Reloader:
    """Keeps one child process running `command`, and restarts it after each change.

    A child is drained (SIGTERM) before the next one starts. One that has ended by itself, because
    of a syntax error for instance, is started again after the next change. A signal is passed on
    to the child, and its end is the end.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._child: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()

    async def run(self, changes: AsyncIterator[list[str]]) -> int:
        """Run until SIGINT or SIGTERM; return the exit code of the last child."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signalled, number)
        stop = loop.create_task(self._stopping.wait())
        change = asyncio.ensure_future(anext(changes))  # watch before the child is there to change
        try:
            while not stop.done():
                child = self._child = await asyncio.create_subprocess_exec(*self._command)
                ended = loop.create_task(child.wait())
                await asyncio.wait({change, ended, stop}, return_when=asyncio.FIRST_COMPLETED)
                if ended.done() and not (change.done() or stop.done()):
                    _say(
                        f"the service has ended with exit code {_exit_code(child)}: waiting for a change"
                    )
                    await asyncio.wait({change, stop}, return_when=asyncio.FIRST_COMPLETED)
                if change.done() and not stop.done():
                    _say(f"{', '.join(change.result())} changed: restarting")
                    change = asyncio.ensure_future(anext(changes))
                    self._send(signal.SIGTERM)
                await ended
            return _exit_code(child)
        finally:
            await _cancelled(change, stop)
            self._send(signal.SIGTERM)

    def _signalled(self, number: signal.Signals) -> None:
        self._stopping.set()
        if number != signal.SIGINT or not _is_in_foreground():
            self._send(number)

    def _send(self, number: signal.Signals) -> None:
        if self._child is not None and self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(number)


def _is_in_foreground() -> bool:
    """Tell whether Ctrl-C reaches the child by itself: a second SIGINT would cut its drain short."""
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False


def _exit_code(child: asyncio.subprocess.Process) -> int:
    code = child.returncode or 0
    return 128 - code if code < 0 else code


async def _cancelled(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _say(text: str) -> None:
    say(f"reloader: {text}", err=True)
