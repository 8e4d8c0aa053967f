"""Trace headers: how the W3C trace context travels with a message of SQS or SNS.

`traceparent`, `tracestate` and `baggage` are string attributes of the message. X-Ray's trace header is
a system attribute, which counts toward neither the ten attributes nor the size of a message.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from loafer_kit.ext.aws.limits import SQS_MESSAGE_ATTRIBUTES
from loafer_kit.ext.aws.requests.transport import text_attribute
from loafer_kit.types import Message

#: The most important first.
NAMES = ("traceparent", "tracestate", "baggage")

_SYSTEM_ATTRIBUTE = "AWSTraceHeader"
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_ROOT = re.compile(r"1-([0-9a-f]{8})-([0-9a-f]{24})")
_PARENT = re.compile(r"[0-9a-f]{16}")

#: Characters of a body that has no room for further attributes: many queues, and SNS, take 256 KiB.
_LARGE = 254_000


def read(message: Message) -> dict[str, str]:
    """Return the trace headers of a received message.

    They are looked for in its attributes, in those of SNS's envelope, and in X-Ray's header.
    """
    found = _texts(message.get("MessageAttributes"), "StringValue")
    if _is_context(found):
        return found
    found = _texts(_envelope_attributes(message.get("Body")), "Value")
    if _is_context(found):
        return found
    return _from_xray((message.get("Attributes") or {}).get(_SYSTEM_ATTRIBUTE))


def add(
    parameters: Mapping[str, Any], headers: Mapping[str, str], *, sqs: bool = True
) -> dict[str, Any]:
    """Return the parameters of a send with trace headers in the place of those that it has.

    Headers for which there is no room are left out; on SQS, X-Ray's header then carries the rest.
    """
    if "traceparent" not in headers:
        return dict(parameters)
    attributes = {
        name: value
        for name, value in (parameters.get("MessageAttributes") or {}).items()
        if name not in NAMES or (name == "baggage" and name not in headers)
    }
    body = parameters.get("MessageBody", parameters.get("Message", ""))
    added = {name: text_attribute(headers[name]) for name in NAMES if name in headers}
    if isinstance(body, str) and len(body) * 4 > _LARGE and len(body.encode()) > _LARGE:
        fitted = attributes
    else:
        fitted = fit(attributes, added)
    result = {name: value for name, value in parameters.items() if name != "MessageAttributes"}
    if sqs and "traceparent" not in fitted:
        result |= _system_attribute(parameters, headers["traceparent"])
    return result | ({"MessageAttributes": fitted} if fitted else {})


def carried(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a message's attributes that are its trace context, the most important first."""
    if not _is_context(_texts(attributes, "StringValue")):
        return {}
    return {name: attributes[name] for name in NAMES if name in attributes}


def fit(attributes: Mapping[str, Any], added: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes with as many of `added` as there is room for."""
    room = max(0, SQS_MESSAGE_ATTRIBUTES - len(attributes))
    return {**attributes, **dict(list(added.items())[:room])}


def _system_attribute(parameters: Mapping[str, Any], traceparent: str) -> dict[str, Any]:
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None:
        return {}
    trace, span, flags = match.groups()
    header = f"Root=1-{trace[:8]}-{trace[8:]};Parent={span};Sampled={int(flags, 16) & 1}"
    system = parameters.get("MessageSystemAttributes") or {}
    return {"MessageSystemAttributes": {**system, _SYSTEM_ATTRIBUTE: text_attribute(header)}}


def _from_xray(header: object) -> dict[str, str]:
    if not isinstance(header, str):
        return {}
    pairs = (part.partition("=") for part in header.split(";"))
    parts = {key.strip(): value.strip() for key, _, value in pairs}
    root = _ROOT.fullmatch(parts.get("Root", "").lower())
    parent = _PARENT.fullmatch(parts.get("Parent", "").lower())
    if root is None or parent is None:
        return {}
    sampled = "01" if parts.get("Sampled") == "1" else "00"
    return {"traceparent": f"00-{root[1]}{root[2]}-{parent[0]}-{sampled}"}


def _envelope_attributes(body: object) -> object:
    if not (isinstance(body, str) and '"traceparent"' in body and body.lstrip().startswith("{")):
        return None
    try:
        envelope = json.loads(body)
    except ValueError:
        return None
    return envelope.get("MessageAttributes") if envelope.get("Type") == "Notification" else None


def _texts(attributes: object, key: str) -> dict[str, str]:
    if not isinstance(attributes, Mapping):
        return {}
    found = {name: attributes.get(name) for name in NAMES}
    return {
        name: value[key]
        for name, value in found.items()
        if isinstance(value, Mapping) and isinstance(value.get(key), str)
    }


def _is_context(headers: Mapping[str, str]) -> bool:
    return _TRACEPARENT.fullmatch(headers.get("traceparent", "")) is not None
