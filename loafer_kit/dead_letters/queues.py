"""Finds dead-letter queues and their sources, and sums up what is in them."""

import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from loafer_kit.dead_letters.letters import Choice
from loafer_kit.dead_letters.visits import visiting
from loafer_kit.exceptions import LoaferKitError, ProviderError
from loafer_kit.ext.aws.addresses import bare_name
from loafer_kit.ext.aws.options import redrive_target
from loafer_kit.ext.aws.requests.clients import Clients
from loafer_kit.ext.aws.requests.errors import queue_subject

_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Summary:
    """A dead-letter queue: how many letters are visible and in flight, and what they are.

    `reasons` counts the letters that were looked at, by their reasons (None: SQS itself moved them);
    reasons that differ in their numbers only are one. `oldest` is when the oldest of them was sent.
    `problem` says why something is unknown.
    """

    queue: str
    url: str | None = None
    visible: int = 0
    in_flight: int = 0
    sources: tuple[str, ...] = ()
    seen: int = 0
    oldest: datetime | None = None
    reasons: Mapping[str | None, int] = field(default_factory=dict)
    problem: str | None = None


async def dead_letter_queues(
    clients: Clients, names: Iterable[str] = (), *, prefix: str | None = None
) -> list[str]:
    """Return the dead-letter queues of queues (names, URLs or ARNs), as ARNs.

    Also those among all queues whose names begin with `prefix`, and of these.
    """
    urls = (
        []
        if prefix is None
        else await _pages(clients, "ListQueues", "QueueUrls", {"QueueNamePrefix": prefix})
    )
    found: dict[str, None] = {}
    for url in [*[await clients.queue_url(name) for name in names], *urls]:
        attributes = await attributes_of(clients, url)
        if target := redrive_target(attributes):
            found[target] = None
        if url in urls and await sources(clients, url):
            found[attributes["QueueArn"]] = None
    return sorted(found)


async def sources(clients: Clients, url: str) -> list[str]:
    """Return the URLs of the queues whose redrive policies name the queue at `url`."""
    return await _pages(clients, "ListDeadLetterSourceQueues", "queueUrls", {"QueueUrl": url})


async def only_source(clients: Clients, url: str) -> str:
    """Return the one source of a dead-letter queue; raise `ProviderError` if there is not one."""
    found = await sources(clients, url)
    if len(found) != 1:
        names = ", ".join(map(bare_name, found)) or "none"
        raise ProviderError(
            f"Nothing says which queue to send to: name it with --to (sources of "
            f"{bare_name(url)}: {names})"
        )
    return found[0]


async def summaries(
    clients: Clients, queues: Iterable[str], look_at: int = 100
) -> AsyncIterator[Summary]:
    """Yield a summary of each queue (name, URL or ARN); it looks at so many letters, and returns them."""
    for queue in queues:
        try:
            yield await _summary(clients, await clients.queue_url(queue), look_at)
        except ProviderError as error:
            yield Summary(bare_name(queue), problem=str(error))


async def _summary(clients: Clients, url: str, look_at: int) -> Summary:
    attributes = await attributes_of(clients, url)
    found: dict[str, Any] = {
        "visible": int(attributes.get("ApproximateNumberOfMessages", 0)),
        "in_flight": int(attributes.get("ApproximateNumberOfMessagesNotVisible", 0)),
    }
    try:
        found["sources"] = tuple(map(bare_name, await sources(clients, url)))
        if look_at:
            found |= await _look(clients, url, look_at)
    except LoaferKitError as error:
        found["problem"] = str(error)
    return Summary(bare_name(url), url, **found)


async def _look(clients: Clients, url: str, look_at: int) -> dict[str, Any]:
    kinds: dict[str | None, str | None] = {None: None}
    reasons: Counter[str | None] = Counter()
    moments = []
    async with visiting(clients, url) as visit:
        async for letter in visit.letters(Choice(limit=look_at)):
            kind = letter.reason and re.sub(r"\d+", "0", letter.reason)
            reasons[kinds.setdefault(kind, letter.reason)] += 1
            moments += [letter.sent] if letter.sent else []
    return {
        "seen": reasons.total(),
        "oldest": min(moments, default=None),
        "reasons": dict(reasons.most_common()),
    }


async def attributes_of(clients: Clients, url: str) -> dict[str, str]:
    """Return all attributes of a queue, under AWS's names."""
    parameters = {"QueueUrl": url, "AttributeNames": ["All"]}
    answer = await clients.request("sqs", "GetQueueAttributes", queue_subject(url), parameters)
    return answer.get("Attributes") or {}


async def _pages(clients: Clients, action: str, key: str, parameters: dict[str, Any]) -> list[str]:
    """Return the items of every page of a list; SQS names a next page only if asked for pages."""
    subject = queue_subject(next(iter(parameters.values())))
    found: list[str] = []
    more: dict[str, Any] = {"MaxResults": _PAGE}
    while True:
        answer = await clients.request("sqs", action, subject, parameters | more)
        found += answer.get(key) or []
        if not answer.get("NextToken"):
            return found
        more["NextToken"] = answer["NextToken"]
