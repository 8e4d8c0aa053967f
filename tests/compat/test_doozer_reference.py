"""Doozer's exact behaviour, one test for each line of it: the application and its messages."""

import asyncio
import gc
import logging
import os
import signal
import weakref
from types import SimpleNamespace

import pytest

import loafer_kit
from loafer_kit import Abort, Application
from loafer_kit.config import Config


class ListConsumer:
    """Gives the messages of a list, then aborts or does what `end` says."""

    def __init__(self, *messages, end=None):
        self.messages = list(messages)
        self.end = end or Abort("consumer.empty", None)
        self.reads = 0

    async def read(self):
        self.reads += 1
        if not self.messages:
            raise self.end
        return self.messages.pop(0)


class IdleConsumer(ListConsumer):
    """Gives the messages of a list, then waits for ever."""

    async def read(self):
        if not self.messages:
            await asyncio.Event().wait()
        return await super().read()


async def callback(app, message):
    return [message]


def make_app(*messages, callback=callback, **keywords):
    """An application over a list, which notes in `seen` what its callbacks get."""
    app = Application("app", consumer=ListConsumer(*messages, **keywords), callback=callback)
    app.seen = []

    @app.message_acknowledgement
    async def note_acknowledgement(app, message):
        app.seen.append(("acknowledged", message))

    @app.teardown
    async def note_teardown(app):
        app.seen.append("teardown")

    return app


def failing(*, with_error=ValueError):
    async def fail(app, message):
        raise with_error(message)

    return fail


# Application(name, settings=None, *, consumer=None, callback=None)


def test_attributes():
    """What extensions and callbacks read from an application."""
    consumer = ListConsumer()
    app = Application("name", consumer=consumer, callback=callback)
    assert (app.name, app.consumer, app.callback) == ("name", consumer, callback)
    assert app.extensions == {}
    assert isinstance(app.settings, Config)
    assert app.logger is logging.getLogger("name")


def test_str_and_repr():
    """In a log an application is its name."""
    app = Application("name")
    assert (str(app), repr(app)) == ("name", "<Application: name>")


def test_consumer_and_callback_are_keyword_only():
    """The documented signature."""
    with pytest.raises(TypeError):
        Application("name", {}, ListConsumer())


@pytest.mark.parametrize("settings", [SimpleNamespace(A=1, b=2), {"A": 1, "b": 2}])
def test_settings_from_an_object_or_a_mapping(settings):
    """Only upper-case names are settings."""
    assert Application("name", settings).settings == {"A": 1, "DEBUG": False}


@pytest.mark.parametrize("path", ["base", "applications"])
def test_paths_of_application(path):
    """Doozer's path and our own give the same class, as does the package."""
    module = __import__(f"loafer_kit.{path}", fromlist=["Application"])
    assert module.Application is loafer_kit.Application


DECORATORS = (
    "startup",
    "teardown",
    "message_preprocessor",
    "result_postprocessor",
    "error",
    "message_acknowledgement",
)


@pytest.mark.parametrize("decorator", DECORATORS)
def test_decorators_append_and_return_the_callback(decorator):
    """A decorated function stays unchanged."""
    app = Application("name")
    register = getattr(app, decorator)
    assert register(callback) is callback
    assert app.callbacks[decorator] == [callback]


@pytest.mark.parametrize("decorator", DECORATORS)
def test_decorators_refuse_plain_functions(decorator):
    """The mistake shows at import, not at the first message."""
    with pytest.raises(TypeError, match=r"^The callback must be a coroutine\.$"):
        getattr(Application("name"), decorator)(lambda app: None)


# Running


def test_run_forever_without_a_consumer():
    """The consumer is checked first."""
    with pytest.raises(TypeError, match=r"^The Application's consumer cannot be None\.$"):
        Application("name").run_forever()


@pytest.mark.parametrize("plain", [None, lambda app, message: None])
def test_run_forever_without_a_coroutine_callback(plain):
    """The callback is needed only now."""
    app = Application("name", consumer=ListConsumer(), callback=plain)
    with pytest.raises(TypeError, match=r"^The Application's callback must be a coroutine\.$"):
        app.run_forever()


def test_run_forever_starts_consumes_and_tears_down(caplog):
    """Startup callbacks, messages, teardown callbacks; the events are at DEBUG."""
    app = make_app(1)

    @app.startup
    async def note_startup(app):
        app.seen.append("startup")

    with caplog.at_level(logging.DEBUG, logger="app"):
        app.run_forever()
    assert app.seen == ["startup", ("acknowledged", 1), "teardown"]
    events = [record.getMessage() for record in caplog.records if record.name == "app"]
    assert events[0] == "application.started"
    assert events[-1] == "application.stopped"
    assert {record.levelno for record in caplog.records if record.name == "app"} == {logging.DEBUG}


def test_run_forever_on_a_loop_of_the_callers():
    """The loop is used, and left open."""
    loop = asyncio.new_event_loop()
    loops = []

    async def note_loop(app, message):
        loops.append(asyncio.get_running_loop())

    make_app(1, callback=note_loop).run_forever(loop=loop)
    assert loops == [loop]
    assert not loop.is_closed()
    loop.close()


def test_run_forever_uses_uvloop_where_it_is_installed():
    """It is faster, and nothing has to be configured."""
    uvloop = pytest.importorskip("uvloop")
    loops = []

    async def note_loop(app, message):
        loops.append(asyncio.get_running_loop())

    make_app(1, callback=note_loop).run_forever()
    assert isinstance(loops[0], uvloop.Loop)


def test_run_forever_can_be_called_again():
    """An application keeps nothing of a run that has ended."""
    app = make_app(1)
    app.run_forever()
    app.consumer.messages.append(2)
    app.run_forever()
    assert app.seen == [("acknowledged", 1), "teardown", ("acknowledged", 2), "teardown"]


@pytest.mark.parametrize(("setting", "argument"), [(True, False), (False, True)])
def test_debug_by_setting_or_argument(setting, argument, capfd):
    """The loop is in debug mode, and the logger's DEBUG messages appear."""
    modes = []

    async def note_mode(app, message):
        modes.append(asyncio.get_running_loop().get_debug())

    app = Application("debugged", consumer=ListConsumer(1), callback=note_mode)
    app.settings["DEBUG"] = setting
    try:
        app.run_forever(debug=argument)
        assert modes == [True]
        assert app.logger.isEnabledFor(logging.DEBUG)
        assert app.logger.hasHandlers()
    finally:
        app.logger.setLevel(logging.NOTSET)
        app.logger.handlers.clear()


class StructuredLogger:
    """A logger as structlog's: it takes any keywords, and has no level and no handlers."""

    def __init__(self):
        self.events = []

    def debug(self, event, *args, **facts):
        self.events.append(event % args)

    def exception(self, event, *args, **facts):
        self.events.append(event % args)


def test_debug_with_a_logger_that_an_extension_replaced(caplog):
    """Debug mode goes on, the service's events go to the new logger, the engine's to its own."""

    async def fail(app, message):
        raise ValueError("no")

    app = Application("replaced", consumer=ListConsumer(1), callback=fail)
    app.logger = StructuredLogger()
    try:
        with caplog.at_level(logging.INFO, logger="loafer_kit"):
            app.run_forever(debug=True)
        assert logging.getLogger("replaced").level == logging.DEBUG
    finally:
        logging.getLogger("replaced").setLevel(logging.NOTSET)
    assert {"application.started", "message.failed", "application.stopped"} <= set(
        app.logger.events
    )
    assert "service.started" in caplog.text
    assert "message.handled" in caplog.text


# One message, step by step


def test_step_1_abort_ends_the_consumer_cleanly(caplog):
    """`consumer.aborted` is logged, nothing is raised."""
    app = make_app()
    with caplog.at_level(logging.DEBUG, logger="app"):
        app.run_forever()
    assert any(record.getMessage().startswith("consumer.aborted") for record in caplog.records)
    assert app.seen == ["teardown"]


def test_step_1_a_consumer_that_fails_ends_the_application(caplog):
    """What was read is finished, teardown runs, the error is logged, nothing is raised."""
    release = asyncio.Event()

    class Consumer(ListConsumer):
        async def read(self):
            try:
                return await super().read()
            except LookupError:
                release.set()
                raise

    async def wait(app, message):
        await release.wait()

    app = make_app(1, callback=wait)
    app.consumer = Consumer(1, end=LookupError("no such queue"))
    app.run_forever(num_workers=2)
    assert app.seen == [("acknowledged", 1), "teardown"]
    (record,) = [record for record in caplog.records if record.getMessage() == "consumer.failed"]
    assert record.levelno == logging.ERROR
    assert isinstance(record.exc_info[1], LookupError)


def test_step_2_preprocessors_are_chained():
    """Each return value feeds the next; the last one is the callback's message."""
    messages = []

    async def note(app, message):
        messages.append(message)

    app = make_app(3, callback=note)

    @app.message_preprocessor
    async def add_one(app, message):
        return message + 1

    @app.message_preprocessor
    async def double(app, message):
        return message * 2

    app.run_forever()
    assert messages == [8]


@pytest.mark.parametrize("where", ["preprocessor", "callback"])
def test_step_3_abort_is_no_error(where, caplog):
    """`callback.aborted` is logged, no error callback runs, the message is acknowledged."""

    async def abort(app, message):
        raise Abort("message.ignored", message)

    app = make_app(1, callback=abort if where == "callback" else callback)
    if where == "preprocessor":
        app.message_preprocessor(abort)

    @app.error
    async def note_error(app, message, error):
        app.seen.append(error)

    with caplog.at_level(logging.DEBUG, logger="app"):
        app.run_forever()
    assert app.seen == [("acknowledged", 1), "teardown"]
    assert "callback.aborted reason=message.ignored" in caplog.messages


def test_step_4_a_failure_is_logged_and_goes_to_the_error_callbacks(caplog):
    """ERROR `message.failed`; the error callbacks run in order with the exception."""
    app = make_app(1, callback=failing())

    @app.error
    async def first(app, message, error):
        app.seen.append(("first", message, type(error)))

    @app.error
    async def second(app, message, error):
        app.seen.append(("second", message, type(error)))

    app.run_forever()
    assert app.seen == [
        ("first", 1, ValueError),
        ("second", 1, ValueError),
        ("acknowledged", 1),
        "teardown",
    ]
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert (record.name, record.getMessage()) == ("app", "message.failed")


def test_step_4_abort_in_an_error_callback_stops_the_rest():
    """The message is acknowledged all the same."""
    app = make_app(1, callback=failing())

    @app.error
    async def stop_here(app, message, error):
        raise Abort("error.handled", message)

    @app.error
    async def never(app, message, error):
        app.seen.append("never")

    app.run_forever()
    assert app.seen == [("acknowledged", 1), "teardown"]


def test_step_4_error_callbacks_get_the_preprocessed_message():
    """When all preprocessors succeeded."""
    app = make_app(1, callback=failing())

    @app.message_preprocessor
    async def add_one(app, message):
        return message + 1

    @app.error
    async def note(app, message, error):
        app.seen.append(message)

    app.run_forever()
    assert app.seen == [2, ("acknowledged", 1), "teardown"]


def test_step_4_error_callbacks_get_the_last_good_message():
    """When a preprocessor fails: what the one before it returned."""
    app = make_app(1)

    @app.message_preprocessor
    async def add_one(app, message):
        return message + 1

    app.message_preprocessor(failing())

    @app.error
    async def note(app, message, error):
        app.seen.append(message)

    app.run_forever()
    assert app.seen == [2, ("acknowledged", 1), "teardown"]


def test_step_5_no_results():
    """None means no results, not a result that is None."""

    async def nothing(app, message):
        return None

    app = make_app(1, callback=nothing)

    @app.result_postprocessor
    async def note(app, result):
        app.seen.append(result)

    app.run_forever()
    assert app.seen == [("acknowledged", 1), "teardown"]


def test_step_5_each_result_goes_through_the_chained_postprocessors():
    """One item after the other."""

    async def several(app, message):
        return (message * factor for factor in (1, 2))

    app = make_app(5, callback=several)

    @app.result_postprocessor
    async def add_one(app, result):
        return result + 1

    @app.result_postprocessor
    async def note(app, result):
        app.seen.append(result)

    app.run_forever()
    assert app.seen == [6, 11, ("acknowledged", 5), "teardown"]


def test_step_5_abort_drops_only_that_result():
    """The other results of the message go on."""

    async def several(app, message):
        return [1, 2, 3]

    app = make_app("m", callback=several)

    @app.result_postprocessor
    async def drop_even(app, result):
        if result % 2 == 0:
            raise Abort("result.even", result)
        return result

    @app.result_postprocessor
    async def note(app, result):
        app.seen.append(result)

    app.run_forever()
    assert app.seen == [1, 3, ("acknowledged", "m"), "teardown"]


@pytest.mark.parametrize("how", ["success", "abort", "failure"])
def test_step_6_acknowledgements_get_the_original_message(how):
    """After success, after Abort, and after a failure whose error callbacks ran."""

    async def handle(app, message):
        if how == "abort":
            raise Abort("message.ignored", message)
        if how == "failure":
            raise ValueError(message)

    original = {"key": 1}
    app = make_app(original, callback=handle)

    @app.message_preprocessor
    async def replace(app, message):
        return "another"

    @app.message_acknowledgement
    async def second(app, message):
        app.seen.append("second")

    app.run_forever()
    assert app.seen == [("acknowledged", original), "second", "teardown"]
    assert app.seen[0][1] is original


def crash_in(app, where):
    """Make the named kind of callback crash."""

    async def crash(app, *args):
        raise OSError(where)

    getattr(app, where)(crash)


@pytest.mark.parametrize("where", ["result_postprocessor", "error", "message_acknowledgement"])
def test_steps_6_and_7_a_crash_stops_the_application(where):
    """Not acknowledged, teardown runs, and the exception is raised from `run_forever`."""

    async def handle(app, message):
        if where == "error":
            raise ValueError
        return [1]

    app = Application("app", consumer=IdleConsumer(1), callback=handle)
    seen = []
    crash_in(app, where)

    @app.message_acknowledgement
    async def acknowledge(app, message):
        seen.append("acknowledged")

    @app.teardown
    async def tear_down(app):
        seen.append("teardown")

    with pytest.raises(OSError, match=where):
        app.run_forever()
    assert seen == ["teardown"]


def test_step_7_messages_in_flight_finish():
    """A crash beside a slow message: the slow one is finished and acknowledged first."""
    crashed = asyncio.Event()

    async def handle(app, message):
        if message == "slow":
            await crashed.wait()
            for _ in range(5):
                await asyncio.sleep(0)
            return ()
        crashed.set()
        return ["crash"]

    app = make_app(callback=handle)
    app.consumer = IdleConsumer("slow", "crash")
    crash_in(app, "result_postprocessor")
    with pytest.raises(OSError, match="result_postprocessor"):
        app.run_forever(num_workers=2)
    assert app.seen == [("acknowledged", "slow"), "teardown"]


def test_step_7_results_that_cannot_be_iterated_are_a_crash():
    """A callback that returns no iterable is a mistake in the application."""

    async def handle(app, message):
        return 5

    app = make_app(1, callback=handle)
    with pytest.raises(TypeError, match="int"):
        app.run_forever()
    assert app.seen == ["teardown"]


def test_not_acknowledged_after_a_cancellation():
    """A second signal cancels what is being handled: its message is not acknowledged."""

    async def hang(app, message):
        loop = asyncio.get_running_loop()
        loop.call_soon(os.kill, os.getpid(), signal.SIGTERM)
        loop.call_later(0.05, os.kill, os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    app = make_app(callback=hang)
    app.consumer = IdleConsumer(1)
    app.run_forever()
    assert app.seen == ["teardown"]


def test_references_to_a_message_are_dropped_when_it_is_done():
    """An idle application holds no memory of what it processed."""

    class Message:
        """Something that can be referred to weakly."""

    alive = []

    class Consumer:
        def __init__(self):
            self.reference = None

        async def read(self):
            if self.reference is None:
                message = Message()
                self.reference = weakref.ref(message)
                return message
            for _ in range(10):
                await asyncio.sleep(0)
            gc.collect()
            alive.append(self.reference())
            raise Abort("consumer.done", None)

    Application("app", consumer=Consumer(), callback=callback).run_forever()
    assert alive == [None]


def test_sleep_time_is_accepted():
    """A setting of Doozer that has no effect."""
    app = make_app(1)
    app.settings["SLEEP_TIME"] = 0.1
    app.run_forever()
    assert app.seen == [("acknowledged", 1), "teardown"]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_a_message_is_read_only_when_a_worker_is_free(workers):
    """Never more are read than can be worked on."""
    read_ahead = []
    working = 0

    class Consumer(ListConsumer):
        async def read(self):
            read_ahead.append(working)
            await asyncio.sleep(0)
            return await super().read()

    async def work(app, message):
        nonlocal working
        working += 1
        for _ in range(7):
            await asyncio.sleep(0)
        working -= 1

    app = Application("app", consumer=Consumer(*range(20)), callback=work)
    app.run_forever(num_workers=workers)
    assert max(read_ahead) < workers


def test_one_worker_finishes_a_message_before_it_reads_the_next():
    """The acknowledgement is part of a worker's work."""
    events = []

    class Consumer(ListConsumer):
        async def read(self):
            events.append("read")
            return await super().read()

    app = Application("app", consumer=Consumer(1, 2), callback=callback)

    @app.message_acknowledgement
    async def acknowledge(app, message):
        await asyncio.sleep(0)
        events.append("acknowledged")

    app.run_forever()
    assert events == ["read", "acknowledged", "read", "acknowledged", "read"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_drain(number):
    """What was read is finished, teardown runs; the idle `read` does not hold it up."""

    async def handle(app, message):
        if message == 3:
            os.kill(os.getpid(), number)
        for _ in range(5):
            await asyncio.sleep(0)

    app = make_app(callback=handle)
    app.consumer = IdleConsumer(1, 2, 3)
    app.run_forever(num_workers=4)
    assert sorted(app.seen[:-1]) == [("acknowledged", n) for n in (1, 2, 3)]
    assert app.seen[-1] == "teardown"


def test_a_message_read_while_the_stop_begins_is_finished():
    """A consumer cannot take a message back, so what it gave last is handled like the rest."""

    class Consumer:
        async def read(self):
            os.kill(os.getpid(), signal.SIGTERM)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return "last"

    app = make_app()
    app.consumer = Consumer()
    app.run_forever()
    assert app.seen == [("acknowledged", "last"), "teardown"]


def test_a_crash_while_the_stop_begins_is_raised():
    """Nor is the failure of such a message lost."""

    class Consumer:
        async def read(self):
            os.kill(os.getpid(), signal.SIGTERM)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return "last"

    app = make_app()
    app.consumer = Consumer()
    crash_in(app, "message_acknowledgement")
    with pytest.raises(OSError, match="message_acknowledgement"):
        app.run_forever()
    assert app.seen == [("acknowledged", "last"), "teardown"]


def test_the_same_object_may_be_read_twice():
    """Messages are told apart by reading, not by identity."""
    app = make_app(*["same"] * 4)
    app.run_forever(num_workers=3)
    assert app.seen == [("acknowledged", "same")] * 4 + ["teardown"]


# Abort: its reason and its message


def test_abort_carries_reason_and_message():
    """`args` holds the reason alone."""
    abort = Abort("provider.ignored", {"key": 1})
    assert abort.args == ("provider.ignored",)
    assert (abort.reason, abort.message) == ("provider.ignored", {"key": 1})
