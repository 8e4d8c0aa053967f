"""`loafer-kit check`: whether a project's spec, code and lock agree."""

from pathlib import Path
from typing import Annotated

import typer


def check(
    path: Annotated[Path, typer.Argument(help="The project's folder.")] = Path(),
    *,
    json: Annotated[bool, typer.Option("--json", help="Say it in JSON, for machines.")] = False,
) -> None:
    """Say where spec, code and lock do not agree.

    Each drift is one line with its remedy, and the exit code is then 1. It imports nothing.
    """
    from loafer_kit.cli import upkeep

    upkeep.check(path, json=json)
