"""Lambda: the routes of a manager answer the events that Lambda makes of SQS messages."""

import asyncio
import base64
import contextlib
import logging
import math
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from loafer_kit.engine.flow import full_jitter
from loafer_kit.events import Settlement, result_of
from loafer_kit.exceptions import ConfigurationError, ProviderError
from loafer_kit.ext.aws.addresses import bare_name
from loafer_kit.ext.aws.consumption import Connection
from loafer_kit.ext.aws.limits import SQS_BATCH_SIZE, SQS_LONGEST_VISIBILITY
from loafer_kit.ext.aws.providers import QueueProvider, SQSProvider
from loafer_kit.ext.aws.receiving import receive_count
from loafer_kit.logs import log_event
from loafer_kit.managers import LoaferManager
from loafer_kit.outcomes import ACKNOWLEDGE, DeadLetter, Outcome, Release, Retry
from loafer_kit.routes import Route
from loafer_kit.types import Message

logger = logging.getLogger(__name__)

#: Seconds before the function's time limit at which handlers are cancelled, and their messages are
#: reported as failed.
_MARGIN = 1.0

#: Seconds for which a dead letter is sent again.
_SEND_TIME = 10.0


def lambda_handler(manager: LoaferManager) -> "LambdaFunction":
    """Return a handler for AWS Lambda that handles SQS events with the routes of `manager`.

    The event source mapping must report batch item failures. Each record goes to the route of its
    queue, and is handled as by a running service: concurrency, order, time limits, middleware and
    outcomes are the same. Lambda deletes what succeeded. What failed is reported; a retry with a delay
    changes the visibility first, and a rejected message is sent to the dead-letter queue and then
    counts as handled. On a FIFO queue, what stands behind a failed message of its group is not started
    and is reported too. Handlers that the function's time limit overtakes are cancelled, and their
    messages reported.

    Startup callbacks run at the first event. An event that is not of SQS, or of a queue that no route
    has, raises `ValueError`, so that the whole batch fails.

    Raises `ConfigurationError` for a route that does not read from SQS, and for two of one queue.
    """
    return LambdaFunction(manager)


class LambdaFunction:
    """One execution environment of a function: its event loop rests between invocations."""

    def __init__(self, manager: LoaferManager) -> None:
        self._manager = manager
        self._providers: dict[str, _EventProvider] = {}
        self._routes: list[tuple[Route, _EventProvider]] = []
        self._runner = asyncio.Runner()
        self._serving: asyncio.Task[None] | None = None
        for route in manager.routes:
            if not isinstance(route.provider, SQSProvider):
                raise ConfigurationError(f"Lambda handles messages of SQS, not those of {route}.")
            provider = _EventProvider(route.provider)
            if provider.name in self._providers:
                raise ConfigurationError(
                    f"Two routes read the queue {provider.name!r}: Lambda needs one for each queue."
                )
            self._providers[provider.name] = provider
            self._routes.append((route, provider))

    def __call__(self, event: dict[str, Any], context: Any) -> dict[str, Any]:
        """Handle the records of an event; return those that failed."""
        records = [(self._provider_of(record), record) for record in _records_of(event)]
        messages = [(provider, _message_of(record)) for provider, record in records]
        return self._runner.run(self._answer(messages, context))

    def close(self) -> None:
        """Stop the service, as a test does: teardown callbacks run, and the routes read SQS again."""
        if (serving := self._serving) is not None:
            self._serving = None
            serving.cancel()
            self._runner.run(_ended(serving))
            for route, provider in self._routes:
                route.provider = provider.source
        self._runner.close()

    def _provider_of(self, record: Mapping[str, Any]) -> "_EventProvider":
        arn = record["eventSourceARN"]
        provider = self._providers.get(bare_name(arn))
        if provider is None:
            known = ", ".join(self._providers)
            raise ValueError(f"No route reads the queue {arn}: the routes read {known}.")
        return provider

    async def _answer(
        self, messages: "Sequence[tuple[_EventProvider, Message]]", context: Any
    ) -> dict[str, Any]:
        serving = await self._start()
        results = [provider.deliver(message) for provider, message in messages]
        if results:
            # Only now: the first event also pays for the start of the service.
            await self._wait_for(serving, results, _seconds_left(context))
        failed = [
            message["MessageId"]
            for (provider, message), result in zip(messages, results, strict=True)
            if not provider.succeeded(message, result)
        ]
        for extension in self._manager.extensions.values():
            if (flush := getattr(extension, "flush", None)) is not None:
                await flush()
        return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in failed]}

    async def _start(self) -> "asyncio.Task[None]":
        """Start the service at the first event, and again after it has failed; return its task."""
        if self._serving is None:
            for route, provider in self._routes:
                route.provider = provider
                provider.is_open.clear()
            self._serving = asyncio.create_task(self._manager.serve())
        serving = self._serving
        opened = [asyncio.create_task(p.is_open.wait()) for p in self._providers.values()]
        try:
            await self._wait_for(serving, opened, None)
        finally:
            for task in opened:
                task.cancel()
        return serving

    async def _wait_for(
        self,
        serving: "asyncio.Task[None]",
        results: "Sequence[asyncio.Future[Any]]",
        seconds: float | None,
    ) -> None:
        """Wait for all results; raise what ends the service before that."""
        everything = asyncio.ensure_future(asyncio.wait(results))
        try:
            await asyncio.wait(
                [everything, serving], timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            everything.cancel()
        if serving.done():
            self._serving = None
            serving.result()
            raise ProviderError(f"The service {self._manager.name} has ended.")


class _EventProvider(QueueProvider):
    """Delivers the records of events, in the place of a provider that receives messages."""

    batch_size = SQS_BATCH_SIZE

    def __init__(self, source: SQSProvider) -> None:
        super().__init__(source.name)
        self.source = source
        self.is_open = asyncio.Event()
        self._lost: Callable[[Message], None] = lambda _: None
        self._waiting: deque[Message] = deque()
        self._arrived = asyncio.Event()
        #: Whether each message in hand was handled, by its receipt handle.
        self._results: dict[str, asyncio.Future[bool]] = {}
        #: Groups of a FIFO queue: with a message in hand, and with one that has failed.
        self._busy_groups: set[Hashable] = set()
        self._failed_groups: set[Hashable] = set()
        self._connection: Connection | None = None
        self._stopped = False

    def __str__(self) -> str:
        return f"<Lambda: {self.name}>"

    def deliver(self, message: Message) -> "asyncio.Future[bool]":
        """Have the route handle a message; the result is whether it succeeded."""
        if not self._results:  # a new event
            self._busy_groups.clear()
            self._failed_groups.clear()
        result = asyncio.get_running_loop().create_future()
        self._results[message["ReceiptHandle"]] = result
        self._waiting.append(message)
        self._arrived.set()
        return result

    def succeeded(self, message: Message, result: "asyncio.Future[bool]") -> bool:
        """Return the result; a handler that has none yet is cancelled."""
        self._results.pop(message["ReceiptHandle"], None)
        if result.done():
            return result.result()
        text = "the function's time is over"
        log_event(logger, logging.WARNING, "message.out_of_time", self.describe(message), text)
        self._lost(message)
        return False

    async def start(self, lost: Callable[[Message], None]) -> None:
        self._lost, self._stopped = lost, False
        self.is_open.set()

    def stop(self) -> None:
        self._stopped = True
        self._arrived.set()

    async def fetch(self, limit: int) -> Sequence[Message]:
        """Wait for records, and return up to `limit`: of a group only when the one before succeeded."""
        while True:
            found: list[Message] = []
            passed_over: list[Message] = []
            while self._waiting and len(found) < limit:
                message = self._waiting.popleft()
                group = self.order_key(message)
                if not self.holds(message):
                    continue
                if group in self._failed_groups:
                    self._end(message, "left")
                elif group in self._busy_groups:
                    passed_over.append(message)
                else:
                    found.append(message)
                    if group is not None:
                        self._busy_groups.add(group)
            self._waiting.extendleft(reversed(passed_over))
            if found or self._stopped:
                return found
            self._arrived.clear()
            await self._arrived.wait()

    async def confirm_message(self, message: Message) -> object:
        await self.settle(message, ACKNOWLEDGE)
        return True

    async def settle(self, message: Message, outcome: Outcome) -> None:
        """Take note of an outcome: Lambda deletes what succeeded, and SQS delivers the rest again."""
        if not self.holds(message):
            return
        try:
            result = await self._carry_out(message, outcome)
        except ProviderError as error:
            text = f"it comes back by itself; {error}"
            facts = {**self.describe(message), "outcome": str(outcome)}
            log_event(logger, logging.ERROR, "message.not_settled", facts, text)
            result = "given up"
        self._end(message, result)

    async def _carry_out(self, message: Message, outcome: Outcome) -> Settlement:
        if isinstance(outcome, DeadLetter):
            await self._send_dead_letter(message, outcome.reason)
        elif isinstance(outcome, Retry) and not isinstance(outcome, Release):
            await self._hide(message, self._delay(message, outcome))
        return result_of(outcome)

    async def _send_dead_letter(self, message: Message, reason: str) -> None:
        dead_letters = (await self._connect()).dead_letters
        if dead_letters is None:
            raise ProviderError(f"The queue {self.name!r} has no dead-letter queue.")
        until = asyncio.get_running_loop().time() + _SEND_TIME
        await dead_letters.send(message, reason, lambda: until)

    def _delay(self, message: Message, retry: Retry) -> float:
        if retry.delay is not None:
            return retry.delay
        settings = self.source.settings
        failures = retry.failures or receive_count(message)
        return full_jitter(failures - 1, base=settings.retry_delay, cap=settings.retry_delay_cap)

    async def _hide(self, message: Message, seconds: float) -> None:
        queue = (await self._connect()).queue
        hidden_for = min(math.ceil(seconds), SQS_LONGEST_VISIBILITY)
        for failure in await queue.change_visibility([(message["ReceiptHandle"], hidden_for)]):
            raise ProviderError(f"SQS did not change its visibility: {failure['Message']}")

    async def _connect(self) -> Connection:
        if self._connection is None:
            self._connection = await self.source.connect()
        return self._connection

    def _end(self, message: Message, result: Settlement) -> None:
        succeeded = result in ("acknowledged", "dead-lettered")
        if (group := self.order_key(message)) is not None:
            self._busy_groups.discard(group)
            if not succeeded:
                self._failed_groups.add(group)
            self._arrived.set()
        if (tell := self.route_events.settled) is not None:
            tell([message], result, 0.0)
        pending = self._results.pop(message["ReceiptHandle"], None)
        if pending is not None and not pending.done():
            pending.set_result(succeeded)

    async def close(self) -> None:
        self._connection = None
        await self.source.close()

    def holds(self, message: Message) -> bool:
        return message["ReceiptHandle"] in self._results


async def _ended(serving: "asyncio.Task[None]") -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await serving


def _records_of(event: Any) -> list[dict[str, Any]]:
    records = event.get("Records") if isinstance(event, dict) else None
    if not isinstance(records, list):
        raise ValueError("The event is not of SQS: it has no Records.")  # noqa: TRY004
    for place, record in enumerate(records):
        if not isinstance(record, dict) or record.get("eventSource") != "aws:sqs":
            raise ValueError(f"The event is not of SQS: Records[{place}] has another source.")
        for key in ("messageId", "receiptHandle", "body", "eventSourceARN"):
            if not isinstance(record.get(key), str):
                raise ValueError(f"Records[{place}] of the event has no {key}.")  # noqa: TRY004
    return records


def _message_of(record: Mapping[str, Any]) -> Message:
    """Return a record as ReceiveMessage returns a message."""
    message = {
        "MessageId": record["messageId"],
        "ReceiptHandle": record["receiptHandle"],
        "Body": record["body"],
        "Attributes": record.get("attributes") or {},
    }
    if "md5OfBody" in record:
        message["MD5OfBody"] = record["md5OfBody"]
    if attributes := record.get("messageAttributes"):
        message["MessageAttributes"] = {
            name: _attribute_of(attribute) for name, attribute in attributes.items()
        }
    return message


def _attribute_of(attribute: Mapping[str, Any]) -> dict[str, Any]:
    found = {"DataType": attribute["dataType"]}
    if attribute.get("stringValue") is not None:
        found["StringValue"] = attribute["stringValue"]
    if attribute.get("binaryValue") is not None:
        found["BinaryValue"] = base64.b64decode(attribute["binaryValue"])
    return found


def _seconds_left(context: Any) -> float | None:
    """Return how long handlers may take; None if the context does not say."""
    left = getattr(context, "get_remaining_time_in_millis", None)
    return None if left is None else max(0.0, left() / 1000 - _MARGIN)
