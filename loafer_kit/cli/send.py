"""`loafer-kit send`: sends messages to a local queue or to AWS."""

import io
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from json import dumps, loads
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loafer_kit.cli import specs
from loafer_kit.cli.dlq import import_letters
from loafer_kit.cli.terminal import completions
from loafer_kit.cli.terminal.options import Json, enclosing_project, option_groups
from loafer_kit.cli.terminal.output import say, say_json, waiting, waiting_for_each
from loafer_kit.exceptions import LoaferKitError
from loafer_kit.ext.aws.envelopes import ENVELOPES, Envelope
from loafer_kit.local import servers
from loafer_kit.local.servers import is_local
from loafer_kit.scaffold.spec.fields import AMQP
from loafer_kit.scaffold.spec.specs import QueueSpec

if TYPE_CHECKING:
    from loafer_kit.local.sending import Destination

# MessageAttributeValue in the SQS API reference. Some local servers accept other names, and then
# every receive of the message fails.
_ATTRIBUTE = re.compile(r"(?=.{1,256}\Z)[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


@completions.candidates
def _destinations(context: typer.Context, _word: str) -> Iterator[completions.Candidate]:
    """The queues and topics of running local servers, and the queues of the service here."""
    for record in servers.running():
        yield from ((name, f"on the local server of {record.service}") for name in record.queues)
        yield from ((name, f"a topic of {record.service}") for name in record.topics)
    for queue in completions.service_queues(context):
        yield queue.name, "a queue of this service"
        if queue.dead_letter_queue:
            yield queue.dead_letter_queue, f"the dead-letter queue of {queue.name}"


@completions.candidates
def _envelopes(_context: typer.Context, _word: str) -> Iterator[completions.Candidate]:
    for name, envelope in ENVELOPES.items():
        yield name, f"the envelope of {envelope.name}"


@dataclass(frozen=True)
class Extras:
    """What a message to SQS may have beside its body."""

    attribute: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Set a message attribute; repeatable."),
    ] = None
    group: Annotated[
        str | None,
        typer.Option(help="The message group.", show_default="'default' on a FIFO queue"),
    ] = None
    deduplication_id: Annotated[
        str | None,
        typer.Option(
            help="The deduplication ID, on a FIFO queue.", show_default="a new one per message"
        ),
    ] = None
    delay: Annotated[
        int | None,
        typer.Option(
            min=0, max=900, metavar="SECONDS", help="Deliver the message after this delay."
        ),
    ] = None
    envelope: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="|".join(ENVELOPES),
            help="Send the body, which is JSON, in this envelope.",
            autocompletion=_envelopes,
        ),
    ] = None
    fact: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Set a fact of the envelope, such as detail-type; repeatable.",
        ),
    ] = None

    def wrapped(self, bodies: Iterable[str]) -> Iterable[str]:
        """Return bodies, which are JSON, in the envelope if one is given."""
        if not (self.envelope or self.fact):
            return bodies
        facts = dict(_pair("--fact", pair) for pair in self.fact or [])
        return _wrapped(bodies, self.envelope, facts)


@option_groups
def send(
    destination: Annotated[
        str,
        typer.Argument(
            metavar="QUEUE|TOPIC",
            help="The name of a queue or a topic, a queue's URL, or a topic's ARN.",
            autocompletion=_destinations,
        ),
    ],
    body: Annotated[
        str | None,
        typer.Argument(help="The message's body; - reads standard input."),
    ] = None,
    *,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", metavar="PATH", help="Read the body from a file."),
    ] = None,
    lines: Annotated[
        bool,
        typer.Option("--lines", help="Send each line as a message, skipping blank lines."),
    ] = False,
    extras: Extras,
    from_export: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Send the letters of a file that `dlq export` wrote."),
    ] = None,
    json: Json = False,
) -> None:
    """Send messages to a local server or to AWS.

    A name goes to the endpoint that AWS_ENDPOINT_URL names; without it to the local server that has
    the queue or topic; and to AWS if no local server runs. A message to a topic is published. So is
    a message to a queue of a local server that a topic delivers to in SNS's envelope. On a local
    server a body that is JSON gets the envelope of its queue's kind, by the loafer.toml here, unless it
    has that envelope.
    """
    folders = [enclosing_project(Path())]
    if from_export is not None:
        given = (extras.attribute, extras.group, extras.deduplication_id, extras.delay)
        if any((body, file, lines, *given)):
            raise typer.BadParameter("--from-export takes nothing else: a letter has all of it")
        import_letters(from_export, specs.filled(destination, folders), yes=True, json=json)
        return
    if lines and extras.deduplication_id:
        raise typer.BadParameter("--deduplication-id would make all --lines but one disappear")
    bodies = extras.wrapped(read_bodies(body, file, lines=lines))
    attributes = dict(_name_and_value(pair) for pair in extras.attribute or [])
    destination = specs.filled(destination, folders)
    declared = specs.declared(destination, folders)
    # They import asyncio and botocore, which TAB need not wait for.
    from loafer_kit.local import queues, rabbitmq, sending

    if declared is not None and declared.kind == AMQP:
        if extras != Extras():
            raise typer.BadParameter("RabbitMQ takes a body alone: the other options are for SQS")
        url = rabbitmq.url_in_use()
        with waiting(f"sending to {destination}"):
            sent = rabbitmq.put(url, destination, declared.amqp_options, list(bodies))
        _say_sent(destination, rabbitmq.address_of(url), len(sent), json=json)
        return
    with waiting(f"looking for {destination}"):
        found = sending.find_destination(destination)
    if extras.envelope is None and is_local(found.clients.endpoint_url or ""):
        bodies = in_own_envelope(declared, bodies)
    options = queues.MessageOptions(extras.group, extras.deduplication_id, attributes, extras.delay)
    _send_all(found, sending.send(found, bodies, options), json=json, lines=lines)


def _say_sent(queue: str, place: str, count: int, *, json: bool) -> None:
    """Say how many messages a broker of RabbitMQ got."""
    if json:
        say_json({"queue": queue, "place": place, "sent": count})
    else:
        say(f"sent {count} message{'' if count == 1 else 's'} to {queue} on {place}")


def in_own_envelope(queue: QueueSpec | None, bodies: Iterable[str]) -> Iterable[str]:
    """Return bodies in the envelope of the kind of a queue.

    A body that is not JSON, or has that envelope, is left as it is.
    """
    if queue is None or not queue.inner_envelopes:
        return bodies
    return (_completed(body, ENVELOPES[queue.kind]) for body in bodies)


def _completed(body: str, envelope: Envelope) -> str:
    try:
        has_envelope = envelope.matches(loads(body), {})
    except (ValueError, RecursionError):
        return body
    return body if has_envelope else _in_envelope(body, envelope, {})


def _send_all(destination: "Destination", sent: Iterator[str], *, json: bool, lines: bool) -> None:
    """Say where the messages go, send them, and say which were sent, also after an error."""
    if not json:
        say(f"sending to {destination}", err=True)
    message_ids: list[str] = []
    try:
        for message_id in waiting_for_each(f"sending to {destination}", sent):
            message_ids.append(message_id)
            if not (json or lines):
                say(f"sent {message_id} to {destination}")
    finally:
        if json:
            say_json({"destination": destination.described, "message_ids": message_ids})
        elif lines:
            say(f"sent {len(message_ids)} messages to {destination}")


def _wrapped(
    bodies: Iterable[str], envelope: str | None, facts: Mapping[str, str]
) -> Iterator[str]:
    """Yield each body, which is JSON, in an envelope."""
    if envelope not in ENVELOPES:
        wrong = f", not {envelope}" if envelope else "; --fact needs it"
        raise typer.BadParameter(f"--as takes one of {', '.join(ENVELOPES)}{wrong}")
    return (_in_envelope(body, ENVELOPES[envelope], facts) for body in bodies)


def _in_envelope(body: str, envelope: Envelope, facts: Mapping[str, str]) -> str:
    try:
        return dumps(envelope.wrap(loads(body), facts), ensure_ascii=False)
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"With --as, the body is JSON ({error})") from error
    except (AttributeError, KeyError, TypeError) as error:
        raise typer.BadParameter(
            f"{envelope.name} does not take that body: the page 'Open envelopes' shows what it does"
        ) from error


def _pair(option: str, pair: str) -> tuple[str, str]:
    name, equals, value = pair.partition("=")
    if not (name and equals and value):
        raise typer.BadParameter(f"{option} takes NAME=VALUE, not {pair!r}")
    return name, value


def _name_and_value(pair: str) -> tuple[str, str]:
    name, value = _pair("--attribute", pair)
    if not _ATTRIBUTE.fullmatch(name) or name.lower().startswith(("aws.", "amazon.")):
        raise typer.BadParameter(
            f"{name!r} cannot name an attribute: letters, digits, '_' and '-', single periods "
            "between them, 256 characters at most, and not AWS. or Amazon. at the start"
        )
    return name, value


def read_bodies(body: str | None, file: Path | None, *, lines: bool) -> Iterable[str]:
    """Return the bodies to send; with `lines`, read them as they are needed.

    `body` "-" is standard input. A body that is read loses its final line break.
    """
    if (body is None) == (file is None):
        raise typer.BadParameter("Give either a BODY (- for standard input) or --file PATH")
    if body is not None and body != "-":
        refuse_bytes(body)
        return _without_blanks(body.splitlines()) if lines else [_not_empty(body)]
    if lines:
        return _without_blanks(line.rstrip("\r\n") for line in _raw_lines(file))
    return [_not_empty("".join(_raw_lines(file)).removesuffix("\n").removesuffix("\r"))]


def refuse_bytes(text: str) -> None:
    """Refuse an argument that is not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise LoaferKitError("The body is not UTF-8; --file reads it from a file") from error


def _not_empty(text: str) -> str:
    if not text:
        raise LoaferKitError("The body is empty: SQS requires one")
    return text


def _without_blanks(lines: Iterable[str]) -> Iterator[str]:
    return (line for line in lines if line.strip())


def _raw_lines(file: Path | None) -> Iterator[str]:
    name = "standard input" if file is None else str(file)
    try:
        if file is None:  # UTF-8 like a file, whatever the locale
            yield from io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8", newline="\n")
        else:
            with file.open(encoding="utf-8", newline="\n") as opened:
                yield from opened
    except OSError as error:
        raise LoaferKitError(f"{name}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise LoaferKitError(f"{name}: not UTF-8 (byte {error.start})") from error
