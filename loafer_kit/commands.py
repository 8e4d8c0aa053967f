"""The commands that extensions ask for, until the command line is built from them.

A service whose extensions have commands imports this, and none of the command line.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Registration:
    """What one call of `register_commands` asked for."""

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

    Each command's interface follows from its function's signature: positional parameters are
    required arguments, those with a default optional ones, keyword-only ones are options. A
    parameter named `app` receives the service that `--app` names; `quiet` and `verbose` receive
    how often they were given. The docstring is the help. What the function returns or yields is
    printed; coroutine functions are awaited.

    `namespace_kwargs` may hold `title`, `description`, `help` and `epilog`; `func_kwargs`, which
    go to every command of this call, `description`, `help`, `epilog`, `hidden` and `deprecated`.
    """
    _registrations.append(
        Registration(namespace, tuple(functions), namespace_kwargs or {}, func_kwargs or {})
    )


def registrations() -> tuple[Registration, ...]:
    """Return what has been registered, oldest first."""
    return tuple(_registrations)


@contextmanager
def isolated() -> Iterator[None]:
    """Begin with nothing registered; afterwards what was registered before is back."""
    kept = _registrations[:]
    _registrations.clear()
    try:
        yield
    finally:
        _registrations[:] = kept
