"""What doctor asks of SQS, and the commands that change there what it does not change itself."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from loafer_kit.doctor.commands import aws
from loafer_kit.exceptions import ProviderError
from loafer_kit.ext.aws import errors

# They change nothing: no message has this receipt handle. A denial comes before that is noticed.
_PROBES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "delete_message": ("DeleteMessage", {}),
    "change_message_visibility": ("ChangeMessageVisibility", {"VisibilityTimeout": 0}),
}
_NO_HANDLE = "loafer-kit-doctor"

Attributes = Mapping[str, str]


class MissingQueueError(ProviderError):
    """A queue does not exist."""


class Queues:
    """The queues that one botocore client reaches; nothing about them is changed.

    Every request raises MissingQueueError, AccessDeniedError, or another ProviderError for what has
    nothing to do with the queue: credentials, the network. The commands are for the same endpoint.
    """

    def __init__(self, client: Any, endpoint_url: str | None) -> None:
        self._client = client
        self._endpoint_url = endpoint_url

    def url(self, name: str) -> str:
        """The URL of a queue that is given by name or URL."""
        if "/" in name:
            return name
        answer = self._ask("get_queue_url", "GetQueueUrl", name, QueueName=name)
        return str(answer["QueueUrl"])

    def exists(self, name: str) -> bool:
        """Whether there is a queue of that name."""
        try:
            self.url(name)
        except MissingQueueError:
            return False
        return True

    def attributes(self, url: str) -> Attributes:
        """All attributes of a queue, under AWS's names."""
        parameters = {"QueueUrl": url, "AttributeNames": ["All"]}
        answer = self._ask("get_queue_attributes", "GetQueueAttributes", url, **parameters)
        found: Attributes = answer["Attributes"]
        return found

    def denials(self, url: str) -> Iterator[errors.AccessDeniedError]:
        """What the credentials in use may not do with the messages of a queue."""
        for operation, (action, parameters) in _PROBES.items():
            try:
                self._ask(
                    operation, action, url, QueueUrl=url, ReceiptHandle=_NO_HANDLE, **parameters
                )
            except errors.AccessDeniedError as error:
                yield error
            except ProviderError:
                continue  # the receipt handle is none, as expected

    def creating(self, name: str) -> str:
        """The command that creates a queue."""
        fifo = ["--attributes", "FifoQueue=true"] if name.endswith(".fifo") else []
        return aws(self._endpoint_url, "sqs", "create-queue", "--queue-name", name, *fifo)

    def setting(self, url: str, attribute: str, value: str | Mapping[str, Any]) -> str:
        """The command that sets an attribute of a queue."""
        text = value if isinstance(value, str) else json.dumps(value)
        words = ["--queue-url", url, "--attributes", json.dumps({attribute: text})]
        return aws(self._endpoint_url, "sqs", "set-queue-attributes", *words)

    def _ask(self, operation: str, action: str, queue: str, **parameters: Any) -> Any:
        try:
            return getattr(self._client, operation)(**parameters)
        except errors.REQUEST_ERRORS as error:
            if isinstance(error, self._client.exceptions.QueueDoesNotExist):
                raise MissingQueueError(queue) from error
            subject = errors.queue_subject(queue)
            raise errors.from_exception(error, action=action, subject=subject) from error
