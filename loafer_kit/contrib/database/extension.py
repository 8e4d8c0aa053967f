"""Database: the extension, its engine and its sessions."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import cached_property, partial
from typing import Any, ClassVar, TypeVar

from sqlalchemy import Connection, MetaData, Table, create_engine, literal, select, text
from sqlalchemy.exc import ArgumentError, InvalidRequestError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import Session, declarative_base, sessionmaker

from loafer_kit.applications import Application
from loafer_kit.commands import register_commands
from loafer_kit.contrib.database import migrations, transactions
from loafer_kit.contrib.idempotency import message_key
from loafer_kit.contrib.idempotency.keys import ValueOf
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.extensions import Extension
from loafer_kit.middleware import CallNext, Middleware
from loafer_kit.outcomes import reason_text

Result = TypeVar("Result")

#: Seconds between two checks of the database, and the time limit of each.
_CHECK_EVERY, _CHECK_LIMIT = 5.0, 5.0


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
        """The table of the messages that `once` has handled."""
        return transactions.inbox_table(self.metadata)

    def session(self) -> "SessionScope":
        """Return a context manager for a session, which is closed at the end and not committed."""
        return SessionScope(self._new_session)

    async def transaction(self, content: Any, metadata: Any, call_next: CallNext) -> Any:
        """Middleware: handle each message, or each batch, with a session of its own.

        The session is committed if the handler acknowledges the message, before the message is
        acknowledged, and rolled back if not. A batch is committed as a whole: unless all of its
        messages are acknowledged, all of them come back.
        """
        async with self.session() as session:
            return await transactions.run(
                session, content, metadata, call_next, results=self._returns_results
            )

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
        inbox = transactions.Inbox(self.inbox, consumer, key_of, acknowledged)

        async def once(content: Any, metadata: Any, call_next: CallNext) -> Any:
            return await self.transaction(content, metadata, partial(inbox.handle, call_next))

        return once

    async def call(self, function: Callable[[Connection], Result]) -> Result:
        """Return `function(connection)`, which may block, with a connection of the pool."""
        if isinstance(self.engine, AsyncEngine):
            async with self.engine.connect() as connection:
                return await connection.run_sync(function)
        return await asyncio.to_thread(self._call, function)

    async def dispose(self) -> None:
        """Close the connections of the pool."""
        if isinstance(self.engine, AsyncEngine):
            await self.engine.dispose()
        else:
            self.engine.dispose()

    def _call(self, function: Callable[[Connection], Result]) -> Result:
        with self.engine.connect() as connection:
            return function(connection)

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
