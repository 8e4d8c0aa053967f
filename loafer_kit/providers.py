"""The contract of a provider: where messages come from, and how one is settled."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence

from loafer_kit.outcomes import Acknowledge, Outcome
from loafer_kit.types import Message


class AbstractProvider(ABC):
    """A source of messages.

    `fetch_messages` and `confirm_message` must be written; everything else has a default that
    suits a source without leases, order or delays. Errors that a fetch may raise:
    `TransientProviderError` is backed off and tried again, `SourceExhausted` ends the route
    cleanly, any other exception stops the service.
    """

    #: The most messages that one fetch brings.
    batch_size: int = 1

    #: The most fetches that may be open at the same time.
    max_receivers: int = 1

    #: Seconds that an open fetch is given to return when the service stops, before it is cancelled.
    poll_grace: float = 5.0

    @abstractmethod
    async def fetch_messages(self) -> Sequence[Message]:
        """Return the next messages, in order; wait for some, or return none."""

    @abstractmethod
    async def confirm_message(self, message: Message) -> object:
        """Acknowledge `message`: the source never delivers it again."""

    def stop(self) -> None:  # noqa: B027 - an optional part of the contract
        """Learn that the service stops; open fetches should return soon. May be called again."""

    async def start(self, lost: Callable[[Message], None]) -> None:  # noqa: B027
        """Open what the provider needs; called in the running loop before the first fetch.

        The provider calls `lost(message)` when another consumer may have got a message that is
        being handled here: its handler is cancelled and nothing is settled.
        """

    async def fetch(self, limit: int) -> Sequence[Message]:
        """Return up to `limit` messages: the room that the route has."""
        return await self.fetch_messages()

    async def settle(self, message: Message, outcome: Outcome) -> None:
        """Carry out what became of `message`. May return before the source has been told."""
        if isinstance(outcome, Acknowledge):
            await self.confirm_message(message)

    async def flush(self) -> None:  # noqa: B027
        """Return when everything settled so far has reached the source, or was given up."""

    async def close(self) -> None:  # noqa: B027
        """Close what `start` opened; called once, after the last settlement."""

    def order_key(self, message: Message) -> Hashable | None:
        """Return what messages that must be handled one after another have in common."""
        return None

    def describe(self, message: Message) -> Mapping[str, object]:
        """Return what a log line about `message` names: its queue, id, receive count."""
        return {}

    def first_received(self, message: Message) -> float | None:
        """Return when `message` was first delivered, as Unix time, where the source knows."""
        return None
