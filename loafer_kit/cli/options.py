"""The options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Project = Annotated[Path, typer.Argument(help="The project's folder.")]
ProjectOption = Annotated[Path, typer.Option("--path", help="The service's folder.")]
OutputDir = Annotated[Path, typer.Option(help="The folder that gets the project's folder.")]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="List the changes and write nothing; exit code 2 if there are any."
    ),
]
Diff = Annotated[
    bool, typer.Option("--diff", help="Show the changes as diffs, like --dry-run otherwise.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Force = Annotated[
    bool, typer.Option("--force", help="Overwrite the files of an existing folder, edited or not.")
]
Git = Annotated[
    bool,
    typer.Option("--git", help="Create a git repository in the project's folder, with a commit."),
]
