"""The specs of the services that a command is about, and queues that are named as a spec names them."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from loafer_kit.cli.terminal.options import enclosing_project
from loafer_kit.exceptions import ConfigurationError, LoaferKitError
from loafer_kit.ext.aws.addresses import is_arn, is_url
from loafer_kit.scaffold.sources import documents
from loafer_kit.scaffold.spec import names, validation
from loafer_kit.scaffold.spec.fields import amqp_dead_letter_queue
from loafer_kit.scaffold.spec.specs import QueueSpec, ServiceSpec

Folders = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[FOLDER]...",
        help="The folders of services, with their loafer.toml.",
        show_default="the one around the current folder",
    ),
]


def read_spec(path: Path, command: str) -> tuple[Path, ServiceSpec]:
    """Return the spec file of a service's folder, or the one that is named, and what it says."""
    is_file = path.suffix in documents.SPEC_SUFFIXES and not path.is_dir()
    file = path if is_file else path / "loafer.toml"
    if not file.exists():
        raise ConfigurationError(
            f"There is no {file if path.exists() else path}: go to a service's folder or name it, "
            f"`loafer-kit {command} PATH`; `loafer-kit new service` writes one"
        )
    return file, validation.service(documents.read(file)).resolved(os.environ)


def filled(name: str, folders: Sequence[Path]) -> str:
    """A name with the values of its parameters, which the first service in the folders has.

    So a name can be copied from a loafer.toml: `${STAGE}-orders`.
    """
    if not names.parameters_in(name):
        return name
    for folder in folders:
        file = folder / "loafer.toml"
        if file.is_file():
            return validation.service(documents.read(file)).fill(name, os.environ)
    raise LoaferKitError(
        f"{name} has parameters: go to the folder of its service, or write their values"
    )


def declared(name: str, folders: Sequence[Path]) -> QueueSpec | None:
    """Return what the services in the folders say of a queue, by its name, URL or ARN."""
    for folder in folders:
        # A loafer.toml with problems does not keep a message from being sent.
        with contextlib.suppress(LoaferKitError):
            spec = validation.service(documents.read(folder / "loafer.toml")).resolved(os.environ)
            for queue in spec.queues:
                if queue.queue_name == names.queue_name(name):
                    return queue
    return None


def dead_letter_queues_here() -> tuple[list[str], list[str]]:
    """Return the dead-letter queues of the service here, and its queues that have none."""
    file = enclosing_project(Path()) / "loafer.toml"
    if not file.exists():
        raise ConfigurationError(
            "There is no service here: name a QUEUE or a --prefix, or go to a service's folder"
        )
    spec = validation.service(documents.read(file)).resolved(os.environ)
    queues = spec.queues
    dead = {queue.dead_letter_queue: None for queue in queues if queue.dead_letter_queue}
    return list(dead), [queue.name for queue in queues if not queue.dead_letter_queue]


def rabbitmq_queues_here(queue: str | None = None) -> dict[str, str] | None:
    """Return the dead-letter queues of the service here, by its queues; None if SQS has them.

    SQS has them if `queue` is a URL or an ARN, or if the service reads queues of SQS. Without a
    service here, or with problems in its loafer.toml, LOAFER_AMQP_URL says that RabbitMQ has them.
    Raises `ConfigurationError` if the names of queues of RabbitMQ lack a parameter.
    """
    if queue and (is_url(queue) or is_arn(queue)):
        return None
    spec = None
    with contextlib.suppress(LoaferKitError):  # a queue can be named without a sound loafer.toml
        spec = validation.service(documents.read(enclosing_project(Path()) / "loafer.toml"))
    if spec is None:
        return {} if os.environ.get("LOAFER_AMQP_URL") else None
    if not spec.on_rabbitmq:
        return None
    return {
        item.name: amqp_dead_letter_queue(item.name, item.dead_letter_queue)
        for item in spec.resolved(os.environ).queues
    }
