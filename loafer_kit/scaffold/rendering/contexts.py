"""What a template is told about a spec: plain values only, in the order in which it needs them."""

from collections.abc import Iterable, Sequence
from typing import Any

from loafer_kit import __version__
from loafer_kit.scaffold.spec import names
from loafer_kit.scaffold.spec.fields import OPTIONS
from loafer_kit.scaffold.spec.payloads import Payloads, example
from loafer_kit.scaffold.spec.specs import QueueSpec, ServiceSpec

Context = dict[str, Any]

_LONGEST_SUBJECT = 60


def service(spec: ServiceSpec) -> Context:
    """The context of `templates/service`."""
    # Whoever only asks for the queues, as `check` does, has no use for these.
    from loafer_kit.scaffold.rendering import payload_contexts
    from loafer_kit.scaffold.shipping import contexts as shipping

    return {
        "name": spec.name,
        "package": spec.package,
        "version": __version__,
        "subject": subject([queue.queue_name for queue in spec.queues]),
        "queues": queues(spec),
        "error_handlers": _shared((queue.error_handler, queue) for queue in spec.queues),
        "translators": _shared(
            (queue.translator, queue) for queue in spec.queues if queue.translator != "none"
        ),
        "route_classes": sorted({_ROUTES[queue.kind] for queue in spec.queues}),
        "topics": _topics(spec),
        "needs_local_queue": any(queue.topic or queue.dead_letter_queue for queue in spec.queues),
        "payloads": payload_contexts.models(spec),
        "payload_imports": payload_contexts.imports(spec.payloads),
        "payload_aliases": payload_contexts.has_aliases(spec.payloads),
        "settings": settings(spec),
        "shipping": shipping.service(spec),
    }


def queues(spec: ServiceSpec) -> list[Context]:
    """The queues, and what code says of each."""
    return [_queue(queue, spec.payloads) for queue in spec.queues]


def subject(queues: Sequence[str]) -> str:
    """The queues as the subject of a sentence: by their names, as long as it stays short."""
    if len(queues) == 1:
        return f"the queue {queues[0]}"
    listed = f"the queues {', '.join(queues[:-1])} and {queues[-1]}"
    return listed if len(listed) <= _LONGEST_SUBJECT else f"{len(queues)} queues"


_ROUTES = {"sqs": "SQSRoute", "sns": "SNSQueueRoute"}


def _queue(queue: QueueSpec, payloads: Payloads) -> Context:
    keywords: Context = {
        field.keyword: queue.options[field.name]
        for field in OPTIONS
        if field.keyword and field.name in queue.options
    }
    if queue.dead_letter_queue:
        keywords["dead_letter_queue"] = queue.dead_letter_queue
    return {
        "name": queue.name,
        "queue_name": queue.queue_name,
        "kind": queue.kind,
        "route": _ROUTES[queue.kind],
        "topic": queue.topic or "",
        "handler": queue.handler,
        "error_handler": queue.error_handler or "",
        "translator": queue.translator or "",
        "payload": queue.payload or "",
        "example": _example(queue, payloads),
        "least_example": _example(queue, payloads, everything=False),
        "fifo": queue.fifo,
        "dead_letter_queue": queue.dead_letter_queue or "",
        "max_receive_count": queue.max_receive_count or 0,
        "receive": {
            field.receive: queue.options[field.name]
            for field in OPTIONS
            if field.receive and field.name in queue.options
        },
        "keywords": keywords,
    }


def _example(queue: QueueSpec, payloads: Payloads, *, everything: bool = True) -> Context:
    """A message that the queue's handler can be given."""
    if queue.payload is None:
        return {"hello": "world"}
    return example(queue.payload, payloads, everything=everything)


def _topics(spec: ServiceSpec) -> list[Context]:
    """Each topic once, with an example that fits the payload of the queues that have one."""
    examples: dict[str, Context] = {}
    for queue in spec.queues:
        if queue.topic and (queue.payload or queue.topic not in examples):
            examples[queue.topic] = _example(queue, spec.payloads)
    return [{"name": name, "example": content} for name, content in examples.items()]


def _shared(uses: Iterable[tuple[str | None, QueueSpec]]) -> list[Context]:
    """Pieces of code that several queues may share, each with the queues that use it."""
    queues: dict[str, list[str]] = {}
    for name, queue in uses:
        if name:
            queues.setdefault(name, []).append(queue.queue_name)
    return [{"name": name, "subject": subject(users)} for name, users in queues.items()]


def settings(spec: ServiceSpec) -> Context:
    """The spec as `loafer.toml` keeps it: what was chosen, and the names of the code."""
    service_settings: Context = {"name": spec.name}
    if spec.package != names.package_for(spec.name):
        service_settings["package"] = spec.package
    if spec.ships:
        service_settings["with"] = list(spec.ships)
    return {
        "service": service_settings,
        "queues": [_queue_settings(queue) for queue in spec.queues],
        "payloads": {
            name: {key: str(type_) for key, type_ in payload.fields.items()}
            for name, payload in spec.payloads.items()
        },
    }


def kept(context: Context) -> Context:
    """What `loafer.toml` says of a service with this context: its spec, as any file may give it."""
    said = context["settings"]
    payloads = {"payloads": said["payloads"]} if said["payloads"] else {}
    return {**said["service"], "queues": said["queues"], **payloads}


def _queue_settings(queue: QueueSpec) -> Context:
    settings: Context = {
        "name": queue.name,
        "kind": queue.kind if queue.kind != "sqs" else None,
        "topic": queue.topic,
        "handler": queue.handler,
        "error_handler": queue.error_handler,
        "translator": queue.translator,
        "payload": queue.payload,
        "dead_letter_queue": queue.dead_letter_queue,
        "max_receive_count": queue.max_receive_count,
        **queue.options,
    }
    return {key: value for key, value in settings.items() if value is not None}
