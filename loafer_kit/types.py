"""The shapes that travel between the parts: what users pass in, and what they get."""

from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, TypedDict, runtime_checkable

#: A message as its provider delivers it (SQS: the dict that ReceiveMessage gives).
Message = Any

#: What `sys.exc_info()` gives inside an `except`.
ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

#: `handler(content, metadata)`; its answer says what becomes of the message.
HandlerFunction = Callable[..., Any]

#: `error_handler(exc_info, message)` or `error_handler(exc_type, exc, message)`; truthy acknowledges.
ErrorHandler = Callable[..., Any]

#: An application's or a manager's callback: a coroutine function.
Callback = Callable[..., Awaitable[Any]]


@runtime_checkable
class ClassHandler(Protocol):
    """A class-based handler. Its `stop()`, if it has one, is called when the route stops."""

    def handle(self, message: Any, *args: Any) -> Any:
        """Process one message; may be a coroutine function."""


Handler = HandlerFunction | ClassHandler


class _TranslatedContent(TypedDict):
    content: Any


class TranslatedMessage(_TranslatedContent, total=False):
    """What a translator returns: the handler's two arguments."""

    metadata: Mapping[str, Any]


class Consumer(Protocol):
    """Where an Application reads from."""

    async def read(self) -> Message:
        """Return the next message; raise `Abort` when there will be none."""
