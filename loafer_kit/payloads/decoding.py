"""Typed handlers: a message's content as the type that the handler's parameter names."""

import dataclasses
import json
import typing
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

from loafer_kit.exceptions import ConfigurationError, InvalidPayloadError
from loafer_kit.payloads import annotations, typed_dicts

Decode = Callable[[Any], Any]

#: What pydantic validates only while it is iterated, when the handler has begun.
_LAZY = (Iterable, Iterator, Generator)


def decoder_for(
    handler: Callable[..., Any], *, batch: bool = False, position: int = 0
) -> Decode | None:
    """Return what makes content fit the annotation of the handler's parameter at `position`.

    Content is decoded and validated where the annotation is or mentions a dataclass, a TypedDict or
    a pydantic model; of a batch handler, as an item of its list (`list[Order]`). Any other
    annotation, or none, leaves the content alone: None. The decoder raises `InvalidPayloadError`.

    Raises a one-line `ConfigurationError` for an annotation that cannot be validated.
    """
    annotation = annotations.payload_annotation(handler, position)
    if annotation is None:
        return None
    try:
        return _decoder(_item(annotation) if batch else annotation)
    except Exception as error:
        raise ConfigurationError(
            f"The handler {annotations.name_of(handler)} takes {annotations.shown(annotation)}, "
            f"which cannot be validated: {annotations.first_line(error).rstrip('.')}. Correct that, "
            "or annotate with Any to take messages as they are."
        ) from error


def _item(annotation: Any) -> Any:
    annotation = annotations.without_metadata(annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if isinstance(origin, type) and issubclass(list, origin) and len(arguments) == 1:
        return arguments[0]
    raise TypeError("a batch handler takes a list of messages, as in list[Order]")


def _decoder(annotation: Any) -> Decode:
    import pydantic

    _check(annotation)
    validate = _validation(_adapter(annotation))
    shown = annotations.shown(annotation)

    def decode(content: Any) -> Any:
        try:
            return validate(content)
        except pydantic.ValidationError as error:
            problems = "; ".join(_problem(problem) for problem in error.errors(include_url=False))
            raise InvalidPayloadError(f"does not fit {shown}: {problems}") from error

    return decode


def _check(annotation: Any) -> None:
    """Raise a `TypeError` for what pydantic would take and leave unvalidated."""
    if any(typing.get_origin(part) in _LAZY for part in annotations.parts(annotation)):
        raise TypeError("iterables are not validated before they are used, as a list is")
    for part in annotations.parts(annotation, of_fields=True):
        if dataclasses.is_dataclass(part) or hasattr(part, "__required_keys__"):
            _check_fields(part)


def _check_fields(kind: Any) -> None:
    """Pydantic models fill in the type variables of their bases; these types do not."""
    for name, hint in annotations.field_types(kind).items():
        for part in annotations.parts(hint):
            if isinstance(part, typing.TypeVar) and part not in getattr(kind, "__parameters__", ()):
                raise TypeError(
                    f"{kind.__name__}.{name} is of the type variable {part.__name__} of a base"
                )


def _adapter(annotation: Any) -> Any:
    """Return pydantic's adapter, complete: what cannot work is to fail now, not at each message."""
    import pydantic

    with typed_dicts.accepted(annotation):
        adapter = pydantic.TypeAdapter(annotation)
        if adapter.rebuild() is False:
            raise TypeError("one of its types is not complete")
    return adapter


def _validation(adapter: Any) -> Callable[[Any], Any]:
    """Return how content is validated: what is strict, as JSON if it can be that.

    JSON has no dates and no enums; a strict model takes their texts from JSON alone.
    """
    if not _is_strict(adapter.core_schema):
        return adapter.validate_python  # type: ignore[no-any-return]

    def validate(content: Any) -> Any:
        try:
            text = json.dumps(content)
        except (TypeError, ValueError):  # a translator has made other things of it
            return adapter.validate_python(content)
        return adapter.validate_json(text)

    return validate


def _is_strict(schema: Any) -> bool:
    if isinstance(schema, dict):
        # a text is one from either source; pydantic makes strict ones part of types that are not
        strict = schema.get("strict") is True and schema.get("type") != "str"
        return strict or any(map(_is_strict, schema.values()))
    return isinstance(schema, list | tuple) and any(map(_is_strict, schema))


def _problem(problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    return f"{place}: {problem['msg']}" if place else str(problem["msg"])
