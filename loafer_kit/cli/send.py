"""`loafer-kit send`: messages to a local queue, or to AWS."""

import re
from pathlib import Path
from typing import Annotated

import typer

from loafer_kit.cli import completions
from loafer_kit.cli.printing import say, say_json

# MessageAttributeValue in the SQS API reference. Some local servers take other names, and then fail
# whoever receives the message.
_ATTRIBUTE = re.compile(r"(?=.{1,256}\Z)[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


def send(
    queue: Annotated[
        str,
        typer.Argument(
            help="The queue's name, or its URL.", autocompletion=completions.destinations
        ),
    ],
    body: Annotated[
        str | None,
        typer.Argument(help="The message's body; - reads standard input."),
    ] = None,
    *,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", metavar="PATH", help="Take the body from a file."),
    ] = None,
    lines: Annotated[
        bool,
        typer.Option("--lines", help="Send each line as a message of its own; blank ones not."),
    ] = False,
    attribute: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Set a message attribute; repeatable."),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(help="The message group.", show_default="'default' on a FIFO queue"),
    ] = None,
    deduplication_id: Annotated[
        str | None,
        typer.Option(help="On a FIFO queue.", show_default="a fresh one for each message"),
    ] = None,
    delay: Annotated[
        int | None,
        typer.Option(min=0, max=900, metavar="SECONDS", help="Hide the message for so long."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Say it in JSON, for machines.")] = False,
) -> None:
    """Send messages to a local server, or to AWS.

    They go to the local server that has the queue; where no local server runs, to AWS.
    """
    from loafer_kit.cli.bodies import read_bodies
    from loafer_kit.cli.progress import waiting, waiting_for_each
    from loafer_kit.local.queues import MessageOptions
    from loafer_kit.local.sending import find_destination
    from loafer_kit.local.sending import send as send_all

    if lines and deduplication_id:
        raise typer.BadParameter("--deduplication-id would make all --lines but one disappear")
    bodies = read_bodies(body, file, lines=lines)
    details = MessageOptions(
        group=group,
        deduplication_id=deduplication_id,
        attributes=dict(_name_and_value(pair) for pair in attribute or []),
        delay=delay,
    )
    with waiting(f"looking for {queue}"):
        destination = find_destination(queue)
    sent = waiting_for_each(f"sending to {destination}", send_all(destination, bodies, details))
    count, message_ids = 0, []
    try:
        for message_id in sent:
            count += 1
            if json:
                message_ids.append(message_id)
            elif not lines:
                say(f"sent {message_id} to {destination}")
    finally:
        if json:
            say_json({"destination": destination.described, "message_ids": message_ids})
        elif lines:
            say(f"sent {count} messages to {destination}")


def _name_and_value(pair: str) -> tuple[str, str]:
    name, equals, value = pair.partition("=")
    if not (name and equals and value):
        raise typer.BadParameter(f"--attribute takes NAME=VALUE, not {pair!r}")
    if not _ATTRIBUTE.fullmatch(name) or name.lower().startswith(("aws.", "amazon.")):
        raise typer.BadParameter(
            f"{name!r} cannot name an attribute: letters, digits, '_' and '-', single periods "
            "between them, 256 characters at most, and not AWS. or Amazon. at the start"
        )
    return name, value
