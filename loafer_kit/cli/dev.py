"""`loafer-kit dev`: run a service against a local SQS server."""

from pathlib import Path
from typing import Annotated

import typer

from loafer_kit.cli import completions, printing
from loafer_kit.cli.bodies import refuse_bytes


def dev(
    path: Annotated[
        Path, typer.Argument(help="The service's folder, with its loafer.toml.")
    ] = Path(),
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
        typer.Option("--once", help="End when the queues are empty and nothing is in flight."),
    ] = False,
    endpoint_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Use a server that runs already, such as LocalStack."),
    ] = None,
    json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Say each thing in a line of JSON; what the service prints goes to stderr.",
        ),
    ] = False,
) -> None:
    """Run the service of this folder against a local SQS server.

    The server gets the queues that loafer.toml names. A message that keeps failing stays on its
    queue unless that has a dead-letter queue. Another terminal reaches the server with
    `loafer-kit send`.
    """
    import sys

    from loafer_kit.cli.progress import waiting
    from loafer_kit.cli.projects import read_project
    from loafer_kit.local.development import Development

    messages = [_queue_and_body(pair) for pair in send or []]
    project = read_project(path)
    development = Development(
        project,
        messages,
        once=once,
        endpoint_url=endpoint_url,
        service_output=sys.stderr if json else None,
    )

    def say(text: str, event: str, **details: object) -> None:
        if json:
            printing.say_json({"event": event, **details}, indent=None)
        else:
            printing.say(f"dev: {text}")

    development.run(say, waiting)


def _queue_and_body(pair: str) -> tuple[str, str]:
    queue, equals, body = pair.partition("=")
    if not (queue and equals and body):
        raise typer.BadParameter(f"--send takes QUEUE=BODY, not {pair!r}")
    refuse_bytes(body)
    return queue, body
