"""Examines a service: its environment, its spec, its queues and their topics."""

import os
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.session import Session

from loafer_kit.doctor import Finding, denied, environment, rabbitmq
from loafer_kit.doctor import queues as checks
from loafer_kit.doctor.queues import Queues
from loafer_kit.doctor.topics import Topics
from loafer_kit.exceptions import ConfigurationError, LoaferKitError, ProviderError
from loafer_kit.ext.aws.addresses import find_region
from loafer_kit.ext.aws.requests.errors import AccessDeniedError
from loafer_kit.local.servers import (
    ACCESS_KEY_ID,
    DEFAULT_REGION,
    SECRET_ACCESS_KEY,
    is_local,
)
from loafer_kit.scaffold import shipping
from loafer_kit.scaffold.sources import documents
from loafer_kit.scaffold.spec import validation
from loafer_kit.scaffold.spec.specs import QueueSpec, ServiceSpec

_TIMEOUT = 10


def findings(project: Path, endpoint_url: str | None) -> Iterator[Finding]:
    """Yield the findings, in the order in which they should be fixed."""
    yield from environment.interpreter()
    spec = _spec(project)
    folder = project if project.is_dir() else project.parent
    if isinstance(spec, ServiceSpec) and spec.on_rabbitmq:
        yield Finding("ok", "spec", f"{spec.name}, of RabbitMQ")
        yield from environment.settings(spec, folder)
        yield from rabbitmq.findings(spec)
        return
    session = Session()
    access = [
        environment.credentials(session, endpoint_url),
        environment.region(session, endpoint_url),
    ]
    yield from access
    if isinstance(spec, Finding):
        yield spec
        return
    yield from environment.settings(spec, folder)
    try:
        spec = spec.resolved(os.environ)
    except ConfigurationError:  # reported already
        yield Finding("note", "queues", "were not checked: see parameters")
        return
    count = len(spec.queues)
    yield Finding("ok", "spec", f"{spec.name}, {count} queue{'' if count == 1 else 's'}")
    if any(item.level == "problem" for item in access):
        yield Finding("note", "queues", "were not checked: see credentials and region")
        return
    yield from _queues(spec, session, endpoint_url)


def _spec(project: Path) -> ServiceSpec | Finding:
    """Return the spec of a service, or why it cannot be read."""
    try:
        if not project.exists():
            raise ConfigurationError(f"There is no {project}")
        file = project / "loafer.toml" if project.is_dir() else project
        return validation.service(documents.read(file))
    except LoaferKitError as error:
        remedy = "correct it, or name a service's folder; `loafer-kit new service` writes one"
        return Finding("problem", "spec", str(error), remedy)


def _queues(spec: ServiceSpec, session: Any, endpoint_url: str | None) -> Iterator[Finding]:
    try:
        sqs = _client("sqs", session, endpoint_url)
        queues = Queues(sqs, endpoint_url)
        sns = cache(partial(_client, "sns", session, endpoint_url))
        topics = Topics(queues, sns, endpoint_url, local=is_local(sqs.meta.endpoint_url))
        # First, because a redrive policy cannot be set before its dead-letter queue exists.
        for target in shipping.queues(spec):
            if target.dead_letters_of:
                yield checks.examine_dead_letter_queue(queues, target.name, target.dead_letters_of)
        told = set()
        for queue in spec.queues:
            found = _queue(queue, queues, topics)
            yield from (finding for finding in found if finding not in told)
            told.update(found)  # queues may share a topic
    except (BotoCoreError, ProviderError, ValueError) as error:
        message = " ".join(str(error).split())
        remedy = "check the network, the endpoint and the credentials, then run it again"
        yield Finding("problem", "AWS", message, remedy)


def _queue(queue: QueueSpec, queues: Queues, topics: Topics) -> list[Finding]:
    subject = checks.subject_of(queue)
    try:
        url = queues.url(queue.name)
        attributes = queues.attributes(url)
    except checks.MissingQueueError:
        return [checks.missing(queues, queue)]
    except AccessDeniedError as error:
        return [denied("problem", subject, error)]
    found = [
        *checks.differences(queues, queue, url, attributes),
        *topics.examine(queue, url, attributes),
        *(denied("problem", subject, error) for error in queues.denials(url)),
        *checks.warnings(queue, attributes),
    ]
    return found or [Finding("ok", subject, "is as the spec says")]


def _client(service: str, session: Any, endpoint_url: str | None, region: str | None = None) -> Any:
    local = is_local(endpoint_url)
    if local and session.get_credentials() is None:
        session.set_credentials(ACCESS_KEY_ID, SECRET_ACCESS_KEY)
    return session.create_client(
        service,
        region_name=find_region(session, region) or (DEFAULT_REGION if local else None),
        endpoint_url=endpoint_url,
        config=Config(
            connect_timeout=_TIMEOUT, read_timeout=_TIMEOUT, retries={"total_max_attempts": 2}
        ),
    )
