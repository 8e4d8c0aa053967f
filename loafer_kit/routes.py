"""A route: translates a message, validates it and calls the handler."""

import asyncio
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from loafer_kit.config import SETTABLE_ROUTE_OPTIONS, RouteOptions, environment_options
from loafer_kit.engine.callables import (
    awaited,
    ends_task,
    generator_kind,
    is_async,
    raisable,
    run_in_executor,
    run_in_loop_or_executor,
    time_limit,
)
from loafer_kit.engine.flow import Flow
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.message_translators import AbstractMessageTranslator
from loafer_kit.middleware import CallNext, Middleware, checked, checked_forwarder, compose
from loafer_kit.outcomes import REQUESTS, is_result, truth_of
from loafer_kit.payloads.by_type import ByType
from loafer_kit.payloads.decoding import decoder_for, mark_undecodable
from loafer_kit.providers import AbstractProvider
from loafer_kit.types import (
    ErrorHandler,
    ExcInfo,
    Forwarder,
    Handler,
    HandlerFunction,
    Message,
    TranslatedMessage,
)


class Route:
    """Links a provider to a handler.

    `handler` is a callable `(content, metadata)` or an object with such a method `handle`. If its
    first parameter is annotated with a dataclass, a TypedDict or a pydantic model, or with a type
    that mentions one, the content is validated and arrives as that type. `name` appears in the
    logs; `middleware` is called around the handler, the first one outermost. An answer that is a
    result, anything true but `True` itself, is sent to `forward_to`, a `Producer`, before the
    message is acknowledged. `options` are the keywords of `RouteOptions`. Environment variables
    override options: LOAFER_ORDERS_CONCURRENCY sets the `concurrency` of the route `orders`.

    Raises `TypeError` for a provider, translator or error handler of the wrong kind, `ValueError`
    for a handler that is not callable, `ConfigurationError` for an invalid option or an annotation
    that cannot be validated.
    """

    #: The position of the content among the handler's arguments.
    _content_position = 0

    def __init__(
        self,
        provider: AbstractProvider,
        handler: Handler,
        name: str = "default",
        message_translator: AbstractMessageTranslator | None = None,
        error_handler: ErrorHandler | None = None,
        *,
        middleware: Iterable[Middleware] = (),
        forward_to: Forwarder | None = None,
        **options: Any,
    ) -> None:
        if not isinstance(provider, AbstractProvider):
            raise TypeError(f"The provider must be an AbstractProvider, not {provider!r}.")
        if message_translator is not None and not _translates(message_translator):
            raise TypeError(
                "The message translator must be an AbstractMessageTranslator or have its method "
                f"`translate`, not {message_translator!r}."
            )
        if error_handler is not None and not callable(error_handler):
            raise TypeError(f"The error handler must be callable, not {error_handler!r}.")
        self.name = name
        self.provider = provider
        self.message_translator = message_translator
        #: Whether translating may take time, so that the messages of a batch do it side by side.
        self.translates_async = message_translator is not None and is_async(
            message_translator.translate
        )
        with environment_options(name, SETTABLE_ROUTE_OPTIONS) as overrides:
            self.options = RouteOptions.from_keywords(name, options | overrides)
        self.flow = Flow(self.options)
        self._handler_object = handler
        self.handler = _callable_of(handler)
        self._handler_is_async = is_async(self.handler)
        is_batch = self.options.batch_handler_size is not None
        alone = "by_type" if isinstance(handler, ByType) else "forward_to" if forward_to else None
        if is_batch and alone:
            raise ConfigurationError(
                f"Route {name!r}: {alone} takes one message at a time; remove batch_handler_size."
            )
        _check_runs(name, "handler", self.handler, may_yield=is_batch)
        if error_handler is not None:
            _check_runs(name, "error handler", error_handler)
        self._decode = decoder_for(self.handler, batch=is_batch, position=self._content_position)
        self._error_handler = error_handler
        self.middleware = checked(f"Route {name!r}", middleware)
        self._forward_to = checked_forwarder(f"Route {name!r}", forward_to)
        #: Calls the middleware and the handler; None without middleware.
        self._chain: CallNext | None = None
        self.wrap(())

    def wrap(self, outer: Iterable[Middleware]) -> None:
        """Call the handler within `outer`, those of the service, and the route's own middleware.

        Middleware that has a method `check_route` may refuse the route: it raises
        `ConfigurationError`.
        """
        # The result goes on within all middleware: one that calls a message done, because it has
        # committed or recorded it, must not do so before the result is sent.
        forward = () if self._forward_to is None else (self._forward,)
        middleware = (*outer, *self.middleware, *forward)
        for function in middleware:
            if (check := getattr(function, "check_route", None)) is not None:
                check(self)
        self._chain = compose(middleware, self._call_handler) if middleware else None

    @property
    def handled_at_once(self) -> int:
        """The most messages that are handled at the same time."""
        return self.flow.concurrency * (self.options.batch_handler_size or 1)

    def __str__(self) -> str:
        return f"<{type(self).__name__}: {self.name}>"

    def apply_message_translator(self, message: Message) -> TranslatedMessage:
        """Return the handler's arguments for a raw message; not for an async translator.

        Raises what the translator raises, and `ValueError` if it returns no content.
        """
        if not self.message_translator:
            return {"content": message, "metadata": {}}
        return self._complete(self.message_translator.translate(message))

    def _complete(self, translated: Any) -> TranslatedMessage:
        if translated.get("content") is None:
            raise ValueError(
                f"{type(self.message_translator).__name__} returned no content for a message of "
                f"route {self.name!r}."
            )
        return {"content": translated["content"], "metadata": translated.get("metadata") or {}}

    async def deliver(self, raw_message: Message) -> Any:
        """Translate one message, call the handler and return its answer.

        Raises what the translator or the handler raises, and `TimeoutError` if the handler takes
        longer than `handler_timeout`.
        """
        return await self.call(*await self.arguments_for(raw_message))

    async def arguments_for(self, raw_message: Message) -> tuple[Any, Mapping[str, Any]]:
        """Return content and metadata of a message; `is_undecodable` is true of what it raises."""
        try:
            if self.message_translator is not None and self.translates_async:
                answer = await awaited(self.message_translator.translate(raw_message))
                translated = self._complete(answer)
            else:
                translated = self.apply_message_translator(raw_message)
            content = translated["content"]
            if self._decode is not None:
                content = self._decode(content)
        except REQUESTS:
            raise
        except BaseException as exc:
            if self.translates_async and ends_task(exc):
                raise
            failure = raisable(exc)
            mark_undecodable(failure)
            raise failure  # noqa: B904 - `exc` itself, or its `__cause__` is set
        return content, translated.get("metadata", {})

    async def call(self, content: Any, metadata: Any) -> Any:
        """Call the middleware and the handler within `handler_timeout`.

        The clock stands still while a plain handler waits for a thread: that is not its fault.
        """
        handle = self._chain or self._call_handler
        limit = self.options.handler_timeout
        if limit is None:
            return await handle(content, metadata)
        try:
            async with asyncio.timeout(limit) as scope:
                outer = time_limit.set(scope)
                try:
                    return await handle(content, metadata)
                finally:
                    time_limit.reset(outer)
        except TimeoutError as exc:
            if scope.expired():
                raise TimeoutError(
                    f"The handler of route {self.name!r} took longer than {limit:g} s."
                ) from exc
            raise

    async def _call_handler(self, content: Any, metadata: Any) -> Any:
        if self._handler_is_async:
            answer = await self.handler(content, metadata)
            return answer if answer is True else await awaited(answer)
        function = self.handler
        if self.options.batch_handler_size is not None:
            function = functools.partial(_in_full, function)
        return await run_in_executor(function, content, metadata)

    async def _forward(self, content: Any, metadata: Any, call_next: CallNext) -> Any:
        answer = await call_next(content, metadata)
        if self._forward_to is None or not is_result(answer):
            return answer
        await self._forward_to.forward(answer, metadata)
        return True

    async def error_handler(self, exc_info: Any, message: Any, *last: Message) -> bool:
        """Call the error handler; True acknowledges the failed message.

        A handler with exactly three required positional parameters, or whose third parameter is an
        optional `message`, gets `(exc_type, exc, message)`; any other gets `(exc_info, message)`.
        Both are also what this method takes.
        """
        if self._error_handler is None:
            return False
        if last:
            exc_info, message = (exc_info, message, message.__traceback__), last[0]
        return await ask_error_handler(self._error_handler, exc_info, message)

    def stop(self) -> None:
        """Stop the provider, then a class-based handler that has a `stop`."""
        self.provider.stop()
        stop = getattr(self._handler_object, "stop", None)
        if callable(stop) and self._handler_object is not self.handler:
            stop()


def _translates(translator: object) -> bool:
    """True also without the base class, as in Loafer's guide; `str.translate` does not count."""
    return not isinstance(translator, type | str) and callable(
        getattr(translator, "translate", None)
    )


def _callable_of(handler: Handler) -> HandlerFunction:
    if callable(handler):
        return handler
    handle = getattr(handler, "handle", None)
    if callable(handle):
        return handle  # type: ignore[no-any-return]
    raise ValueError(f"The handler must be callable or have a `handle` method, not {handler!r}.")


def _check_runs(
    route: str, role: str, function: Callable[..., Any], *, may_yield: bool = False
) -> None:
    """Refuse a function whose call only makes a generator.

    A plain batch handler may yield its answers one after another.
    """
    kind = generator_kind(function)
    if kind is not None and not (may_yield and kind == "a generator"):
        raise ConfigurationError(
            f"Route {route!r}: calling the {role} {function!r} only makes {kind}, which would "
            "never run: return the answer instead of yielding."
        )


def _in_full(handler: HandlerFunction, contents: Any, metadata: Any) -> Any:
    """Read a batch handler's lazy answer in its thread, and within its time limit."""
    answer = handler(contents, metadata)
    return list(answer) if isinstance(answer, Iterator) else answer


async def ask_error_handler(function: ErrorHandler, exc_info: ExcInfo, message: Message) -> bool:
    """Call an error handler, or a subclass's `Route.error_handler`, in the style that it takes."""
    arguments = exc_info[:2] if _takes_three(function) else (exc_info,)
    return truth_of(await run_in_loop_or_executor(function, *arguments, message))


def _takes_three(function: ErrorHandler) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    positional = [
        parameter
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    required = [parameter for parameter in positional if parameter.default is parameter.empty]
    if len(required) == 2:  # noqa: PLR2004 - exc_info, message; or exc_type, exc
        return "message" in [parameter.name for parameter in positional[2:3]]
    return len(required) == 3  # noqa: PLR2004 - exc_type, exc, message
