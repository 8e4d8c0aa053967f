"""A Sphinx directive that documents the commands of an extension.

Put `loafer_kit.contrib.sphinx` into the `extensions` of `conf.py`, then::

    .. loaferkitcli:: package.module:Extension
       :prog: loafer-kit --app APP_PATH
"""

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import typer
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from typer.core import TyperGroup

from loafer_kit import __version__
from loafer_kit.cli.extension_commands import groups_of
from loafer_kit.commands import isolated, registrations

_UNDERLINES = "=-~^"


@dataclass(frozen=True, slots=True)
class Style:
    """The options of the directive."""

    prog: str = "loafer-kit --app APP_PATH"
    start_command: str = ""
    maxdepth: int = 0
    strip_usage: bool = False
    no_usage_codeblock: bool = False
    groups: bool = False


class LoaferKitCLIDirective(SphinxDirective):
    """Documents an extension's commands; `doozercli` is its older name.

    Creates the extension without a service and calls its `register_cli`. `start_command` is the
    command to begin with (`namespace` or `namespace command`), `maxdepth` the number of levels.
    `groups` separates arguments and options, `strip_usage` shortens the program in the usage to its
    last word, `no_usage_codeblock` shows the usage as plain text.
    """

    required_arguments = 1
    option_spec: ClassVar[Mapping[str, Callable[[str], Any]]] = {
        "prog": directives.unchanged,
        "start_command": directives.unchanged,
        "maxdepth": directives.nonnegative_int,
        "strip_usage": directives.flag,
        "no_usage_codeblock": directives.flag,
        "groups": directives.flag,
    }

    def run(self) -> list[nodes.Node]:
        """Return the documentation, a section for each command."""
        flags = {name: True for name, value in self.options.items() if value is None}
        style = Style(**{**self.options, **flags})
        try:
            lines = list(describe(commands_of(self.arguments[0]), style))
        except (ImportError, AttributeError, LookupError) as error:
            raise self.error(f"{self.arguments[0]}: {error}") from error
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


#: Its name in Doozer.
DoozerCLIDirective = LoaferKitCLIDirective


def commands_of(path: str) -> dict[str, TyperGroup]:
    """Return the commands of the extension at `module:Extension`, by namespace."""
    module, _, name = path.partition(":")
    extension = getattr(importlib.import_module(module), name)()
    with isolated():
        extension.register_cli()
        return groups_of(registrations())


def describe(namespaces: Mapping[str, TyperGroup], style: Style) -> Iterator[str]:
    """Yield the lines of reStructuredText that document the commands."""
    start = style.start_command.split()
    if not start:
        for name, group in namespaces.items():
            yield from _describe(group, name, style, 0)
        return
    command: Any = namespaces[start[0]]
    for name in start[1:]:
        command = command.commands[name]
    yield from _describe(command, style.start_command, style, 0)


def _describe(command: Any, path: str, style: Style, depth: int) -> Iterator[str]:
    program = f"{style.prog} {path}"
    context = typer.Context(
        command, info_name=path.rsplit(maxsplit=1)[-1] if style.strip_usage else program
    )
    title = f"``{program}``"  # a literal: Sphinx turns two hyphens into a dash
    yield from ("", title, _UNDERLINES[depth] * len(title), "")
    yield from (inspect.cleandoc(command.help or "").splitlines())
    yield from _usage(command.get_usage(context), style)
    yield from ("", f".. program:: {program}", "")
    yield from _parameters(command, context, style)
    if style.maxdepth == 0 or depth + 1 < style.maxdepth:
        for name, subcommand in getattr(command, "commands", {}).items():
            yield from _describe(subcommand, f"{path} {name}", style, depth + 1)


def _usage(usage: str, style: Style) -> Iterator[str]:
    text = usage.removeprefix("Usage: ")
    if style.no_usage_codeblock:
        yield from ("", *(f"| {line.strip()}" for line in text.splitlines()), "")
    else:
        yield from ("", ".. code-block:: console", "")
        yield from (
            f"   {'  ' if number else '$ '}{line.strip()}"
            for number, line in enumerate(text.splitlines())
        )
        yield ""


def _parameters(command: Any, context: typer.Context, style: Style) -> Iterator[str]:
    for title, kind in (("Arguments", "argument"), ("Options", "option")):
        parameters = [each for each in command.params if each.param_type_name == kind]
        if style.groups and parameters:
            yield from (f".. rubric:: {title}", "")
        for parameter in parameters:
            record = parameter.get_help_record(context)
            yield from (
                f".. option:: {_names(parameter)}",
                "",
                f"   {record[1] if record else ''}",
                "",
            )


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name)
    takes_value = not (parameter.is_flag or parameter.count)
    suffix = f" {parameter.metavar}" if takes_value else ""
    return ", ".join(f"{name}{suffix}" for name in (*parameter.opts, *parameter.secondary_opts))


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive to Sphinx."""
    app.add_directive("loaferkitcli", LoaferKitCLIDirective)
    app.add_directive("doozercli", LoaferKitCLIDirective)
    return {"version": __version__, "parallel_read_safe": True, "parallel_write_safe": True}
