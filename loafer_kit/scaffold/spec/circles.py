"""Dead letters that would go round and round, and never rest."""

from collections.abc import Iterator, Mapping, Sequence

from loafer_kit.scaffold.spec import names
from loafer_kit.scaffold.spec.fields import Value
from loafer_kit.scaffold.spec.problems import Problem


def problems_of(queues: Sequence[Mapping[str, Value]]) -> Iterator[Problem]:
    """A problem for each circle of dead-letter queues, at the queue that closes it."""
    target: dict[str, str] = {}
    for index, queue in enumerate(queues):
        name = names.queue_name(str(queue.get("name", "")))
        dead = str(queue.get("dead_letter_queue", name))
        if name == dead:
            continue
        if name in _followed(dead, target):
            message = f"dead letters of {names.shown(name)} would come back to it"
            yield Problem(("queues", index, "dead_letter_queue"), message)
        else:
            target[name] = dead


def _followed(name: str, target: Mapping[str, str]) -> Iterator[str]:
    """Where a message of a queue may end up; there is no circle in `target`."""
    while name in target:
        name = target[name]
        yield name
