"""Claim check: payloads too large for a queue, which S3 keeps while SQS carries a pointer to them.

Messages are those of Amazon's extended clients for SQS and SNS, of Java and Python.
"""

import asyncio
import json
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from aiobotocore.config import AioConfig
from botocore.exceptions import ClientError

from loafer_kit.applications import ConsumerProvider
from loafer_kit.config import check_names, check_number
from loafer_kit.engine.callables import awaited
from loafer_kit.events import ObservedRoute, Observer, Settlement
from loafer_kit.exceptions import ConfigurationError, ProviderError, RetryMessage
from loafer_kit.ext.aws.limits import SQS_MESSAGE_ATTRIBUTES
from loafer_kit.ext.aws.message_translators import SQSMessageTranslator
from loafer_kit.ext.aws.providers import SQSProvider
from loafer_kit.ext.aws.requests import clients, errors
from loafer_kit.ext.aws.sending import size_of
from loafer_kit.logs import log_event
from loafer_kit.message_translators import AbstractMessageTranslator
from loafer_kit.services import Service
from loafer_kit.types import Message, TranslatedMessage

logger = logging.getLogger(__name__)

#: Bytes: the threshold of Amazon's clients, which every queue and topic accepts.
_THRESHOLD = 262_144

#: The first part of a pointer; the older class is that of Java's first versions.
_CLASS = "software.amazon.payloadoffloading.PayloadS3Pointer"
_CLASSES = (_CLASS, "com.amazon.sqs.javamessaging.MessageS3Pointer")

#: The message attribute that says that a body is a pointer; its value is the size of the payload.
_MARKER = "ExtendedPayloadSize"
_MARKERS = (_MARKER, "SQSLargePayloadSize")

#: Bytes of an object's key.
_S3_LONGEST_KEY = 1_024

#: Seconds that the last deletions get when the service stops.
_FLUSH_TIME = 10.0


class Pointer(NamedTuple):
    """Where a payload is."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"Object {self.key!r} of bucket {self.bucket!r}"


class ClaimCheck:
    """Reads and writes messages whose payloads are in S3.

    `buckets` are those that a pointer may name; payloads are written to the first one. A message is
    written with a pointer if its body and attributes have more than `above` bytes. `client_options`
    are those of boto's client.
    """

    def __init__(self, *buckets: str, above: int = _THRESHOLD, **client_options: Any) -> None:
        if not buckets or not all(map(_is_name, buckets)):
            raise ConfigurationError(
                f"ClaimCheck takes the names of buckets, ClaimCheck('payloads'), not {buckets!r}."
            )
        check_number("above", above, at_least=0, whole=True)
        check_names("ClaimCheck", client_options, clients.CLIENT_OPTIONS)
        self._buckets = buckets
        self._above = above
        retries = AioConfig(retries={"mode": "standard", "total_max_attempts": 3})
        self._client_options = {"config": retries, **client_options}

    def translator(
        self, inner: AbstractMessageTranslator | None = None
    ) -> AbstractMessageTranslator:
        """Return a translator that fetches the payload and has `inner` translate it.

        `inner` is by default that of JSON. Messages without a pointer are translated as well. The
        translator raises as `load` does.
        """
        return _ClaimCheckTranslator(self.load, inner or SQSMessageTranslator())

    async def load(self, message: Message) -> Message:
        """Return a message with its payload as the body; the message itself if that has no pointer.

        Raises `ValueError` for a pointer that is not valid or whose object is missing, and
        `RetryMessage` if S3 does not give the object.
        """
        pointer = self.pointer(message)
        if pointer is None:
            return message
        try:
            body = await self._request("GetObject", pointer)
        except ProviderError as error:
            if _is_missing(error):
                raise ValueError(f"{pointer} does not exist: the payload is lost.") from error
            facts = {"message_id": message.get("MessageId"), **pointer._asdict()}
            text = f"the message is retried; {error}"
            log_event(logger, logging.WARNING, "payload.not_fetched", facts, text)
            raise RetryMessage(str(error)) from error
        try:
            text = body.decode()
        except UnicodeDecodeError:
            raise ValueError(f"{pointer} is not text in UTF-8.") from None
        attributes = {
            name: value
            for name, value in message["MessageAttributes"].items()
            if name not in _MARKERS
        }
        return {**message, "Body": text, "MessageAttributes": attributes}

    async def store(
        self, body: str, attributes: Mapping[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Return the body and the message attributes to send: a pointer if they are too large.

        A producer calls it for each message: `Producer("orders", prepare=claim_check.store)`.
        Raises `ProviderError` if the payload cannot be stored.
        """
        attributes = dict(attributes or {})
        if size_of({"MessageBody": body, "MessageAttributes": attributes}) <= self._above:
            return body, attributes
        if reserved := [name for name in _MARKERS if name in attributes]:
            raise ProviderError(
                f"The message attribute {reserved[0]!r} is reserved for pointers to payloads: "
                "remove it."
            )
        if len(attributes) >= SQS_MESSAGE_ATTRIBUTES:
            raise ProviderError(
                f"The message has {len(attributes)} attributes, but beside a pointer to its payload "
                f"it may have {SQS_MESSAGE_ATTRIBUTES - 1}: remove some."
            )
        pointer, payload = Pointer(self._buckets[0], str(uuid.uuid4())), body.encode()
        await self._request("PutObject", pointer, Body=payload)
        attributes[_MARKER] = {"DataType": "Number", "StringValue": str(len(payload))}
        place = {"s3BucketName": pointer.bucket, "s3Key": pointer.key}
        return json.dumps([_CLASS, place]), attributes

    def delete_payloads(self, service: Service) -> None:
        """Delete the payload of each message that SQS has deleted after it was handled.

        Only for a queue that alone gets these pointers. Payloads of dead letters stay, and those of
        a Lambda function, whose messages are deleted after it has returned.
        """
        deletions = _Deletions(self.pointer, partial(self._request, "DeleteObject"))
        service.observe(deletions)
        service.teardown(deletions.finish)

    def pointer(self, message: Message) -> Pointer | None:
        """Return where the payload of a message is; None if that is its body.

        Raises `ValueError` for a pointer that is not valid.
        """
        attributes = message.get("MessageAttributes") or {}
        if not any(name in attributes for name in _MARKERS):
            return None
        try:
            found = json.loads(message["Body"])
        except (ValueError, RecursionError):
            found = None
        match found:
            case [kind, {"s3BucketName": str(bucket), "s3Key": str(key)}] if kind in _CLASSES:
                _check(bucket, key, self._buckets)
                return Pointer(bucket, key)
        raise ValueError(
            f"The body is not a pointer to a payload, though the message has the attribute {_MARKER} "
            f"or {_MARKERS[1]}: {message['Body']!r:.100}"
        )

    async def _request(self, action: str, pointer: Pointer, **parameters: Any) -> bytes:
        """Carry out a request for an object; return the content that S3 answers with."""
        place = {"Bucket": pointer.bucket, "Key": pointer.key}
        async with clients.borrowed(self._client_options, service="s3") as shared:
            answer = await shared.request("s3", action, str(pointer), {**place, **parameters})
            if "Body" not in answer:
                return b""
            try:
                async with answer["Body"] as stream:
                    content: bytes = await stream.read()
            except errors.REQUEST_ERRORS as exc:
                raise errors.from_exception(
                    exc, action=f"s3:{action}", subject=str(pointer)
                ) from exc
        return content


class _ClaimCheckTranslator(AbstractMessageTranslator):
    def __init__(
        self, load: Callable[[Message], Awaitable[Message]], inner: AbstractMessageTranslator
    ) -> None:
        self._load = load
        self._inner = inner

    async def translate(self, message: Message) -> TranslatedMessage:
        translated: TranslatedMessage = await awaited(
            self._inner.translate(await self._load(message))
        )
        return translated


class _Deletions(Observer):
    """Deletes payloads, after SQS has deleted their messages."""

    def __init__(
        self,
        pointer_of: Callable[[Message], Pointer | None],
        delete: Callable[[Pointer], Awaitable[object]],
    ) -> None:
        self._pointer_of = pointer_of
        self._delete = delete
        self._tasks: set[asyncio.Task[None]] = set()

    def settled(
        self, route: ObservedRoute, messages: Sequence[Message], result: Settlement, seconds: float
    ) -> None:
        """Start the deletion of the payloads of messages that were acknowledged."""
        if result != "acknowledged":
            return
        if not isinstance(route.provider, SQSProvider | ConsumerProvider):
            return  # Lambda deletes the message later
        for message in messages:
            try:
                pointer = self._pointer_of(message)
            except ValueError:
                continue  # an error handler has acknowledged it
            if pointer is not None:
                task = asyncio.get_running_loop().create_task(self._carry_out(pointer))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _carry_out(self, pointer: Pointer) -> None:
        try:
            await self._delete(pointer)
        except ProviderError as error:
            text = f"it stays in S3; {error}"
            log_event(logger, logging.ERROR, "payload.not_deleted", pointer._asdict(), text)

    async def finish(self, service: Service) -> None:
        """Wait for the deletions under way, within a limit."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=_FLUSH_TIME)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)
            facts = {"count": len(late)}
            log_event(logger, logging.ERROR, "payloads.flush_given_up", facts, "they stay in S3")


def _is_name(bucket: object) -> bool:
    return isinstance(bucket, str) and bucket != ""


def _check(bucket: str, key: str, allowed: Sequence[str]) -> None:
    if bucket not in allowed:
        raise ValueError(
            f"The pointer names the bucket {bucket!r:.80}, but the payloads of this service are in "
            f"{', '.join(allowed)}: pass the bucket to ClaimCheck if you trust it."
        )
    # Clients and proxies resolve dots in a path, so such a key could lead into another bucket.
    has_dots = any(part in (".", "..") for part in key.split("/"))
    if not key.isprintable() or has_dots or not 0 < len(key.encode()) <= _S3_LONGEST_KEY:
        raise ValueError(f"The pointer names a key that is not accepted: {key!r:.80}")


def _is_missing(error: ProviderError) -> bool:
    cause = error.__cause__
    return isinstance(cause, ClientError) and (errors.client_error_code(cause) == "NoSuchKey")
