"""The envelopes in which AWS's services and CloudEvents put a message on a queue."""

import base64
import binascii
import datetime as dt
import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, unquote_plus

from loafer_kit.exceptions import DeleteMessage
from loafer_kit.ext.aws.message_translators import decoded, sns_envelope, without_body
from loafer_kit.message_translators import AbstractMessageTranslator
from loafer_kit.types import Message, TranslatedMessage

Opened = tuple[Any, dict[str, Any]]


class _Text(str):
    """A text that was not decoded yet: the body of a message, or what SNS carries."""

    __slots__ = ()


@dataclass(frozen=True)
class Envelope:
    """A format that wraps a payload: pass it to `EnvelopeTranslator`."""

    #: The name in errors.
    name: str

    #: Returns the payload and the envelope's facts, from the content so far and the SQS message;
    #: raises `ValueError` if the content is not such an envelope.
    open: Callable[[Any, Message], Opened]

    #: True if the content is such an envelope.
    matches: Callable[[Any, Message], bool]

    #: Returns an envelope with this content and these facts, for tests and local work: `open` gives
    #: both back.
    wrap: Callable[[Any, Mapping[str, Any]], dict[str, Any]]


class EnvelopeTranslator(AbstractMessageTranslator):
    """Opens the envelopes of a message, the outermost first: the content is what they carry.

    `EnvelopeTranslator(sns, s3)` is for S3 notifications that come through an SNS topic. The
    metadata are the keys of the SQS message, overridden by the facts of each envelope; SQS's own id
    is `SQSMessageId`. What is inside the last envelope is JSON, unless `text` is true.
    """

    def __init__(self, *envelopes: Envelope, text: bool = False) -> None:
        self._envelopes = envelopes
        self._text = text

    def translate(self, message: Message) -> TranslatedMessage:
        """Return the payload; raise `ValueError` that names the envelope which cannot be opened.

        Raises `DeleteMessage` for the test event that S3 sends when a notification is set up.
        """
        content: Any = _Text(message["Body"])
        metadata = without_body(message)
        for envelope in self._envelopes:
            content, facts = envelope.open(content, message)
            metadata |= facts
        if isinstance(content, _Text) and not self._text:
            content = decoded(content, "The content", "EnvelopeTranslator(…, text=True)")
        if "MessageId" in message:
            metadata["SQSMessageId"] = message["MessageId"]
        return {
            "content": str(content) if isinstance(content, _Text) else content,
            "metadata": metadata,
        }

    def wrap(self, content: Any, /, **facts: Any) -> str:
        """Return the body of a message with this content, for tests and local work.

        `facts` are those of the innermost envelope.
        """
        if self._text and isinstance(content, str):
            content = _Text(content)
        for envelope in reversed(self._envelopes):
            content, facts = envelope.wrap(content, facts), {}
        return _dumped(content)


# SNS


def _open_sns(content: Any, _message: Message) -> Opened:
    envelope = sns_envelope(content)
    text = _Text(envelope.pop("Message"))
    return text, envelope


def _is_sns(content: Any, _message: Message) -> bool:
    match _value(content):
        case {
            "Type": "Notification" | "SubscriptionConfirmation" | "UnsubscribeConfirmation",
            "TopicArn": _,
            "Message": str(),
        }:
            return True
    return False


def _wrap_sns(content: Any, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "Type": "Notification",
        "MessageId": str(uuid.uuid4()),
        "TopicArn": "arn:aws:sns:us-east-1:000000000000:local",
        "Message": _dumped(content),
        "Timestamp": _now(),
        **facts,
    }


# EventBridge

#: The facts of an EventBridge event.
_EVENT_FACTS = (
    "id",
    "detail-type",
    "source",
    "account",
    "time",
    "region",
    "resources",
    "replay-name",
)


def _open_eventbridge(content: Any, message: Message) -> Opened:
    event = _value(content)
    if not _is_eventbridge(event, message):
        raise ValueError(
            "The body is not an EventBridge event with detail-type, source and detail: for a rule with "
            "an input or an input transformer, use SQSMessageTranslator."
        )
    detail = event["detail"]
    if isinstance(detail, str):  # the scheduler's default
        detail = decoded(detail, "The detail of the EventBridge event", "SQSTextMessageTranslator")
    return detail, {fact: event[fact] for fact in _EVENT_FACTS if fact in event}


def _is_eventbridge(content: Any, _message: Message) -> bool:
    match _value(content):
        case {"detail-type": str(), "source": str(), "detail": dict() | str()}:
            return True
    return False


def _wrap_eventbridge(content: Any, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "local",
        "source": "local",
        "account": "000000000000",
        "time": _now(),
        "region": "us-east-1",
        "resources": [],
        **facts,
        "detail": content,
    }


# S3


def _open_s3(content: Any, _message: Message) -> Opened:
    match _value(content):
        case {"Event": "s3:TestEvent"}:
            raise DeleteMessage
        case {"Records": [_, *_] as records}:
            return [_decoded_record(place, record) for place, record in enumerate(records)], {}
    raise ValueError(
        "The body is not an S3 notification with Records: for one that comes through SNS or "
        "EventBridge, name that envelope first."
    )


def _decoded_record(place: int, record: Any) -> dict[str, Any]:
    """Return the record with its object's key as the object is named."""
    if not isinstance(record, dict) or record.get("eventSource") != "aws:s3":
        raise ValueError(f"Records[{place}] of the S3 notification is not of aws:s3.")
    version = record.get("eventVersion")
    if not isinstance(version, str) or version.partition(".")[0] != "2":
        raise ValueError(
            f"Records[{place}] of the S3 notification has the version {version!r}, not 2."
        )
    try:
        found = record["s3"]["object"]
        key = unquote_plus(found["key"], errors="strict")
    except (AttributeError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"Records[{place}] of the S3 notification has no object key that can be read ({error!r})."
        ) from None
    return record | {"s3": record["s3"] | {"object": found | {"key": key}}}


def _is_s3(content: Any, _message: Message) -> bool:
    match _value(content):
        case {"Event": "s3:TestEvent"} | {"Records": [{"eventSource": "aws:s3"}, *_]}:
            return True
    return False


def _wrap_s3(content: Any, _facts: Mapping[str, Any]) -> dict[str, Any]:
    """Wrap records, or what `{"bucket": …, "key": …}` says of new objects."""
    records = content if isinstance(content, list) else [content]
    return {"Records": [_encoded_record(record) for record in records]}


def _encoded_record(record: dict[str, Any]) -> dict[str, Any]:
    if "s3" not in record:
        bucket, key = record.get("bucket", "local"), record["key"]
        record = {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "eventTime": _now(),
            "eventName": "ObjectCreated:Put",
            "s3": {
                "bucket": {"name": bucket},
                "object": {"key": key, "size": record.get("size", 0)},
            },
        }
    found = record["s3"]["object"]
    return record | {"s3": record["s3"] | {"object": found | {"key": quote_plus(found["key"])}}}


# CloudEvents

_REQUIRED_ATTRIBUTES = ("id", "source", "specversion", "type")

#: How senders name CloudEvents' attributes among those of a message.
_ATTRIBUTE = re.compile(r"(?:ce[_-]|cloudEvents[:_])([a-z0-9]+)")


def _open_cloudevents(content: Any, message: Message) -> Opened:
    attributes = _binary_attributes(message)
    if attributes:
        payload, how = content, "message attributes"
    else:
        event = _value(content)
        if not isinstance(event, dict):
            raise ValueError("The body is not a CloudEvent: neither it nor its attributes say so.")
        attributes = {
            name: value
            for name, value in event.items()
            if re.fullmatch("[a-z0-9]+", name) and name != "data"
        }
        payload, how = _structured_data(event), "body"
    missing = [
        name
        for name in _REQUIRED_ATTRIBUTES
        if not isinstance(attributes.get(name), str) or not attributes[name]
    ]
    if missing:
        raise ValueError(f"The CloudEvent in the {how} has no {', '.join(missing)}.")
    if not attributes["specversion"].startswith("1."):
        raise ValueError(f"The CloudEvent has the version {attributes['specversion']!r}, not 1.")
    if isinstance(payload, str):
        payload = _of_text(payload, attributes.get("datacontenttype") or "application/json")
    return payload, attributes


def _structured_data(event: dict[str, Any]) -> Any:
    """Return the data of an event: text that may be JSON, bytes, or a value; `{}` without data."""
    if event.get("data_base64") is None:
        data = event.get("data")
        return {} if data is None else data
    try:
        data = base64.b64decode(event["data_base64"], validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise ValueError(f"The data_base64 of the CloudEvent is not base64 ({error}).") from None
    return _Text(data.decode()) if _is_json_type(event.get("datacontenttype", "")) else data


def _of_text(data: str, kind: Any) -> Any:
    """Return data that is JSON as a value.

    The data of a structured event may be a JSON string, or JSON as text, which AWS's library for
    .NET writes.
    """
    if not _is_json_type(kind):
        return str(data)
    if not isinstance(data, _Text) and data.lstrip()[:1] not in ("{", "["):
        return data
    return decoded(data, "The data of the CloudEvent", "another datacontenttype")


def _is_json_type(kind: Any) -> bool:
    return bool(re.match(r"[^;]*[/+]json\s*(;|$)", str(kind), re.IGNORECASE))


def _binary_attributes(message: Message) -> dict[str, Any]:
    found = {}
    for name, attribute in (message.get("MessageAttributes") or {}).items():
        if (match := _ATTRIBUTE.fullmatch(name)) and isinstance(attribute, Mapping):
            found[match[1]] = attribute.get("StringValue")
    return found


def _is_cloudevent(content: Any, message: Message) -> bool:
    event = _value(content)
    structured = isinstance(event, dict) and all(name in event for name in _REQUIRED_ATTRIBUTES)
    return structured or "specversion" in _binary_attributes(message)


def _wrap_cloudevents(content: Any, facts: Mapping[str, Any]) -> dict[str, Any]:
    event = {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": "/local",
        "type": "local",
        "time": _now(),
        "datacontenttype": "text/plain" if isinstance(content, str) else "application/json",
        **facts,
    }
    if isinstance(content, bytes):
        return event | {"data_base64": base64.b64encode(content).decode()}
    return event | {"data": content}


# Lambda's destinations


def _open_lambda_destination(content: Any, message: Message) -> Opened:
    record = _value(content)
    if not _is_lambda_destination(record, message):
        raise ValueError(
            "The body is not the record of a Lambda destination with requestContext: the dead-letter "
            "queue of a function gets the bare event, so use SQSMessageTranslator there."
        )
    succeeded = record["requestContext"].get("condition") == "Success"
    payload = record.pop("responsePayload" if succeeded else "requestPayload", None)
    return {} if payload is None else payload, record


def _is_lambda_destination(content: Any, _message: Message) -> bool:
    match _value(content):
        case {"requestContext": dict(), "requestPayload": _}:
            return True
        case {"requestContext": dict(), "responsePayload": _}:
            return True
    return False


def _wrap_lambda_destination(content: Any, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "version": "1.0",
        "timestamp": _now(),
        "requestContext": {"requestId": str(uuid.uuid4()), "condition": "Success"},
        "requestPayload": {},
        **facts,
        "responsePayload": content,
    }


# Any of them


def _open_any(content: Any, message: Message) -> Opened:
    facts: dict[str, Any] = {}
    left = list(ENVELOPES.values())
    while True:
        value = _value(content)
        content = content if value is None else value
        found = [envelope for envelope in left if envelope.matches(content, message)]
        if not found:
            return content, facts
        if len(found) > 1:
            names = " and ".join(envelope.name for envelope in found)
            raise ValueError(f"The body fits {names}: name its envelopes instead of `automatic`.")
        content, more = found[0].open(content, message)
        facts |= more
        left.remove(found[0])


def _dumped(content: Any) -> str:
    return content if isinstance(content, _Text) else json.dumps(content, ensure_ascii=False)


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _value(content: Any) -> Any:
    """Return the value of a text that is JSON, None if it is not JSON; other content as it is."""
    if not isinstance(content, _Text):
        return content
    try:
        return json.loads(content)
    except ValueError:
        return None


#: A notification of an SNS topic, without raw delivery. The content is what was published; the facts
#: are the envelope's other keys.
sns = Envelope("SNS", _open_sns, _is_sns, _wrap_sns)

#: An event of an EventBridge rule, pipe or scheduler. The content is its `detail`; the facts are
#: `id`, `detail-type`, `source`, `account`, `time`, `region`, `resources`, and `replay-name` of a replay.
eventbridge = Envelope("EventBridge", _open_eventbridge, _is_eventbridge, _wrap_eventbridge)

#: A notification of an S3 bucket. The content is the list of its records, with the keys of objects
#: decoded. The test event that S3 sends when the notification is set up is acknowledged.
s3 = Envelope("S3", _open_s3, _is_s3, _wrap_s3)

#: A CloudEvent, as the body or with its attributes among the message's (`ce_type`). The content is its
#: data, `{}` without any; the facts are its attributes.
cloudevents = Envelope("CloudEvents", _open_cloudevents, _is_cloudevent, _wrap_cloudevents)

#: The record of a Lambda function's destination. The content is the function's answer, or after a
#: failure the event that it failed at; the facts are the record's other keys.
lambda_destination = Envelope(
    "Lambda's destinations",
    _open_lambda_destination,
    _is_lambda_destination,
    _wrap_lambda_destination,
)

#: The envelopes by the names that `loafer-kit send --as` takes, and the `kind` of a queue.
ENVELOPES = {
    "sns": sns,
    "eventbridge": eventbridge,
    "s3": s3,
    "cloudevents": cloudevents,
    "lambda_destination": lambda_destination,
}

#: Whichever of the envelopes there are, each at most once; a body without any is the content. A body
#: that fits two is refused.
automatic = Envelope(
    "any envelope", _open_any, lambda _content, _message: True, lambda content, _facts: content
)
