"""The contract of a provider: fetches messages from a source and settles them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence

from loafer_kit.events import NO_EVENTS, RouteEvents
from loafer_kit.outcomes import Acknowledge, Outcome
from loafer_kit.types import Message


class AbstractProvider(ABC):
    """A source of messages.

    `fetch_messages` and `confirm_message` are required; the defaults of the others suit a source
    without leases, order or delays. If a fetch raises `TransientProviderError`, the engine backs
    off and tries again; `SourceExhausted` ends the route cleanly; any other exception stops the
    service.
    """

    #: The most messages of one fetch.
    batch_size: int = 1

    #: The most fetches open at the same time.
    max_receivers: int = 1

    #: Seconds that an open fetch gets to return when the service stops, before it is cancelled.
    poll_grace: float = 5.0

    #: How often the source delivers a message at most, whether it is started or given back; None:
    #: without a limit, or not known. If it is low, the engine fetches only what can start at once.
    max_deliveries: int | None = None

    #: Set by the engine: call it in the loop when `unsettled` has become smaller.
    on_settled: Callable[[], object] | None = None

    #: Set by the engine: what the provider tells the service's observers.
    route_events: RouteEvents = NO_EVENTS

    #: True if `settle` returns before the source has carried out the outcome. Such a provider tells
    #: `route_events.settled` itself, once for each message.
    settles_later: bool = False

    #: Which broker the source belongs to ("sqs"), and where it is once it is open: its URL.
    broker: str = ""
    address: str | None = None

    @property
    def unsettled(self) -> int:
        """How many messages the source has not yet settled, though it was asked to.

        They count as in hand, so fetching slows to the pace of settlements. A message that waits
        only to share a request with others does not count.
        """
        return 0

    @abstractmethod
    async def fetch_messages(self) -> Sequence[Message]:
        """Return the next messages, in order; may wait for some, may return none."""

    @abstractmethod
    async def confirm_message(self, message: Message) -> object:
        """Acknowledge `message`: the source never delivers it again."""

    def stop(self) -> None:  # noqa: B027 - an optional part of the contract
        """The service stops: open fetches should return soon. May be called again."""

    async def start(self, lost: Callable[[Message], None]) -> None:  # noqa: B027
        """Open connections and the like; called in the running loop before the first fetch.

        The provider calls `lost(message)` when another consumer may have received a message that
        is in hand here: its handler is cancelled and the message is not settled.
        """

    async def fetch(self, limit: int) -> Sequence[Message]:
        """Return up to `limit` messages, which is the room that the route has."""
        return await self.fetch_messages()

    async def settle(self, message: Message, outcome: Outcome) -> None:
        """Carry out the outcome of `message`. May return before the source knows of it."""
        if isinstance(outcome, Acknowledge):
            await self.confirm_message(message)

    async def flush(self) -> None:  # noqa: B027
        """Return when all settlements so far have reached the source or failed for good."""

    async def close(self) -> None:  # noqa: B027
        """Close what `start` opened; called once, after the last settlement."""

    async def depth(self) -> Mapping[str, int]:
        """Return about how many messages the source has: `visible`, `in_flight`, `delayed`.

        `dead_letters` are those of its dead-letter queue. Leaves out what is not known.
        """
        return {}

    def holds(self, message: Message) -> bool:
        """Return whether `message`, which is about to start, is still this consumer's.

        Called for every message, immediately before its handler: it must be fast. If another
        consumer may have the message, it is neither started nor settled.
        """
        return True

    def lease_left(self, message: Message) -> float | None:
        """Return for how many seconds `message`, which is in hand, is hidden from other consumers.

        0 if another consumer may have it; None if the source has no leases. A lease that the
        provider extends has more seconds left after that.
        """
        return None

    def order_key(self, message: Message) -> Hashable | None:
        """Return the key that messages share if they must be handled one after another."""
        return None

    def is_last_delivery(self, message: Message) -> bool:
        """Return whether the source will not deliver `message` again.

        A route that stops starts such a message within the grace time, rather than give it back.
        """
        return False

    def describe(self, message: Message) -> Mapping[str, object]:
        """Return the facts that identify `message` in a log line: queue, id, receive count."""
        return {}

    def trace_headers(self, message: Message) -> Mapping[str, str]:
        """Return the W3C trace headers that `message` carries: `traceparent` and the others."""
        return {}

    def sent_at(self, message: Message) -> float | None:
        """Return when `message` was sent to the source, as Unix time; None if unknown."""
        return None

    def first_received(self, message: Message) -> float | None:
        """Return when `message` was first delivered, as Unix time; None if unknown."""
        return None
