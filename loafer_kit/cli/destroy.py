"""`loafer-kit destroy`: take back the last `new` or `add`."""

from pathlib import Path
from typing import Annotated

import typer

from loafer_kit.cli import custom_templates


def destroy(
    path: Annotated[Path, typer.Argument(help="The project's folder.")] = Path(),
    *,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="List what would be taken back; exit code 2 if anything."),
    ] = False,
    diff: Annotated[
        bool,
        typer.Option("--diff", help="Show what would be taken back as diffs, and write nothing."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Say it in JSON, for machines.")] = False,
    trust: custom_templates.Trust = False,
) -> None:
    """Take back the last `new` or `add` of a project.

    Where a file was edited since, it is named and nothing is taken back. Files that loafer-kit did
    not write stay where they are.
    """
    from loafer_kit.cli import upkeep
    from loafer_kit.cli.showing import Show

    wanted = custom_templates.Wanted(trust=trust)
    upkeep.destroy(path, wanted, show=Show(dry_run=dry_run, diff=diff, json=json))
