"""Translators of SQS messages."""

import json
from typing import Any

from loafer_kit.message_translators import AbstractMessageTranslator
from loafer_kit.types import Message, TranslatedMessage


class SQSMessageTranslator(AbstractMessageTranslator):
    """The body is JSON: its value is the content, the other keys of the message the metadata."""

    def translate(self, message: Message) -> TranslatedMessage:
        """Return the decoded body; raise `ValueError` if it is not JSON."""
        return {"content": json.loads(message["Body"]), "metadata": _without_body(message)}


class SQSTextMessageTranslator(AbstractMessageTranslator):
    """The body is plain text: the content is the body."""

    def translate(self, message: Message) -> TranslatedMessage:
        """Return the body."""
        return {"content": message["Body"], "metadata": _without_body(message)}


class SNSMessageTranslator(AbstractMessageTranslator):
    """The queue is subscribed to an SNS topic: the content is the JSON that was published.

    The metadata are the keys of the SQS message, overridden by those of SNS's envelope (Type,
    TopicArn, Timestamp, MessageAttributes …). So `MessageId` is SNS's id; SQS's id, which the logs
    show, is `SQSMessageId`.
    """

    def translate(self, message: Message) -> TranslatedMessage:
        """Return the published message; raise `ValueError` if the body is not an SNS envelope."""
        envelope = json.loads(message["Body"])
        if not isinstance(envelope, dict) or "Message" not in envelope:
            raise ValueError(
                "The body is not an SNS envelope: with raw message delivery, use SQSMessageTranslator."
            )
        metadata = _without_body(message) | envelope
        del metadata["Message"]
        metadata["SQSMessageId"] = message["MessageId"]
        return {"content": json.loads(envelope["Message"]), "metadata": metadata}


def _without_body(message: Message) -> dict[str, Any]:
    metadata = dict(message)
    del metadata["Body"]
    return metadata
