"""`loafer-kit doctor`: whether a service would find what it needs."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loafer_kit.cli.printing import say, say_json
from loafer_kit.cli.progress import waiting

if TYPE_CHECKING:
    from loafer_kit.cli.diagnoses.findings import Finding

_ASKING = "asking AWS"


def doctor(
    path: Annotated[Path, typer.Argument(help="The service's folder or its loafer.toml.")] = Path(),
    *,
    json: Annotated[bool, typer.Option("--json", help="Say it in JSON, for machines.")] = False,
    endpoint_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where to ask, instead of AWS.")
    ] = None,
) -> None:
    """Say what keeps a service from running, and what to do.

    It looks at Python, extras, credentials, region, queues and topics. Nothing on AWS is changed. The exit code is 1 when there are problems.
    """
    from dataclasses import asdict

    from loafer_kit.cli.diagnoses import service

    looks = service.findings(path, endpoint_url)
    if json:
        with waiting(_ASKING):
            found = list(looks)
    else:
        found = list(_told(looks))
    problems = sum(item.level == "problem" for item in found)
    if json:
        say_json({"problems": problems, "findings": [asdict(item) for item in found]})
    elif not problems:
        say("all well")
    else:
        say(f"{problems} problem{'s' if problems > 1 else ''}")
    if problems:
        raise typer.Exit(1)


def _told(looks: "Iterator[Finding]") -> "Iterator[Finding]":
    """Print each finding as soon as it is there."""
    while True:
        with waiting(_ASKING):
            finding = next(looks, None)
        if finding is None:
            return
        say(finding)
        yield finding
