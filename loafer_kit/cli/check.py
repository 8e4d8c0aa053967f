"""`loafer-kit check`: reports where a project's spec, code and lock disagree."""

from dataclasses import asdict
from pathlib import Path

import typer

from loafer_kit.cli.options import Json, Project
from loafer_kit.cli.output import say, say_json
from loafer_kit.scaffold.project import checks, projects


def check(path: Project = Path(), *, json: Json = False) -> None:
    """Report where spec, code and lock disagree.

    Each drift is one line with its remedy, and the exit code is then 1. The service's code is
    read and never imported.
    """
    drifts = checks.drifts(path, projects.find_lock(path))
    if json:
        say_json({"project": str(path), "drifts": [asdict(drift) for drift in drifts]})
    else:
        for drift in drifts:
            say(drift)
        if not drifts:
            say("spec, code and lock agree")
    if drifts:
        raise typer.Exit(1)
