"""Translators of SQS messages."""

import json
from typing import Any

from loafer_kit.message_translators import AbstractMessageTranslator
from loafer_kit.types import Message, TranslatedMessage


class SQSMessageTranslator(AbstractMessageTranslator):
    """The body is JSON: its value is the content, the other keys of the message the metadata."""

    def translate(self, message: Message) -> TranslatedMessage:
        """Return the decoded body; raise `ValueError` if it is not JSON."""
        content = decoded(message["Body"], "The body", "SQSTextMessageTranslator")
        return {"content": content, "metadata": without_body(message)}


class SQSTextMessageTranslator(AbstractMessageTranslator):
    """The body is plain text: the content is the body."""

    def translate(self, message: Message) -> TranslatedMessage:
        """Return the body."""
        return {"content": message["Body"], "metadata": without_body(message)}


class SNSTextMessageTranslator(AbstractMessageTranslator):
    """The queue is subscribed to an SNS topic: the content is the text that was published.

    The metadata are the keys of the SQS message, overridden by those of SNS's envelope (Type,
    TopicArn, Timestamp, MessageAttributes …). So `MessageId` is SNS's id; SQS's id, which the logs
    show, is `SQSMessageId`.
    """

    def translate(self, message: Message) -> TranslatedMessage:
        """Return the published text; raise `ValueError` if the body is not SNS's notification."""
        envelope = sns_envelope(message["Body"])
        metadata = without_body(message) | envelope
        del metadata["Message"]
        if "MessageId" in message:
            metadata["SQSMessageId"] = message["MessageId"]
        return {"content": envelope["Message"], "metadata": metadata}


class SNSMessageTranslator(SNSTextMessageTranslator):
    """As `SNSTextMessageTranslator`, but the content is the JSON that was published."""

    def translate(self, message: Message) -> TranslatedMessage:
        """Return the published message; raise `ValueError` if it cannot be decoded."""
        translated = super().translate(message)
        translated["content"] = decoded(
            translated["content"], "The message in SNS's envelope", "SNSTextMessageTranslator"
        )
        return translated


#: What SNS itself writes to a queue, by the envelope's type: what it means, and what to do.
_CONFIRMATIONS = {
    "SubscriptionConfirmation": (
        "asks to confirm the subscription of the queue to {topic}: until then nothing is delivered. "
        "Open the SubscribeURL of the body once, then delete the message."
    ),
    "UnsubscribeConfirmation": (
        "says that the subscription of the queue to {topic} has ended. Delete the message, or open "
        "the SubscribeURL of the body to subscribe again."
    ),
}


def sns_envelope(body: Any) -> dict[str, Any]:
    """Return SNS's envelope, from text or as a value; raise `ValueError` if it is not one."""
    try:
        envelope = json.loads(body) if isinstance(body, str) else body
    except ValueError as error:
        raise ValueError(
            f"The body is not an SNS envelope ({error}): with raw message delivery of plain text, "
            "use SQSTextMessageTranslator."
        ) from None
    if not isinstance(envelope, dict) or not isinstance(envelope.get("Message"), str):
        raise ValueError(  # noqa: TRY004 - the body's value is wrong
            "The body is not an SNS envelope: with raw message delivery, use SQSMessageTranslator."
        )
    if meaning := _CONFIRMATIONS.get(str(envelope.get("Type"))):
        topic = envelope.get("TopicArn", "a topic")
        raise ValueError(f"The body is a {envelope['Type']}: SNS {meaning.format(topic=topic)}")
    return envelope


def decoded(text: str, what: str, text_translator: str) -> Any:
    """Return JSON as a value; raise `JSONDecodeError` with a hint if it is not JSON."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        hint = f"{what} is not JSON; for plain text, use {text_translator}. {error.msg}"
        raise json.JSONDecodeError(hint, text, error.pos) from None


def without_body(message: Message) -> dict[str, Any]:
    """Return the keys of a message but its body, in a new dict."""
    metadata = dict(message)
    del metadata["Body"]
    return metadata
