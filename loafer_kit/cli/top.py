"""`loafer-kit top`: shows a running service on the terminal, as it changes."""

import asyncio
import contextlib
import os
import sys
import termios
import tty
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live

from loafer_kit.cli.ctl import Socket, find
from loafer_kit.cli.terminal.options import Json
from loafer_kit.cli.terminal.output import print_exactly, say_json
from loafer_kit.cli.terminal.picture import Screen, as_text, view
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.operations.control import ControlError, ask

#: Seconds between two questions about the queues, which cost requests.
_QUEUES_EVERY = 5.0

_KEYS = "j/k choose  p pause  r resume  s stack  q quit"


def top(
    *,
    socket: Socket = None,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Print one picture, and end.")] = False,
    json: Json = False,
) -> None:
    """Watch a running service, and steer it by keys.

    Shows routes and queues: what runs, how fast, how long, since when, with which outcomes. Keys
    choose a route, pause it, resume it and show where its handlers stand. Without a terminal it
    prints one picture.
    """
    path = find(socket)
    if json or once or not (sys.stdin.isatty() and sys.stdout.isatty()):
        status, queues = asyncio.run(_ask_both(path))
        if json:
            say_json({"status": status, "queues": queues})
        else:
            print_exactly(as_text(status, queues))
        return
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_watch(path, interval))


async def _ask_both(path: Path) -> tuple[Any, Any]:
    return await ask(path, "status"), await ask(path, "queues")


@dataclass(slots=True)
class _Top:
    """The state of a running `top`."""

    path: Path
    screen: Screen = field(default_factory=lambda: Screen(keys=_KEYS))
    queues_at: float = -_QUEUES_EVERY
    #: Whether the service did not answer the last time.
    away: bool = False

    async def look(self) -> None:
        """Ask the service how it is; a service that is away is a note."""
        loop = asyncio.get_running_loop()
        try:
            status = await ask(self.path, "status")
            self.change(status=status, note="" if self.away else self.screen.note)
            self.away = False
            if loop.time() - self.queues_at >= _QUEUES_EVERY:
                self.queues_at = loop.time()
                self.change(queues=await ask(self.path, "queues"))
        except ControlError as error:
            self.away = True
            self.change(note=str(error))

    async def press(self, key: str) -> bool:
        """Do what a key means; return False to quit."""
        if key in ("q", "\x03", "\x04"):
            return False
        self.change(note="", stacks=None)
        if key in ("j", "k", "\x1b[B", "\x1b[A"):
            step = 1 if key in ("j", "\x1b[B") else -1
            self.change(selected=self.screen.selected + step)
        elif (route := self.screen.route) is not None:
            try:
                if key == "p":
                    await ask(self.path, "pause", route=route)
                    self.change(note=f"paused: {route}")
                elif key == "r":
                    await ask(self.path, "resume", route=route)
                    self.change(note=f"resumed: {route}")
                elif key == "s":
                    self.change(stacks=tuple(await ask(self.path, "dump", route=route)))
            except ControlError as error:
                self.change(note=str(error))
        return True

    def change(self, **members: Any) -> None:
        """Show something else."""
        self.screen = replace(self.screen, **members)


async def _watch(path: Path, interval: float) -> None:
    running = _Top(path)
    await running.look()
    if running.screen.status is None:
        raise ConfigurationError(running.screen.note)
    keys: asyncio.Queue[str] = asyncio.Queue()
    console = Console()
    with _single_keys(keys), Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(view(running.screen, console.width), refresh=True)
            key = None
            with contextlib.suppress(TimeoutError):
                key = await asyncio.wait_for(keys.get(), interval)
            if key is not None and not await running.press(key):
                return
            await running.look()


@contextlib.contextmanager
def _single_keys(keys: asyncio.Queue[str]) -> Iterator[None]:
    """Put each key that is pressed into `keys`; restore the terminal at the end."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    loop = asyncio.get_running_loop()

    def read() -> None:
        pressed = os.read(terminal, 64).decode(errors="replace")
        keys.put_nowait(pressed or "q")  # the terminal is gone

    tty.setcbreak(terminal)
    loop.add_reader(terminal, read)
    try:
        yield
    finally:
        loop.remove_reader(terminal)
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
