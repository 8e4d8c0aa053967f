"""Checks the way of a topic's messages to a queue: topic, subscription and access policy."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import partial
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


class Topics:
    """Examines the topics of queues; nothing about them is changed.

    `client` returns the botocore client of a region. A service needs no permission for SNS: what
    SNS does not answer is a note. A `local` server has its topics beside its queues, as in
    `loafer-kit dev`, whatever account or region they name.
    """

    def __init__(
        self, queues: Queues, client: Callable[[str], Any], endpoint_url: str | None, *, local: bool
    ) -> None:
        self._queues = queues
        self._client = client
        self._endpoint_url = endpoint_url
        self._local = local
        #: By region, why SNS does not answer there.
        self._silent: dict[str, ProviderError] = {}

    def examine(self, queue: QueueSpec, url: str, attributes: Attributes) -> Iterator[Finding]:
        """Yield what keeps a topic's messages from the queue or from its handler."""
        if queue.topic is None:
            return
        queue_arn = attributes["QueueArn"]
        topic_arn = self._arn(queue.topic, queue_arn)
        try:
            yield from self._subscriptions(queue, queue_arn, topic_arn)
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

    def _subscriptions(self, queue: QueueSpec, queue_arn: str, topic_arn: str) -> Iterator[Finding]:
        found = self._subscribed(topic_arn, queue_arn)
        if found is None:
            yield self._missing(queue_arn, topic_arn)
            return
        problem = partial(Finding, "problem", subject_of(queue))
        words = ["--protocol", "sqs", "--notification-endpoint", queue_arn]
        subscribe = self._command(topic_arn, "subscribe", "--topic-arn", topic_arn, *words)
        confirmed = [arn for arn in found if arn != PENDING]
        for arn in confirmed:
            with self._asking(topic_arn, "sns:GetSubscriptionAttributes") as client:
                answer = client.get_subscription_attributes(SubscriptionArn=arn)
            setting = partial(self._setting, topic_arn, arn)
            yield from _deliveries(queue, _name(topic_arn), answer["Attributes"], setting)
            yield from _filters(queue, _name(topic_arn), answer["Attributes"], setting)
        if not found:
            yield problem(f"is not subscribed to the topic {_name(topic_arn)}", subscribe)
        elif not confirmed:
            yield problem(
                f"its subscription to the topic {_name(topic_arn)} waits to be confirmed",
                "open the SubscribeURL of the message that SNS sent to the queue, or let the "
                f"queue's owner subscribe it, which needs no confirmation: {subscribe}",
            )

    def _subscribed(self, topic_arn: str, queue_arn: str) -> list[str] | None:
        """Return the ARNs of a queue's subscriptions to a topic, or PENDING; None without a topic."""
        with self._asking(topic_arn, "sns:ListSubscriptionsByTopic") as client:
            pages = client.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic_arn)
            try:
                listed = [item for page in pages for item in page["Subscriptions"]]
            except client.exceptions.NotFoundException:
                return None
        return [
            item["SubscriptionArn"]
            for item in listed
            if item["Protocol"] == "sqs" and item["Endpoint"] == queue_arn
            if item["SubscriptionArn"] != "Deleted"  # SNS lists it for some days
        ]

    @contextmanager
    def _asking(self, topic_arn: str, action: str) -> Iterator[Any]:
        """Yield the client for a topic; raise AccessDeniedError or another ProviderError for its errors."""
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

    def _missing(self, queue_arn: str, topic_arn: str) -> Finding:
        name, account = _name(topic_arn), topic_arn.split(":")[4]
        if account == queue_arn.split(":")[4]:
            fifo = ["--attributes", "FifoTopic=true"] if name.endswith(".fifo") else []
            create = self._command(topic_arn, "create-topic", "--name", name, *fifo)
            remedy = f"check region and account, or create it: {create}"
        else:
            remedy = f"check its ARN in loafer.toml, or ask the owner of account {account}"
        return Finding("problem", f"topic {name}", "does not exist", remedy)

    def _setting(self, topic_arn: str, subscription_arn: str, name: str, value: str) -> str:
        """Return the command that sets an attribute of a subscription."""
        words = ["set-subscription-attributes", "--subscription-arn", subscription_arn]
        words += ["--attribute-name", name, "--attribute-value", value]
        return self._command(topic_arn, *words)

    def _command(self, topic_arn: str, *words: str) -> str:
        return aws_command(self._endpoint_url, "sns", *words, region=_region(topic_arn))

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


def _deliveries(
    queue: QueueSpec, topic: str, attributes: Attributes, setting: Callable[[str, str], str]
) -> Iterator[Finding]:
    """Compare how a subscription delivers with what the route expects.

    `setting` returns the command that sets one of its attributes.
    """
    raw = attributes.get("RawMessageDelivery") == "true"
    subject, subscription = subject_of(queue), f"its subscription to the topic {topic}"
    if raw and queue.enveloped and queue.translator is None:
        message = f"{subscription} delivers raw messages; its route expects SNS's envelope"
        yield Finding("problem", subject, message, setting("RawMessageDelivery", "false"))
    elif raw and queue.enveloped:
        taker = queue.handler if queue.translator == "none" else queue.translator
        message = f"{subscription} delivers raw messages; {taker} gets them without SNS's envelope"
        yield Finding("note", subject, message)
    elif not raw and not queue.enveloped:
        message = f"{subscription} delivers SNS's envelope, in the spec raw messages"
        yield Finding("problem", subject, message, setting("RawMessageDelivery", "true"))


def _filters(
    queue: QueueSpec, topic: str, attributes: Attributes, setting: Callable[[str, str], str]
) -> Iterator[Finding]:
    """Compare a subscription's filter policy with that of the spec; without one there, note it."""
    subject = subject_of(queue)
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
        remedy = setting("FilterPolicyScope", wanted_scope)
        yield Finding("problem", subject, f"{message}in the spec at {wanted_scope}", remedy)
    if json.loads(here) != json.loads(str(wanted)):
        message = f"its subscription to the topic {topic} has the filter policy {here}, "
        remedy = setting("FilterPolicy", str(wanted))
        yield Finding("problem", subject, f"{message}in the spec {wanted}", remedy)


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
