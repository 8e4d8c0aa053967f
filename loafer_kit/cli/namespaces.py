"""Registered commands as groups of the command line."""

from collections.abc import Iterable, Mapping
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from loafer_kit.cli.signatures import as_command
from loafer_kit.commands import Registration
from loafer_kit.exceptions import ConfigurationError


def groups_of(registrations: Iterable[Registration]) -> dict[str, TyperGroup]:
    """Return a group for each namespace; a later command replaces an earlier one of its name."""
    namespaces: dict[str, typer.Typer] = {}
    for registration in registrations:
        namespace = namespaces.get(registration.namespace)
        if namespace is None:
            namespace = namespaces[registration.namespace] = _namespace_of(registration)
        options = _command_options(registration.func_kwargs)
        for function in registration.functions:
            name = function.__name__.strip("_").replace("_", "-").lower()
            namespace.command(name, **options)(as_command(function))
    return {name: get_group(namespace) for name, namespace in namespaces.items()}


def add_registered_commands(group: TyperGroup, registrations: Iterable[Registration]) -> None:
    """Add the namespaces to the command line; they must not hide a command of its own."""
    for name, namespace in groups_of(registrations).items():
        if name in group.commands:
            raise ConfigurationError(
                f"An extension registers the commands {name!r}, but loafer-kit has a command of "
                "that name: choose another namespace"
            )
        group.add_command(namespace, name)


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
