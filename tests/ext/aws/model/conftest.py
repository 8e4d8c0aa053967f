"""A model of SQS, for an event loop in which waiting takes no time."""

import asyncio
import contextlib
import itertools
import json
from dataclasses import dataclass, field

import pytest
from virtual_time import now, run

from loafer_kit.exceptions import TransientProviderError

URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"


@dataclass
class Stored:
    """A message on the model's queue."""

    body: str
    message_id: str
    group: str | None = None
    handle: str = ""
    visible_at: float = 0.0
    received_at: float = 0.0
    receive_count: int = 0
    deleted: bool = False


@dataclass
class ModelQueue:
    """An `SQSTransport` that is a queue itself: visibility timeouts, handles, message groups.

    `faults(action)` says what goes wrong with a request: None, "request" (it never arrives),
    "answer" (it is carried out, its answer is lost), "entry" (its first entry fails), or how many
    seconds it is under way. A message is received `max_receive_count` times at most.
    """

    fifo: bool = False
    visibility_timeout: int = 30
    latency: float = 0.01
    attributes: dict = field(default_factory=dict)
    faults: object = None
    max_receive_count: int | None = None

    def __post_init__(self):
        self.messages = []
        self.sent = []
        #: The bodies of what the redrive policy moved.
        self.redriven = []
        self.requests = []
        self._changed = asyncio.Event()
        self._attempts = {}
        self._handles = itertools.count(1)
        self._ids = itertools.count(1)

    @property
    def now(self):
        return now()

    def put(self, *bodies, group=None):
        for body in bodies:
            self.messages.append(Stored(body, f"id-{next(self._ids)}", group))
        self._wake()

    def stored(self, body):
        return next(message for message in self.messages if message.body == body)

    def left(self):
        return [message for message in self.messages if not message.deleted]

    def in_flight(self):
        return [message for message in self.left() if message.visible_at > self.now]

    def count(self, action):
        return sum(name == action for name, _ in self.requests)

    async def call(self, action, url, /, **parameters):
        match action:
            case "ReceiveMessage":
                return {"Messages": await self._receive_message(parameters)}
            case "DeleteMessageBatch":
                return await self._batch(action, parameters["Entries"], self._delete)
            case "ChangeMessageVisibilityBatch":
                return await self._batch(action, parameters["Entries"], self._set_visibility)
            case "SendMessageBatch":
                return await self._send(parameters["Entries"])
            case "GetQueueAttributes":
                return {"Attributes": await self._all_attributes()}
        raise AssertionError(action)

    async def _request(self, action, entries=()):
        self.requests.append((action, list(entries)))
        await asyncio.sleep(self.latency / 2)
        fault = self.faults(action) if self.faults else None
        if isinstance(fault, float):
            await asyncio.sleep(fault)
        if fault == "request":
            raise TransientProviderError(f"{action}: connection reset")
        return fault

    async def _answer(self, action, fault):
        await asyncio.sleep(self.latency / 2)
        if fault == "answer":
            raise TransientProviderError(f"{action}: connection reset")

    async def _receive_message(self, parameters):
        fault = await self._request("ReceiveMessage", [parameters])
        received = self._receive(parameters)
        until = self.now + parameters["WaitTimeSeconds"]
        while not received and self.now < until:
            await self._change(until)
            received = self._receive(parameters)
        await self._answer("ReceiveMessage", fault)
        return received

    async def _change(self, until):
        """Wait until something changes or becomes visible."""
        visible = [message.visible_at for message in self.in_flight()]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(min([until, *visible])):
                await self._changed.wait()

    def _wake(self):
        self._changed.set()
        self._changed = asyncio.Event()

    def _receive(self, parameters):
        attempt = parameters.get("ReceiveRequestAttemptId")
        if received := self._handed_out_before(attempt, parameters):
            return received
        received = []
        blocked = {message.group for message in self.in_flight()} if self.fifo else set()
        for message in self.left():
            if len(received) == parameters["MaxNumberOfMessages"]:
                break
            if message.visible_at > self.now or message.group in blocked:
                continue
            if message.receive_count == self.max_receive_count:
                message.deleted = True
                self.redriven.append(message.body)
                continue
            received.append(self._hand_out(message, parameters))
        if received and attempt:
            self._attempts[attempt] = received
        return received

    def _handed_out_before(self, attempt, parameters):
        """Return what the first attempt was given, if it still has all of it."""
        received = self._attempts.get(attempt, [])
        messages = [self._by_handle(message) for message in received]
        if any(message not in self.in_flight() for message in messages):
            return []
        for message in messages:
            self._hide(message, parameters)
        return received

    def _hide(self, message, parameters):
        message.visible_at = self.now + parameters.get("VisibilityTimeout", self.visibility_timeout)
        message.received_at = self.now

    def _hand_out(self, message, parameters):
        message.handle = f"handle-{next(self._handles)}"
        self._hide(message, parameters)
        message.receive_count += 1
        attributes = {"ApproximateReceiveCount": str(message.receive_count)}
        if message.group is not None:
            attributes["MessageGroupId"] = message.group
        return {
            "MessageId": message.message_id,
            "ReceiptHandle": message.handle,
            "Body": message.body,
            "Attributes": attributes,
        }

    async def _batch(self, action, entries, carry_out):
        assert 1 <= len(entries) <= 10
        assert len({entry["Id"] for entry in entries}) == len(entries)
        fault = await self._request(action, entries)
        failures = []
        for position, entry in enumerate(entries):
            if fault == "entry" and position == 0:
                code, blame = "InternalError", False
            else:
                code, blame = carry_out(entry), True
            if code:
                failures.append(
                    {"Id": entry["Id"], "Code": code, "SenderFault": blame, "Message": code}
                )
        self._wake()
        await self._answer(action, fault)
        failed = {failure["Id"] for failure in failures}
        successful = [{"Id": entry["Id"]} for entry in entries if entry["Id"] not in failed]
        return {"Successful": successful, "Failed": failures}

    def _by_handle(self, entry):
        for message in self.messages:
            if message.handle == entry["ReceiptHandle"]:
                return message
        return None

    def _delete(self, entry):
        message = self._by_handle(entry)
        if message is None or (self.fifo and message.visible_at <= self.now):
            return "ReceiptHandleIsInvalid"
        message.deleted = True
        return None

    def _set_visibility(self, entry):
        message = self._by_handle(entry)
        if message is None:
            return "ReceiptHandleIsInvalid"
        if message.deleted or message.visible_at <= self.now:
            return "AWS.SimpleQueueService.MessageNotInflight"
        if self.now - message.received_at + entry["VisibilityTimeout"] > 43_200:
            return "InvalidParameterValue"
        message.visible_at = self.now + entry["VisibilityTimeout"]
        return None

    async def _send(self, entries):
        fault = await self._request("SendMessageBatch", entries)
        if fault == "entry":
            failure = {"Id": "0", "Code": "InternalError", "SenderFault": False, "Message": ""}
            return {"Failed": [failure]}
        self.sent.extend(entries)
        await self._answer("SendMessageBatch", fault)
        return {"Successful": [{"Id": entry["Id"], "MessageId": "copy"} for entry in entries]}

    async def _all_attributes(self):
        await self._request("GetQueueAttributes")
        return {
            "VisibilityTimeout": str(self.visibility_timeout),
            "RedrivePolicy": json.dumps(
                {
                    "deadLetterTargetArn": "arn:aws:sqs:eu-west-1:1:dead",
                    "maxReceiveCount": self.max_receive_count or 1_000,
                }
            ),
            **self.attributes,
        }

    async def close(self):
        """Nothing is open."""


@pytest.fixture
def in_virtual_time():
    """Runs a coroutine function at once, however long it waits."""
    return run


@pytest.fixture
def model_queue():
    """Makes a model of a queue."""
    return ModelQueue


@pytest.fixture
def make_provider(monkeypatch):
    """Makes providers that talk to a model."""
    from loafer_kit.ext.aws import providers
    from loafer_kit.ext.aws.requests import clients

    def make(queue, options=None, **settings):
        async def open_transport(*_):
            return queue

        async def queue_url(shared, name):
            return URL + (".fifo" if queue.fifo else "")

        monkeypatch.setattr(clients, "open_transport", open_transport)
        monkeypatch.setattr(clients.Clients, "queue_url", queue_url)
        name = "orders.fifo" if queue.fifo else "orders"
        return providers.SQSProvider(name, options, region_name="eu-west-1", **settings)

    return make
