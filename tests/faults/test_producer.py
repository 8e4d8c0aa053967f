"""Producers whose requests fail, on a queue in memory and on a real SQS server."""

import asyncio
import hashlib
import random
import uuid
from collections import Counter

import pytest
from faults import proxy as faults
from faults.proxy import FaultProxy
from hypothesis import settings

from loafer_kit.ext.aws.producer import GivenUpError, Producer
from loafer_kit.local import LocalQueue
from loafer_kit.local.queues import LocalQueues

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_200)]

SOAKING = settings.get_current_profile_name() == "soak"
MESSAGES = 100_000 if SOAKING else 1_000
GROUPS = 500 if SOAKING else 50


class MemoryQueue:
    """Answers sends from memory; of equal deduplication ids it stores the first message."""

    def __init__(self):
        self._ids = {}

    def __call__(self, action, parameters):
        if action == "GetQueueUrl":
            return {"QueueUrl": f"http://queue.example/1/{parameters['QueueName']}"}
        if action == "SendMessage":
            return self._store(parameters)
        entries = parameters["Entries"]
        return {"Successful": [{"Id": entry["Id"], **self._store(entry)} for entry in entries]}

    def _store(self, entry):
        message_id = str(uuid.uuid4())
        key = entry.get("MessageDeduplicationId", message_id)
        digest = hashlib.md5(entry["MessageBody"].encode(), usedforsecurity=False).hexdigest()
        return {"MessageId": self._ids.setdefault(key, message_id), "MD5OfMessageBody": digest}

    def total(self):
        return len(self._ids)


@pytest.fixture(params=["memory", "localstack"])
def upstream(request):
    """A queue in memory, for many messages; and a real server, if it is installed."""
    return MemoryQueue() if request.param == "memory" else request.getfixturevalue("localstack")


@pytest.mark.parametrize("kind", ["standard", "fifo"])
async def test_each_message_is_on_the_queue_or_was_reported(upstream, kind):
    """On a FIFO queue once, and in the order of its group; a lost answer may double others."""
    async with FaultProxy(upstream) as proxy:
        await check(proxy, kind)


async def check(proxy, kind):
    fifo = kind == "fifo"
    queue = f"sent-{uuid.uuid4().hex[:8]}{'.fifo' if fifo else ''}"
    if isinstance(proxy.upstream, str):
        await asyncio.to_thread(LocalQueues(proxy.upstream).create, LocalQueue(queue))
    chance = random.Random(7)
    proxy.inject(
        faults.one_of(
            chance,
            0.3,
            faults.throttled,
            faults.unavailable,
            faults.reset_before,
            faults.reset_after,
            faults.malformed,
            faults.some_entries_failed(chance),
        ),
        times=10**9,
    )
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    accepted, reported = {}, []
    numbers = iter(range(MESSAGES))

    async def send(producer, group):
        """Send one message of a group after the other, of which some are given up."""
        for number in numbers:
            body = f"{group}:{number}"
            order = {"group": str(group), "deduplication_id": body} if fifo else {}
            try:
                accepted[await producer.send(body, **order)] = body
            except GivenUpError:
                reported.append(body)

    options = {"endpoint_url": proxy.url, "attempts": 5, "buffer": 50_000, **keys}
    async with Producer(queue, **options) as producer:
        await asyncio.gather(*(send(producer, group) for group in range(GROUPS)))

    assert len(accepted) + len(reported) == MESSAGES
    assert len(accepted) > 0.9 * MESSAGES
    stored = dict(proxy.stored)
    assert {number: stored.get(number) for number in accepted} == accepted
    times = Counter(body for _, body in proxy.stored)
    assert set(times) <= {*accepted.values(), *reported}
    total = await asyncio.to_thread(count, proxy.upstream, queue)
    assert total == (len(times) if fifo else times.total())
    if fifo:
        firsts = list(times)
        for group in range(GROUPS):
            of_group = [
                int(body.partition(":")[2]) for body in firsts if body.startswith(f"{group}:")
            ]
            assert of_group == sorted(of_group)
    print(  # noqa: T201
        f"{kind}: {MESSAGES} messages, {len(reported)} given up, {times.total() - len(times)} "
        f"sent again after they had been stored, {sum(proxy.counts.values())} requests"
    )


def count(upstream, queue):
    if isinstance(upstream, MemoryQueue):
        return upstream.total()
    return LocalQueues(upstream).counts(queue).total
