"""`loafer-kit top`: shows a running service on the terminal, as it changes."""

import asyncio
import contextlib
import io
import os
import shutil
import sys
import termios
import tty
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from loafer_kit.cli.ctl import Socket, find
from loafer_kit.cli.terminal.options import Json
from loafer_kit.cli.terminal.output import print_exactly, say_json
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.operations.control import ControlError, ask
from loafer_kit.scaffold.escaping import escape, escape_line

#: Seconds between two questions about the queues, which cost requests.
_QUEUES_EVERY = 5.0

_KEYS = "j/k choose  p pause  r resume  s stack  q quit"

#: Columns of a terminal from which on every column fits, and most do.
_WIDE, _NARROW = 78, 60

#: Columns of a shortened name.
_SHORTEST = 6

_UNKNOWN = "-"

#: Larger numbers are shown in thousands, and larger ones still in millions.
_EXACT, _THOUSANDS = 100_000, 10_000_000

#: A rate from which on its decimals are left out.
_EXACT_RATE = 100


@dataclass(frozen=True, slots=True)
class Screen:
    """What is on the screen."""

    status: Mapping[str, Any] | None = None
    queues: Sequence[Mapping[str, Any]] = ()
    selected: int = 0
    note: str = ""
    #: The handlers of the selected route with their stacks; None: they are not shown.
    stacks: Sequence[Mapping[str, Any]] | None = None
    keys: str = ""

    @property
    def route(self) -> str | None:
        """The name of the selected route."""
        routes = self.status["routes"] if self.status else ()
        return str(routes[self.selected % len(routes)]["name"]) if routes else None


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


# The picture


def as_text(
    status: Mapping[str, Any], queues: Sequence[Mapping[str, Any]] = (), width: int | None = None
) -> str:
    """Return the picture as lines."""
    width = width or shutil.get_terminal_size().columns
    console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(view(Screen(status, queues, selected=-1), width))
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


def view(screen: Screen, width: int) -> RenderableType:
    """Return what a screen of `width` columns shows."""
    parts: list[RenderableType] = []
    if screen.status is not None:
        parts += [_head(screen.status), _routes(screen, width)]
        if screen.queues:
            parts += [Text(), _queues(screen.queues, width)]
            parts += [Text(escape_line(q["error"])) for q in screen.queues if "error" in q]
        if len(processes := screen.status.get("processes", ())) > 1:
            parts += [Text(), _processes(processes, width)]
    for handler in screen.stacks or ():
        title = f"{handler['route']}: {', '.join(handler['message_ids'])}, {_age(handler['age'])}"
        parts += [Text(), _text(title, "bold"), Text(escape(handler["stack"].rstrip()))]
    if screen.stacks == ():
        parts += [Text(), _text("no handler runs")]
    if screen.note:
        parts += [Text(), _text(screen.note, "yellow")]
    if screen.keys:
        parts += [Text(), _text(screen.keys, "dim")]
    return Group(*parts)


def _head(status: Mapping[str, Any]) -> Text:
    version = status["versions"]["service"]
    name = status["service"] + (f" {version}" if version else "")
    parts = [name, status["state"], f"for {_age(status['uptime'])}"]
    if len(status.get("processes", ())) > 1:
        parts.append(f"{len(status['processes'])} processes")
    parts.append(f"loop lag {_seconds(status['loop_lag'])}")
    return _text("  ".join(parts), "bold")


def _routes(screen: Screen, width: int) -> Table:
    routes = screen.status["routes"] if screen.status else ()
    names = ["route", "state", "busy", "held", "/s", "p50", "p95", "oldest", "done", "failed"]
    if width < _WIDE:
        names = ["route", "state", "busy", "/s", "p95", "oldest", "failed"]
    if width < _NARROW:
        names = ["route", "state", "busy", "/s", "oldest"]
    rows, chosen = [], screen.selected % len(routes) if screen.keys and routes else None
    for position, route in enumerate(routes):
        outcomes = route["outcomes"]
        failed = sum(outcomes.get(name, 0) for name in ("retried", "left", "rejected", "lost"))
        cells = {
            "route": f"{'>' if position == chosen else ' '}{escape_line(route['name'])}",
            "state": _state(route),
            "busy": f"{len(route['running'])}/{route['slots']}",
            "held": str(route["backlog"]),
            "/s": f"{route['rate_1m']:.{0 if route['rate_1m'] >= _EXACT_RATE else 1}f}",
            "p50": _seconds(route["durations"]["p50"]),
            "p95": _seconds(route["durations"]["p95"]),
            "oldest": _age(route["running"][0]["age"]) if route["running"] else _UNKNOWN,
            "done": _count(outcomes.get("acknowledged", 0)),
            "failed": _count(failed),
        }
        rows.append([cells[name] for name in names])
    return _table(names, rows, width, chosen)


def _queues(queues: Sequence[Mapping[str, Any]], width: int) -> Table:
    names = ["visible", "in flight", "delayed", "dead"]
    keys = ["visible", "in_flight", "delayed", "dead_letters"]
    if width < _NARROW:
        names.remove("delayed")
        keys.remove("delayed")
    rows = [
        [
            f" {escape_line(name)}",
            *(_count(queue[key]) if key in queue else _UNKNOWN for key in keys),
        ]
        for name, queue in {queue["queue"] or queue["route"]: queue for queue in queues}.items()
    ]
    return _table(["queue", *names], rows, width)


def _processes(processes: Sequence[Mapping[str, Any]], width: int) -> Table:
    rows = [
        [
            f" {process['pid']}",
            process["state"],
            _age(process["uptime"]),
            f"{process['memory'] / 2**20:.0f}M",
            _seconds(process["loop_lag"]),
        ]
        for process in processes
    ]
    return _table(["process", "state", "up", "memory", "lag"], rows, width)


def _table(
    names: Sequence[str], rows: Sequence[Sequence[str]], width: int, chosen: int | None = None
) -> Table:
    """Return a table whose first column gives way when there is no room."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    widths = [max(map(cell_len, column)) for column in zip(names, *rows, strict=True)]
    room = width - sum(other + 1 for other in widths[1:]) - 1
    widths[0] = min(widths[0], max(room, _SHORTEST))
    for position, name in enumerate(names):
        left = position == 0 or name == "state"
        table.add_column(
            name, justify="left" if left else "right", no_wrap=True, width=widths[position]
        )
    for position, row in enumerate(rows):
        table.add_row(*(_text(cell, "reverse" if position == chosen else "") for cell in row))
    return table


def _text(text: str, style: str = "") -> Text:
    return Text(escape_line(text), style=style, overflow="ellipsis", no_wrap=True)


def _state(route: Mapping[str, Any]) -> str:
    names = {"stuck": "stuck", "paused": "paused", "breaker_open": "breaker"}
    found = [word for name, word in names.items() if route[name]]
    if found:
        return found[0]
    return "running" if route["rate_limit"] is None else f"<={route['rate_limit']:g}/s"


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return _UNKNOWN
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:.1f}s"


def _age(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


def _count(number: int) -> str:
    if number < _EXACT:
        return str(number)
    return f"{number / 1e3:.0f}k" if number < _THOUSANDS else f"{number / 1e6:.0f}M"
