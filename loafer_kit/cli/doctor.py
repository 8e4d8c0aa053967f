"""`loafer-kit doctor`: whether a service would find what it needs."""

from pathlib import Path
from typing import Annotated

import typer

from loafer_kit.cli.printing import say, say_json
from loafer_kit.cli.progress import waiting_for_each


def doctor(
    path: Annotated[Path, typer.Argument(help="The service's folder or its loafer.toml.")] = Path(),
    *,
    json: Annotated[bool, typer.Option("--json", help="Say it in JSON, for machines.")] = False,
    endpoint_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where to ask, instead of AWS.")
    ] = None,
) -> None:
    """Say what keeps a service from running, and what to do.

    It looks at Python, extras, credentials, region, queues and topics. Nothing on AWS is changed.
    The exit code is 1 when there are problems.
    """
    from dataclasses import asdict

    from loafer_kit.doctor import service

    looks = service.findings(path, endpoint_url)
    found = []
    for finding in waiting_for_each("asking AWS", looks):
        found.append(finding)
        if not json:
            say(finding)
    problems = sum(item.level == "problem" for item in found)
    if json:
        say_json({"problems": problems, "findings": [asdict(item) for item in found]})
    elif not problems:
        say("all well")
    else:
        say(f"{problems} problem{'s' if problems > 1 else ''}")
    if problems:
        raise typer.Exit(1)
