"""The classes of our commands: imported when called, and without pydantic for texts and paths."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

_LONGEST_HELP = 1000


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


class LazyCommand(TyperCommand):
    """Stands for a command that is imported when it is called; a list shows its help line only.

    The module of the same name in this package holds the command: a function of that name, or a
    group of commands as `app`.
    """

    def load(self) -> TyperCommand | TyperGroup:
        """Import the command."""
        name = str(self.name)
        module = import_module(f"loafer_kit.cli.{name}")
        app = getattr(module, "app", None)
        if app is None:
            app = typer.Typer(add_completion=False, rich_markup_mode=None)
            app.command(name, cls=Command)(getattr(module, name))
        return cast(TyperCommand | TyperGroup, get_command(app))

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: Any = None,
        **extra: Any,
    ) -> Any:
        return self.load().make_context(info_name, args, parent, **extra)


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
