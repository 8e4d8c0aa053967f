"""Finds the payload type in a handler's annotation, for any kind of callable."""

import dataclasses
import functools
import inspect
import logging
import re
import types
import typing
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

logger = logging.getLogger(__name__)


def payload_annotation(handler: Callable[..., Any], position: int = 0) -> Any | None:
    """Return the annotation of a handler's parameter if it names a payload type; None if not.

    Payload types are dataclasses, TypedDicts and pydantic models; they are found inside other types
    too. Works for functions, methods, `functools.partial`, decorators that use `functools.wraps`
    and callable objects. Only this parameter's annotation is resolved. If it cannot be, a warning
    is logged and the answer is None: existing handlers may name types that exist only for a type
    checker.
    """
    annotation: Any = None
    try:
        annotation = _written_annotation(handler, position)
        annotation = _resolved(handler, annotation)
        return annotation if any(map(_is_payload_type, parts(annotation))) else None
    except Exception as error:  # noqa: BLE001 - an annotation may be any expression
        logger.warning(
            "handler.unchecked handler=%s: the annotation %s cannot be resolved (%s), so messages "
            "arrive as they are; import its names outside TYPE_CHECKING, or annotate with Any",
            name_of(handler),
            shown(annotation),
            first_line(error),
            extra={"event": "handler.unchecked", "handler": name_of(handler)},
        )
        return None


def parts(annotation: Any, *, of_fields: bool = False) -> Iterable[Any]:
    """Return an annotation and every type it mentions; with `of_fields`, those of fields too."""
    found: dict[int, Any] = {}  # keeps the parts alive, so that each id stays unique
    waiting = [annotation]
    while waiting:
        part = waiting.pop()
        if id(part) not in found:
            found[id(part)] = part
            waiting += _made_of(part)
            if of_fields and isinstance(part, type):
                waiting += field_types(part).values()
    return found.values()


def field_types(kind: type) -> dict[str, Any]:
    """Return the types of a class's fields; an empty dict if they cannot be resolved."""
    try:
        return typing.get_type_hints(kind, include_extras=True)
    except Exception:  # noqa: BLE001 - pydantic reports the reason
        return {}


def without_metadata(annotation: Any) -> Any:
    """Return the type behind aliases and `Annotated`."""
    while True:
        if typing.get_origin(annotation) is Annotated:
            annotation = annotation.__origin__
        elif not typing.get_args(annotation) and hasattr(annotation, "__value__"):
            annotation = annotation.__value__
        else:
            return annotation


def shown(annotation: Any) -> str:
    """Format an annotation for an error message, without modules."""
    if isinstance(annotation, str):
        return repr(annotation)
    if typing.get_origin(annotation) is Annotated:
        annotation = annotation.__origin__
    return re.sub(r"(?:[\w<>]+\.)+(?=\w)", "", inspect.formatannotation(annotation))


def name_of(handler: Callable[..., Any]) -> str:
    """Return the dotted name of the function behind a handler."""
    function, _ = _unwrapped(handler)
    return f"{function.__module__}.{getattr(function, '__qualname__', function)}"


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or the name of its class."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _written_annotation(handler: Callable[..., Any], position: int) -> Any:
    try:
        parameters = list(inspect.signature(handler).parameters.values())
    except (TypeError, ValueError):  # a builtin
        return None
    if position >= len(parameters):
        return None
    annotation = parameters[position].annotation
    return None if annotation is inspect.Parameter.empty else annotation


def _resolved(handler: Callable[..., Any], annotation: Any) -> Any:
    """Return an annotation with its strings resolved to types."""
    function, owner = _unwrapped(handler)
    # Only this annotation, since others may name types that exist for a type checker only.
    alone = types.SimpleNamespace(__annotations__={"it": annotation})
    names = getattr(function, "__globals__", {})
    own = {variable.__name__: variable for variable in getattr(function, "__type_params__", ())}
    hint = typing.get_type_hints(alone, names, own, include_extras=True)["it"]
    return _filled(hint, _type_arguments(owner))


def _unwrapped(handler: Any) -> tuple[Any, type | None]:
    """Return the function behind a handler, and the class if it is a method."""
    owner = None
    while True:
        if isinstance(handler, functools.partial):
            handler = handler.func
        elif inspect.ismethod(handler):
            bound, handler = handler.__self__, handler.__func__
            owner = bound if isinstance(bound, type) else type(bound)
        elif hasattr(handler, "__wrapped__"):
            handler = handler.__wrapped__
        elif inspect.isroutine(handler) or isinstance(handler, type):
            return handler, owner
        else:
            owner, handler = type(handler), type(handler).__call__


def _type_arguments(owner: type | None) -> dict[Any, Any]:
    """Return the types that a subclass of a generic handler gives for its type variables."""
    found: dict[Any, Any] = {}
    for kind in owner.__mro__ if owner else ():
        for base in vars(kind).get("__orig_bases__", ()):
            variables = getattr(typing.get_origin(base), "__parameters__", ())
            for variable, argument in zip(variables, typing.get_args(base), strict=False):
                found.setdefault(variable, _filled(argument, found))
    return found


def _filled(hint: Any, arguments: dict[Any, Any]) -> Any:
    if isinstance(hint, typing.TypeVar):
        return arguments.get(hint, hint)
    variables = getattr(hint, "__parameters__", ()) if typing.get_args(hint) else ()
    if not variables:
        return hint
    return hint[tuple(arguments.get(variable, variable) for variable in variables)]


def _is_payload_type(part: Any) -> bool:
    return isinstance(part, type) and (
        dataclasses.is_dataclass(part)
        # `typing.is_typeddict` rejects typing_extensions' TypedDicts on some versions of Python
        or hasattr(part, "__required_keys__")
        # not `BaseModel` itself
        or (hasattr(part, "__pydantic_validator__") and part.__module__ != "pydantic.main")
    )


def _made_of(part: Any) -> list[Any]:
    origin, arguments = typing.get_origin(part), typing.get_args(part)
    if origin is Literal or isinstance(part, type):
        return []
    if origin is Annotated:
        return [part.__origin__]
    if arguments:
        return [origin, *arguments]
    names = ("__value__", "__supertype__", "__bound__")  # an alias, a NewType, a type variable
    return [
        *(getattr(part, name) for name in names if hasattr(part, name)),
        *getattr(part, "__constraints__", ()),
    ]
