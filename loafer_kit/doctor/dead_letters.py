"""The dead-letter queues of a spec: whether they are there, and whose dead letters they take."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from loafer_kit.doctor.findings import Finding, denied
from loafer_kit.doctor.sqs import MissingQueueError, Queues
from loafer_kit.ext.aws import errors
from loafer_kit.scaffold.shipping.resources import MOST_SOURCES

Policy = dict[str, Any]


class DeadLetterDoctor:
    """Looks at dead-letter queues; nothing on AWS is changed."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues

    def examine(self, name: str, sources: Sequence[str]) -> Finding:
        """What there is to say about the dead-letter queue of some queues, which are given by name.

        Raises ProviderError for what has nothing to do with this queue: credentials, the network.
        """
        subject = f"dead-letter queue {name}"
        try:
            url = self._queues.url(name)
        except MissingQueueError:
            return Finding("problem", subject, "does not exist", self._queues.creating(name))
        except errors.AccessDeniedError as error:
            return denied("problem", subject, error)
        try:
            attributes = self._queues.attributes(url)
        except errors.AccessDeniedError as error:  # a service itself has no need of them
            return denied("note", subject, error)
        policy = json.loads(attributes.get("RedriveAllowPolicy") or "{}")
        place = attributes.get("QueueArn", "").rpartition(":")[0]  # that of its sources as well
        refused = refusals(policy, [f"{place}:{source}" for source in sources])
        if not refused:
            return Finding("ok", subject, "is as the spec says")
        names = ", ".join(arn.rpartition(":")[2] for arn in refused)
        message = f"its redrive allow policy ({policy['redrivePermission']}) refuses {names}"
        remedy = self._queues.setting(url, "RedriveAllowPolicy", allowing(policy, refused))
        return Finding("problem", subject, message, remedy)


def refusals(policy: Policy, sources: Iterable[str]) -> list[str]:
    """The queues, by ARN, that a redrive allow policy does not let use its queue."""
    permission = policy.get("redrivePermission")
    if permission == "byQueue":
        return [source for source in sources if source not in policy.get("sourceQueueArns", [])]
    return list(sources) if permission == "denyAll" else []


def allowing(policy: Policy, sources: Iterable[str]) -> Policy:
    """The policy that lets these queues use it as well."""
    named = [*policy.get("sourceQueueArns", []), *sources]
    if len(named) > MOST_SOURCES:
        return {"redrivePermission": "allowAll"}
    return {"redrivePermission": "byQueue", "sourceQueueArns": named}
