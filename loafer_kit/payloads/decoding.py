"""Validates a message's content as the type that the handler's parameter names."""

import dataclasses
import functools
import inspect
import json
import logging
import re
import sys
import types
import typing
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Annotated, Any, Literal

from loafer_kit.exceptions import ConfigurationError, InvalidPayloadError

logger = logging.getLogger(__name__)

Decode = Callable[[Any], Any]

#: Types that pydantic validates only while the handler iterates over the value.
_LAZY = (Iterable, Iterator, Generator)


def decoder_for(
    handler: Callable[..., Any], *, batch: bool = False, position: int = 0
) -> Decode | None:
    """Return a function that validates content as the handler's parameter at `position` says.

    The content is validated if the annotation is or mentions a dataclass, a TypedDict or a pydantic
    model; for a batch handler, if the items of its list do (`list[Order]`). For any other
    annotation, or none, the answer is None. The decoder raises `InvalidPayloadError`.

    Raises a one-line `ConfigurationError` for an annotation that cannot be validated.
    """
    annotation = payload_annotation(handler, position)
    if annotation is None:
        return None
    try:
        return _decoder(_item(annotation) if batch else annotation)
    except Exception as error:
        raise ConfigurationError(
            f"The handler {_name_of(handler)} takes {_shown(annotation)}, "
            f"which cannot be validated: {_first_line(error).rstrip('.')}. Correct that, "
            "or annotate with Any to take messages as they are."
        ) from error


def mark_undecodable(exc: BaseException) -> None:
    """Mark `exc` as raised while a message was translated or validated."""
    exc.__dict__["_loafer_kit_undecodable"] = True


def is_undecodable(exc: BaseException) -> bool:
    """True if `exc` was raised while a message was translated or validated."""
    return "_loafer_kit_undecodable" in exc.__dict__


def _item(annotation: Any) -> Any:
    annotation = _without_metadata(annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if isinstance(origin, type) and issubclass(list, origin) and len(arguments) == 1:
        return arguments[0]
    raise TypeError("a batch handler takes a list of messages, as in list[Order]")


def _decoder(annotation: Any) -> Decode:
    import pydantic

    _check(annotation)
    adapter = pydantic.TypeAdapter(annotation)
    if adapter.rebuild() is False:  # it would fail at each message instead
        raise TypeError("one of its types is not complete")
    validate = _validation(adapter)
    shown = _shown(annotation)

    def decode(content: Any) -> Any:
        try:
            return validate(content)
        except pydantic.ValidationError as error:
            problems = "; ".join(_problem(problem) for problem in error.errors(include_url=False))
            raise InvalidPayloadError(f"does not fit {shown}: {problems}") from error

    return decode


def _check(annotation: Any) -> None:
    """Raise a `TypeError` for types that pydantic would not validate, or would refuse obscurely."""
    if any(typing.get_origin(part) in _LAZY for part in _parts(annotation)):
        raise TypeError("iterables are not validated before they are used, as a list is")
    for part in _parts(annotation, of_fields=True):
        is_typed_dict = hasattr(part, "__required_keys__")
        if is_typed_dict and type(part).__module__ == "typing" and sys.version_info < (3, 12):
            raise TypeError(
                f"{part.__name__} is a typing.TypedDict: "
                "use typing_extensions.TypedDict before Python 3.12"
            )
        if is_typed_dict or dataclasses.is_dataclass(part):
            _check_fields(part)


def _check_fields(kind: Any) -> None:
    """Refuse unbound type variables of a base: pydantic binds them in its own models only."""
    for name, hint in _field_types(kind).items():
        for part in _parts(hint):
            if isinstance(part, typing.TypeVar) and part not in getattr(kind, "__parameters__", ()):
                raise TypeError(
                    f"{kind.__name__}.{name} is of the type variable {part.__name__} of a base"
                )


def _validation(adapter: Any) -> Callable[[Any], Any]:
    """Return the adapter's validation; for strict types, validation as JSON where possible.

    JSON has no dates and no enums. A strict type accepts their strings from JSON, not from Python.
    """
    if not _is_strict(adapter.core_schema):
        return adapter.validate_python  # type: ignore[no-any-return]

    def validate(content: Any) -> Any:
        try:
            text = json.dumps(content)
        except (TypeError, ValueError):  # a translator has made other objects of it
            return adapter.validate_python(content)
        return adapter.validate_json(text)

    return validate


def _is_strict(schema: Any) -> bool:
    if isinstance(schema, dict):
        # Strict strings do not count: they are strings in JSON and in Python, and pydantic makes
        # them part of types that are not strict.
        strict = schema.get("strict") is True and schema.get("type") != "str"
        return strict or any(map(_is_strict, schema.values()))
    return isinstance(schema, list | tuple) and any(map(_is_strict, schema))


def _problem(problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    return f"{place}: {problem['msg']}" if place else str(problem["msg"])


# The annotation of a handler's parameter


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
        return annotation if any(map(_is_payload_type, _parts(annotation))) else None
    except Exception as error:  # noqa: BLE001 - an annotation may be any expression
        logger.warning(
            "handler.unchecked handler=%s: the annotation %s cannot be resolved (%s), so messages "
            "arrive as they are; import its names outside TYPE_CHECKING, or annotate with Any",
            _name_of(handler),
            _shown(annotation),
            _first_line(error),
            extra={"event": "handler.unchecked", "handler": _name_of(handler)},
        )
        return None


def _parts(annotation: Any, *, of_fields: bool = False) -> Iterable[Any]:
    """Return an annotation and every type it mentions; with `of_fields`, those of fields too."""
    found: dict[int, Any] = {}  # keeps the parts alive, so that each id stays unique
    waiting = [annotation]
    while waiting:
        part = waiting.pop()
        if id(part) not in found:
            found[id(part)] = part
            waiting += _made_of(part)
            if of_fields and isinstance(part, type):
                waiting += _field_types(part).values()
    return found.values()


def _field_types(kind: type) -> dict[str, Any]:
    """Return the types of a class's fields; an empty dict if they cannot be resolved."""
    try:
        return typing.get_type_hints(kind, include_extras=True)
    except Exception:  # noqa: BLE001 - pydantic reports the reason
        return {}


def _without_metadata(annotation: Any) -> Any:
    """Return the type behind aliases and `Annotated`."""
    while True:
        if typing.get_origin(annotation) is Annotated:
            annotation = annotation.__origin__
        elif not typing.get_args(annotation) and hasattr(annotation, "__value__"):
            annotation = annotation.__value__
        else:
            return annotation


def _shown(annotation: Any) -> str:
    """Format an annotation for an error message, without modules."""
    if isinstance(annotation, str):
        return repr(annotation)
    if typing.get_origin(annotation) is Annotated:
        annotation = annotation.__origin__
    return re.sub(r"(?:[\w<>]+\.)+(?=\w)", "", inspect.formatannotation(annotation))


def _name_of(handler: Callable[..., Any]) -> str:
    """Return the dotted name of the function behind a handler."""
    function, _ = _unwrapped(handler)
    return f"{function.__module__}.{getattr(function, '__qualname__', function)}"


def _first_line(error: Exception) -> str:
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
