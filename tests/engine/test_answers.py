"""Answers that say nothing of the work, since they are always true."""

import asyncio
import collections
import dataclasses
import decimal
import functools
import types

import pytest

from loafer_kit.dispatchers import LoaferDispatcher
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider


async def run(handler, messages=("m",), **options):
    provider = InMemoryProvider(messages)
    await LoaferDispatcher([Route(provider, handler, **options)]).dispatch_providers()
    return provider


def generator(message, metadata):
    yield True


async def async_generator(message, metadata):
    yield True


class Methods:
    def generator(self, message, metadata):
        yield True

    async def async_generator(self, message, metadata):
        yield True

    @staticmethod
    def static(message, metadata):
        yield True


class Called:
    def __call__(self, message, metadata):
        yield True


class CalledAsync:
    async def __call__(self, message, metadata):
        yield True


class Handler:
    def handle(self, message, *args):
        yield True


def decorated(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)

    return wrapper


NEVER_RUN = [
    generator,
    async_generator,
    Methods().generator,
    Methods().async_generator,
    Methods.static,
    Called(),
    CalledAsync(),
    Handler(),
    functools.partial(generator),
    functools.partial(functools.partial(async_generator)),
    functools.partial(Called()),
    decorated(generator),
    decorated(async_generator),
]


@pytest.mark.parametrize("handler", NEVER_RUN)
def test_a_generator_function_is_refused_as_a_handler(handler):
    """Its answer would be true, and its work would never run."""
    with pytest.raises(ConfigurationError, match=r"'orders'.* generator, which would never run"):
        Route(InMemoryProvider(), handler, name="orders")


@pytest.mark.parametrize("handler", [generator, async_generator, Called()])
def test_a_generator_function_is_refused_as_an_error_handler(handler):
    """It would acknowledge every failed message."""
    with pytest.raises(ConfigurationError, match="error handler"):
        Route(InMemoryProvider(), print, error_handler=handler)


def test_an_async_generator_function_is_refused_as_a_batch_handler():
    """Nobody would read it."""
    with pytest.raises(ConfigurationError, match="an async generator"):
        Route(InMemoryProvider(), async_generator, batch_handler_size=2)


async def test_a_batch_handler_may_yield_its_answers():
    """They are read in its thread."""
    loops = []

    def handler(messages, metadata):
        loops.append(asyncio._get_running_loop())
        for message in messages:
            yield message == "good"

    provider = await run(handler, ["good", "bad"], batch_handler_size=2)
    assert (provider.acknowledged, provider.left) == (["good"], ["bad"])
    assert loops == [None]


async def test_what_decorators_hide_is_left_at_its_message():
    """An async wrapper that gives the generator back is found when it answers."""

    @functools.wraps(generator)
    async def wrapper(message, metadata):
        return generator(message, metadata)

    assert (await run(wrapper)).left == ["m"]


async def succeed():
    await asyncio.sleep(0)
    return True


async def succeed_later():
    return succeed()


def future():
    made = asyncio.get_running_loop().create_future()
    made.set_result(True)
    return made


@types.coroutine
def legacy(message, metadata):
    yield
    return True


class Awaitable:
    def __await__(self):
        return succeed().__await__()


async def answer_future(message, metadata):
    return future()


async def answer_task(message, metadata):
    return asyncio.create_task(succeed())


async def answer_coroutine(message, metadata):
    return succeed()


@pytest.mark.parametrize(
    "handler",
    [
        lambda message, metadata: succeed(),
        lambda message, metadata: succeed_later(),
        lambda message, metadata: Awaitable(),
        answer_future,
        answer_task,
        answer_coroutine,
        legacy,
    ],
)
async def test_an_awaitable_answer_is_awaited(handler):
    """Whoever forgot to await it meant what it returns."""
    assert (await run(handler)).acknowledged == ["m"]


async def test_an_awaitable_answer_counts_against_the_time_limit(caplog):
    """The work is in it."""

    async def hang():
        await asyncio.Event().wait()

    provider = await run(lambda message, metadata: hang(), handler_timeout=0.05)
    assert provider.left == ["m"]
    assert "took longer than" in caplog.text


@dataclasses.dataclass
class Order:
    number: int


@pytest.mark.parametrize(
    "answer",
    [
        object(),
        object,
        print,
        generator(1, 2),
        iter([True]),
        async_generator(1, 2),
        Order(1),
        asyncio.Lock(),
        types,
        ValueError("not raised"),
        ValueError,
    ],
    ids=lambda answer: type(answer).__name__,
)
@pytest.mark.parametrize("plain", [True, False])
async def test_an_answer_that_is_always_true_is_a_failure(answer, plain, caplog):
    """It says what came back."""

    def handler(message, metadata):
        return answer

    async def async_handler(message, metadata):
        return answer

    provider = await run(handler if plain else async_handler)
    assert provider.left == ["m"]
    assert "which is always true: return True or False." in caplog.text


@pytest.mark.parametrize("answer", [object(), print, generator(1, 2)])
async def test_an_error_handlers_answer_that_is_always_true_acknowledges_nothing(answer, caplog):
    """The message is left, and the log says why."""

    async def handler(message, metadata):
        raise ValueError

    provider = await run(handler, error_handler=lambda exc_info, message: answer)
    assert provider.left == ["m"]
    assert "error_handler.failed" in caplog.text


@pytest.mark.parametrize(
    "answer",
    [
        1,
        0.5,
        1j,
        decimal.Decimal(1),
        "yes",
        b"1",
        bytearray(b"1"),
        [0],
        (0,),
        {0: 0},
        {0},
        frozenset("a"),
        range(1),
        collections.deque([0]),
        collections.Counter("a"),
    ],
    ids=repr,
)
async def test_a_plain_value_that_is_true_acknowledges(answer):
    """As in Loafer; the same kind of value that is false leaves the message."""
    assert (await run(lambda message, metadata: answer)).acknowledged == ["m"]
    assert (await run(lambda message, metadata: type(answer)())).left == ["m"]
