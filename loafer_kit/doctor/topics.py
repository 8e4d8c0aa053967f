"""Checks the way of a topic's messages to a queue: topic, subscription and access policy."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from operator import eq
from typing import Any, Literal

from loafer_kit.doctor import Finding, aws_command, denied
from loafer_kit.doctor.queues import Attributes, Queues, subject_of
from loafer_kit.exceptions import ProviderError, TransientProviderError
from loafer_kit.ext.aws.addresses import is_arn
from loafer_kit.ext.aws.requests import errors
from loafer_kit.scaffold.spec.specs import QueueSpec

#: SNS lists it instead of a subscription's ARN until the subscription is confirmed.
PENDING = "PendingConfirmation"

#: The service that delivers a topic's messages.
_PRINCIPAL = "sns.amazonaws.com"

_ACTION = "sqs:SendMessage"
_OPERATORS: Mapping[str, Callable[[str, str], bool]] = {
    "ArnEquals": fnmatchcase,
    "ArnLike": fnmatchcase,
    "StringEquals": eq,
    "StringLike": fnmatchcase,
}

Statement = Mapping[str, Any]


class MissingTopicError(ProviderError):
    """A topic does not exist."""


class Topics:
    """The topics of botocore clients, one client per region; nothing about them is changed.

    Every request raises AccessDeniedError, or another ProviderError if SNS does not answer. The
    commands are for the same endpoint, and for the region in the topic's ARN.
    """

    def __init__(self, client: Callable[[str], Any], endpoint_url: str | None) -> None:
        self._client = client
        self._endpoint_url = endpoint_url
        self._silent: dict[str, ProviderError] = {}

    def subscriptions(self, topic_arn: str, queue_arn: str) -> list[str]:
        """Return the ARNs of a queue's subscriptions to a topic, or PENDING; MissingTopicError."""
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
            if item["SubscriptionArn"] != "Deleted"  # SNS lists it for some days
        ]

    def attributes(self, topic_arn: str, subscription_arn: str) -> Mapping[str, str]:
        """Return the attributes of a subscription, under AWS's names."""
        with self._asking(topic_arn, "sns:GetSubscriptionAttributes") as client:
            answer = client.get_subscription_attributes(SubscriptionArn=subscription_arn)
        found: Mapping[str, str] = answer["Attributes"]
        return found

    def command(self, topic_arn: str, *words: str) -> str:
        """Return an `aws sns` command for the topic's region."""
        return aws_command(self._endpoint_url, "sns", *words, region=_region(topic_arn))

    @contextmanager
    def _asking(self, topic_arn: str, action: str) -> Iterator[Any]:
        region = _region(topic_arn)
        if region in self._silent:  # each time-out takes seconds
            raise self._silent[region]
        try:
            yield self._client(region)
        except errors.REQUEST_ERRORS as error:
            meaning = errors.from_exception(
                error, action=action, subject=errors.topic_subject(topic_arn)
            )
            if isinstance(meaning, TransientProviderError):
                self._silent[region] = meaning
            raise meaning from error


class TopicDoctor:
    """Examines the topics of queues.

    A service needs no permission for SNS: what SNS does not answer is a note. A `local` server
    has its topics beside its queues, as in `loafer-kit dev`, whatever account or region they name.
    """

    def __init__(self, queues: Queues, topics: Topics, *, local: bool) -> None:
        self._queues = queues
        self._topics = topics
        self._local = local

    def examine(self, queue: QueueSpec, url: str, attributes: Attributes) -> Iterator[Finding]:
        """Yield what keeps a topic's messages from the queue or from its handler."""
        if queue.topic is None:
            return
        queue_arn = attributes["QueueArn"]
        topic_arn = self._arn(queue.topic, queue_arn)
        try:
            yield from self._subscriptions(queue, queue_arn, topic_arn)
        except MissingTopicError:
            yield self._missing(queue_arn, topic_arn)
        except errors.AccessDeniedError as error:
            yield denied("note", f"topic {_name(topic_arn)}", error)
        except ProviderError as error:
            yield Finding("note", "SNS", str(error))
        yield from self._policy(queue, url, attributes, topic_arn)

    def _arn(self, topic: str, queue_arn: str) -> str:
        """Return the topic's ARN; a topic that is given by name is in the queue's account."""
        if is_arn(topic) and not self._local:
            return topic
        partition, _, region, account = queue_arn.split(":")[1:5]
        return f"arn:{partition}:sns:{region}:{account}:{_name(topic)}"

    def _missing(self, queue_arn: str, topic_arn: str) -> Finding:
        name, account = _name(topic_arn), topic_arn.split(":")[4]
        if account == queue_arn.split(":")[4]:
            fifo = ["--attributes", "FifoTopic=true"] if name.endswith(".fifo") else []
            create = self._topics.command(topic_arn, "create-topic", "--name", name, *fifo)
            remedy = f"check region and account, or create it: {create}"
        else:
            remedy = f"check its ARN in loafer.toml, or ask the owner of account {account}"
        return Finding("problem", f"topic {name}", "does not exist", remedy)

    def _subscriptions(self, queue: QueueSpec, queue_arn: str, topic_arn: str) -> Iterator[Finding]:
        words = ["--protocol", "sqs", "--notification-endpoint", queue_arn]
        subscribe = self._topics.command(topic_arn, "subscribe", "--topic-arn", topic_arn, *words)
        found = self._topics.subscriptions(topic_arn, queue_arn)
        confirmed = [arn for arn in found if arn != PENDING]
        for arn in confirmed:
            yield from self._deliveries(queue, topic_arn, arn)
        if not found:
            message = f"is not subscribed to the topic {_name(topic_arn)}"
            yield Finding("problem", subject_of(queue), message, subscribe)
        elif not confirmed:
            message = f"its subscription to the topic {_name(topic_arn)} waits to be confirmed"
            remedy = (
                "open the SubscribeURL of the message that SNS sent to the queue, or let the "
                f"queue's owner subscribe it, which needs no confirmation: {subscribe}"
            )
            yield Finding("problem", subject_of(queue), message, remedy)

    def _deliveries(self, queue: QueueSpec, topic_arn: str, arn: str) -> Iterator[Finding]:
        attributes = self._topics.attributes(topic_arn, arn)
        subject = subject_of(queue)
        subscription = f"its subscription to the topic {_name(topic_arn)}"
        raw = attributes.get("RawMessageDelivery") == "true"
        if raw and queue.enveloped and queue.translator is None:
            message = f"{subscription} delivers raw messages; its route expects SNS's envelope"
            remedy = self._setting(topic_arn, arn, "RawMessageDelivery", "false")
            yield Finding("problem", subject, message, remedy)
        elif raw and queue.enveloped:
            taker = queue.handler if queue.translator == "none" else queue.translator
            message = (
                f"{subscription} delivers raw messages; {taker} gets them without SNS's envelope"
            )
            yield Finding("note", subject, message)
        elif not raw and not queue.enveloped:
            message = f"{subscription} delivers SNS's envelope, in the spec raw messages"
            remedy = self._setting(topic_arn, arn, "RawMessageDelivery", "true")
            yield Finding("problem", subject, message, remedy)
        yield from self._filters(queue, topic_arn, arn, attributes)

    def _filters(
        self, queue: QueueSpec, topic_arn: str, arn: str, attributes: Attributes
    ) -> Iterator[Finding]:
        """Compare the filter policy with that of the spec; without one there, note it."""
        subject, topic = subject_of(queue), _name(topic_arn)
        scope = attributes.get("FilterPolicyScope", "MessageAttributes")
        here, wanted = attributes.get("FilterPolicy", "{}"), queue.attributes.get("filter_policy")
        if wanted is None:
            if here != "{}":
                message = f"its subscription to the topic {topic} has a filter policy ({scope}): "
                yield Finding("note", subject, f"{message}only what it matches is sent")
            return
        wanted_scope = str(queue.attributes.get("filter_policy_scope", "MessageAttributes"))
        if scope != wanted_scope:  # first, because the policy has to fit it
            message = f"the filter policy of the topic {topic} looks at {scope}, "
            remedy = self._setting(topic_arn, arn, "FilterPolicyScope", wanted_scope)
            yield Finding("problem", subject, f"{message}in the spec at {wanted_scope}", remedy)
        if json.loads(here) != json.loads(str(wanted)):
            message = f"its subscription to the topic {topic} has the filter policy {here}, "
            remedy = self._setting(topic_arn, arn, "FilterPolicy", str(wanted))
            yield Finding("problem", subject, f"{message}in the spec {wanted}", remedy)

    def _setting(self, topic_arn: str, subscription_arn: str, name: str, value: str) -> str:
        """Return the command that sets an attribute of a subscription."""
        words = ["set-subscription-attributes", "--subscription-arn", subscription_arn]
        words += ["--attribute-name", name, "--attribute-value", value]
        return self._topics.command(topic_arn, *words)

    def _policy(
        self, queue: QueueSpec, url: str, attributes: Attributes, topic_arn: str
    ) -> Iterator[Finding]:
        policy, queue_arn, name = attributes.get("Policy"), attributes["QueueArn"], _name(topic_arn)
        verdict = judge_policy(policy, queue_arn, topic_arn)
        if verdict == "missing":
            wanted = policy_allowing(policy, queue_arn, topic_arn)
            remedy = self._queues.setting(url, "Policy", wanted)
            message = f"its policy does not let the topic {name} send to it"
            yield Finding("problem", subject_of(queue), message, remedy)
        elif verdict == "unclear":
            message = f"its policy may not let the topic {name} send to it"
            remedy = f"allow {_PRINCIPAL} sqs:SendMessage for the source ARN {topic_arn}"
            yield Finding("note", subject_of(queue), message, remedy)


def _name(topic: str) -> str:
    return topic.rpartition(":")[2]


def _region(topic_arn: str) -> str:
    return topic_arn.split(":")[3]


# The access policy of a queue


def judge_policy(
    policy: str | None, queue_arn: str, topic_arn: str
) -> Literal["allowed", "missing", "unclear"]:
    """Return whether a statement of a queue's access policy lets the topic send to the queue.

    "unclear": one may do so, under conditions that are unknown here. It judges Allow statements
    only: whether a Deny statement applies depends on more than the policy.
    """
    try:
        found = [item for item in _statements(policy) if _allows_sns(item)]
    except ValueError:
        return "unclear"
    facts = {"aws:sourcearn": topic_arn, "aws:sourceaccount": topic_arn.split(":")[4]}
    plain = [item for item in found if _is_plain(item, facts)]
    if any(_lets_send(item, queue_arn, facts) for item in plain):
        return "allowed"
    return "missing" if plain == found else "unclear"


def policy_allowing(policy: str | None, queue_arn: str, topic_arn: str) -> Mapping[str, Any]:
    """Return the policy with another statement, which lets the topic send to the queue."""
    document = json.loads(policy) if policy else {"Version": "2012-10-17"}
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": _PRINCIPAL},
        "Action": _ACTION,
        "Resource": queue_arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}},
    }
    return {**document, "Statement": [*_statements(policy), statement]}


def _statements(policy: str | None) -> list[Statement]:
    """Return a policy's statements; ValueError if the text is not a policy."""
    document = json.loads(policy) if policy else {"Statement": []}
    found = document.get("Statement") if isinstance(document, dict) else None
    statements: list[Any] = found if isinstance(found, list) else [found]
    if not all(isinstance(item, dict) for item in statements):
        raise ValueError(policy)
    return statements


def _allows_sns(statement: Statement) -> bool:
    principal = statement.get("Principal", "*")  # NotPrincipal may mean SNS
    if not isinstance(principal, Mapping):
        principal = {"AWS": principal}
    services = _texts(principal.get("Service", []))
    is_named = any(name.startswith("sns.") for name in services)  # some regions have their own
    return statement.get("Effect") == "Allow" and (
        is_named or "*" in _texts(principal.get("AWS", []))
    )


def _conditions(statement: Statement) -> Iterator[tuple[str, str, list[str]]]:
    for operator, keys in statement.get("Condition", {}).items():
        for key, values in keys.items():
            yield operator.removesuffix("IfExists"), key.lower(), _texts(values)


def _is_plain(statement: Statement, facts: Mapping[str, str]) -> bool:
    """Return whether the statement says all, with conditions on known facts and no variables."""
    return (
        {"Principal", "Action", "Resource"} <= statement.keys()
        and "${" not in json.dumps(statement)
        and all(op in _OPERATORS and key in facts for op, key, _ in _conditions(statement))
    )


def _lets_send(statement: Statement, queue_arn: str, facts: Mapping[str, str]) -> bool:
    actions = [text.lower() for text in _texts(statement["Action"])]
    return (
        any(fnmatchcase(_ACTION.lower(), action) for action in actions)
        and any(fnmatchcase(queue_arn, text) for text in _texts(statement["Resource"]))
        and all(
            any(_OPERATORS[operator](facts[key], value) for value in values)
            for operator, key, values in _conditions(statement)
        )
    )


def _texts(value: Any) -> list[str]:
    return [str(item) for item in (value if isinstance(value, list) else [value])]
