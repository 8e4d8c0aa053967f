"""Filter policies of SNS subscriptions: JSON objects, which a spec keeps as text."""

import json
from collections.abc import Mapping
from typing import Any


def text(value: object) -> object:
    """A table as JSON, and JSON as `json.dumps` writes it; any other value as it is."""
    try:
        found = json.loads(value, parse_constant=_refuse) if isinstance(value, str) else value
        if not isinstance(found, Mapping):
            return value
        json.dumps(found, ensure_ascii=False).encode()  # no lone surrogates
        return json.dumps(found, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        return value


def table(policy: str) -> Mapping[str, Any]:
    """The policy of a spec as a table."""
    found: Mapping[str, Any] = json.loads(policy)
    return found


def why_no_table(text: str) -> str | None:
    """Why a text is not the JSON of a table with keys."""
    try:
        found = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return "is not JSON"
    if not isinstance(found, Mapping):
        return "must be a table, or JSON of one"
    return None if found else "is empty: leave it out"


def why_not(policy: str) -> str | None:
    """Why SNS would refuse a policy, as far as its form tells."""
    if why := why_no_table(policy):
        return why
    for key, condition in table(policy).items():
        if not condition or not isinstance(condition, (list, Mapping)):
            return f"{key!a} must be a list of what it accepts"
    return None


def why_refused(policy: object, scope: object) -> str | None:
    """Why SNS would refuse a policy, a table or JSON, with its scope; None is the default scope."""
    known = text(policy)
    why = why_not(known) if isinstance(known, str) else "must be a table, or JSON of one"
    if why is None and scope != "MessageBody":
        nested = [key for key, item in table(str(known)).items() if isinstance(item, Mapping)]
        if nested:
            why = f"{nested[0]!a} must be a list, unless filter_policy_scope is MessageBody"
    return why


def _refuse(constant: str) -> object:
    raise ValueError(constant)
