"""`loafer-kit doctor`: reports whether a service would find what it needs."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from loafer_kit.cli.terminal.options import Json, enclosing_project
from loafer_kit.cli.terminal.output import say, say_json, waiting_for_each
from loafer_kit.doctor import service


def doctor(
    path: Annotated[
        Path,
        typer.Argument(
            help="The service's folder or its loafer.toml; by default the one around the current "
            "folder.",
            show_default=False,
            callback=enclosing_project,
        ),
    ] = Path(),
    *,
    json: Json = False,
    endpoint_url: Annotated[
        str | None, typer.Option(metavar="URL", help="The server to ask instead of AWS.")
    ] = None,
) -> None:
    """Report what keeps a service from running, and how to fix it.

    It examines Python, extras, credentials, region, queues and topics, and changes nothing on
    AWS. The exit code is 1 if there are problems.
    """
    found = []
    for finding in waiting_for_each("asking AWS", service.findings(path, endpoint_url)):
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
