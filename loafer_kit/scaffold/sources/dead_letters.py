"""Finds the dead-letter targets of a resource, whatever tool describes it.

Subscriptions, functions, rules, schedules, pipes and buses name them by similar keys: `RedrivePolicy`,
`DeadLetterConfig`, `dead_letter_config`, `OnFailure`.
"""

import json
import re
from collections.abc import Iterator, Mapping

_KEY = re.compile(
    r"dead_?letter.*|on_?failure|on_?error|error_?action|redrive_?policy",
    re.IGNORECASE,
)


def places(value: object) -> Iterator[object]:
    """The values of all keys, at any depth, that name a dead-letter target."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, Mapping):
            for key, item in found.items():
                if isinstance(key, str) and _KEY.fullmatch(key):
                    yield item
                else:
                    waiting.append(item)
        elif isinstance(found, list):
            waiting += found


def texts(value: object) -> Iterator[str]:
    """All texts within a value; the texts within a text that is JSON."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, Mapping):
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found
        elif isinstance(found, str):
            inner = _decoded(found)
            if inner is None:
                yield found
            else:
                waiting.append(inner)


def _decoded(text: str) -> object:
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def queue_of(text: str) -> str | None:
    """The name at the end of an ARN or URL of a queue; None for another text."""
    service = text.split(":")[2:3]
    if text.startswith("arn:") and service not in ([], ["sqs"]):
        return None
    name = re.split(r"[:/]", text)[-1]
    return name if name and name != text else None
