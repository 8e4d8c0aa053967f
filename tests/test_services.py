"""CallbackList: what registers, and in which order callbacks run."""

import functools

import pytest

from loafer_kit.services import CallbackList


async def add_one(owner, value):
    return value + 1


async def double(owner, value):
    return value * 2


def test_register_appends_and_returns_the_callback():
    """`register` serves as a decorator."""
    callbacks = CallbackList()
    assert callbacks.register(add_one) is add_one
    assert callbacks.register(double) is double
    assert callbacks == [add_one, double]


@pytest.mark.parametrize("callback", [lambda owner: None, print, None, 5])
def test_register_refuses_what_is_no_coroutine_function(callback):
    """The mistake shows where it is made, not when a message comes."""
    with pytest.raises(TypeError, match=r"^The callback must be a coroutine\.$"):
        CallbackList().register(callback)


def test_register_accepts_bound_methods_and_partials():
    """An extension registers its methods."""

    class Extension:
        async def connect(self, owner):
            """Open something."""

    callbacks = CallbackList()
    callbacks.register(Extension().connect)
    callbacks.register(functools.partial(add_one, value=1))
    assert len(callbacks) == 2


async def test_notify_runs_in_order_of_registration():
    """Every callback gets the same arguments."""
    seen = []
    callbacks = CallbackList()

    @callbacks.register
    async def first(*args):
        seen.append(("first", args))

    @callbacks.register
    async def second(*args):
        seen.append(("second", args))

    await callbacks.notify("owner", 1)
    assert seen == [("first", ("owner", 1)), ("second", ("owner", 1))]


async def test_notify_ends_at_the_first_exception():
    """The later callbacks do not run."""
    seen = []
    callbacks = CallbackList()

    @callbacks.register
    async def crash(owner):
        raise LookupError(owner)

    @callbacks.register
    async def later(owner):
        seen.append(owner)

    with pytest.raises(LookupError):
        await callbacks.notify("owner")
    assert seen == []


async def test_pipe_feeds_each_answer_to_the_next():
    """The order decides the result."""
    callbacks = CallbackList([add_one, double])
    assert await callbacks.pipe("owner", 3) == 8


async def test_pipe_of_no_callbacks_gives_the_value_back():
    """Without callbacks nothing changes."""
    assert await CallbackList().pipe("owner", "value") == "value"
