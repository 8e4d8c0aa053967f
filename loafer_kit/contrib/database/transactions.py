"""Transactions: the session of a message, when it is committed, and the inbox."""

import functools
import inspect
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, DateTime, MetaData, String, Table, func, insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from loafer_kit.engine.callables import is_async
from loafer_kit.exceptions import (
    Abort,
    ConfigurationError,
    DeleteMessage,
    RejectMessage,
    RetryMessage,
)
from loafer_kit.middleware import CallNext
from loafer_kit.outcomes import (
    Acknowledge,
    DeadLetter,
    Outcome,
    Retry,
    from_answer,
    from_batch_answer,
)

logger = logging.getLogger(__name__)

_session: ContextVar[AsyncSession | None] = ContextVar("database_session", default=None)


def current_session() -> AsyncSession:
    """Return the session of the message that is being handled.

    Raises `ConfigurationError` outside `Database.transaction` and `Database.once`.
    """
    session = _session.get()
    if session is None:
        raise ConfigurationError(
            "No session is open here: add `database.transaction` to the middleware of the route or "
            "of the service."
        )
    return session


def with_session(handler: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Call a handler with `current_session()` as its keyword argument `session`.

    Raises `ConfigurationError` for a plain function, which could not await the session, and for a
    handler without that parameter.
    """
    if not is_async(handler) or "session" not in inspect.signature(handler).parameters:
        raise ConfigurationError(
            f"with_session takes a coroutine function with a parameter `session`, not {handler!r}."
        )

    @functools.wraps(handler)
    async def call(*arguments: Any) -> Any:
        return await handler(*arguments, session=current_session())

    return call


async def run(
    session: AsyncSession, content: Any, metadata: Any, call_next: CallNext, *, results: bool
) -> Any:
    """Call the handler, and commit what it has written if it acknowledges; return its answer.

    An application's callback returns results: it acknowledges unless it raises, and by `Abort` too.
    """
    acknowledges = Abort if results else DeleteMessage
    token = _session.set(session)
    try:
        answer = await call_next(content, metadata)
    except acknowledges:
        await session.commit()
        raise
    finally:
        _session.reset(token)
    if results:
        await session.commit()
    elif isinstance(metadata, list):
        answers = [_as_answer(outcome) for outcome in from_batch_answer(answer, len(metadata))]
        if any(answer is not True for answer in answers):
            return [False if answer is True else answer for answer in answers]
        await session.commit()
        return True
    elif isinstance(from_answer(answer), Acknowledge):
        await session.commit()
    return answer


def _as_answer(outcome: Outcome) -> Any:
    match outcome:
        case Retry():
            return RetryMessage(outcome.reason, delay=outcome.delay)
        case DeadLetter():
            return RejectMessage(outcome.reason)
    return isinstance(outcome, Acknowledge)


def inbox_table(metadata: MetaData) -> Table:
    """Return the table whose rows are the messages that consumers have handled."""
    return Table(
        "loafer_kit_inbox",
        metadata,
        Column("consumer", String(100), primary_key=True),
        Column("key", String(64), primary_key=True),
        Column("handled_at", DateTime(timezone=True), nullable=False, default=func.now()),
        keep_existing=True,  # services may share their models
    )


@dataclass(frozen=True, slots=True)
class Inbox:
    """The messages that a consumer has handled, by their keys."""

    table: Table
    consumer: str
    #: Returns the key of a message; raises `RejectMessage` for one that has none.
    key_of: Callable[[Any, Any], str]
    #: The answer that acknowledges a message.
    acknowledged: Any

    async def handle(self, call_next: CallNext, content: Any, metadata: Any) -> Any:
        """Handle new messages in the current transaction, and acknowledge the others."""
        if isinstance(metadata, list):
            return await self._handle_batch(call_next, content, metadata)
        if await self._claim({self.key_of(content, metadata)}):
            return await call_next(content, metadata)
        return self.acknowledged

    async def _handle_batch(
        self, call_next: CallNext, contents: Sequence[Any], metadata: Sequence[Any]
    ) -> list[Any]:
        answers: list[Any] = [True] * len(contents)
        positions: dict[str, int] = {}
        for position, message in enumerate(zip(contents, metadata, strict=True)):
            try:
                positions.setdefault(self.key_of(*message), position)
            except RejectMessage as rejection:
                answers[position] = rejection
        new = await self._claim(positions.keys())
        handled = [position for key, position in positions.items() if key in new]
        if handled:
            answer = await call_next(
                [contents[position] for position in handled],
                [metadata[position] for position in handled],
            )
            outcomes = from_batch_answer(answer, len(handled))
            for position, outcome in zip(handled, outcomes, strict=True):
                answers[position] = _as_answer(outcome)
        return answers

    async def _claim(self, keys: Collection[str]) -> set[str]:
        """Write the keys into the inbox and return those that were not there.

        While another transaction writes one of them, the database waits for its end. A key that is
        there rolls back the transaction, which has written nothing else yet.
        """
        session, new = current_session(), set(keys)
        while True:
            for key in sorted(new):  # in one order, or two batches could wait for each other
                try:
                    await session.execute(
                        insert(self.table).values(consumer=self.consumer, key=key)
                    )
                except IntegrityError:
                    await session.rollback()
                    new.remove(key)
                    logger.info(
                        "message.duplicate consumer=%s key=%s",
                        self.consumer,
                        key,
                        extra={"event": "message.duplicate", "consumer": self.consumer, "key": key},
                    )
                    break
            else:
                return new
