"""`forward_to`: the result of a handler goes on before its message is acknowledged."""

import asyncio

import pytest

from loafer_kit import LoaferManager
from loafer_kit.applications import Application
from loafer_kit.exceptions import (
    Abort,
    ConfigurationError,
    DeleteMessage,
    RejectMessage,
    RetryMessage,
    TransientProviderError,
)
from loafer_kit.ext.aws.consumers import SQSConsumer
from loafer_kit.ext.aws.producer import Producer
from loafer_kit.ext.aws.routes import SQSRoute
from loafer_kit.outcomes import Acknowledge, is_result
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider, run_until_empty


class Next:
    """Stores what goes on; fails so many times first."""

    def __init__(self, failures=0):
        self.failures = failures
        self.results = []

    async def forward(self, result, source, position=0):
        if self.failures:
            self.failures -= 1
            raise TransientProviderError("no connection")
        self.results.append((result, position))


@pytest.mark.parametrize(
    ("answer", "goes_on"),
    [
        ({"a": 1}, True),
        ("text", True),
        (7, True),
        (object(), True),
        (True, False),
        (False, False),
        (None, False),
        ({}, False),
        (DeleteMessage, False),
        (RetryMessage(delay=1), False),
        (RejectMessage("why"), False),
        (RejectMessage, False),
    ],
)
def test_a_result_is_true_and_no_decision(answer, goes_on):
    assert is_result(answer) is goes_on


async def test_a_result_goes_on_before_its_message_is_acknowledged():
    """A decision of the handler counts as without `forward_to`."""
    target = Next()
    provider = InMemoryProvider([{"n": 1}, True, False])
    settled = []

    class Watched(InMemoryProvider):
        async def settle(self, message, outcome):
            settled.append((message, len(target.results), isinstance(outcome, Acknowledge)))
            await super().settle(message, outcome)

    provider = Watched([{"n": 1}, True, False])
    route = Route(provider, lambda content, _: content, forward_to=target, concurrency=1)
    await LoaferManager([route]).serve(forever=False)
    assert target.results == [({"n": 1}, 0)]
    assert settled == [({"n": 1}, 1, True), (True, 1, True), (False, 1, False)]


async def test_a_message_whose_result_cannot_be_sent_has_failed():
    """It is delivered again, and its result is sent then."""
    target = Next(failures=1)
    provider = InMemoryProvider(["a"], visibility_timeout=0.01)
    route = Route(provider, lambda content, _: content, forward_to=target)
    await LoaferManager([route]).serve()
    assert target.results == [("a", 0)]
    assert provider.acknowledged == ["a"]


async def test_middleware_sees_the_answer_after_the_result_was_sent():
    """One that commits or records the success does so when the result is safe."""
    target, seen = Next(), []

    async def watch(content, metadata, call_next):
        answer = await call_next(content, metadata)
        seen.append((answer, list(target.results)))
        return answer

    route = Route(
        InMemoryProvider(["a"]), lambda content, _: content, forward_to=target, middleware=[watch]
    )
    await LoaferManager([route], middleware=[watch]).serve()
    assert seen == [(True, [("a", 0)])] * 2


@pytest.mark.parametrize("target", ["next", object()])
def test_a_target_of_another_kind_is_one_line(target):
    with pytest.raises(ConfigurationError, match="Route 'a': forward_to must be a Producer, not"):
        Route(InMemoryProvider([]), lambda *_: True, "a", forward_to=target)
    with pytest.raises(ConfigurationError, match="Application 'a': forward_to must be a Producer"):
        Application("a", forward_to=target)


def test_a_batch_handler_has_no_single_result():
    with pytest.raises(ConfigurationError, match="forward_to takes one message at a time"):
        Route(InMemoryProvider([]), lambda *_: True, forward_to=Next(), batch_handler_size=5)


@pytest.mark.slow
def test_results_go_from_queue_to_queue(local_queues):
    """A text names the next queue; the client's options are those of the route."""
    first, second, third = (local_queues.fresh() for _ in range(3))
    for number in range(12):
        local_queues.send(first, {"n": number})

    async def double(content, metadata):
        return {"n": content["n"] * 2}

    async def halve(content, metadata):
        return str(content["n"] // 2)

    manager = LoaferManager(
        [
            SQSRoute(first, handler=double, forward_to=second),
            SQSRoute(second, handler=halve, forward_to=Producer(third)),
        ]
    )
    run_until_empty(manager, local_queues)
    found = []
    while messages := local_queues.receive(third):
        found += [message["Body"] for message in messages]
    assert sorted(map(int, found)) == list(range(12))


def test_the_arn_of_a_topic_is_no_queue():
    route = SQSRoute("a", handler=print, forward_to="arn:aws:sns:eu-west-1:1:events")
    assert "Topic 'events'" in route._forward_to._subject


@pytest.mark.slow
@pytest.mark.parametrize("failures", [0, 1])
async def test_results_of_an_application_go_on_after_their_postprocessors(local_queues, failures):
    """Each by its position; a message whose results cannot be sent stays on its queue."""
    queue = local_queues.fresh(visibility_timeout=1)
    local_queues.send(queue, "1")
    target = Next(failures)

    async def callback(app, message):
        return (f"{message['Body']}{letter}" for letter in "abc")

    app = Application("numbers", callback=callback, forward_to=target)
    app.consumer = SQSConsumer(app, queue, {"WaitTimeSeconds": 1})

    @app.result_postprocessor
    async def postprocess(app, result):
        if result == "1b":
            raise Abort("result.dropped", None)
        return result.upper()

    acknowledged = asyncio.Event()

    @app.message_acknowledgement
    async def note(app, message):
        acknowledged.set()

    serving = asyncio.create_task(app.serve())
    await acknowledged.wait()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    assert target.results == [("1A", 0), ("1C", 1)]
    assert local_queues.counts(queue).total == 0


async def test_an_error_callback_hears_of_results_that_cannot_be_sent():
    """As of a callback that fails."""
    heard, messages = [], ["a"]

    class Consumer:
        async def read(self):
            if not messages:
                raise Abort("consumer.done", None)
            return messages.pop()

    async def callback(app, message):
        return [message]

    app = Application("letters", consumer=Consumer(), callback=callback, forward_to=Next(1))

    @app.error
    async def on_error(app, message, error):
        heard.append((message, type(error)))

    await app.serve()
    assert heard == [("a", TransientProviderError)]
