"""`loafer-kit dev` and `console`: run services on this machine, and show them in a browser."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from json import dumps
from pathlib import Path
from typing import Annotated

import typer

from loafer_kit.cli.send import in_own_envelope, refuse_bytes
from loafer_kit.cli.specs import Folders, declared, filled, read_spec
from loafer_kit.cli.terminal import completions, output
from loafer_kit.cli.terminal.options import enclosing_project
from loafer_kit.console.queues import Queue
from loafer_kit.console.server import Console, Service
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.local import servers
from loafer_kit.local.development import Development
from loafer_kit.local.queues import Clients, LocalQueue
from loafer_kit.local.sending import Server
from loafer_kit.local.services import Project, Say, Style
from loafer_kit.operations.control import CONTROL_VARIABLE
from loafer_kit.operations.http import Address
from loafer_kit.runners import on_signals
from loafer_kit.scaffold.spec import payloads
from loafer_kit.scaffold.spec.fields import AMQP, FIFO, SUBSCRIPTION, amqp_dead_letter_queue
from loafer_kit.scaffold.spec.specs import Payloads, QueueSpec, ServiceSpec

#: The colours of events on a terminal; those of all others are `_COLOUR`.
_COLOURS = {"failed": "red", "changed": "yellow", "summary": None}
_COLOUR = "cyan"

_WHY_NOT = (
    "{address} is reachable from other machines, over HTTP that is not encrypted: whoever reads the "
    "traffic gets the session and every body"
)
_INSTEAD = "forward a port instead: ssh -L 8320:127.0.0.1:8320 HOST, with --listen :8320 there"


def dev(
    paths: Folders = None,
    *,
    send: Annotated[
        list[str] | None,
        typer.Option(
            metavar="QUEUE=BODY",
            help="Send a message at the start; repeatable.",
            autocompletion=completions.messages,
        ),
    ] = None,
    once: Annotated[
        bool,
        typer.Option("--once", help="Stop when the queues are empty and nothing is in flight."),
    ] = False,
    reload: Annotated[
        bool,
        typer.Option("--reload/--no-reload", help="Restart a service when its files change."),
    ] = True,
    endpoint_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Use a running server, such as LocalStack."),
    ] = None,
    json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print each event as a line of JSON; the services print to stderr."
        ),
    ] = False,
) -> None:
    """Run a service against a local SQS server.

    The server gets the queues and topics of each loafer.toml, so several services that are named
    together reach each other. A message that keeps failing stays on its queue unless the queue has a
    dead-letter queue. `loafer-kit send` reaches the server from another terminal.
    """
    folders = paths or [enclosing_project(Path())]

    def say(text: str, event: str, **details: object) -> None:
        if json:
            output.say_json({"event": event, **details}, indent=None)
        else:
            lines = "\n".join(f"dev: {line}" for line in text.splitlines())
            output.say(lines, colour=_COLOURS.get(event, _COLOUR))

    development = Development(
        [partial(_read_project, path) for path in folders],
        [message for pair in send or [] for message in _messages(pair, folders)],
        once=once,
        reload=reload,
        endpoint_url=endpoint_url,
        style=Style(
            labelled=len(folders) > 1,
            output=sys.stderr if json else None,
        ),
        console=partial(_console, folders, say),
    )
    development.run(say, output.waiting)


@asynccontextmanager
async def _console(folders: Sequence[Path], say: Say, endpoint_url: str) -> AsyncIterator[None]:
    """Show the services in a browser while the block runs."""
    server = Server(endpoint_url, Clients(endpoint_url), servers.is_local(endpoint_url))
    console = Console(services_of(folders), write=True, find=lambda _: server)
    async with console.listening(Address("127.0.0.1", 0)) as url:
        say(f"the console is on {url}", "console", url=url)
        yield


def _messages(pair: str, folders: Sequence[Path]) -> Iterator[tuple[str, str]]:
    queue, equals, body = pair.partition("=")
    if not (queue and equals and body):
        raise typer.BadParameter(f"--send takes QUEUE=BODY, not {pair!r}")
    refuse_bytes(body)
    name = filled(queue, folders)
    for wrapped in in_own_envelope(declared(name, folders), [body]):
        yield name, wrapped


def _read_project(path: Path) -> Project:
    file, spec = read_spec(path, "dev")
    if spec.on_rabbitmq:
        rabbitmq = {queue.name: queue.amqp_options for queue in spec.queues}
        return Project(spec.package, file.parent, [], rabbitmq)
    return Project(spec.package, file.parent, [_local_queue(queue) for queue in spec.queues])


def _local_queue(queue: QueueSpec) -> LocalQueue:
    visibility_timeout = queue.options.get("visibility_timeout")
    return LocalQueue(
        queue.queue_name,
        topic=queue.topic,
        dead_letter_queue=queue.dead_letter_queue,
        max_receive_count=queue.max_receive_count or 5,
        visibility_timeout=None if visibility_timeout is None else int(visibility_timeout),
        attributes=queue.attribute_texts(FIFO),
        subscription=queue.attribute_texts(SUBSCRIPTION),
    )


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
            example = dumps(payloads.example(str(queue.payload), models), indent=2)
    if queue.kind == AMQP:
        dead = amqp_dead_letter_queue(queue.name, queue.dead_letter_queue)
        return Queue(queue.name, dead, schema, example, queue.amqp_options)
    return Queue(queue.queue_name, queue.dead_letter_queue, schema, example)
