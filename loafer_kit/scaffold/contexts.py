"""What a template is told about a spec: plain values only, in the order in which it needs them."""

from collections.abc import Iterable, Sequence
from typing import Any

from loafer_kit import __version__
from loafer_kit.scaffold import names
from loafer_kit.scaffold.fields import OPTIONS
from loafer_kit.scaffold.specs import QueueSpec, ServiceSpec

Context = dict[str, Any]


def service(spec: ServiceSpec) -> Context:
    """The context of `templates/service`."""
    return {
        "name": spec.name,
        "package": spec.package,
        "version": __version__,
        "subject": subject([queue.queue_name for queue in spec.queues]),
        "queues": [_queue(queue) for queue in spec.queues],
        "error_handlers": _shared((queue.error_handler, queue) for queue in spec.queues),
        "translators": _shared(
            (queue.translator, queue) for queue in spec.queues if queue.translator != "none"
        ),
        "route_classes": sorted({_ROUTES[queue.kind] for queue in spec.queues}),
        "topics": list(dict.fromkeys(queue.topic for queue in spec.queues if queue.topic)),
        "needs_local_queue": any(queue.topic or queue.dead_letter_queue for queue in spec.queues),
        "settings": _settings(spec),
    }


def subject(queues: Sequence[str]) -> str:
    """The queues as the subject of a sentence."""
    if len(queues) == 1:
        return f"the queue {queues[0]}"
    return f"the queues {', '.join(queues[:-1])} and {queues[-1]}"


_ROUTES = {"sqs": "SQSRoute", "sns": "SNSQueueRoute"}


def _queue(queue: QueueSpec) -> Context:
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


def _shared(uses: Iterable[tuple[str | None, QueueSpec]]) -> list[Context]:
    """Pieces of code that several queues may share, each with the queues that use it."""
    queues: dict[str, list[str]] = {}
    for name, queue in uses:
        if name:
            queues.setdefault(name, []).append(queue.queue_name)
    return [{"name": name, "subject": subject(users)} for name, users in queues.items()]


def _settings(spec: ServiceSpec) -> Context:
    """The spec as `loafer.toml` keeps it: what was chosen, and the names of the code."""
    service_settings: Context = {"name": spec.name}
    if spec.package != names.package_for(spec.name):
        service_settings["package"] = spec.package
    return {"service": service_settings, "queues": [_queue_settings(q) for q in spec.queues]}


def _queue_settings(queue: QueueSpec) -> Context:
    settings: Context = {
        "name": queue.name,
        "kind": queue.kind if queue.kind != "sqs" else None,
        "topic": queue.topic,
        "handler": queue.handler,
        "error_handler": queue.error_handler,
        "translator": queue.translator,
        "dead_letter_queue": queue.dead_letter_queue,
        "max_receive_count": queue.max_receive_count,
        **queue.options,
    }
    return {key: value for key, value in settings.items() if value is not None}
