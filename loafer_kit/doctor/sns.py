"""What doctor asks of SNS, and the commands that change there what it does not change itself."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from loafer_kit.doctor.commands import aws
from loafer_kit.exceptions import ProviderError, TransientProviderError
from loafer_kit.ext.aws import errors

#: What SNS lists instead of a subscription's ARN, until it is confirmed.
PENDING = "PendingConfirmation"


class MissingTopicError(ProviderError):
    """A topic does not exist."""


class Topics:
    """The topics that botocore clients reach, one client for each region; nothing is changed.

    Every request raises AccessDeniedError, or another ProviderError: then SNS does not say. The
    commands are for the same endpoint, and for the region that stands in the topic's ARN.
    """

    def __init__(self, client: Callable[[str], Any], endpoint_url: str | None) -> None:
        self._client = client
        self._endpoint_url = endpoint_url
        self._silent: dict[str, ProviderError] = {}

    def subscriptions(self, topic_arn: str, queue_arn: str) -> list[str]:
        """The ARNs of a queue's subscriptions to a topic, or PENDING; MissingTopicError."""
        with self._asking(topic_arn, "sns:ListSubscriptionsByTopic") as client:
            pages = client.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic_arn)
            try:
                listed = [item for page in pages for item in page["Subscriptions"]]
            except client.exceptions.NotFoundException as error:
                raise MissingTopicError(topic_arn) from error
        return [
            item["SubscriptionArn"]
            for item in listed
            if item["Protocol"] == "sqs" and item["Endpoint"] == queue_arn
            if item["SubscriptionArn"] != "Deleted"  # listed for some days
        ]

    def attributes(self, topic_arn: str, subscription_arn: str) -> Mapping[str, str]:
        """The attributes of a subscription, under AWS's names."""
        with self._asking(topic_arn, "sns:GetSubscriptionAttributes") as client:
            answer = client.get_subscription_attributes(SubscriptionArn=subscription_arn)
        found: Mapping[str, str] = answer["Attributes"]
        return found

    def creating(self, topic_arn: str) -> str:
        """The command that creates a topic."""
        fifo = ["--attributes", "FifoTopic=true"] if topic_arn.endswith(".fifo") else []
        name = topic_arn.rpartition(":")[2]
        return self._command(topic_arn, "create-topic", "--name", name, *fifo)

    def subscribing(self, topic_arn: str, queue_arn: str) -> str:
        """The command that subscribes a queue to a topic."""
        words = [
            "--topic-arn",
            topic_arn,
            "--protocol",
            "sqs",
            "--notification-endpoint",
            queue_arn,
        ]
        return self._command(topic_arn, "subscribe", *words)

    def without_raw_delivery(self, topic_arn: str, subscription_arn: str) -> str:
        """The command after which a subscription delivers in SNS's envelope."""
        words = ["--attribute-name", "RawMessageDelivery", "--attribute-value", "false"]
        words = ["--subscription-arn", subscription_arn, *words]
        return self._command(topic_arn, "set-subscription-attributes", *words)

    def _command(self, topic_arn: str, *words: str) -> str:
        return aws(self._endpoint_url, "sns", *words, region=_region(topic_arn))

    @contextmanager
    def _asking(self, topic_arn: str, action: str) -> Iterator[Any]:
        region = _region(topic_arn)
        if region in self._silent:  # each time-out takes its time
            raise self._silent[region]
        try:
            yield self._client(region)
        except errors.REQUEST_ERRORS as error:
            subject = errors.topic_subject(topic_arn)
            meaning = errors.from_exception(error, action=action, subject=subject)
            if isinstance(meaning, TransientProviderError):
                self._silent[region] = meaning
            raise meaning from error


def _region(topic_arn: str) -> str:
    return topic_arn.split(":")[3]
