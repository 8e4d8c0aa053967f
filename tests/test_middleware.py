"""Middleware around handlers: order, context, time limit, failures, and each kind of handler."""

import asyncio
import contextvars
import threading
import time
from dataclasses import dataclass

import pytest

from loafer_kit import LoaferManager, outcomes
from loafer_kit.applications import Application
from loafer_kit.exceptions import Abort, ConfigurationError, RejectMessage
from loafer_kit.ext.aws.routes import SQSRoute
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider, deliver

name_of_message = contextvars.ContextVar("name_of_message", default=None)


async def accept(content, metadata):
    return True


async def refuse(content, metadata):
    return False


def traced(name, calls):
    async def middleware(content, metadata, call_next):
        calls.append(f"{name} in")
        answer = await call_next(content, metadata)
        calls.append(f"{name} out")
        return answer

    return middleware


async def test_the_first_is_outermost_and_the_service_s_are_outside_the_route_s():
    calls = []
    provider = InMemoryProvider(["a"])
    route = Route(provider, accept, middleware=[traced("c", calls), traced("d", calls)])
    manager = LoaferManager([route], middleware=[traced("a", calls)])
    manager.middleware.append(traced("b", calls))

    await manager.serve()

    assert calls == ["a in", "b in", "c in", "d in", "d out", "c out", "b out", "a out"]
    assert provider.acknowledged == ["a"]


async def test_a_second_run_does_not_wrap_twice():
    calls = []
    provider = InMemoryProvider(["a"])
    manager = LoaferManager([Route(provider, accept)], middleware=[traced("a", calls)])

    await manager.serve()
    provider.put("b")
    await manager.serve()

    assert calls == ["a in", "a out"] * 2


async def name_it(content, metadata, call_next):
    name_of_message.set(content)
    return await call_next(content, metadata)


def in_thread(content, metadata):
    assert threading.current_thread() is not threading.main_thread()
    return name_of_message.get() == content


async def in_loop(content, metadata):
    return name_of_message.get() == content


@pytest.mark.parametrize("handler", [in_thread, in_loop])
async def test_the_handler_sees_what_middleware_sets_in_context_variables(handler):
    assert await deliver(Route(InMemoryProvider(), handler, middleware=[name_it]), "a") == (
        outcomes.ACKNOWLEDGE
    )


async def test_middleware_may_change_content_metadata_and_answer():
    async def change(content, metadata, call_next):
        answer = await call_next(content + "!", {"seen": True})
        return answer == ("a!", {"seen": True})

    async def handle(content, metadata):
        return content, metadata

    assert await deliver(Route(InMemoryProvider(), handle, middleware=[change]), "a") == (
        outcomes.ACKNOWLEDGE
    )


async def test_middleware_need_not_call_the_handler():
    async def skip(content, metadata, call_next):
        return True

    route = Route(InMemoryProvider(), refuse, middleware=[skip])
    assert await deliver(route, "a") == outcomes.ACKNOWLEDGE


@pytest.mark.parametrize("handler", [in_loop, in_thread])
async def test_middleware_may_call_the_handler_again(handler):
    async def twice(content, metadata, call_next):
        await asyncio.gather(call_next(content, metadata), call_next(content, metadata))
        return await call_next(content, metadata)

    route = Route(InMemoryProvider(), handler, middleware=[name_it, twice], handler_timeout=5)
    assert await deliver(route, "a") == outcomes.ACKNOWLEDGE


async def forgets_its_answer(content, metadata, call_next):
    await call_next(content, metadata)


async def fails(content, metadata, call_next):
    raise ValueError("middleware")


async def rejects(content, metadata, call_next):
    raise RejectMessage("middleware")


async def exits(content, metadata, call_next):
    raise SystemExit


@pytest.mark.parametrize(
    ("middleware", "kind"),
    [
        (forgets_its_answer, outcomes.Leave),
        (fails, outcomes.Leave),
        (exits, outcomes.Leave),
        (rejects, outcomes.DeadLetter),
    ],
)
async def test_a_failure_of_middleware_is_decided_like_one_of_the_handler(middleware, kind):
    outcome = await deliver(Route(InMemoryProvider(), accept, middleware=[middleware]), "a")
    assert isinstance(outcome, kind)


async def test_an_exception_of_the_handler_passes_through_middleware_and_reaches_the_error_handler():
    seen = []

    async def watch(content, metadata, call_next):
        try:
            return await call_next(content, metadata)
        except ValueError:
            seen.append("middleware")
            raise

    def fail(content, metadata):
        raise ValueError

    def on_error(exc_info, message):
        seen.append("error handler")
        return True

    route = Route(InMemoryProvider(), fail, error_handler=on_error, middleware=[watch])
    assert await deliver(route, "a") == outcomes.ACKNOWLEDGE
    assert seen == ["middleware", "error handler"]


async def wait_long(content, metadata, call_next):
    await asyncio.sleep(60)
    return await call_next(content, metadata)


def block(content, metadata):
    released.wait(10)
    return True


async def hang(content, metadata):
    await asyncio.sleep(60)


released = threading.Event()


@pytest.mark.parametrize(
    ("middleware", "handler"),
    [(wait_long, accept), (wait_long, in_thread), (name_it, hang), (name_it, block)],
)
async def test_the_time_limit_holds_for_middleware_and_handler_together(middleware, handler):
    released.clear()
    route = Route(InMemoryProvider(), handler, middleware=[middleware], handler_timeout=0.05)
    outcome = await deliver(route, "a")
    released.set()
    assert "took longer than 0.05 s" in outcome.reason


async def test_a_wait_for_a_thread_does_not_count():
    """One thread for three messages: the last one waits for longer than the limit."""

    def handle(content, metadata):
        time.sleep(0.3)
        return True

    provider = InMemoryProvider(["a", "b", "c"])
    route = Route(provider, handle, middleware=[name_it], handler_timeout=0.5)
    await LoaferManager([route], _max_threads=1).serve()

    assert sorted(provider.acknowledged) == ["a", "b", "c"]


@pytest.mark.parametrize("plain", [True, False])
async def test_around_a_batch_handler_it_gets_the_lists(plain):
    async def last_first(contents, metadata, call_next):
        assert (contents, metadata) == (["a", "b"], [{}, {}])
        return list(reversed(await call_next(contents, metadata)))

    def handle(contents, metadata):
        yield from (True, False)

    async def handle_async(contents, metadata):
        return [True, False]

    provider = InMemoryProvider(["a", "b"])
    handler = handle if plain else handle_async
    route = Route(provider, handler, batch_handler_size=2, middleware=[last_first])
    await LoaferManager([route]).serve()

    assert (provider.acknowledged, provider.left) == (["b"], ["a"])


@dataclass
class Order:
    id: int


async def test_around_a_typed_handler_it_gets_the_type():
    async def check(content, metadata, call_next):
        assert isinstance(content, Order)
        return await call_next(content, metadata)

    async def handle(content: Order, metadata):
        return content.id == 1

    route = SQSRoute("orders", handler=handle, middleware=[check])
    assert await deliver(route, {"id": 1}) == outcomes.ACKNOWLEDGE


async def test_what_cannot_be_decoded_does_not_reach_it():
    async def handle(content: Order, metadata):
        return True

    outcome = await deliver(SQSRoute("orders", handler=handle, middleware=[fails]), "no order")
    assert isinstance(outcome, outcomes.DeadLetter)


async def test_around_an_application_it_surrounds_the_callback():
    calls = []

    class Consumer:
        messages = ["a"]

        async def read(self):
            if not self.messages:
                raise Abort("end", None)
            return self.messages.pop()

    async def callback(app, message):
        calls.append(message)
        return ["result"]

    async def middleware(content, metadata, call_next):
        assert metadata == {}
        return [*await call_next(content + "!", metadata), "another"]

    app = Application("shop", consumer=Consumer(), callback=callback, middleware=[middleware])

    @app.result_postprocessor
    async def collect(app, result):
        calls.append(result)
        return result

    await app.serve()

    assert calls == ["a!", "result", "another"]


class Callable:
    async def __call__(self, content, metadata, call_next):
        return await call_next(content, metadata)


async def test_an_object_with_a_coroutine_call_is_middleware():
    route = Route(InMemoryProvider(), accept, middleware=(m for m in [Callable()]))
    assert await deliver(route, "a") == outcomes.ACKNOWLEDGE


def plain(content, metadata, call_next):
    return call_next(content, metadata)


async def generating(content, metadata, call_next):
    yield await call_next(content, metadata)


@pytest.mark.parametrize("middleware", [[plain], [generating], [Callable], ["log"], [None]])
@pytest.mark.parametrize(
    "make",
    [
        lambda found: Route(InMemoryProvider(), accept, "orders", middleware=found),
        lambda found: SQSRoute("orders", handler=accept, middleware=found),
        lambda found: LoaferManager([], name="orders", middleware=found),
        lambda found: Application("orders", middleware=found),
    ],
    ids=["route", "SQS route", "manager", "application"],
)
def test_what_is_no_middleware_is_refused_in_one_line(make, middleware):
    with pytest.raises(ConfigurationError, match=r"^(Route|Service) 'orders': [^\n]+$"):
        make(middleware)


@pytest.mark.parametrize("middleware", [name_it, "name_it", None, 1])
def test_what_is_no_list_is_refused_in_one_line(middleware):
    with pytest.raises(ConfigurationError, match=r"must be a list of coroutine functions"):
        Route(InMemoryProvider(), accept, middleware=middleware)


async def test_what_is_appended_later_is_checked_at_the_start():
    manager = LoaferManager([Route(InMemoryProvider(["a"]), accept)])
    manager.middleware.append(plain)

    with pytest.raises(ConfigurationError, match="coroutine function"):
        await manager.serve()
