"""What uses up the receives of a message, in virtual time against the model."""

import asyncio
import logging

import pytest

from loafer_kit import outcomes
from loafer_kit.dispatchers import LoaferDispatcher
from loafer_kit.exceptions import ProviderError, RetryMessage
from loafer_kit.ext.aws.receiving import Convoys
from loafer_kit.ext.aws.requests.errors import AccessDeniedError
from loafer_kit.routes import Route


class Service:
    """A process: one route, with what it handled."""

    def __init__(self, provider, handler, **options):
        self.handled = []

        async def noted(message, metadata):
            self.handled.append(message["Body"])
            return await handler(message["Body"])

        self.dispatcher = LoaferDispatcher([Route(provider, noted, **options)], grace_time=5)

    async def __aenter__(self):
        self._task = asyncio.create_task(self.dispatcher.dispatch_providers())
        return self

    async def __aexit__(self, *exc_info):
        self.dispatcher.stop()
        await self._task


async def until_empty(queue):
    while queue.left():  # noqa: ASYNC110 - in virtual time
        await asyncio.sleep(0.25)


def poisoned(*poison, outcome=False):
    async def handler(body):
        if body in poison:
            if isinstance(outcome, Exception):
                raise outcome
            return outcome
        return True

    return handler


# Sharing


def test_workers_share_a_few_slow_messages(in_virtual_time, model_queue, make_provider):
    """None of them takes messages that it cannot start within about a second."""
    queue = model_queue()

    async def work(body):
        await asyncio.sleep(1)
        return True

    async def main():
        services = [Service(make_provider(queue), work, concurrency=1) for _ in range(2)]
        async with services[0], services[1]:
            await asyncio.sleep(1)
            queue.put(*map(str, range(10)))
            await until_empty(queue)
        assert [len(service.handled) for service in services] == [5, 5]

    in_virtual_time(main)


def test_a_prefetch_that_is_given_is_kept(in_virtual_time, model_queue, make_provider):
    """Who wants messages ready may have them."""
    queue = model_queue()
    queue.put(*map(str, range(20)))

    async def work(body):
        await asyncio.sleep(1)
        return True

    async def main():
        async with Service(make_provider(queue), work, concurrency=1, prefetch=15):
            await asyncio.sleep(0.5)
            assert len(queue.in_flight()) >= 10

    in_virtual_time(main)


# FIFO


@pytest.mark.parametrize("outcome", [False, ValueError("poison"), RetryMessage(delay=1)])
@pytest.mark.parametrize("most", [1, 2, 3, 5, 10])
def test_those_behind_a_poison_message_are_handled(
    in_virtual_time, model_queue, make_provider, most, outcome
):
    """They are not received and given back with it until SQS moves them."""
    queue = model_queue(fifo=True, max_receive_count=most)
    queue.put(*map(str, range(10)), group="g")

    async def main():
        service = Service(make_provider(queue), poisoned("0", "4", outcome=outcome))
        async with service:
            await until_empty(queue)
        assert service.handled.count("0") == most
        # It has been given back once behind the other one, or twice if a receive was open meanwhile.
        assert service.handled.count("4") >= max(1, most - 2)
        assert list(dict.fromkeys(service.handled)) == list("0123456789")
        assert [entry["MessageBody"] for entry in queue.sent] == ["0", "4"]
        assert queue.redriven == []

    in_virtual_time(main)


def test_two_processes_do_not_use_up_the_receives_of_a_group(
    in_virtual_time, model_queue, make_provider
):
    """Each sees only some of the failures."""
    queue = model_queue(fifo=True, max_receive_count=4)
    queue.put(*map(str, range(10)), group="g")

    async def main():
        services = [Service(make_provider(queue), poisoned("0", "5")) for _ in range(2)]
        async with services[0], services[1]:
            await until_empty(queue)
        handled = services[0].handled + services[1].handled
        assert set(handled) == set(map(str, range(10)))
        assert queue.redriven == []

    in_virtual_time(main)


def test_messages_are_received_ten_at_a_time_again(in_virtual_time, model_queue, make_provider):
    """After the failed message has succeeded, and while it is hidden."""
    queue = model_queue(fifo=True, max_receive_count=5)
    failures = ["0"]

    async def handler(body):
        if body in failures:
            failures.remove(body)
            return False
        return True

    def asked():
        return [
            entries[0]["MaxNumberOfMessages"]
            for action, entries in queue.requests
            if action == "ReceiveMessage"
        ]

    async def main():
        queue.put("0", "1", group="g")
        async with Service(make_provider(queue), handler):
            await asyncio.sleep(25)
            queue.put(*map(str, range(10, 40)), group="h")
            await asyncio.sleep(2)
            assert 1 not in asked()
            await asyncio.sleep(10)
            assert 1 in asked()
            assert queue.left() == []
            queue.requests.clear()
            queue.put(*map(str, range(40, 80)), group="h")
            await asyncio.sleep(60)
            assert queue.left() == []
            assert asked()[-1] == 10

    in_virtual_time(main)


def failed_message(message_id, receive_count, group="g"):
    attributes = {"ApproximateReceiveCount": str(receive_count), "MessageGroupId": group}
    return {"MessageId": message_id, "Attributes": attributes}


def test_plenty_of_receives_need_no_care():
    """A queue that delivers a message a hundred times is received ten at a time."""
    convoys = Convoys(100)
    convoys.failed(failed_message("a", 5), 0.0, 30.0)
    assert convoys.none_for(40.0) == float("inf")
    convoys.failed(failed_message("a", 95), 0.0, 30.0)
    assert convoys.none_for(10.0) == 19.0
    assert convoys.none_for(40.0) == 0.0


def test_a_message_that_is_given_back_before_its_last_receive_comes_alone():
    """Received behind another message that fails, it would never start."""
    convoys = Convoys(4)
    convoys.given_back(failed_message("a", 2), 0.0)
    assert convoys.none_for(1.0) == float("inf")
    convoys.given_back(failed_message("b", 3), 0.0)
    assert convoys.none_for(1.0) == 0.0
    convoys.gone(failed_message("b", 4), 2.0)
    assert convoys.none_for(3.0) == float("inf")


def test_a_failed_message_stays_hidden_from_an_open_receive_of_ten(
    in_virtual_time, model_queue, make_provider
):
    """That receive would bring the messages behind it as well."""
    queue = model_queue(fifo=True, max_receive_count=3)
    queue.put(*map(str, range(3)), group="g")

    async def main():
        provider = make_provider(queue)
        await provider.start(print)
        messages = await provider.fetch(10)
        open_receive = asyncio.create_task(provider.fetch(10))
        await asyncio.sleep(0.1)
        for message in reversed(messages[1:]):
            await provider.settle(message, outcomes.RELEASE)
        await provider.settle(messages[0], outcomes.Retry(0))
        assert await open_receive == []
        (message,) = await provider.fetch(10)
        assert message["Body"] == "0"
        assert [queue.stored(body).receive_count for body in "012"] == [2, 1, 1]
        await provider.close()

    in_virtual_time(main)


def test_a_message_that_another_consumer_has_is_not_waited_for():
    """Its failure there is not known here."""
    convoys = Convoys(5)
    convoys.failed(failed_message("a", 1), 0.0, 30.0)
    assert convoys.none_for(60.0) == 0.0
    assert convoys.none_for(91.0) == float("inf")


def test_a_failed_message_that_comes_back_early_holds_up_receives_of_ten_at_once():
    """It is in hand again, and visible again at any time: until it is gone."""
    convoys = Convoys(5)
    convoys.failed(failed_message("a", 1), 0.0, 30.0)
    convoys.received(failed_message("b", 1), 5.0)
    assert convoys.none_for(5.0) == 24.0
    convoys.received(failed_message("a", 2), 10.0)
    assert convoys.none_for(10.0) == 0.0
    assert convoys.none_for(1_000.0) == 0.0


# Ends


def test_orderly_stops_dead_letter_nothing(in_virtual_time, model_queue, make_provider):
    """Four deploys with long handlers and three receives: every message is handled."""
    queue = model_queue(max_receive_count=3)
    queue.put(*map(str, range(10)))
    handled = []

    async def work(body):
        await asyncio.sleep(3)
        return True

    async def main():
        for _ in range(4):
            service = Service(make_provider(queue), work, concurrency=1)
            async with service:
                await asyncio.sleep(4)
            handled.extend(service.handled)
        async with Service(make_provider(queue), work) as service:
            await until_empty(queue)
        handled.extend(service.handled)
        assert sorted(handled) == list(map(str, range(10)))
        assert queue.redriven == []
        assert queue.sent == []

    in_virtual_time(main)


@pytest.mark.parametrize("fifo", [False, True])
def test_a_stop_starts_what_was_received_for_the_last_time(
    in_virtual_time, model_queue, make_provider, fifo
):
    """Given back, it would be dead-lettered unstarted; the others are given back."""
    queue = model_queue(fifo=fifo, max_receive_count=4)
    queue.put(*map(str, range(6)), group="g" if fifo else None)
    for body in ("1", "2"):
        queue.stored(body).receive_count = 3

    async def work(body):
        await asyncio.sleep(1)
        return True

    async def main():
        service = Service(make_provider(queue), work, concurrency=1, prefetch=9)
        async with service:
            await asyncio.sleep(0.5)
        assert service.handled == ["0", "1", "2"]
        assert [message.body for message in queue.left()] == ["3", "4", "5"]
        assert queue.in_flight() == []

    in_virtual_time(main)


def test_a_last_receive_that_does_not_fit_the_grace_time_goes_back(
    in_virtual_time, model_queue, make_provider
):
    """The stop is not delayed by it."""
    queue = model_queue(max_receive_count=1)
    queue.put("0", "1", "2")

    async def work(body):
        await asyncio.sleep(4)
        return True

    async def main():
        service = Service(make_provider(queue), work, concurrency=1, prefetch=9)
        async with service:
            await asyncio.sleep(0.5)
            stopped = queue.now
        assert queue.now - stopped < 10
        assert service.handled[0] == "0"
        assert "2" not in service.handled

    in_virtual_time(main)


# The last receive


@pytest.mark.parametrize(
    "failure",
    [
        (False, "the handler returned False"),
        (ValueError("poison"), "ValueError: poison"),
        (RetryMessage(delay=1), "the handler asked for a retry"),
    ],
)
def test_a_message_that_fails_on_its_last_receive_is_moved_with_the_reason(
    in_virtual_time, model_queue, make_provider, caplog, failure
):
    """The dead letter says why; SQS's own move would not."""
    outcome, reason = failure
    queue = model_queue(max_receive_count=2)
    queue.put("a")

    async def main():
        async with Service(make_provider(queue), poisoned("a", outcome=outcome)) as service:
            await until_empty(queue)
        assert service.handled == ["a", "a"]
        assert queue.redriven == []
        (letter,) = queue.sent
        attributes = letter["MessageAttributes"]
        assert attributes["DeadLetterReason"]["StringValue"] == reason
        assert attributes["DeadLetterSourceQueue"]["StringValue"] == "orders"
        (record,) = [r for r in caplog.records if r.getMessage().startswith("message.exhausted")]
        assert record.levelno == logging.ERROR
        assert (record.queue, record.receive_count, record.max_receive_count) == ("orders", 2, 2)
        assert record.message_id == "id-1"
        assert record.reason == reason

    in_virtual_time(main)


def test_what_is_given_back_on_its_last_receive_has_not_failed(
    in_virtual_time, model_queue, make_provider, caplog
):
    """SQS moves it; nothing says that it failed."""
    queue = model_queue(max_receive_count=1)
    queue.put("a")

    async def main():
        provider = make_provider(queue)
        await provider.start(print)
        (message,) = await provider.fetch(10)
        await provider.settle(message, outcomes.RELEASE)
        await provider.flush()
        await provider.close()
        assert queue.sent == []
        assert "message.exhausted" not in caplog.text

    in_virtual_time(main)


def test_the_move_can_be_left_to_sqs(in_virtual_time, model_queue, make_provider, caplog):
    """The log marks the last attempt all the same."""
    queue = model_queue(max_receive_count=1)
    queue.put("a")

    async def main():
        provider = make_provider(queue, dead_letter_exhausted=False)
        async with Service(provider, poisoned("a")):
            await until_empty(queue)
        assert queue.sent == []
        assert queue.redriven == ["a"]
        assert "message.exhausted" in caplog.text

    in_virtual_time(main)


def test_without_the_permission_to_send_sqs_moves_it(
    in_virtual_time, model_queue, make_provider, caplog
):
    """Said once, not for every message."""

    def refuse(action):
        if action == "SendMessageBatch":
            raise AccessDeniedError("not authorized to perform sqs:sendmessage")

    queue = model_queue(max_receive_count=1, faults=refuse)
    queue.put("a", "b", "c")

    async def main():
        async with Service(make_provider(queue), poisoned("a", "b", "c")):
            await until_empty(queue)
        assert sorted(queue.redriven) == ["a", "b", "c"]
        assert caplog.text.count("queue.moves_left_to_sqs") == 1
        assert caplog.text.count("message.exhausted") == 3
        assert "message.not_dead_lettered" not in caplog.text

    in_virtual_time(main)


def test_a_move_that_fails_otherwise_is_left_to_sqs(
    in_virtual_time, model_queue, make_provider, caplog
):
    """Nothing is deleted that was not sent."""

    def refuse(action):
        if action == "SendMessageBatch":
            raise ProviderError("no such queue")

    queue = model_queue(max_receive_count=1, faults=refuse)
    queue.put("a")

    async def main():
        async with Service(make_provider(queue), poisoned("a")):
            await until_empty(queue)
        assert queue.redriven == ["a"]
        assert "message.not_dead_lettered" in caplog.text

    in_virtual_time(main)
