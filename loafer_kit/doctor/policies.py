"""Whether a queue's access policy lets a topic send to it, as far as the policy alone tells.

An answer is True, False, or a text: then it cannot be told, and the text says on what it depends.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

#: Who sends what is published to a topic.
PRINCIPAL = "sns.amazonaws.com"

_ACTION = "sqs:SendMessage"
_ARN_PARTS = 6

Answer = bool | str
Statement = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`why` names the statement that denies, or what an unknown verdict depends on."""

    result: Literal["allowed", "denied", "missing", "unknown"]
    why: str = ""


def judge(policy: str | None, queue_arn: str, topic_arn: str) -> Verdict:
    """Whether a policy allows the topic's messages, denies them, or lacks a statement about them."""
    try:
        statements = _statements(policy)
    except ValueError:
        return Verdict("unknown", "a text that is no policy")
    delivery = _Delivery(queue_arn, topic_arn)
    answers = [(item, delivery.is_meant_by(item)) for item in statements]
    allowed = _any(answer for item, answer in answers if item.get("Effect") == "Allow")
    if allowed is False:
        return Verdict("missing")
    for item, answer in answers:
        if item.get("Effect") == "Deny" and answer is True:
            return Verdict("denied", str(item.get("Sid", "without a Sid")))
    denied = _any(answer for item, answer in answers if item.get("Effect") == "Deny")
    doubts = [answer for answer in (denied, allowed) if isinstance(answer, str)]
    return Verdict("unknown", doubts[0]) if doubts else Verdict("allowed")


def allowing(policy: str | None, queue_arn: str, topic_arn: str) -> Mapping[str, Any]:
    """The policy with a statement that lets the topic send to the queue."""
    document = json.loads(policy) if policy else {"Version": "2012-10-17"}
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": PRINCIPAL},
        "Action": _ACTION,
        "Resource": queue_arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}},
    }
    return {**document, "Statement": [*_statements(policy), statement]}


class _Delivery:
    """What SNS asks for when it delivers a message of a topic to a queue."""

    def __init__(self, queue_arn: str, topic_arn: str) -> None:
        self._queue_arn = queue_arn
        # The condition keys that SNS is known to set, in lower case as IAM compares them.
        self._facts = {
            "aws:securetransport": "true",
            "aws:sourceaccount": topic_arn.split(":")[4],
            "aws:sourcearn": topic_arn,
        }

    def is_meant_by(self, statement: Statement) -> Answer:
        """Whether a statement is about this delivery."""
        for key in ("Principal", "Action", "Resource"):
            if key not in statement:
                return f"a statement without {key}"
        conditions = statement.get("Condition", {})
        return _all(
            [
                _is_sns(statement["Principal"]),
                _is_one_of(_like, map(str.lower, _texts(statement["Action"])), _ACTION.lower()),
                _is_one_of(_like, _texts(statement["Resource"]), self._queue_arn),
                *(
                    self._fulfils(operator, key, values)
                    for operator, keys in conditions.items()
                    for key, values in keys.items()
                ),
            ]
        )

    def _fulfils(self, operator: str, key: str, values: Any) -> Answer:
        fact = self._facts.get(key.lower())
        positive = operator.removesuffix("IfExists").replace("Not", "")
        compare = _OPERATORS.get(positive)
        if fact is None or compare is None:
            return f"{operator} {key}"
        answer = _is_one_of(compare, _texts(values), fact)
        return not answer if "Not" in operator and isinstance(answer, bool) else answer


def _statements(policy: str | None) -> list[Statement]:
    """The statements of a policy; ValueError where it has none, or is none."""
    document = json.loads(policy) if policy else {"Statement": []}
    found = document.get("Statement") if isinstance(document, dict) else None
    statements: list[Any] = found if isinstance(found, list) else [found]
    if not all(isinstance(item, dict) for item in statements):
        raise ValueError(policy)
    return statements


def _is_sns(principal: Any) -> Answer:
    if not isinstance(principal, Mapping):
        return str(principal) == "*"
    services = list(_texts(principal.get("Service", [])))
    if PRINCIPAL in services or "*" in _texts(principal.get("AWS", [])):
        return True
    regional = [service for service in services if service.startswith("sns.")]
    return f"the principal {regional[0]}" if regional else False


def _is_one_of(compare: Callable[[str, str], Answer], patterns: Iterable[str], text: str) -> Answer:
    return _any(compare(pattern, text) for pattern in patterns)


def _equals(value: str, text: str) -> Answer:
    return f"the variable in {value}" if "${" in value else value == text


def _like(pattern: str, text: str) -> Answer:
    if "${" in pattern:
        return f"the variable in {pattern}"
    wildcards = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(wildcards, text, re.DOTALL) is not None


def _arn_like(pattern: str, arn: str) -> Answer:
    """As IAM compares ARNs: part by part, each with wildcards of its own."""
    parts = pattern.split(":", _ARN_PARTS - 1)
    if len(parts) != _ARN_PARTS:
        return f"the ARN {pattern}"
    return _all(map(_like, parts, arn.split(":", _ARN_PARTS - 1)))


_OPERATORS: Mapping[str, Callable[[str, str], Answer]] = {
    "ArnEquals": _arn_like,
    "ArnLike": _arn_like,
    "Bool": lambda value, text: _equals(value.lower(), text),
    "StringEquals": _equals,
    "StringLike": _like,
}


def _texts(value: Any) -> Iterator[str]:
    """The texts of a value that may be one or a list of them; JSON's true is a text here."""
    for item in value if isinstance(value, list) else [value]:
        yield item if isinstance(item, str) else json.dumps(item)


def _all(answers: Iterable[Answer]) -> Answer:
    """False where one is; else the first doubt, if there is one."""
    found = list(answers)
    return False if False in found else _doubt(found, True)


def _any(answers: Iterable[Answer]) -> Answer:
    """True where one is; else the first doubt, if there is one."""
    found = list(answers)
    return True if True in found else _doubt(found, False)


def _doubt(answers: Iterable[Answer], otherwise: bool) -> Answer:
    return next((answer for answer in answers if isinstance(answer, str)), otherwise)
