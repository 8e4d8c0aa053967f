"""Registers the commands of extensions, from which the command line is built later.

A service imports only this module, not the command line.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Registration:
    """One call of `register_commands`."""

    namespace: str
    functions: tuple[Callable[..., Any], ...]
    namespace_kwargs: Mapping[str, Any]
    func_kwargs: Mapping[str, Any]


_registrations: list[Registration] = []


def register_commands(
    namespace: str,
    functions: Iterable[Callable[..., Any]],
    namespace_kwargs: Mapping[str, Any] | None = None,
    func_kwargs: Mapping[str, Any] | None = None,
) -> None:
    """Add `functions` to the command line as `loafer-kit --app PATH NAMESPACE FUNCTION`.

    The function's signature is the command's interface: positional parameters are required
    arguments, or optional ones if they have a default; keyword-only parameters are options. A
    parameter named `app` receives the service of `--app`; `quiet` and `verbose` receive how often
    they were given. The docstring is the help, and so is an annotation that is text for its
    parameter. Returned or yielded values are printed, the items of a list or tuple one on each line;
    coroutine functions are awaited.

    `namespace_kwargs` may hold `title`, `description`, `help` and `epilog`. `func_kwargs` apply to
    every command of this call: `description`, `help`, `epilog`, `hidden` and `deprecated`.
    """
    _registrations.append(
        Registration(namespace, tuple(functions), namespace_kwargs or {}, func_kwargs or {})
    )


def registrations() -> tuple[Registration, ...]:
    """Return all registrations, oldest first."""
    return tuple(_registrations)


@contextmanager
def isolated() -> Iterator[None]:
    """Start with no registrations, and restore the previous ones at the end."""
    kept = _registrations[:]
    _registrations.clear()
    try:
        yield
    finally:
        _registrations[:] = kept
