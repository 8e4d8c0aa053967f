"""`loafer-kit check`: reports where a project's spec, code and lock disagree."""

from dataclasses import asdict
from pathlib import Path

import typer

from loafer_kit.cli.options import Json, Project
from loafer_kit.cli.output import say, say_json
from loafer_kit.scaffold.project import drift, projects


def check(path: Project = Path(), *, json: Json = False) -> None:
    """Report where spec, code and lock disagree.

    Each drift is one line with its remedy, and the exit code is then 1. The service's code is
    read and never imported.
    """
    found = drift.find(path, projects.find_lock(path))
    if json:
        say_json({"project": str(path), "drifts": [asdict(item) for item in found]})
    else:
        for item in found:
            say(item)
        if not found:
            say("spec, code and lock agree")
    if found:
        raise typer.Exit(1)
