"""The queues as AWS describes them, against what the spec says of them."""

import json
from collections.abc import Iterator

from loafer_kit.doctor.findings import Finding, denied
from loafer_kit.doctor.sqs import Attributes, MissingQueueError, Queues
from loafer_kit.doctor.topics import TopicDoctor
from loafer_kit.ext.aws import checks, errors
from loafer_kit.ext.aws.options import SQSOptions
from loafer_kit.scaffold.spec.specs import QueueSpec


class QueueDoctor:
    """Looks at the queues of a spec; nothing on AWS is changed."""

    def __init__(self, queues: Queues, topics: TopicDoctor) -> None:
        self._queues = queues
        self._topics = topics

    def examine(self, queue: QueueSpec) -> list[Finding]:
        """Everything about one queue; one finding that is ok when there is nothing to say.

        Raises ProviderError for what has nothing to do with this queue: credentials, the network.
        """
        try:
            url = self._queues.url(queue.name)
            attributes = self._queues.attributes(url)
        except MissingQueueError:
            return [self._missing(queue)]
        except errors.AccessDeniedError as error:
            return [denied("problem", _subject(queue), error)]
        found = [
            *self._visibility(queue, url, attributes),
            *self._redrive(queue, url, attributes),
            *self._topics.examine(queue, url, attributes),
            *(denied("problem", _subject(queue), error) for error in self._queues.denials(url)),
            *_doubts(queue, attributes),
        ]
        return found or [Finding("ok", _subject(queue), "is as the spec says")]

    def _missing(self, queue: QueueSpec) -> Finding:
        name = queue.queue_name
        other = name.removesuffix(".fifo") if queue.fifo else f"{name}.fifo"
        try:
            found = self._queues.exists(other)
        except errors.AccessDeniedError:  # a policy for the spec's queues alone
            found = False
        if found:
            message = f"does not exist, but {other} does: one is a FIFO queue, the other is not"
            return Finding("problem", _subject(queue), message, f"name {other} in loafer.toml")
        remedy = f"check region and account, or create it: {self._queues.creating(name)}"
        return Finding("problem", _subject(queue), "does not exist", remedy)

    def _visibility(self, queue: QueueSpec, url: str, attributes: Attributes) -> Iterator[Finding]:
        wanted, found = queue.options.get("visibility_timeout"), attributes.get("VisibilityTimeout")
        if wanted is not None and found is not None and int(found) != int(wanted):
            message = f"its visibility timeout is {found} s, in the spec {wanted} s"
            remedy = self._queues.setting(url, "VisibilityTimeout", str(wanted))
            yield Finding("problem", _subject(queue), message, remedy)

    def _redrive(self, queue: QueueSpec, url: str, attributes: Attributes) -> Iterator[Finding]:
        wanted = queue.dead_letter_queue
        if wanted is None:
            return
        arn = attributes.get("QueueArn", "").rpartition(":")[0] + f":{wanted}"
        policy = {"deadLetterTargetArn": arn, "maxReceiveCount": queue.max_receive_count}
        remedy = self._queues.setting(url, "RedrivePolicy", policy)
        target = (checks.redrive_target(attributes) or "").rpartition(":")[2]
        if not target:
            message = f"has no redrive policy; the spec's dead-letter queue is {wanted}"
            yield Finding("problem", _subject(queue), message, remedy)
        elif target != wanted:
            message = f"its dead letters go to {target}, in the spec to {wanted}"
            yield Finding("problem", _subject(queue), message, remedy)
        else:
            count = int(json.loads(attributes["RedrivePolicy"])["maxReceiveCount"])
            if count != queue.max_receive_count:
                message = f"maxReceiveCount is {count}, in the spec {queue.max_receive_count}"
                yield Finding("problem", _subject(queue), message, remedy)


def _subject(queue: QueueSpec) -> str:
    return f"queue {queue.queue_name}"


def _doubts(queue: QueueSpec, attributes: Attributes) -> Iterator[Finding]:
    """What a start of the service would warn of, and no finding above says."""
    timeout = queue.options.get("visibility_timeout")
    options = SQSOptions(
        visibility_timeout=None if timeout is None else int(timeout),
        heartbeat=bool(queue.options.get("heartbeat", True)),
    )
    limit = queue.options.get("handler_timeout")
    prefetch = queue.options.get("prefetch")
    redriven = {
        "RedrivePolicy": json.dumps(
            {"deadLetterTargetArn": "spec", "maxReceiveCount": queue.max_receive_count}
        )
    }
    known = {**attributes, **redriven} if queue.dead_letter_queue else attributes
    for text in checks.warnings(
        known,
        options,
        None if limit is None else float(limit),
        None if prefetch is None else int(prefetch),
    ):
        message, _, remedy = text.rpartition("; ")
        yield Finding("note", _subject(queue), message or text, remedy or None)
