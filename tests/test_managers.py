"""LoaferManager: its checks, its runs and its end."""

import threading

import pytest

from loafer_kit.exceptions import ConfigurationError, ProviderError
from loafer_kit.managers import LoaferManager
from loafer_kit.providers import AbstractProvider
from loafer_kit.routes import Route


class Source(AbstractProvider):
    def __init__(self, *messages, error=None):
        self.messages = list(messages)
        self.confirmed = []
        self.error = error

    async def fetch_messages(self):
        if self.error:
            raise self.error
        messages, self.messages = self.messages, []
        return messages

    async def confirm_message(self, message):
        self.confirmed.append(message)


async def accept(message, metadata):
    return True


@pytest.mark.parametrize("option", ["_concurrency_limit", "_max_threads"])
def test_a_limit_below_one_is_refused(option):
    """It would stop everything in silence."""
    with pytest.raises(ConfigurationError, match=f"{option} must be a whole number of at least 1"):
        LoaferManager([Route(Source(), accept)], **{option: -1})


def test_plain_handlers_get_as_many_threads_as_they_may_run():
    """Twenty slots mean twenty handlers at the same time, on a machine with few cores too."""
    barrier = threading.Barrier(20, timeout=20)

    def handler(message, metadata):
        barrier.wait()
        return True

    source = Source(*range(1, 21))
    LoaferManager([Route(source, handler, concurrency=20)]).run(forever=False)
    assert len(source.confirmed) == 20


def test_one_iteration_can_be_run_again():
    """Each run handles and settles what one fetch brings."""
    source = Source("m", "n")
    manager = LoaferManager([Route(source, accept)])
    manager.run(forever=False)
    assert source.confirmed == ["m", "n"]
    source.messages = ["o"]
    manager.run(forever=False)
    assert source.confirmed == ["m", "n", "o"]


def test_a_provider_that_fails_for_good_ends_with_code_1_and_one_line(caplog):
    """After teardown; the line is the provider's."""
    events = []
    manager = LoaferManager([Route(Source(error=ProviderError("No such queue: q.")), accept)])

    @manager.teardown
    async def teardown(manager):
        events.append("teardown")

    with pytest.raises(SystemExit) as info:
        manager.run()
    assert info.value.code == 1
    assert events == ["teardown"]
    assert [r.getMessage() for r in caplog.records if r.levelname == "CRITICAL"] == [
        "service.failed: No such queue: q."
    ]


def test_startup_and_teardown_get_the_manager():
    """In order, around the run; settings are shared with them."""
    events = []
    manager = LoaferManager([Route(Source(), accept)], settings={"LIMIT": 3, "ignored": 1})

    @manager.startup
    async def startup(service):
        events.append(("startup", service.settings["LIMIT"]))

    @manager.teardown
    async def teardown(service):
        events.append(("teardown", service is manager))

    manager.run(forever=False)
    assert events == [("startup", 3), ("teardown", True)]
    assert "ignored" not in manager.settings


def test_every_teardown_runs_and_the_first_error_comes_out():
    """One that fails does not keep the others from closing what they opened."""
    events = []
    manager = LoaferManager([Route(Source(), accept)])

    @manager.teardown
    async def first(service):
        raise OSError("first")

    @manager.teardown
    async def second(service):
        events.append("second")

    with pytest.raises(OSError, match="first"):
        manager.run(forever=False)
    assert events == ["second"]


def test_a_teardown_that_fails_after_the_startup_does_not_hide_why(caplog):
    """It failed because the startup did: the startup's error is raised, its own is logged."""
    manager = LoaferManager([Route(Source(), accept)])

    @manager.startup
    async def connect(service):
        raise OSError("no database")

    @manager.teardown
    async def disconnect(service):
        service.connection.close()

    with pytest.raises(OSError, match="no database"):
        manager.run(forever=False)
    assert "teardown.failed" in caplog.text


def test_debug_shows_the_debug_messages(caplog):
    """The setting, like `debug=True`, sets the logger's level."""
    manager = LoaferManager([Route(Source(), accept)], settings={"DEBUG": True}, name="debugged")
    manager.run(forever=False)
    assert "application.started" in caplog.text


def test_the_debug_setting_tells_whether_debug_is_on():
    """It is False by default, and True after `debug=True`."""
    manager = LoaferManager([Route(Source("m"), accept)], name="debugged")
    assert manager.settings["DEBUG"] is False
    manager.run(forever=False, debug=True)
    assert manager.settings["DEBUG"] is True
