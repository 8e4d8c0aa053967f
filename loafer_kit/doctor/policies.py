"""Looks for the statement in a queue's access policy that lets a topic send to the queue.

It judges Allow statements only: whether a Deny statement applies depends on more than the policy.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from operator import eq
from typing import Any, Literal

#: The service that delivers a topic's messages.
PRINCIPAL = "sns.amazonaws.com"

_ACTION = "sqs:SendMessage"
_OPERATORS: Mapping[str, Callable[[str, str], bool]] = {
    "ArnEquals": fnmatchcase,
    "ArnLike": fnmatchcase,
    "StringEquals": eq,
    "StringLike": fnmatchcase,
}

Statement = Mapping[str, Any]


def judge(
    policy: str | None, queue_arn: str, topic_arn: str
) -> Literal["allowed", "missing", "unclear"]:
    """Return whether a statement lets the topic send.

    "unclear": one may do so, under conditions that are unknown here.
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


def allowing(policy: str | None, queue_arn: str, topic_arn: str) -> Mapping[str, Any]:
    """Return the policy with another statement, which lets the topic send to the queue."""
    document = json.loads(policy) if policy else {"Version": "2012-10-17"}
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": PRINCIPAL},
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
