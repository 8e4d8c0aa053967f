"""Commands that extensions register: each namespace is a group of the command line.

A function's signature is its command's interface.
"""

import __future__

import ast
import asyncio
import contextlib
import inspect
import types
import typing
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from enum import Enum
from inspect import Parameter
from pathlib import PurePath
from typing import Any
from uuid import UUID

import typer
from typer.core import TyperGroup
from typer.main import get_group

from loafer_kit.cli.run import load_service
from loafer_kit.cli.terminal.options import Group
from loafer_kit.commands import Registration, registrations
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.services import Service

_COUNTED = ("quiet", "verbose")
_CONTEXT = "_context"
_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_VARIADIC = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
_SCALARS = (int, float, complex, Decimal, Enum, PurePath, datetime, UUID)
_MANY = (list, tuple, set, frozenset)


def groups_of(found: Iterable[Registration]) -> dict[str, TyperGroup]:
    """Return a group per namespace; a later command replaces an earlier one of the same name."""
    namespaces: dict[str, typer.Typer] = {}
    for registration in found:
        namespace = namespaces.get(registration.namespace)
        if namespace is None:
            namespace = namespaces[registration.namespace] = _namespace_of(registration)
        options = _command_options(registration.func_kwargs)
        for function in registration.functions:
            name = function.__name__.strip("_").replace("_", "-").lower()
            namespace.command(name, **options)(_as_command(function))
    return {name: get_group(namespace) for name, namespace in namespaces.items()}


def load(path: str, command_line: Group) -> Service:
    """Import the service at `PATH[:APP]` and add its extensions' commands to the command line.

    ConfigurationError if a namespace hides a command.
    """
    service = load_service(path)
    for name, namespace in groups_of(registrations()).items():
        if name in command_line.commands:
            raise ConfigurationError(
                f"An extension registers the commands {name!r}, but loafer-kit has a command of "
                "that name: choose another namespace"
            )
        command_line.add_command(namespace, name)
    return service


def _namespace_of(registration: Registration) -> typer.Typer:
    given = registration.namespace_kwargs
    _check_names(given, ("title", "description", "help", "epilog"), "namespace_kwargs")
    text = given.get("description") or given.get("help") or given.get("title")
    return typer.Typer(
        name=registration.namespace,
        help=text or f"Commands of {registration.namespace}.",
        short_help=given.get("help"),
        epilog=given.get("epilog"),
        no_args_is_help=True,
        rich_markup_mode=None,
    )


def _command_options(given: Mapping[str, Any]) -> dict[str, Any]:
    _check_names(given, ("description", "help", "epilog", "hidden", "deprecated"), "func_kwargs")
    options = dict(given)
    description = options.pop("description", None)
    if description is not None:
        options.update(short_help=options.pop("help", None), help=description)
    return options


def _check_names(given: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ConfigurationError(
            f"{where} cannot have {', '.join(unknown)}; it may have {', '.join(known)}"
        )


def _as_command(function: Callable[..., Any]) -> Callable[..., None]:
    """Return a callback for typer, which calls `function` and prints its results.

    Variadic parameters stay empty.
    """
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind not in _VARIADIC
    }

    def command(**values: Any) -> None:
        context: typer.Context = values.pop(_CONTEXT)
        if values.get("quiet") and values.get("verbose"):
            raise typer.BadParameter("--quiet and --verbose exclude each other.", ctx=context)
        for name in values.keys() & set(_COUNTED):
            values[name] = values[name] or _default_of(parameters[name], None)
        if "app" in parameters:
            values["app"] = context.obj
        positional = [values.pop(name) for name, p in parameters.items() if p.kind in _POSITIONAL]
        _print_results(function(*positional, **values))

    interface = [
        Parameter(_CONTEXT, Parameter.KEYWORD_ONLY, annotation=typer.Context),
        *_interface_of(function, parameters),
    ]
    command.__name__ = function.__name__
    command.__doc__ = inspect.getdoc(function)
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in interface}
    command.__signature__ = inspect.Signature(interface)  # type: ignore[attr-defined]
    return command


def _interface_of(
    function: Callable[..., Any], parameters: Mapping[str, Parameter]
) -> list[Parameter]:
    flags = _flags_of(parameters)
    interface = []
    for name, parameter in parameters.items():
        if name == "app":
            continue
        hint, text = _hint_of(function, parameter.annotation)
        kind = int if name in _COUNTED else _type_of(parameter, hint)
        default: Any
        if name in _COUNTED:
            default = typer.Option(0, *flags[name], count=True, show_default=False, help=text)
        elif parameter.kind is Parameter.KEYWORD_ONLY:
            default = _option(parameter, kind, flags[name], text)
        else:
            default = typer.Argument(_default_of(parameter, ...), metavar=name.upper(), help=text)
        interface.append(Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=kind))
    return interface


def _option(parameter: Parameter, kind: Any, flags: list[str], text: str | None) -> Any:
    metavar = None if kind is bool else parameter.name.upper()
    if kind is bool and parameter.default is True:
        flags = [f"{flags[0]}/--no-{flags[0].removeprefix('--')}", *flags[1:]]
    return typer.Option(_default_of(parameter, ...), *flags, metavar=metavar, help=text)


def _flags_of(parameters: Mapping[str, Parameter]) -> dict[str, list[str]]:
    """The flags of each option: its name, and its first letter unless two share it; `-h` is help."""
    counted = [name for name in _COUNTED if name in parameters]
    options = [
        name
        for name, parameter in parameters.items()
        if parameter.kind is Parameter.KEYWORD_ONLY and name not in (*counted, "app")
    ]
    letters = Counter(name.strip("_")[:1] for name in [*options, *counted, "help"])
    flags = {}
    for name in [*options, *counted]:
        flags[name] = [f"--{name.strip('_').replace('_', '-')}"]
        letter = name.strip("_")[:1]
        if name in counted or letters[letter] == 1:
            flags[name].append(f"-{letter}")
    return flags


def _default_of(parameter: Parameter, missing: Any) -> Any:
    return missing if parameter.default is Parameter.empty else parameter.default


def _hint_of(function: Callable[..., Any], annotation: Any) -> tuple[Any, str | None]:
    """Return the type and the help text that an annotation gives; None for what it does not give.

    Text that does not name a type is help, as in Doozer.
    """
    if annotation is Parameter.empty:
        return None, None
    function = inspect.unwrap(function)
    stand_in = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        names = getattr(function, "__globals__", {})
        hint = typing.get_type_hints(stand_in, globalns=names)["it"]
    except Exception as error:  # noqa: BLE001 - an annotation is any expression
        return None, _help_text(function, annotation, error)
    if isinstance(hint, type) or type(hint).__module__ in ("types", "typing", "typing_extensions"):
        return hint, None
    return None, _help_text(function, annotation, None)  # help such as "id"


def _help_text(
    function: Callable[..., Any], annotation: Any, error: Exception | None
) -> str | None:
    if not isinstance(annotation, str):
        return None
    code = getattr(function, "__code__", None)
    if code is not None and code.co_flags & __future__.annotations.compiler_flag:
        # Every annotation is text there, and text is quoted a second time.
        with contextlib.suppress(ValueError, SyntaxError):
            literal = ast.literal_eval(annotation)
            return literal if isinstance(literal, str) else None
        return None
    # A name that is imported for type checkers only is not help.
    return None if isinstance(error, NameError) and not annotation.islower() else annotation


def _type_of(parameter: Parameter, hint: Any) -> Any:
    """Return the type that an argument is converted to: the annotation's or the default's."""
    default = parameter.default
    if hint is None:
        if isinstance(default, _MANY):
            return list[type(next(iter(default)))] if default else list[str]  # type: ignore[misc]
        return type(default) if isinstance(default, _SCALARS) else str
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    union = typing.get_args(hint) if is_union else (hint,)
    choices = [choice for choice in union if choice is not types.NoneType]
    if len(choices) > 1:
        return str
    origin = typing.get_origin(choices[0]) or choices[0]
    if origin is tuple and Ellipsis not in typing.get_args(choices[0]):
        return choices[0] if typing.get_args(choices[0]) else list[str]
    if origin in _MANY or getattr(origin, "__module__", None) == "collections.abc":
        arguments = typing.get_args(choices[0])
        return list[arguments[0] if arguments else str]  # type: ignore[misc]
    return choices[0]


def _print_results(results: Any) -> None:
    if inspect.isawaitable(results):
        results = asyncio.run(_awaited(results))
    if isinstance(results, AsyncIterator):
        asyncio.run(_print_each(results))
    elif inspect.isgenerator(results) or isinstance(results, list | tuple):
        for result in results:
            typer.echo(result)
    elif results is not None:
        typer.echo(results)


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


async def _print_each(results: AsyncIterator[Any]) -> None:
    async for result in results:
        typer.echo(result)
