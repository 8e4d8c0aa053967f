"""`loafer-kit ctl …` and `health`: look into a running service, and steer it by its control socket."""

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from loafer_kit.cli.terminal.options import Command, Json, group
from loafer_kit.cli.terminal.output import print_exactly, say, say_json
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.local import servers
from loafer_kit.operations import probe
from loafer_kit.operations.control import CONTROL_VARIABLE, ask, is_alive

app = group("Look into a running service, and steer it.")

RouteName = Annotated[str, typer.Argument(metavar="ROUTE", help="The name of a route.")]
AnyRoute = Annotated[
    str | None, typer.Argument(metavar="[ROUTE]", help="The name of a route.", show_default="all")
]
Socket = Annotated[
    Path | None,
    typer.Option(
        "--socket",
        metavar="PATH",
        help="The control socket of the service.",
        show_default=f"{CONTROL_VARIABLE}, or the service that `dev` runs",
    ),
]
Process = Annotated[
    int | None,
    typer.Option("--pid", help="Only this one of the service's processes.", show_default="all"),
]


@app.command(cls=Command)
def status(*, socket: Socket = None, pid: Process = None, json: Json = False) -> None:
    """Show what the routes do."""
    found = request(socket, "status", pid)
    if json:
        say_json(found)
    else:
        from loafer_kit.cli.top import as_text  # rich is slow

        print_exactly(as_text(found))


@app.command(cls=Command)
def pause(route: RouteName, *, socket: Socket = None, pid: Process = None) -> None:
    """Fetch and start nothing more on a route; running handlers go on."""
    _say_changed("paused", request(socket, "pause", pid, route=route))


@app.command(cls=Command)
def resume(route: AnyRoute = None, *, socket: Socket = None, pid: Process = None) -> None:
    """Let a paused route go on."""
    parameters = {} if route is None else {"route": route}
    _say_changed("resumed", request(socket, "resume", pid, **parameters))


@app.command(cls=Command)
def rate(
    route: RouteName,
    per_second: Annotated[
        str, typer.Argument(metavar="NUMBER|none", help="Handler starts per second and process.")
    ],
    *,
    socket: Socket = None,
    pid: Process = None,
) -> None:
    """Limit how many handlers start per second; `none` removes the limit."""
    limit = None if per_second == "none" else _number(per_second)
    changed = request(socket, "rate", pid, route=route, per_second=limit)
    _say_changed("limited" if limit else "not limited", changed)


@app.command(cls=Command)
def concurrency(
    route: RouteName,
    value: Annotated[
        int, typer.Argument(metavar="NUMBER", help="Handlers at the same time in each process.")
    ],
    *,
    socket: Socket = None,
    pid: Process = None,
) -> None:
    """Change how many handlers run at the same time."""
    _say_changed("changed", request(socket, "concurrency", pid, route=route, value=value))


@app.command(cls=Command)
def dump(
    route: AnyRoute = None, *, socket: Socket = None, pid: Process = None, json: Json = False
) -> None:
    """Show the running handlers, and where they stand."""
    found = request(socket, "dump", pid, **({} if route is None else {"route": route}))
    if json:
        say_json(found)
        return
    for handler in found:
        ids = ", ".join(handler["message_ids"])
        say(f"{handler['route']}: {ids or 'a message'}, for {handler['age']:.1f} s")
        say(handler["stack"])
    if not found:
        say("no handler runs")


@app.command(cls=Command)
def drain(*, socket: Socket = None, pid: Process = None) -> None:
    """Finish the messages in hand and end, as after SIGTERM."""
    request(socket, "drain", pid)
    say("draining")


def health(
    *,
    live: Annotated[
        bool, typer.Option("--live", help="Ask whether a restart would help; the default.")
    ] = False,
    ready: Annotated[
        bool, typer.Option("--ready", help="Ask whether every queue is being read.")
    ] = False,
) -> None:
    """Tell whether the service in this container is well.

    Exit code 0 means yes, and 1 no, with one line that says why. LOAFER_HEALTH_FILE names a file
    that the service replaces while it is well, for the service and for this command.
    """
    asked = [name for name, given in (("--live", live), ("--ready", ready)) if given]
    raise typer.Exit(probe.main(asked))


def request(socket: Path | None, action: str, pid: int | None = None, **parameters: object) -> Any:
    """Ask the service; `ControlError` if it refuses."""
    if pid is not None:
        parameters["pid"] = pid
    return asyncio.run(ask(find(socket), action, **parameters))


def find(socket: Path | None) -> Path:
    """Return the control socket: the named one, the environment's, or that of the only `dev`."""
    if socket is not None:
        return socket
    if named := os.environ.get(CONTROL_VARIABLE):
        return Path(named)
    paths = [path for path in servers.control_paths() if is_alive(path)]
    if not paths:
        raise ConfigurationError(
            f"No service is known: name its control socket by --socket or {CONTROL_VARIABLE}"
        )
    if len(paths) > 1:
        raise ConfigurationError(
            f"`dev` runs several services; choose one: {', '.join(f'--socket {p}' for p in paths)}"
        )
    return paths[0]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"a rate is a number or none, not {text!r}") from None


def _say_changed(what: str, routes: list[str]) -> None:
    say(f"{what}: {', '.join(routes)}")
