"""Letters: dead letters as the page shows them, and what it may do with them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

from loafer_kit.console.queues import QueueWatch, Watched
from loafer_kit.dead_letters import replays
from loafer_kit.dead_letters.letters import Choice, Letter, Visit
from loafer_kit.exceptions import LoaferKitError

#: Letters that a page gets at once, and the characters of their bodies that are kept for it.
_MOST, _MOST_KEPT = 500, 2**25

Values = Mapping[str, Any]


class Letters:
    """The dead letters of the queues of `watch`.

    The letters of the last look into each queue are kept: a body that is asked for later is not
    received again.
    """

    def __init__(self, watch: QueueWatch) -> None:
        self._watch = watch
        self._seen: dict[str, dict[str, Letter]] = {}

    async def look(self, values: Values) -> dict[str, Any]:
        """Receive and return letters: what is known of each, without its content."""
        queue = self._watch.asked(values)
        choice = Choice(str(values.get("where") or "") or None, limit=_limit(values.get("limit")))
        seen = self._seen[queue.name] = {}
        left = _MOST_KEPT
        async with _visiting(queue) as visit:
            async for letter in visit.letters(choice):
                seen[letter.id] = letter
                left -= len(letter.body)
                if left < 0:
                    break
        return {
            "letters": [_facts(letter) for letter in seen.values()],
            "no_reason": visit.broker.no_reason,
            "unseen": visit.unseen,
            "elsewhere": visit.elsewhere,
        }

    async def content(self, values: Values) -> dict[str, Any]:
        """Return the body and the attributes of a letter that was looked at."""
        letter = self._seen.get(str(values.get("queue")), {}).get(str(values.get("id")))
        if letter is None:
            raise LoaferKitError("The letter is not known here any more: look again")
        return {"body": letter.body, "attributes": letter.attributes}

    async def replay(self, values: Values) -> dict[str, Any]:
        """Send letters back to their queues; with a `body`, which replaces that of the one letter."""
        queue, choice, body = self._confirmed(values), _choice(values), values.get("body")
        if body is not None and (not isinstance(body, str) or not body or len(choice.ids) != 1):
            raise LoaferKitError(
                "An edited letter is replayed alone, with a body that is not empty"
            )

        async def edit(_: Letter) -> str | None:
            return body

        async with _visiting(queue) as visit:
            outcomes = replays.replay(visit, choice, edit=None if body is None else edit)
            return {"outcomes": [asdict(outcome) async for outcome in outcomes]}

    async def purge(self, values: Values) -> dict[str, Any]:
        """Delete letters."""
        queue, choice = self._confirmed(values), _choice(values)
        async with _visiting(queue) as visit:
            outcomes = replays.purge(visit, choice)
            return {"outcomes": [asdict(outcome) async for outcome in outcomes]}

    def _confirmed(self, values: Values) -> Watched:
        """Return the queue of a request that destroys; on AWS its name must be typed."""
        queue = self._watch.asked(values)
        if not queue.is_local and values.get("confirm") != queue.name:
            raise LoaferKitError(f"Type the name of the queue, {queue.name}, to confirm")
        return queue


@asynccontextmanager
async def _visiting(queue: Watched) -> AsyncIterator[Visit]:
    async with (
        queue.reachable().broker(queue.address) as broker,
        broker.visit(await broker.queue(queue.address)) as visit,
    ):
        yield visit


def _choice(values: Values) -> Choice:
    ids = values.get("ids")
    if not isinstance(ids, Sequence) or isinstance(ids, str) or not ids:
        raise LoaferKitError("Choose letters")
    return Choice(ids=frozenset(map(str, ids)))


def _limit(value: object) -> int:
    text = str(value)
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:9]) <= _MOST:
        raise LoaferKitError(f"The number of letters must be from 1 to {_MOST}")
    return int(text)


def _facts(letter: Letter) -> dict[str, Any]:
    """Return what is known of a letter, without what its sender wrote."""
    facts = letter.facts()
    del facts["body"], facts["attributes"]
    return {**facts, "size": len(letter.body.encode(errors="surrogatepass"))}
