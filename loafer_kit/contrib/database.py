"""Database: an extension that gives a service a database, through SQLAlchemy and Alembic.

`migrations` holds the commands of `loafer-kit --app PATH db`.
"""

import asyncio
import functools
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar, TypeVar

from loafer_kit.applications import Application
from loafer_kit.commands import register_commands
from loafer_kit.contrib.idempotency.keys import ValueOf, message_key
from loafer_kit.engine.callables import awaited, is_async
from loafer_kit.exceptions import (
    Abort,
    ConfigurationError,
    DeleteMessage,
    MissingExtraError,
    RejectMessage,
    RetryMessage,
)
from loafer_kit.extensions import Extension
from loafer_kit.logs import log_event
from loafer_kit.middleware import CallNext, Middleware
from loafer_kit.outcomes import (
    Acknowledge,
    DeadLetter,
    Outcome,
    Retry,
    from_answer,
    from_batch_answer,
    reason_text,
)

try:
    from sqlalchemy import (
        Column,
        Connection,
        DateTime,
        MetaData,
        String,
        Table,
        create_engine,
        func,
        insert,
        literal,
        select,
        text,
    )
    from sqlalchemy.exc import ArgumentError, IntegrityError, InvalidRequestError
    from sqlalchemy.ext.asyncio import (
        AsyncEngine,
        AsyncSession,
        async_sessionmaker,
        create_async_engine,
    )
    from sqlalchemy.orm import Session, declarative_base, sessionmaker

    from loafer_kit.contrib import migrations
    from loafer_kit.contrib.migrations import migrate
except ImportError as error:
    if not (error.name or "sqlalchemy").startswith("sqlalchemy"):  # without greenlet it has no name
        raise
    raise MissingExtraError("loafer_kit.contrib.database", "database") from None

__all__ = ["Database", "current_session", "migrate", "with_session"]

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

#: Seconds between two checks of the database, and the time limit of each.
_CHECK_EVERY, _CHECK_LIMIT = 5.0, 5.0

_session: ContextVar[AsyncSession | None] = ContextVar("database_session", default=None)


class Database(Extension):
    """Gives a service the database of DATABASE_URI.

    `model` is the base class of the service's models; without it, `Model` makes one. `options` are
    keywords of SQLAlchemy's `create_async_engine`, such as `pool_size`. The driver that the URI names
    decides how sessions are used: `async with` an asynchronous one, `with` one that blocks.
    """

    DEFAULT_SETTINGS: ClassVar[Mapping[str, Any]] = {"DATABASE_MIGRATIONS_DIRECTORY": "migrations"}
    REQUIRED_SETTINGS = ("DATABASE_URI",)

    def __init__(self, app: Any = None, *, model: Any = None, **options: Any) -> None:
        self._model = model
        self._options = options
        self._check: asyncio.Task[None] | None = None
        self._checked = 0.0
        self._problem: str | None = "the database has not answered yet"
        super().__init__(app)

    def init_app(self, app: Any) -> None:
        """Register with `app`. Its setting DATABASE, a dict, is read as settings DATABASE_…."""
        for name, value in app.settings.get("DATABASE", {}).items():
            app.settings[f"DATABASE_{name.upper()}"] = value
        super().init_app(app)
        app.startup(self._open)
        app.teardown(self._close)
        app.readiness.append(self._unready)

    def register_cli(self) -> None:
        """Add the commands `loafer-kit --app PATH db …`."""
        register_commands("db", migrations.COMMANDS, {"help": "Migrate the database."})

    @cached_property
    def engine(self) -> Any:
        """The `AsyncEngine`; with a driver that blocks, the `Engine`.

        Raises `ConfigurationError` for a URI that names no driver that is installed.
        """
        uri = self.app.settings["DATABASE_URI"]
        try:
            try:
                return create_async_engine(uri, **self._options)
            except InvalidRequestError:  # the driver blocks
                return create_engine(uri, **self._options)
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"DATABASE_URI needs the driver {error.name}: pip install {error.name}"
            ) from error
        except (ArgumentError, ValueError) as error:
            raise ConfigurationError(
                f"DATABASE_URI must be a database URL such as sqlite+aiosqlite:///orders.db: {error}"
            ) from error

    @cached_property
    def sessionmaker(self) -> Any:
        """Makes sessions, which must be closed."""
        if isinstance(self.engine, AsyncEngine):
            return async_sessionmaker(self.engine, expire_on_commit=False)
        return sessionmaker(self.engine, class_=_TextSession)

    @cached_property
    def Model(self) -> Any:  # noqa: N802 - the documented name
        """The base class of the service's models."""
        return self._model or declarative_base()

    @property
    def metadata(self) -> MetaData:
        """The tables of the models."""
        return self.Model.metadata  # type: ignore[no-any-return]

    @cached_property
    def inbox(self) -> Table:
        """The table of the messages that `once` has handled, by consumer."""
        return Table(
            "loafer_kit_inbox",
            self.metadata,
            Column("consumer", String(100), primary_key=True),
            Column("key", String(64), primary_key=True),
            Column("handled_at", DateTime(timezone=True), nullable=False, default=func.now()),
            keep_existing=True,  # services may share their models
        )

    def session(self) -> "SessionScope":
        """Return a context manager for a session, which is closed at the end and not committed."""
        return SessionScope(self._new_session)

    async def transaction(self, content: Any, metadata: Any, call_next: CallNext) -> Any:
        """Middleware: handle each message, or each batch, with a session of its own.

        The session is committed if the handler acknowledges the message, before the message is
        acknowledged, and rolled back if not. A batch is committed as a whole: unless all of its
        messages are acknowledged, all of them come back.
        """
        # A callback that returns results acknowledges unless it raises, and by Abort too.
        acknowledges = Abort if self._returns_results else DeleteMessage
        async with self.session() as session:
            token = _session.set(session)
            try:
                answer = await call_next(content, metadata)
            except acknowledges:
                await session.commit()
                raise
            finally:
                _session.reset(token)
            if self._returns_results:
                await session.commit()
            elif isinstance(metadata, list):
                answers = [_as_answer(each) for each in from_batch_answer(answer, len(metadata))]
                if any(answer is not True for answer in answers):
                    return [False if answer is True else answer for answer in answers]
                await session.commit()
                return True
            elif isinstance(from_answer(answer), Acknowledge):
                await session.commit()
        return answer

    def once(
        self, consumer: str, key: str | ValueOf | None = None, *, or_message_id: bool = False
    ) -> Middleware:
        """Return `transaction` with an inbox: what a handler writes with its session, it writes once.

        The `key` of each message is written in the same transaction, for this consumer. A message
        whose key is there already is acknowledged and not handled. `key` and `or_message_id` are
        those of `message_key`: by default the key is the id of the message.
        """
        key_of = message_key(key, or_message_id=or_message_id)
        acknowledged = None if self._returns_results else True
        inbox = Inbox(self.inbox, consumer, key_of, acknowledged)

        async def once(content: Any, metadata: Any, call_next: CallNext) -> Any:
            return await self.transaction(content, metadata, partial(inbox.handle, call_next))

        return once

    async def call(self, function: Callable[[Connection], Result]) -> Result:
        """Return `function(connection)`, which may block, with a connection of the pool."""
        if isinstance(self.engine, AsyncEngine):
            async with self.engine.connect() as connection:
                return await connection.run_sync(function)

        def work() -> Result:
            with self.engine.connect() as connection:
                return function(connection)

        return await asyncio.to_thread(work)

    async def dispose(self) -> None:
        """Close the connections of the pool."""
        await awaited(self.engine.dispose())

    @property
    def _returns_results(self) -> bool:
        """Whether handlers return results, as an application's callback does, and no outcome."""
        return isinstance(self.app, Application)

    def _new_session(self, *, asynchronous: bool) -> Any:
        if asynchronous == isinstance(self.engine, AsyncEngine):
            return self.sessionmaker()
        raise ConfigurationError(
            f"The driver {self.engine.dialect.driver} of DATABASE_URI "
            + (
                "blocks: name an asynchronous one, such as sqlite+aiosqlite."
                if asynchronous
                else "is asynchronous: use `async with` for its sessions."
            )
        )

    async def _open(self, app: Any) -> None:
        _ = self.engine  # a wrong URI ends the start

    async def _close(self, app: Any) -> None:
        if self._check is not None:
            self._check.cancel()
            await asyncio.wait([self._check])
            self._check = None
        if "engine" in vars(self):
            await self.dispose()

    def _unready(self) -> str | None:
        """Return why the service is not ready, as the last check found; begin the next if it is due."""
        now = time.monotonic()
        if self._check is None or (self._check.done() and now - self._checked >= _CHECK_EVERY):
            self._checked = now
            self._check = asyncio.create_task(self._ask())
        return self._problem

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(_CHECK_LIMIT):
                await self.call(lambda connection: connection.execute(select(literal(1))))
        except TimeoutError:
            self._problem = f"the database has not answered within {_CHECK_LIMIT:g} s"
        except Exception as error:  # noqa: BLE001 - drivers raise errors of their own
            self._problem = f"the database does not answer: {reason_text(error).splitlines()[0]}"
        else:
            self._problem = None


class SessionScope(AbstractAsyncContextManager[AsyncSession], AbstractContextManager[Session]):
    """One session, for `async with` or, with a driver that blocks, for `with`."""

    def __init__(self, new_session: Callable[..., Any]) -> None:
        self._new_session = new_session
        self._session: Any = None

    async def __aenter__(self) -> AsyncSession:
        self._session = self._new_session(asynchronous=True)
        return self._session  # type: ignore[no-any-return]

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    def __enter__(self) -> Session:
        self._session = self._new_session(asynchronous=False)
        return self._session  # type: ignore[no-any-return]

    def __exit__(self, *_: object) -> None:
        self._session.close()


class _TextSession(Session):
    """Executes SQL as text too, as Henson-Database's documentation does."""

    def execute(self, statement: Any, *args: Any, **kwargs: Any) -> Any:
        statement = text(statement) if isinstance(statement, str) else statement
        return super().execute(statement, *args, **kwargs)


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


def _as_answer(outcome: Outcome) -> Any:
    match outcome:
        case Retry():
            return RetryMessage(outcome.reason, delay=outcome.delay)
        case DeadLetter():
            return RejectMessage(outcome.reason)
    return isinstance(outcome, Acknowledge)


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
                    facts = {"consumer": self.consumer, "key": key}
                    log_event(logger, logging.INFO, "message.duplicate", facts)
                    break
            else:
                return new
