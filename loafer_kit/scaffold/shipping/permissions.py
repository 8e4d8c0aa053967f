"""What a running service asks of AWS: the IAM actions, queue by queue.

The one place that knows them: the policies of every template are made from it, and a test compares
it with the requests that a service makes.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from loafer_kit.scaffold.shipping.resources import Queue

FIND = "sqs:GetQueueUrl"

# IAM knows no batches: DeleteMessage allows DeleteMessageBatch too, and so on.
CONSUME = (
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
    "sqs:ReceiveMessage",
)
DEAD_LETTER = ("sqs:SendMessage",)


@dataclass(frozen=True, slots=True)
class Statement:
    """Actions, and the queues that they are allowed on."""

    actions: tuple[str, ...]
    queues: tuple[Queue, ...]


def statements(queues: Iterable[Queue]) -> tuple[Statement, ...]:
    """The fewest statements that allow a service what it does, and nothing else."""
    allowed: dict[tuple[str, ...], list[Queue]] = {}
    for queue in queues:
        allowed.setdefault(actions(queue), []).append(queue)
    return tuple(Statement(names, tuple(found)) for names, found in allowed.items())


def actions(queue: Queue) -> tuple[str, ...]:
    """What a service does with one queue, in alphabetical order."""
    found: set[str] = set()
    if queue.spec is not None:
        found.update(CONSUME)
        if not queue.exists:  # a URL needs no looking up
            found.add(FIND)
    if queue.dead_letters_of:
        found.update((FIND, *DEAD_LETTER))
    return tuple(sorted(found))
