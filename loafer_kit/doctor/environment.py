"""Checks what a service runs with: Python, extras, credentials, region, parameters and settings."""

import os
import platform
import re
import sys
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError

from loafer_kit.config import PROCESS_VARIABLES, SETTABLE_ROUTE_OPTIONS, route_variable
from loafer_kit.doctor import Finding
from loafer_kit.exceptions import MissingExtraError
from loafer_kit.ext.aws.addresses import find_region
from loafer_kit.ext.aws.options import SETTABLE_OPTIONS as SQS_OPTIONS
from loafer_kit.local.servers import is_local
from loafer_kit.scaffold.additions import extensions
from loafer_kit.scaffold.spec.specs import Parameter, ServiceSpec

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


def interpreter() -> Iterator[Finding]:
    """Yield which Python runs, and which extras are installed."""
    yield Finding("ok", "Python", f"{platform.python_version()}, {sys.executable}")
    for extra, (purpose, module) in _EXTRAS.items():
        if find_spec(module):
            yield Finding("ok", f"extra {extra}", "installed")
        else:
            remedy = f"pip install 'loafer-kit[{extra}]' for {purpose}"
            yield Finding("note", f"extra {extra}", "not installed", remedy)


def credentials(session: Any, endpoint_url: str | None) -> Finding:
    """Return where the credentials come from, if there are any, and nothing secret."""
    remedy = (
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, an AWS_PROFILE, or run with a role; "
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


def region(session: Any, endpoint_url: str | None) -> Finding:
    """Return whether a region is configured."""
    name = find_region(session)
    if name is not None:
        return Finding("ok", "region", name)
    if is_local(endpoint_url):
        return Finding("ok", "region", "none, and a local server needs none")
    return Finding("problem", "region", "none is named", "set AWS_REGION, or `region` in a profile")


def settings(spec: ServiceSpec, project: Path) -> Iterator[Finding]:
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
    try:
        from loafer_kit.ext.amqp.options import SETTABLE_OPTIONS as AMQP_OPTIONS
    except MissingExtraError:  # the check of the broker says so
        return sorted(SETTABLE_ROUTE_OPTIONS)
    return sorted({*SETTABLE_ROUTE_OPTIONS, *AMQP_OPTIONS})


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
