"""Events: what happens inside a running service, told to its observers."""

import asyncio
import functools
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from loafer_kit.engine.callables import generator_kind, is_async
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.outcomes import Acknowledge, DeadLetter, Delivery, Outcome, Retry
from loafer_kit.types import Message

logger = logging.getLogger(__name__)

#: What became of a message at its source. "given up": the source was told and did not confirm it, or
#: could not be told, so it delivers the message again.
Settlement = Literal["acknowledged", "put back", "left", "dead-lettered", "given up"]

#: What changed in the flow of a route.
FlowChange = Literal[
    "paused",
    "resumed",
    "rate limited",
    "concurrency changed",
    "breaker opened",
    "breaker closed",
]


class ObservedRoute(Protocol):
    """A route, as observers see it: it is the `Route` itself."""

    name: str
    provider: Any
    options: Any
    flow: Any


class ObservedCall(Protocol):
    """One call of a handler, the same object when it starts and when it has finished."""

    @property
    def route(self) -> ObservedRoute: ...

    #: The message, or the messages of a batch, as the provider delivered them.
    @property
    def messages(self) -> Sequence[Message]: ...

    #: When the handler began, by `time.monotonic`; a plain handler begins in its thread.
    @property
    def began(self) -> float: ...

    #: A delivery for each message; empty until the call has finished.
    @property
    def deliveries(self) -> Sequence[Delivery]: ...

    #: How long the call took, waits for a thread included.
    @property
    def seconds(self) -> float: ...

    #: The positions of messages that another consumer may have. They are not settled.
    @property
    def lost(self) -> Collection[int]: ...


@dataclass(slots=True, eq=False)
class Operation:
    """Work for a broker that begins and ends in one task: a request, or the sending of a message.

    `began` is by `time.monotonic`; the other parts below it are known when it has ended.
    """

    #: Which broker: "sqs" or "sns".
    broker: str
    began: float = field(default_factory=time.monotonic, kw_only=True)
    seconds: float = field(default=0.0, kw_only=True)
    error: BaseException | None = field(default=None, kw_only=True)
    #: The broker's answer, with its own keys.
    answer: Mapping[str, Any] = field(default_factory=dict, kw_only=True)


@dataclass(slots=True, eq=False)
class Request(Operation):
    """One request; names and shapes are the broker's."""

    action: str
    parameters: Mapping[str, Any]
    #: Returns the trace headers of a message in the answer.
    read_headers: Callable[[Message], Mapping[str, str]]
    #: The broker's id of the request.
    request_id: str | None = None


@dataclass(slots=True, eq=False)
class Sending(Operation):
    """The sending of one message to a queue or topic, repetitions included."""

    destination: str
    #: The URL or ARN of the destination, if that is known.
    address: str | None = None
    #: Trace headers that the message has and keeps: it is a dead letter.
    carried: Mapping[str, str] = field(default_factory=dict)
    #: Trace headers that observers give the message, as far as there is room for them.
    headers: dict[str, str] = field(default_factory=dict)


class Observer:
    """The base of observers: a subclass overrides what it wants to know, with plain methods.

    They are called in the thread of the service's event loop and hold it up, so they must be quick.
    Those about requests and sending are called in the task and thread of the operation. An observer
    that raises is left out from then on.
    """

    def route_started(self, route: ObservedRoute) -> None:
        """The provider of a route is open; its first fetch follows."""

    def route_ended(self, route: ObservedRoute, error: BaseException | None) -> None:
        """A route has settled its messages and closed its provider; `error` stopped it."""

    def polled(
        self, route: ObservedRoute, received: int, seconds: float, error: BaseException | None
    ) -> None:
        """A fetch brought `received` messages, or failed."""

    def received(self, route: ObservedRoute, messages: Sequence[Message]) -> None:
        """Messages have arrived and wait for a handler."""

    def started(self, call: ObservedCall) -> None:
        """A handler is about to be called, in the current task and context."""

    def finished(self, call: ObservedCall) -> None:
        """The outcome of each message of a call is decided, and not carried out yet."""

    def settled(
        self, route: ObservedRoute, messages: Sequence[Message], result: Settlement, seconds: float
    ) -> None:
        """The source has carried out an outcome, or it was given up; `seconds`: of the request."""

    def lost(self, route: ObservedRoute, message: Message) -> None:
        """The lease of a message is over: another consumer may have it."""

    def heartbeat_sent(
        self, route: ObservedRoute, messages: Sequence[Message], error: BaseException | None
    ) -> None:
        """The leases of messages were extended, or could not be."""

    def flow_changed(self, route: ObservedRoute, change: FlowChange) -> None:
        """A route was paused, resumed or limited anew, or its circuit breaker opened or closed."""

    def published(self, destination: str, seconds: float, error: BaseException | None) -> None:
        """A message was published to a queue or topic, repetitions included, or could not be."""

    def send_started(self, sending: Sending) -> None:
        """A message is about to be sent, by a publisher or as a dead letter."""

    def send_ended(self, sending: Sending) -> None:
        """A message was sent, or could not be; `sending` is the same object as at the start."""

    def request_started(self, request: Request) -> None:
        """A request to AWS is about to be made."""

    def request_ended(self, request: Request) -> None:
        """A request was answered or failed; `request` is the same object as at the start."""


#: The events by name, in the order of `Observer`.
EVENTS = tuple(name for name in vars(Observer) if not name.startswith("_"))

_Tell = Callable[..., None] | None


class RouteEvents:
    """Tells observers of the events of one route.

    Each attribute is a callable with the arguments of the observer's method after `route`, or None
    while nobody observes that event: who tells of an event tests that first.
    """

    route_started: _Tell = None
    route_ended: _Tell = None
    polled: _Tell = None
    received: _Tell = None
    started: _Tell = None
    finished: _Tell = None
    settled: _Tell = None
    lost: _Tell = None
    heartbeat_sent: _Tell = None
    flow_changed: _Tell = None


#: Of a route that runs without observers.
NO_EVENTS = RouteEvents()

#: Events that an observer's method gets without the route: a call names it itself.
_WITHOUT_ROUTE = ("started", "finished")

#: Events that belong to no route.
_OF_SERVICE = ("published", "send_started", "send_ended", "request_started", "request_ended")


class Observers:
    """The observers of one service."""

    def __init__(self) -> None:
        self._observers: list[Observer] = []
        self._routes: list[tuple[ObservedRoute, RouteEvents]] = []
        #: As the attributes of `RouteEvents`.
        self.published: _Tell = None
        self.send_started: _Tell = None
        self.send_ended: _Tell = None
        self.request_started: _Tell = None
        self.request_ended: _Tell = None
        #: The loop in which observers are called, while the service runs.
        self.loop: asyncio.AbstractEventLoop | None = None

    def __len__(self) -> int:
        return len(self._observers)

    def add(self, observer: Observer) -> None:
        """Tell `observer` of events from now on. Raises `ConfigurationError` if it cannot be told."""
        if not isinstance(observer, Observer):
            raise ConfigurationError(
                f"`observe` takes a loafer_kit.events.Observer, not {observer!r}."
            )
        for name in EVENTS:
            method = getattr(observer, name)
            if is_async(method) or generator_kind(method):
                raise ConfigurationError(
                    f"{type(observer).__name__}.{name} must be a plain method, which returns at "
                    "once: write `def` and no `yield`."
                )
        if not any(other is observer for other in self._observers):
            self._observers.append(observer)
            self._rebuild()

    def remove(self, observer: Observer) -> None:
        """Tell `observer` of nothing more."""
        self._observers = [other for other in self._observers if other is not observer]
        self._rebuild()

    def of_route(self, route: ObservedRoute) -> RouteEvents:
        """Return the events of `route`, as observers come and go."""
        events = RouteEvents()
        self.forget_route(route)
        self._routes.append((route, events))
        self._build(route, events)
        return events

    def forget_route(self, route: ObservedRoute) -> None:
        """Drop the events of a route that does not run any more."""
        self._routes = [known for known in self._routes if known[0] is not route]

    def in_loop(self, tell: Callable[..., None], *arguments: Any) -> None:
        """Call `tell` in the service's loop, from any thread."""
        loop = self.loop
        if loop is None or loop is asyncio._get_running_loop():  # noqa: SLF001 - it does not raise
            tell(*arguments)
        else:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(tell, *arguments)

    def _rebuild(self) -> None:
        for name in _OF_SERVICE:
            setattr(self, name, self._teller(name))
        for route, events in self._routes:
            self._build(route, events)

    def _build(self, route: ObservedRoute, events: RouteEvents) -> None:
        for name in EVENTS:
            if name not in _OF_SERVICE:
                bound = () if name in _WITHOUT_ROUTE else (route,)
                setattr(events, name, self._teller(name, *bound))

    def _teller(self, name: str, *bound: object) -> _Tell:
        tellers = [
            self._guarded(observer, name, bound)
            for observer in self._observers
            if _overrides(observer, name)
        ]
        if len(tellers) <= 1:
            return tellers[0] if tellers else None

        def tell(*arguments: object) -> None:
            for teller in tellers:
                teller(*arguments)

        return tell

    def _guarded(
        self, observer: Observer, name: str, bound: tuple[object, ...]
    ) -> Callable[..., None]:
        method = functools.partial(getattr(observer, name), *bound)

        def tell(*arguments: object) -> None:
            try:
                method(*arguments)
            except BaseException as error:  # noqa: BLE001 - no observer may fail a message
                self._leave_out(observer, name, error)

        return tell

    def _leave_out(self, observer: Observer, name: str, error: BaseException) -> None:
        if not any(other is observer for other in self._observers):
            return  # it has been left out in the meantime
        self.remove(observer)
        kind = type(observer).__name__
        logger.error(
            "observer.failed observer=%s method=%s: it is told nothing more",
            kind,
            name,
            exc_info=error,
            extra={"event": "observer.failed", "observer": kind, "method": name},
        )


def _overrides(observer: Observer, name: str) -> bool:
    method = getattr(observer, name)
    return getattr(method, "__func__", method) is not getattr(Observer, name)


@contextmanager
def publishing(broker: str, destination: str, address: str | None = None) -> Iterator[Sending]:
    """Tell the observers of the current service about the message that the block publishes."""
    began = time.monotonic()
    failure: BaseException | None = None
    try:
        with sending(broker, destination, address) as message:
            yield message
    except BaseException as error:
        failure = error
        raise
    finally:
        observers = current_observers.get()
        if observers is not None and (tell := observers.published) is not None:
            observers.in_loop(tell, destination, time.monotonic() - began, failure)


@contextmanager
def sending(
    broker: str,
    destination: str,
    address: str | None = None,
    carried: Mapping[str, str] | None = None,
) -> Iterator[Sending]:
    """Tell observers about the message that the block sends; it gets the headers of what is yielded.

    `carried` are the trace headers that the message has and keeps.
    """
    message = Sending(broker, destination, address, carried or {})
    observers = current_observers.get()
    if observers is None:
        yield message
    else:
        with _told(observers.send_started, lambda: observers.send_ended, message):
            yield message


@contextmanager
def requesting(
    broker: str,
    action: str,
    parameters: Mapping[str, Any],
    read_headers: Callable[[Message], Mapping[str, str]],
) -> Iterator[Request | None]:
    """Tell observers about the request that the block makes; None: there are none."""
    observers = current_observers.get()
    if observers is None or observers.request_started is observers.request_ended is None:
        yield None
        return
    request = Request(broker, action, parameters, read_headers)
    with _told(observers.request_started, lambda: observers.request_ended, request):
        yield request


@contextmanager
def _told(start: _Tell, end: Callable[[], _Tell], operation: Operation) -> Iterator[None]:
    if start is not None:
        start(operation)
    try:
        yield
    except BaseException as error:
        operation.error = error
        raise
    finally:
        operation.seconds = time.monotonic() - operation.began
        if (tell := end()) is not None:
            tell(operation)


#: The observers of the service that the current task belongs to.
current_observers: ContextVar[Observers | None] = ContextVar("current_observers", default=None)


def result_of(outcome: Outcome) -> Settlement:
    """Return what became of a message whose outcome its source has carried out."""
    if isinstance(outcome, Acknowledge):
        return "acknowledged"
    if isinstance(outcome, Retry):
        return "put back"
    return "dead-lettered" if isinstance(outcome, DeadLetter) else "left"
