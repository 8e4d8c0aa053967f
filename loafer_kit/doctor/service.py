"""Examines a service: what it runs with, its spec, its queues with their topics, or its broker."""

import os
import platform
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from difflib import get_close_matches
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.session import Session

from loafer_kit.config import PROCESS_VARIABLES, SETTABLE_ROUTE_OPTIONS, route_variable
from loafer_kit.doctor import Finding, denied
from loafer_kit.doctor import queues as checks
from loafer_kit.doctor.queues import Queues
from loafer_kit.doctor.topics import Topics
from loafer_kit.exceptions import (
    ConfigurationError,
    LoaferKitError,
    MissingExtraError,
    ProviderError,
)
from loafer_kit.ext.aws.addresses import find_region
from loafer_kit.ext.aws.options import SETTABLE_OPTIONS as SQS_OPTIONS
from loafer_kit.ext.aws.requests.errors import AccessDeniedError
from loafer_kit.local import rabbitmq
from loafer_kit.local.servers import (
    ACCESS_KEY_ID,
    DEFAULT_REGION,
    SECRET_ACCESS_KEY,
    is_local,
)
from loafer_kit.scaffold import shipping
from loafer_kit.scaffold.additions import extensions
from loafer_kit.scaffold.sources import documents
from loafer_kit.scaffold.spec import validation
from loafer_kit.scaffold.spec.specs import Parameter, QueueSpec, ServiceSpec

_TIMEOUT = 10

_CREDENTIALS = re.compile("//[^/]*@")

# The purpose of each extra, and a module that it installs.
_EXTRAS = {
    "amqp": ("services on RabbitMQ", "aio_pika"),
    "database": ("the extension Database", "sqlalchemy"),
    "local": ("loafer-kit dev, and tests with queues", "moto"),
    "otel": ("traces and metrics of OpenTelemetry", "opentelemetry"),
    "redis": ("RedisStore of Idempotency", "redis"),
    "reload": ("--reloader", "watchfiles"),
    "scaffold": ("loafer-kit new, add and update", "cookiecutter"),
    "sentry": ("reports to Sentry", "sentry_sdk"),
    "structlog": ("structlog's loggers for Logging", "structlog"),
    "uvloop": ("a faster event loop", "uvloop"),
}


def findings(project: Path, endpoint_url: str | None) -> Iterator[Finding]:
    """Yield the findings, in the order in which they should be fixed."""
    yield from interpreter()
    spec = _spec(project)
    folder = project if project.is_dir() else project.parent
    if isinstance(spec, ServiceSpec) and spec.on_rabbitmq:
        yield Finding("ok", "spec", f"{spec.name}, of RabbitMQ")
        yield from _settings(spec, folder)
        yield from _broker(spec)
        return
    session = Session()
    access = [
        _credentials(session, endpoint_url),
        _region(session, endpoint_url),
    ]
    yield from access
    if isinstance(spec, Finding):
        yield spec
        return
    yield from _settings(spec, folder)
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


def _broker(spec: ServiceSpec) -> Iterator[Finding]:
    """Yield a finding for each queue, or the one that explains why none could be looked at."""
    try:
        address, found = rabbitmq.depths([queue.name for queue in spec.queues])
    except MissingExtraError as error:
        yield Finding("problem", "RabbitMQ", str(error))
        return
    except LoaferKitError as error:
        remedy = (
            "start `loafer-kit dev` in another terminal, or name a broker that answers: "
            "LOAFER_AMQP_URL=amqp://user:password@host/vhost"
        )
        yield Finding("problem", "RabbitMQ", str(error), remedy)
        return
    yield Finding("ok", "RabbitMQ", f"answers on {address}")
    for queue in spec.queues:
        if queue.name in found:
            yield Finding(
                "ok", f"queue {queue.name}", f"is there, with {found[queue.name]} messages"
            )
        else:
            message = "is not there yet: the service declares it when it starts"
            yield Finding("note", f"queue {queue.name}", message)


# What a service runs with


def interpreter() -> Iterator[Finding]:
    """Yield which Python runs, and which extras are installed."""
    yield Finding("ok", "Python", f"{platform.python_version()}, {sys.executable}")
    for extra, (purpose, module) in _EXTRAS.items():
        if find_spec(module):
            yield Finding("ok", f"extra {extra}", "installed")
        else:
            remedy = f"pip install 'loafer-kit[{extra}]' for {purpose}"
            yield Finding("note", f"extra {extra}", "not installed", remedy)


def _credentials(session: Any, endpoint_url: str | None) -> Finding:
    """Return where the credentials come from, if there are any, and nothing secret."""
    remedy = (
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run with a role; "
        "`loafer-kit dev` needs none"
    )
    try:
        found = session.get_credentials()
        if found is not None:
            found.get_frozen_credentials()
            return Finding("ok", "credentials", f"from {found.method}")
    except BotoCoreError as error:
        return Finding("problem", "credentials", " ".join(str(error).split()), remedy)
    if is_local(endpoint_url):
        return Finding("ok", "credentials", "none, and a local server needs none")
    return Finding("problem", "credentials", "none found", remedy)


def _region(session: Any, endpoint_url: str | None) -> Finding:
    """Return whether a region is configured."""
    name = find_region(session)
    if name is not None:
        return Finding("ok", "region", name)
    if is_local(endpoint_url):
        return Finding("ok", "region", "none, and a local server needs none")
    return Finding("problem", "region", "none is named", "set AWS_REGION, or `region` in a profile")


def _settings(spec: ServiceSpec, project: Path) -> Iterator[Finding]:
    """Yield the parameters, the variables of the service and its routes, and those of extensions."""
    for parameter in spec.parameters:
        yield _parameter(parameter)
    yield from _variables([queue.route_name for queue in spec.queues], _options(spec))
    yield from _extensions(project / spec.package / "__init__.py", spec.package)


def _parameter(parameter: Parameter) -> Finding:
    subject, value = f"parameter {parameter.name}", os.environ.get(parameter.name)
    if value:
        return Finding("ok", subject, f"{value}, from the environment")
    if parameter.default is not None:
        return Finding("ok", subject, f"{parameter.default}, its default")
    remedy = f"set {parameter.name} in the environment"
    return Finding("problem", subject, "is not set and has no default", remedy)


def _options(spec: ServiceSpec) -> list[str]:
    """Return the options of the service's routes that variables set."""
    if not spec.on_rabbitmq:
        return sorted({*SETTABLE_ROUTE_OPTIONS, *SQS_OPTIONS})
    with suppress(MissingExtraError):  # the check of the broker says so
        return sorted({*SETTABLE_ROUTE_OPTIONS, *rabbitmq.extension().options.SETTABLE_OPTIONS})
    return sorted(SETTABLE_ROUTE_OPTIONS)


def _variables(routes: Iterable[str], options: Iterable[str]) -> Iterator[Finding]:
    subjects = {"settings of the service": list(PROCESS_VARIABLES)}
    for route in routes:
        subjects[f"settings of route {route}"] = [route_variable(route, o) for o in options]
    for subject, variables in subjects.items():
        given = {name: value for name in variables if (value := os.environ.get(name))}
        listed = [f"{name}={_CREDENTIALS.sub('//', value)}" for name, value in given.items()]
        unset = [name for name in variables if name not in given]
        message = f"{', '.join(listed) or 'nothing'} is set; not set: {', '.join(unset)}"
        yield Finding("ok", subject, message)
    known = {name for variables in subjects.values() for name in variables}
    for name in sorted(os.environ):
        if name.startswith("LOAFER_") and name not in known:
            near = get_close_matches(name, known, n=1)
            remedy = f"did you mean {near[0]}?" if near else "remove it, or correct its name"
            yield Finding("note", "settings", f"{name} sets nothing", remedy)


def _extensions(file: Path, package: str) -> Iterator[Finding]:
    try:
        used = list(extensions.used_by(file.read_bytes()))
    except (OSError, SyntaxError, ValueError):
        return
    for module, name in used:
        if module.partition(".")[0] == package:  # reading its settings would run the service
            continue
        defaults, required = extensions.settings_of(module, name)
        subject = f"settings of {name}"
        for setting in required:
            if os.environ.get(setting):
                yield Finding("ok", subject, f"{setting} is set in the environment")
            else:
                message = f"{setting} is required, and not in the environment"
                yield Finding("note", subject, message, f"set {setting}, unless the code does")
        for setting, default in defaults.items():
            where = (
                "set in the environment" if os.environ.get(setting) else f"by default {default!r}"
            )
            yield Finding("ok", subject, f"{setting}, {where}")
