"""`loafer-kit doctor`: whether a service would find what it needs."""

from pathlib import Path
from typing import Annotated

import typer

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
    import json as json_format
    from dataclasses import asdict

    from loafer_kit.cli.diagnoses import service

    looks = service.findings(path, endpoint_url)
    found = []
    for finding in waiting_for_each("asking AWS", looks):
        found.append(finding)
        if not json:
            typer.echo(finding)
    problems = sum(item.level == "problem" for item in found)
    if json:
        described = {"problems": problems, "findings": [asdict(item) for item in found]}
        typer.echo(json_format.dumps(described, indent=2))
    elif not problems:
        typer.echo("all well")
    else:
        typer.echo(f"{problems} problem{'s' if problems > 1 else ''}")
    if problems:
        raise typer.Exit(1)
