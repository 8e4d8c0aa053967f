"""Types of messages, handlers, callbacks and consumers, for users to annotate with."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, NotRequired, Protocol, TypedDict, runtime_checkable

#: A message as its provider delivers it (SQS: the dict that ReceiveMessage gives).
Message = Any

#: The result of `sys.exc_info()` inside an `except`.
ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

#: `handler(content, metadata)`; its answer decides the outcome of the message.
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


class TranslatedMessage(TypedDict):
    """The result of a translator: the handler's two arguments."""

    content: Any
    metadata: NotRequired[Mapping[str, Any]]


class Consumer(Protocol):
    """The source that an Application reads from."""

    async def read(self) -> Message:
        """Return the next message; raise `Abort` at the end."""


class QueueConsumer(ABC):
    """A consumer that also takes part in stopping.

    If it has a provider, it also takes part in order, logs, traces and what observers are told.
    """

    #: The `AbstractProvider` that delivers its messages; None: there is none.
    provider: Any = None

    @abstractmethod
    async def read(self) -> Message:
        """Return the next message; raise `Abort` at the end."""

    @abstractmethod
    def stop_reading(self) -> None:
        """Make an open `read()` raise `Abort` soon; any other consumer's `read()` is cancelled."""

    async def leave(self, message: Message) -> None:  # noqa: B027 - an optional part
        """Do nothing more for a message that was not acknowledged: its source redelivers it."""

    def delivered(self, message: Message) -> Message:
        """Return what the provider delivered for a message that was read."""
        return message


@runtime_checkable
class Forwarder(Protocol):
    """Where results go on; a `Producer` is one."""

    async def forward(self, result: Any, source: Mapping[str, Any], position: int = 0) -> object:
        """Send a result of a message; return when it is stored.

        `source` is the message's metadata or the message; `position` counts the results of one
        message from 0.
        """
