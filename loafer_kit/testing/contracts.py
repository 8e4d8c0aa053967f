"""ProviderContract: what the engine relies on, as tests for any provider."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from loafer_kit import outcomes
from loafer_kit.providers import AbstractProvider
from loafer_kit.types import Message


class Source(Protocol):
    """A source of messages for `ProviderContract`, empty at first."""

    def provider(self) -> AbstractProvider:
        """Return a provider; its fetches wait a second at most, and its leases last 30 s at most."""

    async def put(self, *bodies: str) -> None:
        """Send a message for each body."""

    def body_of(self, message: Message) -> str:
        """Return the body of a message as the provider delivers it."""


Test = Callable[[Any, Source], None]


def _with_provider(
    test: Callable[[Any, Source, AbstractProvider], Awaitable[None]],
) -> Test:
    """Return a plain test, which needs no plugin, with a provider that is started and closed."""

    def run(self: Any, source: Source) -> None:
        async def steps() -> None:
            provider, lost = source.provider(), list[Message]()
            await provider.start(lost.append)
            await test(self, source, provider)
            provider.stop()
            await provider.flush()
            await provider.close()
            assert lost == [], "a message that is settled in time is never called lost"

        asyncio.run(steps())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


async def _fetch(provider: AbstractProvider, count: int = 1) -> list[Message]:
    messages: list[Message] = []
    for _ in range(10):
        messages += await provider.fetch(count - len(messages))
        if len(messages) >= count:
            break
    return messages


class ProviderContract:
    """Tests for a provider: a subclass whose name begins with `Test` has a fixture `source`.

    The fixture returns a new `Source` for each test.
    """

    @_with_provider
    async def test_fetch_brings_what_was_sent(
        self, source: Source, provider: AbstractProvider
    ) -> None:
        """A fetch returns at most as many messages as its limit."""
        await source.put("1", "2", "3")
        messages = list(await provider.fetch(2))
        assert 1 <= len(messages) <= 2
        messages += await _fetch(provider, 3 - len(messages))
        assert sorted(map(source.body_of, messages)) == ["1", "2", "3"]

    @_with_provider
    async def test_fetch_of_an_empty_source_returns_nothing(
        self, source: Source, provider: AbstractProvider
    ) -> None:
        """Nothing to fetch is an empty answer, no error."""
        assert list(await provider.fetch(provider.batch_size)) == []

    @_with_provider
    async def test_acknowledged_message_is_gone(
        self, source: Source, provider: AbstractProvider
    ) -> None:
        """What was acknowledged and flushed never comes again, not even to another consumer."""
        await source.put("1")
        (message,) = await _fetch(provider)
        await provider.settle(message, outcomes.ACKNOWLEDGE)
        await provider.flush()
        assert await provider.fetch(1) == []

    @_with_provider
    async def test_released_message_comes_again(
        self, source: Source, provider: AbstractProvider
    ) -> None:
        """`RELEASE` makes a message available at once."""
        await source.put("1")
        (message,) = await _fetch(provider)
        await provider.settle(message, outcomes.RELEASE)
        await provider.flush()
        (again,) = await _fetch(provider)
        assert source.body_of(again) == "1"

    @_with_provider
    async def test_left_message_does_not_come_at_once(
        self, source: Source, provider: AbstractProvider
    ) -> None:
        """`LEAVE` says nothing to the source: the message comes back in its own time."""
        await source.put("1")
        (message,) = await _fetch(provider)
        await provider.settle(message, outcomes.LEAVE)
        await provider.flush()
        assert await provider.fetch(1) == []

    @_with_provider
    async def test_confirm_message_acknowledges(
        self, source: Source, provider: AbstractProvider
    ) -> None:
        """`confirm_message` alone removes a message."""
        await source.put("1")
        (message,) = await provider.fetch_messages()
        await provider.confirm_message(message)
        await provider.settle(message, outcomes.LEAVE)
        assert await provider.fetch(1) == []

    @_with_provider
    async def test_settling_twice_raises_nothing(
        self, source: Source, provider: AbstractProvider
    ) -> None:
        """A second settlement of a message does not disturb the engine."""
        await source.put("1")
        (message,) = await _fetch(provider)
        await provider.settle(message, outcomes.ACKNOWLEDGE)
        await provider.settle(message, outcomes.RELEASE)
        await provider.flush()

    @_with_provider
    async def test_description_fits_a_log_line(
        self, source: Source, provider: AbstractProvider
    ) -> None:
        """`describe` names at least where a message is from."""
        await source.put("1")
        (message,) = await _fetch(provider)
        facts = provider.describe(message)
        assert facts["queue"]
        assert all(isinstance(name, str) for name in facts)
        await provider.settle(message, outcomes.ACKNOWLEDGE)

    def test_provider_starts_again_after_it_was_closed(self, source: Source) -> None:
        """Start, stop and close may be repeated: `run` can be called again."""

        async def steps() -> None:
            provider, lost = source.provider(), list[Message]()
            for body in ("1", "2"):
                await source.put(body)
                await provider.start(lost.append)
                (message,) = await _fetch(provider)
                assert source.body_of(message) == body
                await provider.settle(message, outcomes.ACKNOWLEDGE)
                provider.stop()
                provider.stop()
                await provider.flush()
                await provider.close()

        asyncio.run(steps())

    @_with_provider
    async def test_lease_of_a_message_ends_with_its_settlement(
        self, source: Source, provider: AbstractProvider
    ) -> None:
        """`lease_left` is positive for a message in hand, and 0 after that; None without leases."""
        await source.put("1")
        (message,) = await _fetch(provider)
        left = provider.lease_left(message)
        assert left is None or 0 < left <= 30
        await provider.settle(message, outcomes.ACKNOWLEDGE)
        assert provider.lease_left(message) == (None if left is None else 0)

    @_with_provider
    async def test_message_in_hand_keeps_nothing_open(
        self, source: Source, provider: AbstractProvider
    ) -> None:
        """A message that was never settled keeps neither `flush` nor `close` from returning."""
        await source.put("1")
        await _fetch(provider)
        provider.stop()
        await provider.flush()
        await provider.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}
