"""The queues as AWS describes them, against what the spec says of them."""

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from loafer_kit.cli.diagnoses.findings import Finding
from loafer_kit.exceptions import ProviderError
from loafer_kit.ext.aws import checks, errors
from loafer_kit.ext.aws.options import SQSOptions
from loafer_kit.scaffold.specs import QueueSpec

_ASKED = {"get_queue_url": "GetQueueUrl", "get_queue_attributes": "GetQueueAttributes"}
# They change nothing: no message has this receipt handle. A denial comes before that is noticed.
_PROBES = {
    "delete_message": ("DeleteMessage", {}),
    "change_message_visibility": ("ChangeMessageVisibility", {"VisibilityTimeout": 0}),
}
_NO_HANDLE = "loafer-kit-doctor"

Attributes = Mapping[str, str]


class QueueDoctor:
    """Looks at queues through one botocore client; nothing on AWS is changed.

    The remedies are commands for the same endpoint.
    """

    def __init__(self, sqs: Any, endpoint_url: str | None) -> None:
        self._sqs = sqs
        self._aws = f"aws --endpoint-url {endpoint_url} sqs" if endpoint_url else "aws sqs"

    def examine(self, queue: QueueSpec) -> list[Finding]:
        """Everything about one queue; one finding that is ok when there is nothing to say.

        Raises ProviderError for what has nothing to do with this queue: credentials, the network.
        """
        try:
            url = self._url(queue.name)
            answer = self._ask("get_queue_attributes", url, AttributeNames=["All"], QueueUrl=url)
        except _MissingQueueError:
            return [self._missing(queue)]
        except errors.AccessDeniedError as error:
            return [_denied(queue.queue_name, str(error))]
        attributes: Attributes = answer["Attributes"]
        found = [
            *self._visibility(queue, url, attributes),
            *self._redrive(queue, url, attributes),
            *self._permissions(queue, url),
            *_doubts(queue, attributes),
        ]
        return found or [Finding("ok", f"queue {queue.queue_name}", "is as the spec says")]

    def _url(self, name: str) -> str:
        if "/" in name:
            return name
        return str(self._ask("get_queue_url", name, QueueName=name)["QueueUrl"])

    def _exists(self, name: str) -> bool:
        try:
            self._url(name)
        except _MissingQueueError:
            return False
        return True

    def _ask(self, operation: str, queue: str, **parameters: Any) -> Any:
        action = _ASKED.get(operation) or _PROBES[operation][0]
        try:
            return getattr(self._sqs, operation)(**parameters)
        except errors.REQUEST_ERRORS as error:
            if isinstance(error, self._sqs.exceptions.QueueDoesNotExist):
                raise _MissingQueueError(queue) from error
            subject = errors.queue_subject(queue)
            raise errors.from_exception(error, action=action, subject=subject) from error

    def _missing(self, queue: QueueSpec) -> Finding:
        name = queue.queue_name
        other = name.removesuffix(".fifo") if queue.fifo else f"{name}.fifo"
        try:
            found = self._exists(other)
        except errors.AccessDeniedError:  # a policy for the spec's queues alone
            found = False
        if found:
            message = f"does not exist, but {other} does: one is a FIFO queue, the other is not"
            return Finding("problem", f"queue {name}", message, f"name {other} in loafer.toml")
        remedy = f"check region and account, or create it: {self._create(queue, name)}"
        return Finding("problem", f"queue {name}", "does not exist", remedy)

    def _visibility(self, queue: QueueSpec, url: str, attributes: Attributes) -> Iterator[Finding]:
        wanted, found = queue.options.get("visibility_timeout"), attributes.get("VisibilityTimeout")
        if wanted is not None and found is not None and int(found) != int(wanted):
            message = f"its visibility timeout is {found} s, in the spec {wanted} s"
            remedy = self._set_attributes(url, {"VisibilityTimeout": str(wanted)})
            yield Finding("problem", f"queue {queue.queue_name}", message, remedy)

    def _redrive(self, queue: QueueSpec, url: str, attributes: Attributes) -> Iterator[Finding]:
        wanted, subject = queue.dead_letter_queue, f"queue {queue.queue_name}"
        if wanted is None:
            return
        arn = attributes.get("QueueArn", "").rpartition(":")[0] + f":{wanted}"
        policy = {"deadLetterTargetArn": arn, "maxReceiveCount": queue.max_receive_count}
        remedy = self._set_attributes(url, {"RedrivePolicy": json.dumps(policy)})
        target = (checks.redrive_target(attributes) or "").rpartition(":")[2]
        if not target:
            message = f"has no redrive policy; the spec's dead-letter queue is {wanted}"
            yield Finding("problem", subject, message, remedy)
        elif target != wanted:
            message = f"its dead letters go to {target}, in the spec to {wanted}"
            yield Finding("problem", subject, message, remedy)
        else:
            count = int(json.loads(attributes["RedrivePolicy"])["maxReceiveCount"])
            if count != queue.max_receive_count:
                message = f"maxReceiveCount is {count}, in the spec {queue.max_receive_count}"
                yield Finding("problem", subject, message, remedy)
        try:
            if not self._exists(wanted):
                create = self._create(queue, wanted)
                yield Finding("problem", f"dead-letter queue {wanted}", "does not exist", create)
        except errors.AccessDeniedError as error:
            yield _denied(wanted, str(error))

    def _permissions(self, queue: QueueSpec, url: str) -> Iterator[Finding]:
        for operation, (_, parameters) in _PROBES.items():
            try:
                self._ask(operation, url, QueueUrl=url, ReceiptHandle=_NO_HANDLE, **parameters)
            except errors.AccessDeniedError as error:
                yield _denied(queue.queue_name, str(error))
            except ProviderError:
                continue  # the receipt handle is none, as expected

    def _create(self, queue: QueueSpec, name: str) -> str:
        fifo = " --attributes FifoQueue=true" if queue.fifo else ""
        return f"{self._aws} create-queue --queue-name {name}{fifo}"

    def _set_attributes(self, url: str, attributes: Mapping[str, str]) -> str:
        values = shlex.quote(json.dumps(attributes))
        return f"{self._aws} set-queue-attributes --queue-url {url} --attributes {values}"


class _MissingQueueError(ProviderError):
    """A queue does not exist."""


def _denied(name: str, message: str) -> Finding:
    found, _, said = message.partition("; ")
    remedy, _, answer = said.partition(". ")
    told = found.partition(": ")[2] + (f" ({answer})" if answer else "")
    return Finding("problem", f"queue {name}", told, remedy)


def _doubts(queue: QueueSpec, attributes: Attributes) -> Iterator[Finding]:
    """What a start of the service would warn of, and no finding above says."""
    timeout = queue.options.get("visibility_timeout")
    options = SQSOptions(
        visibility_timeout=None if timeout is None else int(timeout),
        heartbeat=bool(queue.options.get("heartbeat", True)),
    )
    limit = queue.options.get("handler_timeout")
    redriven = {"RedrivePolicy": json.dumps({"deadLetterTargetArn": "spec"})}
    known = {**attributes, **redriven} if queue.dead_letter_queue else attributes
    for text in checks.warnings(known, options, None if limit is None else float(limit)):
        message, _, remedy = text.rpartition("; ")
        yield Finding("note", f"queue {queue.queue_name}", message or text, remedy or None)
