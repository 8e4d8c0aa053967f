"""What became of the messages of a run of `loafer-kit dev`: counted, and summed up at the end."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from loafer_kit.local.queues import LocalQueue, LocalQueues

#: Failures after which `once` gives up a message that no dead-letter queue takes.
ATTEMPTS = 5

_BY_SQS = "moved by SQS, which gives no reason"
#: Receives of a dead-letter queue, ten messages each, and characters of a reason that are shown.
_MOST_RECEIVES, _LONGEST_REASON = 10, 100


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of a message and its outcome, as `message.handled` names it in the log."""

    queue: str
    message_id: str
    receive_count: int
    outcome: str


class Tally:
    """Counts the deliveries of each queue."""

    def __init__(self) -> None:
        self.handled: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self._failures: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def record(self, delivery: Delivery) -> None:
        """Count a delivery. One that the handler did not finish counts as nothing."""
        failures = self._failures[delivery.queue]
        if delivery.outcome == "acknowledged":
            self.handled[delivery.queue] += 1
            failures.pop(delivery.message_id, None)
        elif delivery.outcome != "to be given back":
            self.failed[delivery.queue] += 1
            failures[delivery.message_id] += 1

    def given_up(self, queue: LocalQueue) -> int:
        """Return how many messages failed too often and have no dead-letter queue."""
        if queue.dead_letter_queue:
            return 0
        return sum(count >= ATTEMPTS for count in self._failures[queue.name].values())

    def has_another_attempt(self, queue: LocalQueue, delivery: Delivery) -> bool:
        """Return whether the message of a failed delivery is left on its queue and tried again."""
        if queue.dead_letter_queue:
            return delivery.outcome == "left" and delivery.receive_count < queue.max_receive_count
        failures = self._failures[queue.name][delivery.message_id]
        return delivery.outcome in {"left", "rejected"} and 0 < failures < ATTEMPTS


@dataclass(frozen=True, slots=True)
class QueueSummary:
    """How often messages of a queue were handled and failed, and its dead letters by reason."""

    queue: str
    handled: int
    failed: int
    dead_letter_queue: str | None
    dead_letters: Mapping[str, int]

    @property
    def is_empty(self) -> bool:
        """Whether there were no messages."""
        return not (self.handled or self.failed or self.dead_letters)


def summarise(
    queues: Sequence[LocalQueue], tally: Tally, server: LocalQueues
) -> list[QueueSummary]:
    """Return a summary of each queue; the dead letters are those on the server now.

    A dead letter that names no source counts for the first queue with its dead-letter queue.
    """
    letters: dict[str, list[tuple[str, str]]] = {}
    summaries = []
    for queue in queues:
        target = queue.dead_letter_queue
        if target and target not in letters:
            letters[target] = [
                (source or queue.name, reason) for source, reason in _dead_letters(server, target)
            ]
        reasons = Counter(
            reason for source, reason in letters.get(target or "", ()) if source == queue.name
        )
        summaries.append(
            QueueSummary(
                queue.name,
                tally.handled[queue.name],
                tally.failed[queue.name],
                target,
                dict(reasons.most_common()),
            )
        )
    return summaries


def _dead_letters(server: LocalQueues, queue: str) -> Iterable[tuple[str, str]]:
    """Yield the source, if the message names it, and the reason of each dead letter."""
    seen = set()
    for _ in range(_MOST_RECEIVES):
        messages = server.receive(queue, visibility_timeout=_MOST_RECEIVES)
        for message in messages:
            if message["MessageId"] in seen:
                continue
            seen.add(message["MessageId"])
            attributes = message.get("MessageAttributes", {})
            source, reason = (
                attributes.get(name, {}).get("StringValue", "")
                for name in ("DeadLetterSourceQueue", "DeadLetterReason")
            )
            yield source, " ".join(reason.split()) or _BY_SQS
        if not messages:
            return


def table(summaries: Sequence[QueueSummary]) -> str:
    """Return the summaries as a table of text; each reason has a line of its own."""
    rows = [("queue", "handled", "failed", "dead letters")]
    for summary in summaries:
        letters = [
            f"{number} in {summary.dead_letter_queue}: {_shortened(reason)}"
            for reason, number in summary.dead_letters.items()
        ]
        first = (summary.queue, str(summary.handled), str(summary.failed))
        rows += [
            (*(numbers or ("", "", "")), letter or "")
            for numbers, letter in zip_longest([first], letters)
        ]
    name, handled, failed, _ = (max(map(len, column)) for column in zip(*rows, strict=True))
    return "\n".join(
        f"{row[0]:{name}}  {row[1]:>{handled}}  {row[2]:>{failed}}  {row[3]}".rstrip()
        for row in rows
    )


def _shortened(reason: str) -> str:
    return reason if len(reason) <= _LONGEST_REASON else f"{reason[: _LONGEST_REASON - 1]}…"
