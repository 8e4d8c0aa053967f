"""`loafer-kit console`: a page in a browser that shows services and steers them."""

import asyncio
import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from loafer_kit.cli.specs import Folders, read_spec
from loafer_kit.cli.terminal import output
from loafer_kit.cli.terminal.options import enclosing_project
from loafer_kit.console.queues import Queue
from loafer_kit.console.server import Console, Service
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.local import servers
from loafer_kit.operations.control import CONTROL_VARIABLE
from loafer_kit.operations.http import Address
from loafer_kit.runners import on_signals
from loafer_kit.scaffold.spec import payloads
from loafer_kit.scaffold.spec.fields import AMQP, amqp_dead_letter_queue
from loafer_kit.scaffold.spec.specs import Payloads, QueueSpec, ServiceSpec

_WHY_NOT = (
    "{address} is reachable from other machines, over HTTP that is not encrypted: whoever reads the "
    "traffic gets the session and every body"
)
_INSTEAD = "forward a port instead: ssh -L 8320:127.0.0.1:8320 HOST, with --listen :8320 there"


def console(
    paths: Folders = None,
    *,
    write: Annotated[
        bool,
        typer.Option(
            "--write", help="Let the page send, replay and delete messages, and pause routes."
        ),
    ] = False,
    listen: Annotated[
        str,
        typer.Option(metavar="[HOST]:PORT", help="Where the page is; port 0 takes a free one."),
    ] = ":0",
    allow_remote: Annotated[
        bool,
        typer.Option("--allow-remote", help="Listen on an address that other machines reach."),
    ] = False,
) -> None:
    """Watch and steer services in a browser.

    The page shows the queues where `loafer-kit send` finds them, and the processes that listen on a
    control socket. Its address, with a token that logs a browser in, is printed. Ctrl-C ends it.
    """
    address = Address.parse(listen, "--listen")
    if not address.is_loopback:
        why_not = _WHY_NOT.format(address=address)
        if not allow_remote:
            raise ConfigurationError(f"{why_not}. {_INSTEAD[0].upper()}{_INSTEAD[1:]}")
        output.say(f"{why_not}; {_INSTEAD}", err=True, colour="yellow")
    services = services_of(paths or [enclosing_project(Path())])
    asyncio.run(_serve(services, address, write))


async def _serve(services: Sequence[Service], address: Address, write: bool) -> None:
    stopped = asyncio.Event()
    handlers = dict.fromkeys((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), stopped.set)
    with on_signals(asyncio.get_running_loop(), handlers):
        async with Console(services, write=write).listening(address) as url:
            output.say(f"The console is on {url}")
            await stopped.wait()


def services_of(folders: Sequence[Path]) -> list[Service]:
    """Return the services of some folders, with the control sockets that they have in `dev`.

    A single service may have another one, which the environment names.
    """
    specs = [read_spec(folder, "console")[1] for folder in folders]
    named = os.environ.get(CONTROL_VARIABLE) if len(specs) == 1 else None
    return [_service(spec, Path(named or servers.control_path(spec.package))) for spec in specs]


def _service(spec: ServiceSpec, control: Path) -> Service:
    return Service(spec.package, [_queue(queue, spec.payloads) for queue in spec.queues], control)


def _queue(queue: QueueSpec, models: Payloads) -> Queue:
    schema, example = None, ""
    if queue.payload in models:
        schema = payloads.schema(str(queue.payload), models)
        if payloads.why_no_example(str(queue.payload), models) is None:
            example = json.dumps(payloads.example(str(queue.payload), models), indent=2)
    if queue.kind == AMQP:
        dead = amqp_dead_letter_queue(queue.name, queue.dead_letter_queue)
        return Queue(queue.name, dead, schema, example, queue.amqp_options)
    return Queue(queue.queue_name, queue.dead_letter_queue, schema, example)
