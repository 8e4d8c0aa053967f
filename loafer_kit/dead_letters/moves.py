"""Moves: SQS's own tasks, which move all letters of a queue without a client in between."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Self

from botocore.exceptions import ClientError

from loafer_kit.dead_letters.letters import Queue
from loafer_kit.dead_letters.replays import Journal
from loafer_kit.dead_letters.sqs import SQS
from loafer_kit.exceptions import ProviderError
from loafer_kit.ext.aws.addresses import bare_name
from loafer_kit.ext.aws.requests import errors

#: Seconds between two looks at a task.
_PAUSE = 1.0

#: How the codes end with which servers refuse an action that they do not have.
_UNKNOWN_ACTIONS = (
    "InvalidAction",
    "UnknownOperation",
    "UnknownOperationException",
    "UnsupportedOperation",
)


class NoMoveTasksError(ProviderError):
    """The server has no message move tasks."""


@dataclass(frozen=True, slots=True)
class Move:
    """The last move task of a queue; `total` was counted when it began, and is approximate."""

    status: str
    target: str
    moved: int
    total: int | None = None
    failure: str | None = None
    handle: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing moves any more."""
        return self.status not in {"RUNNING", "CANCELLING"}


class Mover:
    """The move tasks of a dead-letter queue, whose ARN is `arn`."""

    def __init__(self, broker: SQS, queue: Queue, arn: str) -> None:
        self._broker = broker
        self._queue = queue
        self._arn = arn

    @classmethod
    async def of(cls, broker: SQS, queue: Queue) -> Self:
        """Return the move tasks of a dead-letter queue."""
        return cls(broker, queue, (await broker.attributes_of(queue.address))["QueueArn"])

    async def target(self, to: str | None) -> str:
        """Return the ARN of `to`, or of the queue's one source; raise `ProviderError` if unknown."""
        address = to or await self._broker.only_source(self._queue.address)
        found = await self._broker.queue(address)
        return (await self._broker.attributes_of(found.address))["QueueArn"]

    async def last(self) -> Move | None:
        """Return the last task, if there was one; raise `NoMoveTasksError`."""
        answer = await self._ask("ListMessageMoveTasks", SourceArn=self._arn, MaxResults=1)
        for task in answer.get("Results") or ():
            return Move(
                task["Status"],
                bare_name(task.get("DestinationArn") or ""),
                task.get("ApproximateNumberOfMessagesMoved") or 0,
                task.get("ApproximateNumberOfMessagesToMove"),
                task.get("FailureReason"),
                task.get("TaskHandle"),
            )
        return None

    async def start(self, target: str, rate: int | None = None) -> None:
        """Begin a task that moves every letter to `target`, an ARN.

        Without a target SQS would fail letters that the service sent itself: it knows their source
        only if SQS moved them.
        """
        with Journal(self._queue.address) as journal:
            if journal.states:
                raise ProviderError(
                    f"{self._queue.name}: an interrupted replay may have sent letters that are "
                    f"still there: finish it with `replay`, or remove {journal.path}"
                )
        speed = {"MaxNumberOfMessagesPerSecond": rate} if rate else {}
        await self._ask("StartMessageMoveTask", SourceArn=self._arn, DestinationArn=target, **speed)

    async def follow(self) -> AsyncIterator[Move]:
        """Yield the state of the last task until it is over."""
        while (move := await self.last()) is not None:
            yield move
            if move.is_over:
                return
            await asyncio.sleep(_PAUSE)

    async def cancel(self, move: Move) -> None:
        """End a running task; what it has moved stays where it is."""
        await self._ask("CancelMessageMoveTask", TaskHandle=move.handle)

    async def _ask(self, action: str, **parameters: Any) -> dict[str, Any]:
        subject = errors.queue_subject(self._queue.address)
        try:
            return await self._broker.clients.request("sqs", action, subject, parameters)
        except ProviderError as error:
            if _is_unknown(error.__cause__):
                raise NoMoveTasksError(f"{subject}: this server has no move tasks") from error
            raise


def _is_unknown(cause: BaseException | None) -> bool:
    """Return whether a server does not know the action, by what botocore raised."""
    if not isinstance(cause, ClientError):
        return isinstance(cause, errors.UnexpectedAnswerError)
    status = cause.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status == HTTPStatus.NOT_IMPLEMENTED or errors.client_error_code(cause).endswith(
        _UNKNOWN_ACTIONS
    )
