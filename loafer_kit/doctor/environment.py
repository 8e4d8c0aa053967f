"""Checks the Python, the extras, the credentials and the region that a service runs with."""

import platform
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from botocore.exceptions import BotoCoreError

from loafer_kit.doctor.findings import Finding
from loafer_kit.ext.aws.addresses import find_region
from loafer_kit.local.environments import is_local

# The purpose of each extra, and a module that it installs.
_EXTRAS = {
    "local": ("loafer-kit dev, and tests with queues", "moto"),
    "otel": ("traces and metrics of OpenTelemetry", "opentelemetry"),
    "reload": ("--reloader", "watchfiles"),
    "scaffold": ("loafer-kit new, add and update", "cookiecutter"),
    "sentry": ("reports to Sentry", "sentry_sdk"),
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
