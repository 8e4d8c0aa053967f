"""Letter: a message in a dead-letter queue, and the copies that are made of it."""

import base64
import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

import jmespath
from jmespath.exceptions import JMESPathError, JMESPathTypeError

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.ext.aws.addresses import is_fifo
from loafer_kit.ext.aws.dead_letters import COMBINED, MESSAGE_ID, REASON, SOURCE_QUEUE
from loafer_kit.ext.aws.requests.transport import copied_parameters
from loafer_kit.types import Message

_ADDED = frozenset({REASON, SOURCE_QUEUE, MESSAGE_ID, COMBINED})

#: A reason that the runtime made of an exception begins with the name of its class.
_EXCEPTION = re.compile(r"([A-Z]\w+): ")


@dataclass(frozen=True, slots=True)
class Letter:
    """A message of the queue `queue` (a name), as ReceiveMessage delivered it."""

    queue: str
    message: Message = field(repr=False)

    @property
    def id(self) -> str:
        """Its message id in the dead-letter queue."""
        return str(self.message["MessageId"])

    @property
    def body(self) -> str:
        """The body, as text."""
        return str(self.message["Body"])

    @property
    def content(self) -> Any:
        """The body as JSON, or as text if it is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return self.body

    @property
    def reason(self) -> str | None:
        """Why the service rejected it; None if SQS itself moved it."""
        return self._death.get(REASON)

    @property
    def exception(self) -> str | None:
        """The class of the exception in the reason."""
        match = _EXCEPTION.match(self.reason or "")
        return match and match[1]

    @property
    def original_id(self) -> str | None:
        """Its message id in the source queue, if the service rejected it."""
        return self._death.get(MESSAGE_ID)

    @property
    def source(self) -> str | None:
        """The queue that it comes from: an ARN from SQS, a name from the service.

        SQS's word counts first: any sender can write a message attribute.
        """
        return self.system.get("DeadLetterQueueSourceArn") or self._death.get(SOURCE_QUEUE)

    @property
    def receive_count(self) -> int:
        """How often it was received, before its death too."""
        return int(self.system.get("ApproximateReceiveCount", 0))

    @property
    def sent(self) -> datetime | None:
        """When it was sent: by its first sender if SQS moved it, otherwise by the service."""
        return _moment(self.system.get("SentTimestamp"))

    @property
    def group(self) -> str | None:
        """Its message group."""
        return self.system.get("MessageGroupId")

    @property
    def system(self) -> Mapping[str, str]:
        """The attributes that SQS gave it."""
        return self.message.get("Attributes") or {}

    @property
    def attributes(self) -> dict[str, Any]:
        """Its message attributes as plain values; binary ones in base64."""
        return {name: _plain(value) for name, value in self._attributes.items()}

    def facts(self) -> dict[str, Any]:
        """Return what is known of it, as JSON values: what `Choice.where` looks at."""
        first = _moment(self.system.get("ApproximateFirstReceiveTimestamp"))
        return {
            "id": self.id,
            "original_id": self.original_id,
            "queue": self.queue,
            "source": self.source,
            "reason": self.reason,
            "exception": self.exception,
            "receive_count": self.receive_count,
            "sent": self.sent and self.sent.isoformat(),
            "first_received": first and first.isoformat(),
            "group": self.group,
            "attributes": self.attributes,
            "body": self.content,
        }

    def exported(self) -> dict[str, Any]:
        """Return the message as JSON values, from which `imported` makes an equal letter."""
        attributes = {
            name: {key: _as_text(part) for key, part in value.items()}
            for name, value in self._attributes.items()
        }
        return {
            "queue": self.queue,
            "MessageId": self.id,
            "Body": self.body,
            "Attributes": dict(self.system),
            "MessageAttributes": attributes,
        }

    @classmethod
    def imported(cls, values: Any) -> Self:
        """Return the letter that `exported` made the values of; raise `ValueError` for others."""
        try:
            message = {name: values[name] for name in ("MessageId", "Body")}
            message["Attributes"] = dict(values.get("Attributes") or {})
            message["MessageAttributes"] = {
                name: _attribute(dict(value))
                for name, value in dict(values.get("MessageAttributes") or {}).items()
            }
            queue = values["queue"]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError("it lacks what an exported letter has") from error
        texts = (queue, *message["Attributes"].values(), message["MessageId"], message["Body"])
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("it has another shape than an exported letter")
        return cls(queue, message)

    def copy(
        self, target: str, deduplication_id: str, *, body: str | None = None, whole: bool = False
    ) -> dict[str, Any]:
        """Return the parameters of SendMessage for a copy to the queue `target`.

        It keeps the message attributes and the trace context. The attributes about its death are
        left out unless the copy is `whole`.
        """
        parameters = {"MessageBody": self.body if body is None else body}
        parameters |= copied_parameters(self.message)
        attributes: dict[str, Any] = parameters.pop("MessageAttributes", {})  # type: ignore[assignment]
        kept = {name: part for name, part in attributes.items() if whole or name not in _ADDED}
        if kept:
            parameters["MessageAttributes"] = kept  # type: ignore[assignment]
        if is_fifo(target):
            parameters["MessageGroupId"] = self.group or self.id
            parameters["MessageDeduplicationId"] = deduplication_id
        elif self.group and not is_fifo(self.queue):
            parameters["MessageGroupId"] = self.group  # a standard queue is fair among groups
        return parameters

    @property
    def _attributes(self) -> Mapping[str, Mapping[str, Any]]:
        return self.message.get("MessageAttributes") or {}

    @property
    def _death(self) -> Mapping[str, str]:
        """What the service wrote on it, by the names of the attributes."""
        texts = {name: _plain(self._attributes[name]) for name in _ADDED & self._attributes.keys()}
        try:
            combined = json.loads(str(texts.pop(COMBINED, "{}")))
        except (ValueError, RecursionError):
            combined = {}
        known = combined if isinstance(combined, dict) else {}
        return {name: str(value) for name, value in {**known, **texts}.items()}


@dataclass(frozen=True, slots=True)
class Choice:
    """Which letters are meant: those with one of `ids`, for which `where` is true, `limit` at most.

    An id is that of the letter or of its original. `where` is a JMESPath expression over
    `Letter.facts`. Raises `ConfigurationError` if it cannot be read.
    """

    where: str | None = None
    ids: frozenset[str] = frozenset()
    limit: int | None = None

    def __post_init__(self) -> None:
        _expression(self.where)

    @property
    def is_everything(self) -> bool:
        """Whether every letter is meant."""
        return self == Choice()

    def matches(self, letter: Letter) -> bool:
        """Return whether a letter is meant, the limit aside."""
        if self.ids and not self.ids & {letter.id, letter.original_id}:
            return False
        expression = _expression(self.where)
        if expression is None:
            return True
        try:
            found = expression.search(letter.facts())
        except JMESPathTypeError:  # a function does not take what this letter has
            return False
        except JMESPathError as error:
            raise _unreadable(self.where, error) from error
        return found is True or (found is not False and found not in (None, "", [], {}))

    @property
    def count(self) -> int | None:
        """How many letters are chosen at most, one for each id."""
        return min(filter(None, (self.limit, len(self.ids))), default=None)

    @property
    def enough(self) -> int | None:
        """How many letters are enough to look at, if any letter will do."""
        return self.limit if self == Choice(limit=self.limit) else None


@functools.cache
def _expression(where: str | None) -> Any:
    if where is None:
        return None
    try:
        return jmespath.compile(where)
    except JMESPathError as error:
        raise _unreadable(where, error) from error


def _unreadable(where: str | None, error: Exception) -> ConfigurationError:
    why = str(error).partition("\n")[0].removesuffix(", for expression:")
    return ConfigurationError(f"{where!r} is not a JMESPath expression: {why}")


def _moment(milliseconds: str | None) -> datetime | None:
    if milliseconds is None or not milliseconds.isdecimal():
        return None
    return datetime.fromtimestamp(int(milliseconds) // 1000, UTC)


def _plain(attribute: Mapping[str, Any]) -> Any:
    if "BinaryValue" in attribute:
        return _as_text(attribute["BinaryValue"])
    text = attribute.get("StringValue")
    if str(attribute.get("DataType")).startswith("Number"):
        try:
            return json.loads(str(text))
        except ValueError:
            return text
    return text


def _as_text(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _attribute(values: dict[str, Any]) -> dict[str, Any]:
    if "BinaryValue" in values:
        values["BinaryValue"] = base64.b64decode(values["BinaryValue"], validate=True)
    return values
