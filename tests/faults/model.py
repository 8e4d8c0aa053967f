"""A model of SQS behind the seam, on a clock that jumps: hours of a service's life in milliseconds."""

import asyncio
import itertools
from dataclasses import dataclass, field
from typing import Any

from loafer_kit.exceptions import TransientProviderError
from loafer_kit.ext.aws.consumption import Consumption
from loafer_kit.ext.aws.dead_letters import DeadLetterQueue
from loafer_kit.ext.aws.providers import SQSProvider


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer as soon as nothing else is to be done."""

    def __init__(self, start=0.0):
        self._now = start
        super().__init__()

    def time(self):
        return self._now

    def _run_once(self):
        if not self._ready and self._scheduled:
            self._now = max(self._now, self._scheduled[0].when())
        super()._run_once()


@dataclass
class Stored:
    """A message in the queue."""

    number: int
    group: str | None
    visible_at: float = 0.0
    receives: int = 0
    handle: str = ""


@dataclass
class ModelQueue:
    """What SQS does with one queue; also an `SQSTransport` to it.

    `faults` are used up by the requests, one each: "before" (SQS never hears of it), "after" (the
    answer is lost), "entries" (every entry of a batch fails), or seconds that the answer takes.
    """

    fifo: bool = False
    timeout: int = 30
    faults: list[Any] = field(default_factory=list)
    messages: dict[int, Stored] = field(default_factory=dict)
    deleted: set[int] = field(default_factory=set)
    dead: list[int] = field(default_factory=list)
    #: Whether nothing that the service says reaches the queue any more, as after its death.
    cut_off: bool = False
    requests: int = 0
    _handles: dict[str, int] = field(default_factory=dict)
    _attempts: dict[str, list[Any]] = field(default_factory=dict)
    _serial: Any = field(default_factory=itertools.count)

    def put(self, number, group=None):
        self.messages[number] = Stored(number, group)

    @staticmethod
    def now():
        return asyncio.get_running_loop().time()

    def _blocked_groups(self):
        now = self.now()
        return {m.group for m in self.messages.values() if m.visible_at > now and m.receives}

    def _receive(self, limit, attempt):
        if attempt in self._attempts:
            return [self._hand_out(m) for m in self._attempts[attempt] if m.number in self.messages]
        blocked = self._blocked_groups() if self.fifo else set()
        ready = [
            m
            for m in sorted(self.messages.values(), key=lambda m: m.number)
            if m.visible_at <= self.now() and (not self.fifo or m.group not in blocked)
        ][:limit]
        if attempt is not None:
            self._attempts[attempt] = ready
        return [self._hand_out(m) for m in ready]

    def _hand_out(self, message):
        message.receives += 1
        message.visible_at = self.now() + self.timeout
        message.handle = f"handle-{next(self._serial)}"
        self._handles[message.handle] = message.number
        attributes = {"ApproximateReceiveCount": str(message.receives)}
        if message.group is not None:
            attributes |= {
                "MessageGroupId": message.group,
                "MessageDeduplicationId": str(message.number),
            }
        return {
            "MessageId": str(message.number),
            "ReceiptHandle": message.handle,
            "Body": str(message.number),
            "Attributes": attributes,
        }

    def _in_flight(self, handle):
        message = self.messages.get(self._handles[handle])
        if message is None or message.handle != handle or message.visible_at <= self.now():
            return None
        return message

    async def _request(self, entries, work):
        self.requests += 1
        fault = self.faults.pop(0) if self.faults else None
        await asyncio.sleep(fault if isinstance(fault, int | float) else 0.01)
        if fault == "before" or self.cut_off:
            raise TransientProviderError("connection refused")
        if fault == "entries" and entries:
            return [
                {"Id": e["Id"], "SenderFault": False, "Code": "InternalError", "Message": ""}
                for e in entries
            ]
        answer = work()
        if fault == "after":
            raise TransientProviderError("connection reset")
        return answer

    async def receive_message(self, queue_url, **parameters):
        deadline = self.now() + parameters["WaitTimeSeconds"]
        while True:
            answer = await self._request(
                None,
                lambda: self._receive(
                    parameters["MaxNumberOfMessages"], parameters.get("ReceiveRequestAttemptId")
                ),
            )
            if answer or self.now() >= deadline:
                return answer
            await asyncio.sleep(0.25)

    async def delete_message_batch(self, queue_url, entries):
        return await self._request(entries, lambda: self._batch(entries, self._delete))

    async def change_message_visibility_batch(self, queue_url, entries):
        return await self._request(entries, lambda: self._batch(entries, self._change))

    async def send_message_batch(self, queue_url, entries):
        def send():
            self.dead.extend(int(entry["MessageBody"]) for entry in entries)
            return []

        return await self._request(entries, send)

    async def get_queue_attributes(self, queue_url):
        return {"VisibilityTimeout": str(self.timeout)}

    async def close(self):
        pass

    def _batch(self, entries, change):
        return [
            {
                "Id": entry["Id"],
                "SenderFault": True,
                "Code": "ReceiptHandleIsInvalid",
                "Message": "",
            }
            for entry in entries
            if not change(entry)
        ]

    def _delete(self, entry):
        # SQS deletes by an older handle too, as long as the message is there.
        message = self.messages.get(self._handles[entry["ReceiptHandle"]])
        if message is not None and message.handle == entry["ReceiptHandle"]:
            del self.messages[message.number]
            self.deleted.add(message.number)
            return True
        return message is None

    def _change(self, entry):
        message = self._in_flight(entry["ReceiptHandle"])
        if message is None:
            return False
        message.visible_at = self.now() + entry["VisibilityTimeout"]
        return True


class ModelProvider(SQSProvider):
    """`SQSProvider` over a `ModelQueue`."""

    def __init__(self, model, **settings):
        super().__init__(
            "model.fifo" if model.fifo else "model",
            {"WaitTimeSeconds": 1},
            region_name="us-east-1",
            visibility_timeout=model.timeout,
            **settings,
        )
        self._model = model

    async def _begin(self):
        dead_letters = DeadLetterQueue("http://127.0.0.1/1/dead", self.name, self._model, None)
        return Consumption(self._consumed_queue("url", {}), self._model, dead_letters, self._lost)
