"""The options that several commands share, one by one and in groups."""

import inspect
import os
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import wraps
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any

import typer


def enclosing_project(path: Path) -> Path:
    """The project that holds the current folder, if no other folder is named."""
    if path != Path():
        return path
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "loafer.toml").is_file() or (folder / ".loafer-kit" / "lock.json").is_file():
            return Path(os.path.relpath(folder))
    return path


Project = Annotated[
    Path,
    typer.Argument(
        help="The project's folder; by default the one around the current folder.",
        show_default=False,
        callback=enclosing_project,
    ),
]
ProjectOption = Annotated[
    Path,
    typer.Option(
        "--path",
        help="The service's folder; by default the one around the current folder.",
        show_default=False,
        callback=enclosing_project,
    ),
]
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


def option_groups(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the fields of its dataclass parameters as options.

    The command itself gets an instance of each dataclass.
    """
    groups: dict[str, Any] = {}
    options: list[Parameter] = []
    for parameter in inspect.signature(function).parameters.values():
        group = parameter.annotation
        if not is_dataclass(group):
            options.append(parameter)
            continue
        groups[parameter.name] = group
        options += [
            Parameter(
                field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type
            )
            for field in fields(group)
        ]

    @wraps(function)
    def command(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        function(**values)

    command.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    return command
