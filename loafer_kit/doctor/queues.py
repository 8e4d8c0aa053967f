"""Compares the queues on AWS, dead-letter queues among them, with the spec."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from botocore import xform_name
from botocore.exceptions import ClientError

from loafer_kit.doctor import Finding, aws_command, denied
from loafer_kit.exceptions import ProviderError
from loafer_kit.ext.aws.options import SQSOptions, queue_warnings, redrive_target
from loafer_kit.ext.aws.requests import errors
from loafer_kit.scaffold.shipping import MOST_SOURCES
from loafer_kit.scaffold.spec.fields import FIFO
from loafer_kit.scaffold.spec.specs import QueueSpec

# They change nothing, as no message has this receipt handle; AWS checks the permission first.
_PROBES: Mapping[str, Mapping[str, Any]] = {
    "DeleteMessage": {},
    "ChangeMessageVisibility": {"VisibilityTimeout": 0},
}
# How the codes of a missing queue end: in the query protocol, and in JSON.
_MISSING = ("NonExistentQueue", "QueueDoesNotExist")
_NO_HANDLE = "loafer-kit-doctor"

Attributes = Mapping[str, str]
Policy = dict[str, Any]


class MissingQueueError(ProviderError):
    """A queue does not exist."""


class Queues:
    """The queues of one botocore client; nothing about them is changed.

    Every request raises MissingQueueError, AccessDeniedError, or another ProviderError for what
    does not concern the queue: credentials, the network. The commands are for the same endpoint.
    """

    def __init__(self, client: Any, endpoint_url: str | None) -> None:
        self._client = client
        self._endpoint_url = endpoint_url

    def url(self, name: str) -> str:
        """Return the URL of a queue that is given by name or URL."""
        if "/" in name:
            return name
        return str(self._ask("GetQueueUrl", name, QueueName=name)["QueueUrl"])

    def attributes(self, url: str) -> Attributes:
        """Return all attributes of a queue, under AWS's names."""
        answer = self._ask("GetQueueAttributes", url, QueueUrl=url, AttributeNames=["All"])
        found: Attributes = answer["Attributes"]
        return found

    def denials(self, url: str) -> Iterator[errors.AccessDeniedError]:
        """Yield the errors for actions on a queue's messages that the credentials may not do."""
        for action, parameters in _PROBES.items():
            try:
                self._ask(action, url, QueueUrl=url, ReceiptHandle=_NO_HANDLE, **parameters)
            except errors.AccessDeniedError as error:
                yield error
            except ProviderError:
                continue  # the receipt handle is invalid, as expected

    def creating(self, name: str) -> str:
        """Return the command that creates a queue."""
        fifo = ["--attributes", "FifoQueue=true"] if name.endswith(".fifo") else []
        return aws_command(self._endpoint_url, "sqs", "create-queue", "--queue-name", name, *fifo)

    def setting(self, url: str, attribute: str, value: str | Mapping[str, Any]) -> str:
        """Return the command that sets an attribute of a queue."""
        text = value if isinstance(value, str) else json.dumps(value)
        words = ["--queue-url", url, "--attributes", json.dumps({attribute: text})]
        return aws_command(self._endpoint_url, "sqs", "set-queue-attributes", *words)

    def _ask(self, action: str, queue: str, **parameters: Any) -> Any:
        try:
            return getattr(self._client, xform_name(action))(**parameters)
        except errors.REQUEST_ERRORS as error:
            # By its code: botocore does not always raise the modelled class.
            code = errors.client_error_code(error) if isinstance(error, ClientError) else ""
            if code.endswith(_MISSING):
                raise MissingQueueError(queue) from error
            subject = errors.queue_subject(queue)
            raise errors.from_exception(error, action=action, subject=subject) from error


def missing(queues: Queues, queue: QueueSpec) -> Finding:
    """Return the problem of a queue that does not exist."""
    name, subject = queue.queue_name, subject_of(queue)
    other = name.removesuffix(".fifo") if queue.fifo else f"{name}.fifo"
    try:
        queues.url(other)
    except (MissingQueueError, errors.AccessDeniedError):
        # Denied: a policy may name the spec's queues alone.
        remedy = f"check region and account, or create it: {queues.creating(name)}"
        return Finding("problem", subject, "does not exist", remedy)
    message = f"does not exist, but {other} does: one is a FIFO queue, the other is not"
    return Finding("problem", subject, message, f"name {other} in loafer.toml")


def differences(
    queues: Queues, queue: QueueSpec, url: str, attributes: Attributes
) -> Iterator[Finding]:
    """Yield the problems of a queue whose attributes differ from the spec."""
    problem = partial(Finding, "problem", subject_of(queue))
    timeout, found = queue.options.get("visibility_timeout"), attributes.get("VisibilityTimeout")
    if timeout is not None and found is not None and int(found) != int(timeout):
        yield problem(
            f"its visibility timeout is {found} s, in the spec {timeout} s",
            queues.setting(url, "VisibilityTimeout", str(timeout)),
        )
    for name, text in queue.attribute_texts(FIFO).items():
        if (known := attributes.get(name, text)) != text:
            remedy = queues.setting(url, name, text)
            yield problem(f"its {name} is {known}, in the spec {text}", remedy)
    wanted, count = queue.dead_letter_queue, queue.max_receive_count
    if wanted is None:
        return
    arn = attributes.get("QueueArn", "").rpartition(":")[0] + f":{wanted}"
    policy = {"deadLetterTargetArn": arn, "maxReceiveCount": count}
    remedy = queues.setting(url, "RedrivePolicy", policy)
    target = (redrive_target(attributes) or "").rpartition(":")[2]
    if not target:
        yield problem(f"has no redrive policy; the spec's dead-letter queue is {wanted}", remedy)
    elif target != wanted:
        yield problem(f"its dead letters go to {target}, in the spec to {wanted}", remedy)
    elif (here := int(json.loads(attributes["RedrivePolicy"])["maxReceiveCount"])) != count:
        yield problem(f"maxReceiveCount is {here}, in the spec {count}", remedy)


def warnings(queue: QueueSpec, attributes: Attributes) -> Iterator[Finding]:
    """Yield the warnings that a start of the service logs, as notes."""
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
    for text in queue_warnings(
        known,
        options,
        None if limit is None else float(limit),
        None if prefetch is None else int(prefetch),
    ):
        message, _, remedy = text.rpartition("; ")
        yield Finding("note", subject_of(queue), message or text, remedy or None)


def subject_of(queue: QueueSpec) -> str:
    """Return the subject of a queue's findings."""
    return f"queue {queue.queue_name}"


def examine_dead_letter_queue(queues: Queues, name: str, sources: Sequence[str]) -> Finding:
    """Return the finding about the dead-letter queue of `sources`, the names of its queues."""
    subject = f"dead-letter queue {name}"
    try:
        url = queues.url(name)
    except MissingQueueError:
        return Finding("problem", subject, "does not exist", queues.creating(name))
    except errors.AccessDeniedError as error:
        return denied("problem", subject, error)
    try:
        attributes = queues.attributes(url)
    except errors.AccessDeniedError as error:  # a service itself does not need them
        return denied("note", subject, error)
    policy = json.loads(attributes.get("RedriveAllowPolicy") or "{}")
    place = attributes.get("QueueArn", "").rpartition(":")[0]  # its sources have the same
    refused = refusals(policy, [f"{place}:{source}" for source in sources])
    if not refused:
        return Finding("ok", subject, "is as the spec says")
    names = ", ".join(arn.rpartition(":")[2] for arn in refused)
    message = f"its redrive allow policy ({policy['redrivePermission']}) refuses {names}"
    remedy = queues.setting(url, "RedriveAllowPolicy", allowing(policy, refused))
    return Finding("problem", subject, message, remedy)


def refusals(policy: Policy, sources: Iterable[str]) -> list[str]:
    """Return the queues, by ARN, that a redrive allow policy refuses."""
    permission = policy.get("redrivePermission")
    if permission == "byQueue":
        return [source for source in sources if source not in policy.get("sourceQueueArns", [])]
    return list(sources) if permission == "denyAll" else []


def allowing(policy: Policy, sources: Iterable[str]) -> Policy:
    """Return a redrive allow policy that accepts these queues as well."""
    named = [*policy.get("sourceQueueArns", []), *sources]
    if len(named) > MOST_SOURCES:
        return {"redrivePermission": "allowAll"}
    return {"redrivePermission": "byQueue", "sourceQueueArns": named}
