"""Requests to a queue of SQS, and what the answers confirm."""

import base64
import contextvars
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Protocol

from loafer_kit.events import requesting
from loafer_kit.exceptions import TransientProviderError
from loafer_kit.ext.aws.addresses import is_fifo
from loafer_kit.ext.aws.requests.errors import (
    REQUEST_ERRORS,
    BatchEntryFailure,
    UnexpectedAnswerError,
    from_exception,
    queue_subject,
)
from loafer_kit.types import Message

#: A plain number: in Python 3.11 each look at a member of an enum is a call.
OK = HTTPStatus.OK.value


class SQSTransport(Protocol):
    """Carries requests to SQS. It repeats none: heartbeat, settlement and engine decide that."""

    async def call(self, action: str, url: str, /, **parameters: Any) -> dict[str, Any]:
        """Return SQS's answer to `action` on the queue at `url`; names and shapes are AWS's.

        Raises `TransientProviderError` if repeating may help (connections, 5xx, throttling), any
        other `ProviderError` if not.
        """

    async def close(self) -> None:
        """Close the connections."""


def copied_parameters(message: Message) -> dict[str, Any]:
    """Return what a copy of a received message takes over, as parameters of SendMessage.

    These are its message attributes and its trace header. The lists that SQS answers in an attribute
    are left out: SendMessage refuses them.
    """
    parameters: dict[str, Any] = {}
    if attributes := message.get("MessageAttributes"):
        parameters["MessageAttributes"] = {
            name: {key: part for key, part in value.items() if not key.endswith("ListValues")}
            for name, value in attributes.items()
        }
    if trace_header := (message.get("Attributes") or {}).get("AWSTraceHeader"):
        parameters["MessageSystemAttributes"] = {"AWSTraceHeader": text_attribute(trace_header)}
    return parameters


def text_attribute(value: str) -> dict[str, str]:
    """Return a message attribute that holds a string."""
    return {"DataType": "String", "StringValue": value}


@dataclass(slots=True)
class ActionStatistics:
    """The requests of one action; `seconds` is the sum of their durations."""

    requests: int = 0
    failures: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue and the requests that a consumer makes to it, counted by action.

    Errors are those of `SQSTransport.call`. A batch takes up to ten entries and returns those that
    SQS does not confirm. Entry ids are positions, not message ids: a message that was received twice may be in one
    batch twice, and SQS refuses a batch with equal ids.
    """

    name: str
    url: str
    transport: SQSTransport
    statistics: dict[str, ActionStatistics] = field(default_factory=dict)

    @property
    def is_fifo(self) -> bool:
        """Whether SQS keeps the order of each message group."""
        return is_fifo(self.name)

    async def receive(self, **parameters: Any) -> list[Message]:
        """Return the messages of one ReceiveMessage, which may be none."""
        answer = await self._call("ReceiveMessage", **parameters)
        messages: list[Message] = answer.get("Messages") or []
        check_digests(messages, self.url)
        return messages

    async def delete(self, receipt_handles: Iterable[str]) -> list[BatchEntryFailure]:
        """Delete messages."""
        entries = [
            {"Id": str(position), "ReceiptHandle": handle}
            for position, handle in enumerate(receipt_handles)
        ]
        return unconfirmed(entries, await self._call("DeleteMessageBatch", Entries=entries))

    async def change_visibility(
        self, timeouts: Iterable[tuple[str, int]]
    ) -> list[BatchEntryFailure]:
        """Hide messages for so many seconds from now; each is given by its receipt handle."""
        entries = _visibility_entries(timeouts)
        answer = await self._call("ChangeMessageVisibilityBatch", Entries=entries)
        return unconfirmed(entries, answer)

    async def send(self, entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Send messages; return SQS's answer."""
        return await self._call("SendMessageBatch", Entries=entries)

    async def attributes(self) -> dict[str, str]:
        """Return all attributes of the queue."""
        answer = await self._call("GetQueueAttributes", AttributeNames=["All"])
        return answer.get("Attributes") or {}

    async def _call(self, action: str, **parameters: Any) -> dict[str, Any]:
        statistics = self.statistics.setdefault(action, ActionStatistics())
        statistics.requests += 1
        started = time.monotonic()
        try:
            return await self.transport.call(action, self.url, **parameters)
        except BaseException:
            statistics.failures += 1
            raise
        finally:
            statistics.seconds += time.monotonic() - started


class BlockingQueue:
    """The requests to a queue that are made in another thread than the loop's.

    `open_client` returns a client of botocore; it is called at the first request. Errors are those
    of `SQSTransport.call`.
    """

    def __init__(self, url: str, open_client: Callable[[], Any]) -> None:
        self._url = url
        self._open_client = open_client
        self._client: Any = None
        #: Its own, which the other thread lacks: it names the observers.
        self._context = contextvars.copy_context()

    def change_visibility(self, timeouts: Iterable[tuple[str, int]]) -> list[BatchEntryFailure]:
        """Hide messages for so many seconds from now; each is given by its receipt handle."""
        entries = _visibility_entries(timeouts)
        return unconfirmed(entries, self._context.run(self._ask, entries))

    def _ask(self, entries: list[dict[str, Any]]) -> dict[str, Any]:
        action = "ChangeMessageVisibilityBatch"
        parameters = {"QueueUrl": self._url, "Entries": entries}
        with requesting("sqs", action, parameters, lambda _: {}) as told:
            try:
                if self._client is None:
                    self._client = self._open_client()
                answer: dict[str, Any] = self._client.change_message_visibility_batch(**parameters)
            except REQUEST_ERRORS as exc:
                raise from_exception(exc, action=action, subject=queue_subject(self._url)) from exc
            if told is not None:
                told.answer = answer
        return answer

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()


def _visibility_entries(timeouts: Iterable[tuple[str, int]]) -> list[dict[str, Any]]:
    return [
        {"Id": str(position), "ReceiptHandle": handle, "VisibilityTimeout": seconds}
        for position, (handle, seconds) in enumerate(timeouts)
    ]


# Answers: whether AWS wrote them
#
# A proxy or a gateway on the way may answer 200 with a page of its own, or with nothing. What an
# answer does not confirm did not happen.


def parse_json(action: str, status: int, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """Return the JSON object that is SQS's answer to `action`; raise `UnexpectedAnswerError`.

    Every answer of SQS is a JSON object, and every error names its code: in the object, or in a
    header for the codes of the old query protocol.
    """
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if isinstance(answer, dict) and (
        _has_shape(action, answer)
        if status == OK
        else isinstance(answer.get("__type"), str) or headers.get("x-amzn-query-error")
    ):
        return answer
    raise UnexpectedAnswerError(status, headers, body)


def _has_shape(action: str, answer: dict[str, Any]) -> bool:
    """Return whether the answer has the fields that this package and botocore's parser read."""
    match action:
        case "ReceiveMessage":
            messages = answer.get("Messages")
            return messages is None or _are_messages(messages)
        case "GetQueueUrl":
            return _is_text(answer.get("QueueUrl"))
        case "GetQueueAttributes":
            return _is_attributes(answer.get("Attributes"))
        case "SendMessage":
            return _is_text(answer.get("MessageId"))
        case _:  # a batch
            lists = (answer.get("Successful"), answer.get("Failed"))
            return all(entries is None or _are_entries(entries) for entries in lists)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _are_entries(entries: object) -> bool:
    return isinstance(entries, list) and all(
        isinstance(entry, dict) and _is_text(entry.get("Id")) for entry in entries
    )


def _are_messages(messages: object) -> bool:
    """Return whether these are received messages; a plain loop, since each message passes here."""
    if not isinstance(messages, list):
        return False
    for message in messages:
        if not isinstance(message, dict):
            return False
        body, message_id = message.get("Body"), message.get("MessageId")
        handle = message.get("ReceiptHandle")
        if not (
            isinstance(body, str)
            and isinstance(message_id, str)
            and isinstance(handle, str)
            and message_id
            and handle
        ):
            return False
        attributes = message.get("Attributes")
        if attributes and not (
            isinstance(attributes, dict)
            and _is_number(attributes.get("ApproximateReceiveCount", "1"))
            and _is_number(attributes.get("ApproximateFirstReceiveTimestamp", "1"))
        ):
            return False
        attributes = message.get("MessageAttributes")
        if attributes and not (
            isinstance(attributes, dict) and all(map(_is_message_attribute, attributes.values()))
        ):
            return False
    return True


def _is_message_attribute(attribute: object) -> bool:
    if not isinstance(attribute, dict):
        return False
    try:
        base64.b64decode(attribute.get("BinaryValue") or "")
    except (TypeError, ValueError):
        return False
    return True


def _is_attributes(attributes: object) -> bool:
    """Return whether these are a queue's attributes; SQS answers at least some when asked for all."""
    return (
        isinstance(attributes, dict)
        and bool(attributes)
        and all(isinstance(value, str) for value in attributes.values())
        and all(
            _is_number(attributes.get(name, "0"))
            for name in ("VisibilityTimeout", "ApproximateNumberOfMessagesNotVisible")
        )
    )


def _is_number(value: object) -> bool:
    return isinstance(value, str) and value.isdecimal()


def check_parsable(operation_model: Any, response_dict: dict[str, Any], **_: object) -> None:
    """Raise `UnexpectedAnswerError` unless AWS wrote an answer; a hook of botocore (before-parse).

    botocore makes an empty result of a page that was answered with 200.
    """
    status, headers = response_dict["status_code"], response_dict["headers"]
    body: bytes = response_dict["body"]
    match operation_model.service_model.resolved_protocol:
        case "json":
            if operation_model.output_shape is None and status == OK and not body:
                return  # PurgeQueue answers nothing
            parse_json(operation_model.name, status, headers, body)
        case "query":  # XML
            element = f"<{operation_model.name}Response" if status == OK else "<Code>"
            if element.encode() not in body:
                raise UnexpectedAnswerError(status, headers, body)


# Batches


def unconfirmed(
    entries: Sequence[Mapping[str, Any]],
    answer: Mapping[str, Any],
    confirms: Callable[[Mapping[str, Any], Mapping[str, Any]], bool] | None = None,
) -> list[BatchEntryFailure]:
    """Return the failures among the entries of a batch request, in the order of the entries.

    SQS lists every entry as successful or as failed. An entry in neither list, or whose success
    `confirms(entry, success)` denies, counts as failed and may be repeated.
    """
    successes = {success["Id"]: success for success in answer.get("Successful") or ()}
    failures = {failure["Id"]: failure for failure in answer.get("Failed") or ()}
    found: list[BatchEntryFailure] = []
    for entry in entries:
        entry_id = entry["Id"]
        if entry_id in failures:
            found.append(_failure(entry_id, failures[entry_id]))
        elif (success := successes.get(entry_id)) is None or (
            confirms is not None and not confirms(entry, success)
        ):
            found.append(_failure(entry_id, _UNCONFIRMED))
    return found


def confirms_send(entry: Mapping[str, Any], success: Mapping[str, Any]) -> bool:
    """Return whether SQS's answer to the send of one message shows that SQS stored it whole."""
    if not success.get("MessageId"):
        return False
    digest, body = success.get("MD5OfMessageBody"), entry.get("MessageBody")
    if digest and isinstance(body, str) and digest != _digest(body):
        return False
    digest, attributes = success.get("MD5OfMessageAttributes"), entry.get("MessageAttributes")
    return not digest or not attributes or digest == digest_of_attributes(attributes)


def check_published(
    answer: Mapping[str, Any], parameters: Mapping[str, Any], action: str, subject: str
) -> None:
    """Raise `TransientProviderError` unless the answer to SendMessage or Publish confirms it."""
    if not confirms_send(parameters, answer):
        raise TransientProviderError(
            f"{subject}: the answer to {action} does not confirm that the message was sent"
        )


_UNCONFIRMED = {"Code": "Unconfirmed", "Message": "the answer does not confirm the entry"}


def _failure(entry_id: str, failure: Mapping[str, Any]) -> BatchEntryFailure:
    return {
        "Id": entry_id,
        "SenderFault": failure.get("SenderFault") is True,
        "Code": str(failure.get("Code") or ""),
        "Message": str(failure.get("Message") or ""),
    }


# Messages


def check_digests(messages: Sequence[Message], queue_url: str) -> None:
    """Raise `TransientProviderError` for a message whose body was damaged on its way."""
    for message in messages:
        digest = message.get("MD5OfBody")
        if digest is not None and digest != _digest(message["Body"]):
            raise TransientProviderError(
                f"{queue_subject(queue_url)}: message {message['MessageId']} was damaged on its way: "
                "its body does not have the digest that SQS names."
            )


def digest_of_attributes(attributes: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the digest that SQS computes of message attributes: of names, types and values.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html
    """
    parts = bytearray()
    for name in sorted(attributes):
        kind = str(attributes[name].get("DataType"))
        parts += _with_length(name.encode()) + _with_length(kind.encode())
        if kind.startswith("Binary"):
            parts += b"\x02" + _with_length(bytes(attributes[name].get("BinaryValue") or b""))
        else:
            text = str(attributes[name].get("StringValue") or "")
            parts += b"\x01" + _with_length(text.encode(errors="surrogatepass"))
    return hashlib.md5(parts, usedforsecurity=False).hexdigest()


def _with_length(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value


def _digest(text: str) -> str:
    # A lone surrogate cannot be encoded otherwise; SQS never sends or accepts one.
    return hashlib.md5(text.encode(errors="surrogatepass"), usedforsecurity=False).hexdigest()
