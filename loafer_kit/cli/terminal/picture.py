"""The picture of a running service: from its status to what a terminal of some width shows."""

import io
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from loafer_kit.scaffold.escaping import escape, escape_line

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
