"""`loafer-kit update`: bring a project up to its template and its spec."""

from pathlib import Path
from typing import Annotated

import typer

from loafer_kit.cli import custom_templates


def update(
    path: Annotated[Path, typer.Argument(help="The project's folder.")] = Path(),
    *,
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing; exit code 1 when there is anything to write."),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="List what would be written; exit code 2 if anything."),
    ] = False,
    diff: Annotated[
        bool,
        typer.Option("--diff", help="Show what would be written as diffs, and write nothing."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Say it in JSON, for machines.")] = False,
    checkout: custom_templates.Checkout = None,
    set_: custom_templates.Set = None,
    trust: custom_templates.Trust = False,
) -> None:
    """Bring a project up to its template and spec.

    What the installed template makes of the spec is merged into it; every edit is kept. Where both
    changed the same lines, both stand between the marks that git uses, and the exit code is 1.
    """
    from loafer_kit.cli import upkeep
    from loafer_kit.cli.showing import Show

    show = Show(dry_run=dry_run or check, diff=diff, json=json)
    wanted = custom_templates.Wanted(checkout=checkout, settings=set_ or [], trust=trust)
    upkeep.update(path, wanted, show=show, check=check)
