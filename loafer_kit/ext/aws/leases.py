"""The messages of one queue that this process has in hand, and for how long they are its own."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from loafer_kit.ext.aws.options import LONGEST_VISIBILITY
from loafer_kit.types import Message

#: A lease is looked at when this part of it is over. Past half of it, it is extended: looking a
#: little later lets leases that began one after another share a request.
_LOOK_AT = 0.6
_HALF = 0.5

#: Seconds: SQS counts its twelve hours from a moment that was a little earlier than ours.
_MARGIN = 10.0


@dataclass(slots=True)
class Lease:
    """One delivery. Times are those of the event loop's clock."""

    message_id: str
    receipt_handle: str
    message: Message
    first_received_at: float
    received_at: float
    deadline: float
    look_at: float
    #: Not to be extended any more: it runs out at its deadline.
    final: bool = False
    #: Ran out, or was refused: another consumer may have the message.
    lost: bool = False

    def visibility_left(self, now: float) -> int:
        """Return the whole seconds that SQS can still hide the message."""
        return max(0, int(LONGEST_VISIBILITY - _MARGIN - (now - self.received_at)))


class RecentIds:
    """Remembers the last ids that were added: at least `capacity`, at most twice as many."""

    def __init__(self, capacity: int = 10_000) -> None:
        self._capacity = capacity
        self._newer: set[str] = set()
        self._older: set[str] = set()

    def __contains__(self, item: str) -> bool:
        return item in self._newer or item in self._older

    def add(self, item: str) -> None:
        """Remember `item`."""
        self._newer.add(item)
        if len(self._newer) >= self._capacity:
            self._newer, self._older = set(), self._newer


class LeaseTable:
    """Leases by message id, in the order in which they are to be looked at.

    Pure bookkeeping: whoever calls says what time it is.
    """

    def __init__(self, timeout: int, *, extend: bool, longest: float | None = None) -> None:
        self.timeout = timeout
        self._extend = extend
        self._longest = min(longest or LONGEST_VISIBILITY, LONGEST_VISIBILITY)
        self._leases: dict[str, Lease] = {}
        self._final: dict[str, Lease] = {}
        self._processed = RecentIds()

    def __len__(self) -> int:
        return len(self._leases)

    def __contains__(self, message_id: str) -> bool:
        return message_id in self._leases

    def accept(
        self, messages: Iterable[dict[str, Any]], now: float
    ) -> tuple[list[Message], list[Lease]]:
        """Enter what a receive brought: return what is to be handled, and what to be deleted.

        A message that is still in hand is neither: its newer receipt handle replaces the older
        one. To be deleted is what was processed before.
        """
        fresh: list[Message] = []
        processed: list[Lease] = []
        timeout = self.timeout
        deadline = now + timeout
        look_at = now + timeout * _LOOK_AT if self._extend else deadline
        for message in messages:
            message_id = message["MessageId"]
            lease = self._leases.pop(message_id, None)
            if lease is not None:
                self._renew(lease, message["ReceiptHandle"], now)
                continue
            lease = Lease(
                message_id, message["ReceiptHandle"], message, now, now, deadline, look_at
            )
            if message_id in self._processed:
                processed.append(lease)
            else:
                self._leases[message_id] = lease
                fresh.append(message)
        return fresh, processed

    def _renew(self, lease: Lease, receipt_handle: str, now: float) -> None:
        lease.receipt_handle = receipt_handle
        lease.received_at = now
        lease.lost = False
        self._final.pop(lease.message_id, None)
        lease.final = False
        self._append(lease, now, self.timeout)

    def _append(self, lease: Lease, now: float, seconds: float) -> None:
        lease.deadline = now + seconds
        lease.look_at = now + seconds * _LOOK_AT if self._extend else lease.deadline
        self._leases[lease.message_id] = lease

    def get(self, message: Message) -> Lease | None:
        """Return the lease of a message in hand."""
        lease = self._leases.get(message["MessageId"])
        return lease if lease is not None and lease.message is message else None

    def holds(self, lease: Lease) -> bool:
        """Tell whether a lease has neither been settled nor forgotten."""
        return self._leases.get(lease.message_id) is lease

    def take(self, message: Message) -> Lease | None:
        """Remove and return the lease of a message in hand."""
        lease = self.get(message)
        if lease is not None:
            self.drop(lease)
        return lease

    def drop(self, lease: Lease) -> None:
        """Forget a lease."""
        self._leases.pop(lease.message_id, None)
        if lease.final:
            self._final.pop(lease.message_id, None)

    def remember_processed(self, message_id: str) -> None:
        """Remember that a message is done with, whatever becomes of its deletion."""
        self._processed.add(message_id)

    def next_look(self) -> float | None:
        """Return when to call `due` again; None while nothing is in hand."""
        times = [lease.deadline for lease in self._final.values() if not lease.lost]
        for lease in self._leases.values():
            if not lease.final and not lease.lost:
                times.append(lease.look_at)
                break
        return min(times, default=None)

    def due(self, now: float) -> tuple[list[Lease], list[Lease]]:
        """Return the leases to extend, past half their time, and those that have run out.

        What has run out is marked as lost.
        """
        extend: list[Lease] = []
        lost = [lease for lease in self._final.values() if not lease.lost and lease.deadline <= now]
        slack = self.timeout * (_LOOK_AT - _HALF) if self._extend else 0.0
        for lease in self._leases.values():
            if lease.final or lease.lost:
                continue
            if lease.look_at - slack > now:
                break
            (extend if lease.deadline > now else lost).append(lease)
        for lease in lost:
            self.mark_lost(lease)
        return extend, lost

    def extension(self, lease: Lease, now: float) -> int:
        """Return the visibility timeout that extends a lease; 0 when its time is used up."""
        left = int(self._longest - (now - lease.first_received_at))
        return max(0, min(self.timeout, left, lease.visibility_left(now)))

    def extended(self, lease: Lease, now: float, seconds: int) -> None:
        """Note that SQS hides the message for `seconds` from `now`."""
        if self._leases.get(lease.message_id) is not lease:
            return
        del self._leases[lease.message_id]
        self._append(lease, now, seconds)
        if seconds < self.timeout:
            self.end(lease)

    def end(self, lease: Lease) -> None:
        """Extend a lease no more."""
        lease.final = True
        self._final[lease.message_id] = lease

    def look_again(self, leases: Sequence[Lease], at: float) -> None:
        """Look at leases that could not be extended again at the given time."""
        for lease in leases:
            lease.look_at = at

    def mark_lost(self, lease: Lease) -> None:
        """Note that another consumer may have the message."""
        lease.lost = True
        if lease.final:
            self._final.pop(lease.message_id, None)
