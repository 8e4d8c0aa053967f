"""The variables of the templates: a spec as plain values, which are all that a template gets."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from loafer_kit import __version__
from loafer_kit.config import route_variable
from loafer_kit.scaffold.spec import names, payloads
from loafer_kit.scaffold.spec.fields import AMQP, ARTEFACT_NAMES, FIFO, OPTIONS, SUBSCRIPTION, Value
from loafer_kit.scaffold.spec.payloads import example
from loafer_kit.scaffold.spec.specs import Payloads, PayloadSpec, QueueSpec, ServiceSpec, TypeSpec

Context = dict[str, Any]

_LONGEST_SUBJECT = 60


def service(spec: ServiceSpec) -> Context:
    """The variables of `templates/service`: its answers, and all that follows from the spec."""
    shown = spec.filled(spec.stand_ins)
    imports = _imports(spec.payloads)
    return {
        "name": spec.name,
        "queue": spec.queues[0].name,
        "with": ",".join(spec.ships),
        "package": spec.package,
        "version": __version__,
        "subject": subject([queue.queue_name for queue in shown.queues]),
        "queues": queues(spec),
        "parameters": [
            {
                "name": parameter.name,
                "default": parameter.default or "",
                "stand_in": parameter.stand_in,
            }
            for parameter in spec.parameters
        ],
        "error_handlers": _shared((queue.error_handler, queue) for queue in shown.queues),
        "translators": _shared(
            (queue.translator, queue) for queue in shown.queues if queue.translator != "none"
        ),
        "envelopes": sorted({name for queue in spec.queues for name in _translated(queue)}),
        "tested_envelopes": _tested_envelopes(spec),
        "on_rabbitmq": spec.on_rabbitmq,
        "route_classes": sorted({_route(queue) for queue in spec.queues}),
        "topics": _topics(shown),
        "dead_letter_queues": _dead_letter_queues(shown),
        "needs_local_queue": any(
            queue.topic or queue.dead_letter_queue or queue.attributes for queue in spec.queues
        ),
        "payloads": _models(shown),
        "payload_names": [name for queue in spec.queues for name in queue.payloads],
        "payload_imports": _import_lines(imports),
        "pydantic_names": imports.get("pydantic", []),
        "settings": settings(spec),
        "shipping": _shipping(spec),
    }


def _shipping(spec: ServiceSpec) -> Context:
    """The wanted artefacts, and their variables if there are any artefacts."""
    wanted: Context = {"with": {name: name in spec.ships for name in ARTEFACT_NAMES}}
    if not spec.ships:
        return wanted
    from loafer_kit.scaffold import shipping

    return wanted | shipping.service(spec)


def queues(spec: ServiceSpec) -> list[Context]:
    """The variables of each queue."""
    return [_queue(queue, queue.filled(spec.stand_ins), spec.payloads) for queue in spec.queues]


def subject(queues: Sequence[str]) -> str:
    """The queues in a sentence: by name if that is short, else how many there are."""
    if len(queues) == 1:
        return f"the queue {queues[0]}"
    listed = f"the queues {', '.join(queues[:-1])} and {queues[-1]}"
    return listed if len(listed) <= _LONGEST_SUBJECT else f"{len(queues)} queues"


def _route(queue: QueueSpec) -> str:
    if queue.kind == AMQP:
        return "AMQPRoute"
    return "SNSQueueRoute" if queue.envelopes == ("sns",) else "SQSRoute"


# What the handler of a queue gets out of an envelope.
_CONTENTS = {
    "cloudevents": "the data of the CloudEvent",
    "eventbridge": "the detail of the EventBridge event",
    "lambda_destination": "the answer of the Lambda function",
    "s3": "the list of the records of S3",
}


def _translated(queue: QueueSpec) -> tuple[str, ...]:
    """The envelopes that the route's translator opens; a route of its own opens SNS's alone."""
    return queue.envelopes if queue.inner_envelopes else ()


def _rejects_misfits(queue: QueueSpec) -> bool:
    """Whether a message that no handler takes goes to the dead-letter queue."""
    decides = bool(queue.types and not queue.handler) or queue.payload is not None
    return decides and queue.dead_letter_queue is not None


def _is_published(queue: QueueSpec) -> bool:
    """Whether the tests publish to the queue's topic; a filter policy may leave their message out."""
    return queue.topic is not None and "filter_policy" not in queue.attributes


def _tested_envelopes(spec: ServiceSpec) -> list[str]:
    """The envelopes in which the tests of whole queues put their messages."""
    used: set[str] = set()
    for queue in spec.queues:
        is_sent = queue.fifo or _rejects_misfits(queue) or not _is_published(queue)
        used.update(queue.envelopes if is_sent else queue.inner_envelopes)
    return sorted(used)


# The options of a queue that its route itself keeps.
LIMITS = (
    "concurrency",
    "prefetch",
    "handler_timeout",
    "rate_limit",
    "breaker_threshold",
    "breaker_recovery",
)


def _queue(queue: QueueSpec, shown: QueueSpec, payloads: Payloads) -> Context:
    """The variables of a queue; `shown` has values in place of parameters."""
    keywords: Context = {
        field.keyword: queue.options[field.name]
        for field in OPTIONS
        if field.keyword and field.name in queue.options
    }
    if queue.kind == AMQP:
        keywords |= queue.amqp_options
    elif queue.dead_letter_queue:
        keywords["dead_letter_queue"] = queue.dead_letter_queue
    names_in_code = [queue.name, *(item for item in keywords.values() if isinstance(item, str))]
    return {
        "name": queue.name,
        "computes_names": any(map(names.parameters_in, names_in_code)),
        "queue_name": queue.queue_name,
        "shown": shown.queue_name,
        "route_name": queue.route_name,
        "kind": queue.kind,
        "route": _route(queue),
        "envelopes": list(queue.envelopes),
        "inner_envelopes": list(queue.inner_envelopes),
        "translated": list(_translated(queue)),
        "content": _CONTENTS.get(queue.kind, ""),
        "published": _is_published(queue),
        "attributes": queue.attribute_texts(FIFO),
        "subscription": queue.attribute_texts(SUBSCRIPTION),
        "topic": shown.topic or "",
        "handler": queue.handler or "",
        "label": queue.handler or names.handler_for(queue.name),
        "by": queue.by or "",
        "types": {type_.name: type_.handler for type_ in queue.types},
        "functions": [
            {"name": type_.handler, "message": _message(queue, type_, payloads)}
            for type_ in _functions(queue)
        ],
        "error_handler": queue.error_handler or "",
        "translator": queue.translator or "",
        "payload": queue.payload or "",
        "rejects_misfits": _rejects_misfits(queue),
        "message": _message(queue, _functions(queue)[0], payloads),
        "least_message": _message(queue, _functions(queue)[0], payloads, everything=False),
        "fifo": queue.fifo,
        "dead_letter_queue": shown.dead_letter_queue or "",
        "max_receive_count": queue.max_receive_count or 0,
        "receive": {
            field.receive: queue.options[field.name]
            for field in OPTIONS
            if field.receive and field.name in queue.options
        },
        "keywords": keywords,
        "settings": [
            {"name": route_variable(queue.route_name, name), "value": value}
            for name, value in queue.options.items()
        ],
        "limits": {name: queue.options[name] for name in LIMITS if name in queue.options},
    }


def _functions(queue: QueueSpec) -> tuple[TypeSpec, ...]:
    """The handlers of a queue, that of any other type as one of a type without a name."""
    others = [TypeSpec("", queue.handler, queue.payload)] if queue.handler else []
    return (*queue.types, *others)


# The name of a message attribute.
_ATTRIBUTE = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")

# The facts of an envelope among which a message may say its type.
_FACTS = {
    "cloudevents": re.compile("[a-z0-9]+"),
    "eventbridge": re.compile("detail-type|source|id|account|time|region"),
}


def _message(
    queue: QueueSpec, type_: TypeSpec, payloads: Payloads, *, everything: bool = True
) -> Context:
    """A message of a type that fits its payload: the content, and where else it says its type."""
    content: Context = {"hello": "world"}
    if queue.kind == "s3":
        content = {"bucket": "local", "key": "example.txt"}
    elif type_.payload is not None:
        content = example(type_.payload, payloads, everything=everything)
    facts, attributes = {}, {}
    if queue.by is not None and type_.name:
        known = _FACTS.get(queue.kind)
        if known and known.fullmatch(queue.by):
            facts = {queue.by: type_.name}
        elif _is_attribute(queue, type_, payloads):
            attributes = {queue.by: type_.name}
        else:
            _set(content, queue.by.split("."), type_.name)
    return {
        "type": type_.name,
        "payload": type_.payload or "",
        "facts": facts,
        "attributes": attributes,
        "content": content,
    }


def _is_attribute(queue: QueueSpec, type_: TypeSpec, payloads: Payloads) -> bool:
    """Whether a message attribute says the type, because no field of the payload does."""
    key = str(queue.by)
    if type_.payload is None or queue.kind == AMQP or not _ATTRIBUTE.fullmatch(key):
        return False
    return key.split(".", maxsplit=1)[0] not in payloads[type_.payload].fields


def _set(content: Context, path: Sequence[str], value: str) -> None:
    """Set a value in tables within a table; what is not a table on the path is replaced."""
    *tables, last = path
    for key in tables:
        inner = content.get(key)
        content[key] = {**inner} if isinstance(inner, dict) else {}
        content = content[key]
    content[last] = value


def _topics(spec: ServiceSpec) -> list[Context]:
    """Each topic once, with a message that fits the payload of its queues, if they have one.

    A topic that is given by name and by ARN is one on the local server. A queue with a filter policy
    may not get that message: its topic does not count.
    """
    examples: dict[str, Context] = {}
    for queue in spec.queues:
        if queue.topic is None or not _is_published(queue):
            continue
        name = queue.topic.rpartition(":")[2]
        if queue.payloads or name not in examples:
            shown = examples.get(name, {"name": queue.topic})["name"]
            examples[name] = {
                "name": shown,
                "message": _message(queue, _functions(queue)[0], spec.payloads),
                "envelopes": list(queue.inner_envelopes),
            }
    return list(examples.values())


def _dead_letter_queues(spec: ServiceSpec) -> list[str]:
    """Each dead-letter queue once, except those that the service reads."""
    read = {queue.queue_name for queue in spec.queues}
    targets = dict.fromkeys(queue.dead_letter_queue for queue in spec.queues)
    return [target for target in targets if target and target not in read]


def _shared(uses: Iterable[tuple[str | None, QueueSpec]]) -> list[Context]:
    """Functions and classes that queues share, each with the queues that use it."""
    queues: dict[str, list[str]] = {}
    for name, queue in uses:
        if name:
            queues.setdefault(name, []).append(queue.queue_name)
    return [{"name": name, "subject": subject(users)} for name, users in queues.items()]


def _models(spec: ServiceSpec) -> list[Context]:
    """The models, each after those that it is made of."""
    written: set[str] = set()
    found: list[Context] = []
    for payload in payloads.in_order(spec.payloads):
        attributes = payloads.attributes(payload.fields, spec.payloads)
        fields = [
            {
                "name": attributes[key],
                "type": str(type_),
                "forward": not written.issuperset(type_.models()),
                "alias": key if attributes[key] != key else "",
                "optional": type_.may_be_absent,
                "default": type_.default,
            }
            for key, type_ in payload.fields.items()
        ]
        written.add(payload.name)
        union = "" if payload.union is None else str(payload.union)
        role = _role(payload, spec)
        found.append({"name": payload.name, "role": role, "fields": fields, "union": union})
    return found


def _imports(found: Payloads) -> Mapping[str, list[str]]:
    """The names that the models import, by their modules."""
    types = [type_ for payload in found.values() for type_ in payload.types]
    used = set().union(*(type_.names() for type_ in types)) | {"dataclass"}
    if not used.isdisjoint(("date", "datetime", "time", "timedelta")):
        used.add("dt")
    if any("Literal[" in str(type_) for type_ in types):
        used.add("Literal")
    if any(
        attribute != key
        for payload in found.values()
        for key, attribute in payloads.attributes(payload.fields, found).items()
    ):
        used |= {"Annotated", "Field"}
    modules: dict[str, list[str]] = {}
    for name in sorted(used & names.IMPORTED_BY_MODELS.keys()):
        modules.setdefault(names.IMPORTED_BY_MODELS[name], []).append(name)
    return modules


def _import_lines(modules: Mapping[str, list[str]]) -> list[str]:
    """The lines that import names of the standard library, as isort orders them."""
    lines = ["import datetime as dt"] if "datetime" in modules else []
    others = sorted(modules.keys() - {"datetime", "pydantic"})
    return lines + [f"from {module} import {', '.join(modules[module])}" for module in others]


def _role(payload: PayloadSpec, spec: ServiceSpec) -> str:
    queues = [queue.queue_name for queue in spec.queues if payload.name in queue.payloads]
    if queues:
        return f"The content of a message of {' or '.join(queues)}"
    users = [
        other.name
        for other in spec.payloads.values()
        if any(payload.name in type_.models() for type_ in other.types)
    ]
    return f"A part of {' and '.join(users)}" if users else "Not used yet"


def settings(spec: ServiceSpec) -> Context:
    """The spec as `loafer.toml` holds it."""
    service_settings: Context = {"name": spec.name}
    if spec.package != names.package_for(spec.name):
        service_settings["package"] = spec.package
    if spec.ships:
        service_settings["with"] = list(spec.ships)
    return {
        "service": service_settings,
        "parameters": [
            {"name": parameter.name}
            | ({} if parameter.default is None else {"default": parameter.default})
            for parameter in spec.parameters
        ],
        "queues": [_queue_settings(queue) for queue in spec.queues],
        "payloads": {
            name: (
                str(payload.union)
                if payload.union
                else {key: str(type_) for key, type_ in payload.fields.items()}
            )
            for name, payload in sorted(
                spec.payloads.items(), key=lambda item: item[1].union is None
            )
        },
    }


def kept(context: Context) -> Context:
    """The values of a draft of this spec, as `loafer.toml` holds them."""
    found = context["settings"]
    tables = {key: found[key] for key in ("parameters", "payloads") if found[key]}
    return {**found["service"], "queues": found["queues"], **tables}


def _queue_settings(queue: QueueSpec) -> Context:
    settings: Context = {
        "name": queue.name,
        "kind": queue.kind if queue.kind != "sqs" else None,
        "topic": (queue.topic if queue.creates_topic else {"name": queue.topic, "create": False}),
        "exchange": queue.exchange,
        "routing_key": queue.routing_key,
        "handler": queue.handler,
        "by": queue.by,
        "error_handler": queue.error_handler,
        "translator": queue.translator,
        "payload": queue.payload,
        "dead_letter_queue": queue.dead_letter_queue,
        "max_receive_count": queue.max_receive_count,
        **{key: _attribute(key, value) for key, value in queue.attributes.items()},
        **queue.options,
        "types": {type_.name: _type_settings(type_) for type_ in queue.types} or None,
    }
    return {key: value for key, value in settings.items() if value is not None}


def _type_settings(type_: TypeSpec) -> Context:
    payload = {} if type_.payload is None else {"payload": type_.payload}
    return {"handler": type_.handler, **payload}


def _attribute(key: str, value: Value) -> object:
    """An attribute as TOML has it: a filter policy as a table, unless it has a null."""
    if key != "filter_policy":
        return value
    policy = json.loads(str(value))
    return value if _has_null(policy) else policy


def _has_null(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_null, value.values()))
    return value is None or (isinstance(value, list) and any(map(_has_null, value)))
