"""A route: its arguments, and one message through it."""

import asyncio
import sys
from unittest import mock

import pytest

from loafer_kit.exceptions import ConfigurationError, DeleteMessage, SettingError
from loafer_kit.message_translators import AbstractMessageTranslator
from loafer_kit.payloads.decoding import is_undecodable
from loafer_kit.providers import AbstractProvider
from loafer_kit.routes import Route


class Provider(AbstractProvider):
    stopped = 0

    async def fetch_messages(self):
        return []

    async def confirm_message(self, message):
        return None

    def stop(self):
        self.stopped += 1


class Translator(AbstractMessageTranslator):
    def __init__(self, result):
        self.result = result

    def translate(self, message):
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


async def handler(message, metadata):
    return message, metadata


def test_a_provider_of_the_wrong_kind_is_refused():
    """`TypeError`, as Loafer has it."""
    with pytest.raises(TypeError, match="AbstractProvider"):
        Route(object(), handler)


@pytest.mark.parametrize("translator", [str, "text", print])
def test_a_translator_of_the_wrong_kind_is_refused(translator):
    """A class, a string and a function are refused."""
    with pytest.raises(TypeError, match="AbstractMessageTranslator"):
        Route(Provider(), handler, message_translator=translator)


def test_an_error_handler_that_cannot_be_called_is_refused():
    """`TypeError`, as Loafer has it."""
    with pytest.raises(TypeError, match="callable"):
        Route(Provider(), handler, error_handler="log")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"concurency": 3}, "no option 'concurency'. Did you mean 'concurrency'?"),
        ({"zzz": 3}, "no option 'zzz'. It has: batch_handler_size,"),
        ({"concurrency": 0}, "concurrency must be a whole number of at least 1, not 0"),
        ({"concurrency": True}, "concurrency must be a whole number of at least 1, not True"),
        ({"prefetch": -1}, "prefetch must be a whole number of at least 0, not -1"),
        ({"handler_timeout": 0}, "handler_timeout must be a number greater than 0, not 0"),
        ({"rate_limit": "fast"}, "rate_limit must be a number greater than 0, not 'fast'"),
    ],
)
def test_an_option_that_cannot_work_is_one_clear_line(options, problem):
    """It names the route, the option, and what would work."""
    with pytest.raises(ConfigurationError, match="Route 'orders'") as info:
        Route(Provider(), handler, "orders", **options)
    assert problem in str(info.value)
    assert "\n" not in str(info.value)


async def test_a_class_based_handler_is_its_handle_method():
    """`.handler` is the bound method, and `stop` reaches the object after the provider."""

    class Handler:
        stopped = False

        async def handle(self, message, *args):
            return message

        def stop(self):
            self.stopped = True

    instance, provider = Handler(), Provider()
    route = Route(provider, instance)
    assert route.handler == instance.handle
    assert await route.deliver("m") == "m"
    route.stop()
    assert (provider.stopped, instance.stopped) == (1, True)


@pytest.mark.parametrize("content", [0, False, "", [], {}])
async def test_falsy_content_is_delivered(content):
    """Only "no content" is an error."""
    route = Route(Provider(), handler, message_translator=Translator({"content": content}))
    assert await route.deliver("m") == (content, {})


@pytest.mark.parametrize("translated", [{"content": None}, {}])
async def test_no_content_is_a_value_error(translated):
    """It is a failure of the translation, not of the handler."""
    route = Route(Provider(), handler, message_translator=Translator(translated))
    with pytest.raises(ValueError, match="no content") as info:
        await route.deliver("m")
    assert is_undecodable(info.value)


async def test_a_translator_may_ask_for_an_outcome():
    """`DeleteMessage` raised in the translator is a request, not a failure."""
    route = Route(Provider(), handler, message_translator=Translator(DeleteMessage()))
    with pytest.raises(DeleteMessage) as info:
        await route.deliver("m")
    assert not is_undecodable(info.value)


def failure():
    try:
        int("bad")
    except ValueError:
        return sys.exc_info()


async def test_error_handler_of_three_parameters():
    """Loafer 1.0.0's style: type, exception, message."""

    async def error_handler(exc_type, exc, message):
        assert (exc_type, type(exc), message) == (ValueError, ValueError, "m")
        return True

    route = Route(Provider(), handler, error_handler=error_handler)
    assert await route.error_handler(failure(), "m") is True


def _with_more(exc_type, exc, message, *args):
    return (exc_type, type(exc), message, args) == (ValueError, ValueError, "m", ())


def _with_an_optional_message(exc_type, exc, message=None):
    return (exc_type, type(exc), message) == (ValueError, ValueError, "m")


def _with_an_optional_fourth(exc_type, exc, message, extra=None):
    return (exc_type, type(exc), message, extra) == (ValueError, ValueError, "m", None)


@pytest.mark.parametrize(
    "error_handler", [_with_more, _with_an_optional_message, _with_an_optional_fourth]
)
async def test_error_handler_of_three_parameters_and_more(error_handler):
    """`*args` behind them, or a message that is optional, change nothing."""
    route = Route(Provider(), handler, error_handler=error_handler)
    assert await route.error_handler(failure(), "m") is True


async def test_a_subclass_passes_its_three_arguments_on():
    """The coroutine `error_handler` of a route is a hook, as well in the style of Loafer 1.0.0."""

    class Reporting(Route):
        async def error_handler(self, exc_type, exc, message, loop=None):
            return await super().error_handler(exc_type, exc, message)

    def error_handler(exc_info, message):
        assert (exc_info, message) == (found, "m")
        return True

    found = failure()
    route = Reporting(Provider(), handler, error_handler=error_handler)
    assert await route.error_handler(*found[:2], "m") is True


@pytest.mark.parametrize("optional", [False, True])
async def test_error_handler_of_two_parameters(optional):
    """The later style: exc_info and message; an optional third parameter changes nothing."""

    def two(exc_info, message):
        return exc_info[0] is ValueError and message == "m"

    def three(exc_info, message, extra=None):
        return exc_info[0] is ValueError and message == "m" and extra is None

    route = Route(Provider(), handler, error_handler=three if optional else two)
    assert await route.error_handler(failure(), "m") is True


async def test_error_handlers_that_take_anything_get_two_arguments():
    """`*args` and mocks are called in the later style."""
    seen = []

    def anything(*args):
        seen.append(args)

    stand_in = mock.Mock(return_value=True)
    exc_info = failure()
    await Route(Provider(), handler, error_handler=anything).error_handler(exc_info, "m")
    assert await Route(Provider(), handler, error_handler=stand_in).error_handler(exc_info, "m")
    assert seen == [(exc_info, "m")]
    stand_in.assert_called_once_with(exc_info, "m")


async def test_a_plain_function_over_its_time_limit_is_reported(caplog):
    """Its thread cannot be stopped, and the log says so."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(message, metadata):
        import time

        time.sleep(0.1)
        loop.call_soon_threadsafe(ended.set)

    with pytest.raises(TimeoutError, match="took longer than"):
        await Route(Provider(), slow, handler_timeout=0.02).deliver("m")
    assert "handler.runs_on" in caplog.text
    await ended.wait()


def test_an_option_of_the_environment_that_is_out_of_bounds_is_one_line(monkeypatch):
    """It ends the process, and names the variable."""
    monkeypatch.setenv("LOAFER_ORDERS_CONCURRENCY", "0")

    with pytest.raises(SettingError) as refused:
        Route(Provider(), handler=print, name="orders")

    assert str(refused.value) == (
        "Route 'orders': concurrency must be a whole number of at least 1, not 0. "
        "The environment sets LOAFER_ORDERS_CONCURRENCY."
    )
