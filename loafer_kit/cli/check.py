"""`loafer-kit check` and `schema`: whether a project agrees with its spec, and what a spec may say."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from loafer_kit.cli.terminal.options import Json, Project
from loafer_kit.cli.terminal.output import say, say_json
from loafer_kit.scaffold.project import drift, projects
from loafer_kit.scaffold.project.locks import Lock
from loafer_kit.scaffold.spec import validation


def check(path: Project = Path(), *, json: Json = False) -> None:
    """Report where spec, code and lock disagree.

    Each difference is one line with its remedy, and the exit code is then 1. The service's code is
    read and never imported.
    """
    lock = projects.find_lock(path)
    found = drift.find(path, lock)
    if json:
        say_json({"project": str(path), "drifts": [asdict(item) for item in found]})
    else:
        for item in found:
            say(item)
        if not found:
            say(_agreement(lock))
    if found:
        raise typer.Exit(1)


def schema(
    _json: Annotated[bool, typer.Option("--json", help="Print JSON: the default.")] = False,
) -> None:
    """Print the JSON Schema of a service's spec."""
    say_json(validation.schema())


def _agreement(lock: Lock) -> str:
    if lock.template.name == "service" and projects.SPEC not in lock.files:
        what = f"{lock.template.origin} is not a template for services"
        return f"no conflict is left; {what}: there is no spec to compare with the code"
    return "spec, code and lock agree"
