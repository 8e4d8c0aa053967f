"""Typed handlers: a message's content as the type that the handler's first parameter names."""

import dataclasses
import functools
import inspect
import sys
import typing
from collections.abc import Callable, Sequence
from typing import Any

from loafer_kit.exceptions import InvalidPayloadError

Decode = Callable[[Any], Any]


def decoder_for(handler: Callable[..., Any], *, batch: bool = False) -> Decode | None:
    """Return what makes content fit the annotation of the handler's first parameter.

    Dataclasses, TypedDicts and pydantic models are decoded and validated; of a batch handler, the
    item type of its first parameter (`list[Order]`). Any other annotation, or none, leaves the
    content alone: None. The decoder raises `InvalidPayloadError`.
    """
    annotation = _first_annotation(handler)
    if batch:
        annotation = next(iter(typing.get_args(annotation)), None)
    if not _is_payload_type(annotation):
        return None
    return _validator(annotation)


def _first_annotation(handler: Callable[..., Any]) -> Any:
    function = inspect.unwrap(handler)
    try:
        parameter = next(iter(inspect.signature(function).parameters.values()), None)
        if parameter is None or isinstance(function, functools.partial):
            return None
        hints = typing.get_type_hints(
            function if inspect.isroutine(function) else type(function).__call__
        )
    except (NameError, TypeError, ValueError):  # annotations that only a type checker can see
        return None
    return hints.get(parameter.name)


def _is_payload_type(annotation: Any) -> bool:
    if not isinstance(annotation, type):
        return False
    return (
        dataclasses.is_dataclass(annotation)
        or typing.is_typeddict(annotation)
        or hasattr(annotation, "__pydantic_validator__")
    )


def _validator(annotation: Any) -> Decode:
    import pydantic

    adapter = pydantic.TypeAdapter(_portable(annotation))

    def decode(content: Any) -> Any:
        try:
            return adapter.validate_python(content)
        except pydantic.ValidationError as error:
            problems = "; ".join(_problem(problem) for problem in error.errors(include_url=False))
            raise InvalidPayloadError(f"does not fit {annotation.__name__}: {problems}") from error

    return decode


def _problem(problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    return f"{place}: {problem['msg']}" if place else str(problem["msg"])


def _portable(annotation: Any) -> Any:
    """Return what pydantic accepts: before Python 3.12 it refuses `typing.TypedDict`."""
    if sys.version_info >= (3, 12) or not typing.is_typeddict(annotation):
        return annotation
    import typing_extensions

    required = annotation.__required_keys__
    fields = {
        name: (typing.Required if name in required else typing.NotRequired)[_portable_hint(hint)]
        for name, hint in typing.get_type_hints(annotation).items()
    }
    return typing_extensions.TypedDict(annotation.__name__, fields)  # type: ignore[operator]


def _portable_hint(hint: Any) -> Any:
    arguments: Sequence[Any] = typing.get_args(hint)
    if arguments and isinstance(origin := typing.get_origin(hint), type):
        return origin[tuple(_portable_hint(argument) for argument in arguments)]  # type: ignore[index]
    return _portable(hint)
