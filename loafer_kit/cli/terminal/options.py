"""The classes of our commands, and the options that several commands share.

Texts and paths are converted without pydantic, which typer would import for them.
"""

import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from functools import partial, wraps
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

_LONGEST_HELP = 1000


def enclosing_project(path: Path) -> Path:
    """The project that holds the current folder, if no other folder is named.

    A symbolic link that names the folder is followed; within a project none is.
    """
    if path != Path():
        return Path(os.path.realpath(path)) if path.is_symlink() else path
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


class Command(TyperCommand):
    """A command whose texts and paths are converted without pydantic."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _convert_here(self.get_params(ctx))
        return super().parse_args(ctx, args)


class Group(TyperGroup):
    """A group whose own options are converted without pydantic.

    Its list of commands wraps their first sentences, which click cuts at the terminal's edge.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _convert_here(self.get_params(ctx))
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [
            (name, command.get_short_help_str(_LONGEST_HELP))
            for name, command in found
            if command is not None and not command.hidden
        ]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


def group(text: str) -> typer.Typer:
    """Return an empty group of commands; `text` is its help."""
    return typer.Typer(
        cls=Group, add_completion=False, no_args_is_help=True, rich_markup_mode=None, help=text
    )


class _Conversion:
    """Converts texts and paths, and leaves every other value to typer.

    typer imports pydantic and builds a model for each parameter, even for one that is not given:
    a tenth of a second for `new service`.
    """

    def __init__(self, typers: Callable[[], Any]) -> None:
        self._typers = typers

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        kind = param.type_descriptor.annotation
        if param.multiple and isinstance(value, list | tuple | None):
            items = [_converted(item, _ITEMS.get(kind)) for item in value or ()]
            if None not in items:
                return items
        elif value is None or (value == param.default and kind is not Path):
            return value
        elif (converted := _converted(value, kind)) is not None:
            return converted
        return self._typers().coerce(value, param=param, ctx=ctx)


_ITEMS = {list[str]: str, list[Path]: Path}


def _converted(value: Any, kind: Any) -> str | Path | None:
    if kind is str and isinstance(value, str):
        return value
    if kind is Path and isinstance(value, str | Path):
        path = Path(value)
        if os.access(path, os.R_OK) or not os.path.exists(path):  # noqa: PTH110 - never raises
            return path
    return None  # typer says what is wrong


def _convert_here(parameters: Sequence[Any]) -> None:
    for parameter in parameters:
        parameter.get_runtime_param = partial(_Conversion, parameter.get_runtime_param)
