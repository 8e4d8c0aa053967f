"""`loafer-kit dev`: runs services against a server on this machine."""

import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from loafer_kit.cli import console
from loafer_kit.cli.send import in_own_envelope, refuse_bytes
from loafer_kit.cli.specs import Folders, declared, filled, read_spec
from loafer_kit.cli.terminal import completions, output
from loafer_kit.cli.terminal.options import enclosing_project
from loafer_kit.console.server import Console
from loafer_kit.local import servers
from loafer_kit.local.development import Development
from loafer_kit.local.queues import Clients, LocalQueue
from loafer_kit.local.sending import Server
from loafer_kit.local.services import Project, Say, Style
from loafer_kit.operations.http import Address
from loafer_kit.scaffold.spec.fields import FIFO, SUBSCRIPTION
from loafer_kit.scaffold.spec.specs import QueueSpec

#: The colours of events on a terminal; those of all others are `_COLOUR`.
_COLOURS = {"failed": "red", "changed": "yellow", "summary": None}
_COLOUR = "cyan"


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
    page = Console(console.services_of(folders), write=True, find=lambda _: server)
    async with page.listening(Address("127.0.0.1", 0)) as url:
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
