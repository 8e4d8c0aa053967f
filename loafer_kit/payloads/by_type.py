"""One handler for several types of messages: chooses by the type, and validates for each."""

from collections.abc import Callable, Mapping
from typing import Any

from loafer_kit.engine.callables import generator_kind, raisable, run_in_loop_or_executor
from loafer_kit.exceptions import ConfigurationError, RejectMessage
from loafer_kit.payloads.decoding import Decode, decoder_for, mark_undecodable
from loafer_kit.types import HandlerFunction

#: How many characters of a type that no handler takes appear in its dead letter.
_SHOWN = 100

#: The type of a message, from its content and metadata; None if it has none.
TypeOf = Callable[[Any, Mapping[str, Any]], Any]


class ByType:
    """What `by_type` makes: a handler that calls the one for the message's type."""

    def __init__(
        self,
        key: str | TypeOf,
        handlers: Mapping[str, HandlerFunction],
        default: HandlerFunction | None = None,
    ) -> None:
        if not handlers:
            raise ConfigurationError("by_type needs a handler for at least one type.")
        self._key = key if isinstance(key, str) else getattr(key, "__name__", str(key))
        self._type_of = _named(key) if isinstance(key, str) else key
        self._cases = {name: _case(name, handler) for name, handler in handlers.items()}
        self._default = None if default is None else _case("default", default)

    @property
    def types(self) -> tuple[str, ...]:
        """The types that have a handler."""
        return tuple(self._cases)

    async def __call__(self, content: Any, metadata: Any) -> Any:
        """Call the handler for the message's type and return its answer.

        Raises `RejectMessage` for a type that has none, and what the handler raises.
        """
        handler, decode = self._case_of(content, metadata)
        if decode is not None:
            try:
                content = decode(content)
            except BaseException as error:  # noqa: BLE001 - `failure` is raised
                failure = raisable(error)
                mark_undecodable(failure)
                raise failure  # noqa: B904 - `error` itself, or its `__cause__` is set
        return await run_in_loop_or_executor(handler, content, metadata)

    def _case_of(self, content: Any, metadata: Any) -> tuple[HandlerFunction, Decode | None]:
        found = self._type_of(content, metadata)
        case = self._cases.get(found, self._default) if isinstance(found, str) else self._default
        if case is None:
            known = ", ".join(self._cases)
            what = f"no {self._key}" if found is None else f"{self._key} {_shorten(found)}"
            raise RejectMessage(f"no handler for a message with {what}: the types are {known}")
        return case


def by_type(
    key: str | TypeOf,
    handlers: Mapping[str, HandlerFunction],
    *,
    default: HandlerFunction | None = None,
) -> ByType:
    """Return a handler that calls one of `handlers`, by the type that a message says it has.

    `key` names where the type is found: a key of the metadata (`"detail-type"` of EventBridge,
    `"type"` of CloudEvents), else a message attribute, else a dotted path in the content
    (`"event.type"`). Or it is a function `(content, metadata)` that returns the type. Each handler
    gets `(content, metadata)`, validated as its own annotation says. A message of any other type
    goes to `default`; without one it is rejected, and its dead letter names the type.

    Raises `ConfigurationError` for no handlers, a handler that only makes a generator, and an
    annotation that cannot be validated. A route with `batch_handler_size` cannot use it.
    """
    return ByType(key, handlers, default)


def _case(name: str, handler: HandlerFunction) -> tuple[HandlerFunction, Decode | None]:
    if not callable(handler):
        raise ConfigurationError(f"by_type: the handler of {name!r} is not callable: {handler!r}.")
    if kind := generator_kind(handler):
        raise ConfigurationError(
            f"by_type: calling the handler of {name!r} only makes {kind}, which would never run: "
            "return the answer instead of yielding."
        )
    return handler, decoder_for(handler)


def _named(key: str) -> TypeOf:
    path = key.split(".")

    def type_of(content: Any, metadata: Mapping[str, Any]) -> Any:
        if key in metadata:
            return metadata[key]
        if (found := message_attribute(metadata, key)) is not None:
            return found
        for part in path:
            if not isinstance(content, Mapping):
                return None
            content = content.get(part)
        return content

    return type_of


def message_attribute(metadata: Mapping[str, Any], name: str) -> Any:
    """Return the text of a message attribute; None if there is none."""
    attributes = metadata.get("MessageAttributes")
    attribute = attributes.get(name) if isinstance(attributes, Mapping) else None
    if not isinstance(attribute, Mapping):
        return None
    # SQS calls it StringValue, SNS's envelope Value.
    return attribute.get("StringValue", attribute.get("Value"))


def _shorten(found: Any) -> str:
    shown = repr(found)
    return shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…"
