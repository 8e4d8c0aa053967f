"""Database: engine, sessions and transactions around handlers, on files of SQLite."""

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
import textwrap
from dataclasses import dataclass

import pytest
from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from loafer_kit import Abort, Application, LoaferManager
from loafer_kit.contrib.database import Database, current_session, with_session
from loafer_kit.contrib.idempotency import attribute
from loafer_kit.engine.deliveries import Deliveries
from loafer_kit.exceptions import (
    ConfigurationError,
    DeleteMessage,
    RejectMessage,
    RetryMessage,
    SettingError,
)
from loafer_kit.ext.aws.message_translators import SQSMessageTranslator, SQSTextMessageTranslator
from loafer_kit.operations.health import States
from loafer_kit.outcomes import ACKNOWLEDGE, LEAVE, DeadLetter, Retry
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider, deliver, sqs_message


class Base(DeclarativeBase):
    """The models of these tests."""


class Effect(Base):
    """What a handler has done."""

    __tablename__ = "effects"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


def write(text):
    return current_session().execute(insert(Effect).values(text=text))


class Shop:
    """A manager with one route and a database in a file, whose tables exist."""

    def __init__(self, path):
        self.path = path
        self.uri = f"sqlite+aiosqlite:///{path}"
        self.manager = LoaferManager([], settings={"DATABASE_URI": self.uri})
        self.database = Database(self.manager, model=Base)
        _ = self.database.inbox
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.executescript(
                "CREATE TABLE effects (id INTEGER PRIMARY KEY, text VARCHAR NOT NULL);"
                "CREATE TABLE loafer_kit_inbox (consumer VARCHAR, key VARCHAR, handled_at TIMESTAMP,"
                " PRIMARY KEY (consumer, key));"
            )

    def route(self, handler, *middleware, **options):
        middleware = middleware or (self.database.transaction,)
        return Route(InMemoryProvider(), handler, middleware=middleware, **options)

    @property
    def effects(self):
        """The texts of the effects that another connection sees."""
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            return [text for (text,) in connection.execute("SELECT text FROM effects ORDER BY id")]


@pytest.fixture
async def shop(tmp_path):
    shop = Shop(tmp_path / "shop.db")
    yield shop
    await shop.database.dispose()


def test_settings_and_use_are_those_of_henson_database(tmp_path):
    """Its documented example, with the changed name."""
    uri = f"sqlite:///{tmp_path / 'henson.db'}"
    app = Application("henson", {"DATABASE": {"uri": uri}})
    db = Database(app)

    class Row(db.Model):
        __tablename__ = "rows"
        id = mapped_column(func.count().type, primary_key=True)

    assert app.settings["DATABASE_URI"] == uri
    assert app.settings["DATABASE_MIGRATIONS_DIRECTORY"] == "migrations"
    assert app.extensions["database"] is db
    assert db.engine is db.engine
    assert set(db.metadata.tables) == {"rows"}
    db.metadata.create_all(db.engine)
    with db.session() as session:
        assert session.execute("SELECT 1;").scalar() == 1
        assert session.scalars(select(Row)).all() == []
    with contextlib.closing(db.sessionmaker()) as session:
        assert hasattr(session, "commit")
    db.engine.dispose()


def test_the_uri_is_required_and_may_come_from_the_environment(monkeypatch):
    with pytest.raises(SettingError, match="DATABASE_URI"):
        Database(LoaferManager([]))
    monkeypatch.setenv("DATABASE_URI", "sqlite+aiosqlite:///a.db")
    assert Database(LoaferManager([])).engine.url.database == "a.db"


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("nonsense", "DATABASE_URI must be a database URL such as sqlite+aiosqlite:///orders.db"),
        ("foo://u:secret@h/d", "Can't load plugin: sqlalchemy.dialects:foo"),
        ("postgresql+asyncpg://u:secret@h:port/d", "DATABASE_URI must be a database URL"),
        ("mysql+aiomysql://u:secret@h/d", "needs the driver aiomysql: pip install aiomysql"),
    ],
)
async def test_a_wrong_uri_ends_the_start_in_one_line_without_the_password(uri, text):
    manager = LoaferManager(
        [Route(InMemoryProvider(["a"]), lambda *_: True)], settings={"DATABASE_URI": uri}
    )
    Database(manager)
    with pytest.raises(ConfigurationError) as error:
        await manager.serve()
    assert text in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert "secret" not in str(error.value)


async def test_the_driver_decides_between_async_with_and_with(shop, tmp_path):
    """The other one says so in one line."""
    async with shop.database.session() as session:
        assert await session.scalar(select(func.count()).select_from(Effect)) == 0
    with pytest.raises(ConfigurationError, match=r"aiosqlite .*is asynchronous: use `async with`"):
        shop.database.session().__enter__()
    manager = LoaferManager([], settings={"DATABASE_URI": f"sqlite:///{tmp_path / 'b.db'}"})
    with pytest.raises(ConfigurationError, match=r"pysqlite .*blocks: name an asynchronous one"):
        await Database(manager).session().__aenter__()


def test_options_reach_the_engine():
    manager = LoaferManager([], settings={"DATABASE_URI": "sqlite+aiosqlite:///a.db"})
    assert Database(manager, pool_size=3).engine.pool.size() == 3


async def test_each_message_has_a_session_of_its_own(shop):
    """And within it, the same one."""
    seen = []

    async def handle(content, metadata):
        seen.append(current_session())
        assert current_session() is seen[-1]
        return True

    route = shop.route(handle)
    await asyncio.gather(deliver(route, "a"), deliver(route, "b"))
    await deliver(route, "c")
    assert len(set(map(id, seen))) == 3
    with pytest.raises(ConfigurationError, match="No session is open here"):
        current_session()


@dataclass
class Order:
    """A typed payload."""

    id: int


class Handlers:
    """A class with a handler that takes the session."""

    @with_session
    async def handle(self, order: Order, metadata, session: AsyncSession):
        await session.execute(insert(Effect).values(text=f"order {order.id}"))
        return True


async def test_a_handler_takes_the_session_as_an_argument(shop):
    """Function or method, typed or not; its payload is validated as without the session."""

    @with_session
    async def handle(order: Order, metadata, *, session: AsyncSession):
        await session.execute(insert(Effect).values(text=f"order {order.id}"))
        return True

    assert await deliver(shop.route(handle), {"id": 1}) == ACKNOWLEDGE
    assert await deliver(shop.route(Handlers()), {"id": 2}) == ACKNOWLEDGE
    assert isinstance(await deliver(shop.route(handle), {"id": "x"}), DeadLetter)
    assert shop.effects == ["order 1", "order 2"]


@pytest.mark.parametrize("handler", [lambda c, m, session: True, test_options_reach_the_engine])
def test_with_session_refuses_what_cannot_use_it(handler):
    with pytest.raises(ConfigurationError, match="a coroutine function with a parameter `session`"):
        with_session(handler)


async def test_what_a_handler_writes_is_committed_before_the_acknowledgement(shop):
    provider = InMemoryProvider(["a"])
    seen = []
    settle = provider.settle

    async def settling(message, outcome):
        seen.append((outcome, shop.effects))
        await settle(message, outcome)

    async def handle(content, metadata):
        await write(content)
        assert shop.effects == []
        return True

    provider.settle = settling
    shop.manager.routes = [Route(provider, handle)]
    shop.manager.middleware.append(shop.database.transaction)
    await shop.manager.serve()
    assert seen == [(ACKNOWLEDGE, ["a"])]


REQUESTS = [
    (DeleteMessage(), ACKNOWLEDGE, ["a"]),
    (RetryMessage(delay=3), Retry(3), []),
    (RejectMessage("poison"), DeadLetter("poison"), []),
]
ANSWERS = [
    (True, ACKNOWLEDGE, ["a"]),
    ({"any": "answer"}, ACKNOWLEDGE, ["a"]),
    (False, LEAVE, []),
    (None, LEAVE, []),
    (object(), LEAVE, []),
]
ERRORS = [(ValueError("a fault"), LEAVE, []), (Abort("a.fault", None), LEAVE, [])]


@pytest.mark.parametrize(("answer", "outcome", "effects"), ANSWERS + REQUESTS)
async def test_the_answer_decides_between_commit_and_rollback(shop, answer, outcome, effects):
    """Only an acknowledged message has effects."""

    async def handle(content, metadata):
        await write(content)
        return answer

    assert await deliver(shop.route(handle), "a") == outcome
    assert shop.effects == effects


@pytest.mark.parametrize(("error", "outcome", "effects"), ERRORS + REQUESTS)
async def test_an_exception_decides_between_commit_and_rollback(shop, error, outcome, effects):
    """One that acknowledges has the effects of an answer that does."""

    async def handle(content, metadata):
        await write(content)
        raise error

    assert await deliver(shop.route(handle), "a") == outcome
    assert shop.effects == effects


async def test_a_cancelled_handler_is_rolled_back(shop):
    """By its time limit, or when the service ends; the database is free afterwards."""

    async def hang(content, metadata):
        await write(content)
        await asyncio.Event().wait()

    assert await deliver(shop.route(hang, handler_timeout=0.05), "a") == LEAVE
    task = asyncio.create_task(deliver(shop.route(hang), "b"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert shop.effects == []
    assert await deliver(shop.route(handler_that(write)), "c") == ACKNOWLEDGE
    assert shop.effects == ["c"]


def handler_that(function):
    async def handle(content, metadata):
        await function(content)
        return True

    return handle


async def test_what_was_committed_can_be_read(shop):
    """An application's postprocessors get the results after the commit."""
    effect = Effect(text="a")
    async with shop.database.session() as session:
        session.add(effect)
        await session.commit()
    assert effect.text == "a"


async def test_a_failing_commit_is_a_failure_of_the_message(shop):
    """A constraint that is checked at the commit, for example."""
    with contextlib.closing(sqlite3.connect(shop.path)) as connection:
        connection.execute(
            "CREATE TABLE lines (effect INTEGER REFERENCES effects (id) DEFERRABLE"
            " INITIALLY DEFERRED)"
        )

    async def handle(content, metadata):
        connection = await current_session().connection()
        await connection.exec_driver_sql("PRAGMA foreign_keys = on")
        await connection.exec_driver_sql("INSERT INTO lines VALUES (7)")
        return True

    assert await deliver(shop.route(handle), "a") == LEAVE


class Source:
    """A consumer of these messages."""

    def __init__(self, *messages):
        self._messages = list(messages)

    async def read(self):
        if not self._messages:
            raise Abort("source.empty", None)
        return self._messages.pop(0)


async def test_an_application_commits_what_it_acknowledges(shop):
    """Whatever its callback returns, and by `Abort`; an error is rolled back."""

    @with_session
    async def handle(app, message, session):
        await session.execute(insert(Effect).values(text=message["text"]))
        if message["text"] == "aborted":
            raise Abort("order.ignored", message)
        if message["text"] == "failed":
            raise ValueError

    app = Application("shop", {"DATABASE_URI": shop.uri}, callback=handle)
    database = Database(app, model=Base)
    app.middleware.append(database.once("orders", "MessageId"))
    messages = [
        {"text": "done", "MessageId": "1"},
        {"text": "aborted", "MessageId": "2"},
        {"text": "failed", "MessageId": "3"},
        {"text": "twice", "MessageId": "1"},
        {"text": "without id"},
    ]
    app.consumer = Source(*messages)
    await app.serve()
    assert shop.effects == ["done", "aborted"]


@pytest.mark.parametrize(
    ("answer", "outcomes", "effects"),
    [
        (True, [ACKNOWLEDGE, ACKNOWLEDGE], ["a", "b"]),
        ([True, True], [ACKNOWLEDGE, ACKNOWLEDGE], ["a", "b"]),
        (iter([True, True]), [ACKNOWLEDGE, ACKNOWLEDGE], ["a", "b"]),
        ([True, False], [LEAVE, LEAVE], []),
        ({1: True}, [LEAVE, LEAVE], []),
        ([RejectMessage("poison"), True], [DeadLetter("poison"), LEAVE], []),
        ([RetryMessage(delay=5), True], [Retry(5), LEAVE], []),
        (None, [LEAVE, LEAVE], []),
    ],
)
async def test_a_batch_is_committed_as_a_whole(shop, answer, outcomes, effects):
    """Or not at all: no message is acknowledged whose effects were rolled back."""

    async def handle(contents, metadata):
        for content in contents:
            await write(content)
        return answer

    assert await deliver_batch(shop.route(handle, batch_handler_size=2), "a", "b") == outcomes
    assert shop.effects == effects


async def deliver_batch(route, *messages):
    return [delivery.outcome for delivery in await Deliveries(route).deliver_batch(messages)]


def letter(body, message_id):
    return sqs_message(body) | {"MessageId": message_id}


def inbox_route(shop, *arguments, handler=None, **options):
    """A route on messages as SQS delivers them, whose effects happen once."""
    middleware = shop.database.once(*arguments)
    handler = handler or handler_that(write)
    return shop.route(handler, middleware, message_translator=SQSTextMessageTranslator(), **options)


async def test_a_duplicate_is_acknowledged_and_not_handled(shop, caplog):
    """The key is the message's id, for each consumer."""
    caplog.set_level("INFO")
    billing, mail = inbox_route(shop, "billing"), inbox_route(shop, "mail")
    for route in (billing, billing, mail):
        assert await deliver(route, letter("a", "1")) == ACKNOWLEDGE
    assert await deliver(billing, letter("b", "2")) == ACKNOWLEDGE
    assert shop.effects == ["a", "a", "b"]
    assert "message.duplicate consumer=billing key=" in caplog.text


async def test_what_failed_is_no_duplicate(shop):
    """The key is rolled back with the effects."""
    answers = [False, ValueError(), RejectMessage(), True, True]

    async def handle(content, metadata):
        await write(content)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    route = inbox_route(shop, "billing", handler=handle)
    outcomes = [await deliver(route, letter("a", "1")) for _ in range(5)]
    assert outcomes == [LEAVE, LEAVE, DeadLetter("rejected by the handler"), *[ACKNOWLEDGE] * 2]
    assert shop.effects == ["a"]


async def test_the_key_is_that_of_idempotency(shop):
    """A JMESPath expression, an attribute or a function; a message without it is rejected."""

    def function(content, metadata):
        return content.id

    @with_session
    async def handle(order: Order, metadata, session):
        await session.execute(insert(Effect).values(text="effect"))
        return True

    for consumer, key in enumerate(["id", attribute("order"), function]):
        route = inbox_route(shop, str(consumer), key, handler=handle)
        route.message_translator = SQSMessageTranslator()
        for message_id in "12":
            message = sqs_message({"id": 1}, attributes={"order": "1"})
            assert await deliver(route, message | {"MessageId": message_id}) == ACKNOWLEDGE
    assert shop.effects == ["effect"] * 3

    route = inbox_route(shop, "billing", "missing")
    outcome = await deliver(route, letter("a", "1"))
    assert outcome == DeadLetter("the message has no key: `missing` is missing in it")
    with pytest.raises(ConfigurationError, match="is not a JMESPath expression"):
        shop.database.once("billing", "]")


async def test_duplicates_at_the_same_time_have_one_effect(shop):
    """One waits for the other in the database."""
    route = inbox_route(shop, "billing")
    outcomes = await asyncio.gather(*(deliver(route, letter("a", "1")) for _ in range(3)))
    assert outcomes == [ACKNOWLEDGE] * 3
    assert shop.effects == ["a"]


async def test_a_batch_handler_gets_the_new_messages(shop):
    """Those that were handled are acknowledged; two of one key are one; one without is rejected."""
    calls = []

    async def handle(contents, metadata):
        calls.append(contents)
        for content in contents:
            await write(content)
        return ["bad" not in content for content in contents]

    keys = {"keyless": None, "again": "a"}

    def key(content, metadata):
        return keys.get(content, content)

    route = inbox_route(
        shop,
        "billing",
        key,
        handler=handle,
        batch_handler_size=4,
    )

    async def outcomes(*bodies):
        return await deliver_batch(route, *(letter(body, "any") for body in bodies))

    assert await outcomes("a", "b") == [ACKNOWLEDGE] * 2
    assert await outcomes("b", "c", "again", "c") == [ACKNOWLEDGE] * 4
    assert await outcomes("a", "b") == [ACKNOWLEDGE] * 2
    assert calls == [["a", "b"], ["c"]]
    assert await outcomes("d", "bad", "d") == [LEAVE] * 3
    assert await outcomes("d", "keyless") == [
        LEAVE,
        DeadLetter("the message has no key: key is missing in it"),
    ]
    assert await outcomes("d") == [ACKNOWLEDGE]
    assert shop.effects == ["a", "b", "c", "d"]


KILLED = """
    import asyncio, os, signal, sys
    from pathlib import Path
    from sqlalchemy import text
    from loafer_kit import LoaferManager
    from loafer_kit.contrib.database import Database, with_session
    from loafer_kit.providers import AbstractProvider
    from loafer_kit.routes import Route

    class Spool(AbstractProvider):
        async def fetch_messages(self):
            return list(Path("spool").iterdir())

        async def confirm_message(self, message):
            message.unlink()

    @with_session
    async def handle(path, metadata, session):
        await session.execute(text("INSERT INTO effects (text) VALUES (:name)"), {"name": path.name})
        return True

    async def die(content, metadata, call_next):
        answer = await call_next(content, metadata)
        if sys.argv[1] == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    manager = LoaferManager([Route(Spool(), handle)], settings={"DATABASE_URI": sys.argv[2]})
    database = Database(manager)
    manager.middleware += [die, database.once("spool", lambda path, metadata: path.name)]
    manager.run(forever=False)
"""


def test_a_process_killed_between_commit_and_acknowledgement_has_one_effect(
    tmp_path, python_copies
):
    """The next process acknowledges the message without handling it."""
    shop = Shop(tmp_path / "shop.db")
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool/order").touch()
    program = [sys.executable, "-c", textwrap.dedent(KILLED)]

    killed = subprocess.run([*program, "die", shop.uri], check=False, cwd=tmp_path)
    assert killed.returncode == -9
    assert shop.effects == ["order"]
    assert (tmp_path / "spool/order").exists()

    subprocess.run([*program, "live", shop.uri], check=True, cwd=tmp_path)
    assert shop.effects == ["order"]
    assert not (tmp_path / "spool/order").exists()


async def test_the_pool_is_closed_when_the_service_ends(shop):
    """And open again in the next run."""
    shop.manager.routes = [Route(InMemoryProvider(["a"]), handler_that(write))]
    shop.manager.middleware.append(shop.database.transaction)
    await shop.manager.serve()
    assert shop.database.engine.pool.checkedin() == 0
    shop.manager.routes[0].provider.put("b")
    await shop.manager.serve()
    assert shop.effects == ["a", "b"]
    assert isinstance(shop.database.engine, AsyncEngine)


@pytest.mark.parametrize("driver", ["sqlite+aiosqlite", "sqlite"])
async def test_a_service_is_ready_while_its_database_answers(tmp_path, driver, monkeypatch):
    """It stays live, and becomes ready when the database is there."""
    monkeypatch.setattr("loafer_kit.contrib.database._CHECK_EVERY", 0)
    folder = tmp_path / "volume"
    uri = f"{driver}:///{folder / 'shop.db'}"
    route = Route(InMemoryProvider(endless=True, wait_time=0.01), lambda *_: True)
    manager = LoaferManager([route], settings={"DATABASE_URI": uri})
    Database(manager)
    states = States(manager)
    task = asyncio.create_task(manager.serve())

    async def until(condition):
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - what it waits for sets no event
                await asyncio.sleep(0.001)

    await until(lambda: states.unready() == ["the database has not answered yet"])
    await until(lambda: any("does not answer" in line for line in states.unready()))
    assert "unable to open database file" in states.unready()[0]
    assert states.problems() == []
    assert states.state == "starting"
    folder.mkdir()
    await until(lambda: states.state == "ready")
    task.cancel()
    await asyncio.wait([task])
    assert states.unready() == []


async def test_a_database_that_hangs_is_not_ready(shop, monkeypatch):
    """The check has a time limit, and one runs at a time."""
    monkeypatch.setattr("loafer_kit.contrib.database._CHECK_LIMIT", 0.01)
    held = Database(
        LoaferManager([], settings={"DATABASE_URI": shop.uri}), pool_size=1, max_overflow=0
    )
    async with held.engine.connect():
        (check,) = held.app.readiness
        check()
        await held._check
        assert check() == "the database has not answered within 0.01 s"
    await held._close(held.app)


def test_without_sqlalchemy_one_line_names_the_extra(tmp_path):
    """As with every extra."""
    code = "import sys; sys.modules['sqlalchemy'] = None; import loafer_kit.contrib.database"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].endswith(
        "loafer_kit.contrib.database needs more than the base install: "
        "pip install 'loafer-kit[database]'"
    )
