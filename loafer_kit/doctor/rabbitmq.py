"""Checks of a service of RabbitMQ: its broker and its queues."""

from collections.abc import Iterator

from loafer_kit.doctor import Finding
from loafer_kit.exceptions import LoaferKitError, MissingExtraError
from loafer_kit.local import rabbitmq
from loafer_kit.scaffold.spec.specs import ServiceSpec


def findings(spec: ServiceSpec) -> Iterator[Finding]:
    """Yield a finding for each queue, or the one that explains why none could be looked at."""
    try:
        address, found = rabbitmq.depths([queue.name for queue in spec.queues])
    except MissingExtraError as error:
        yield Finding("problem", "RabbitMQ", str(error))
        return
    except LoaferKitError as error:
        remedy = (
            "start `loafer-kit dev` in another terminal, or name a broker that answers: "
            "LOAFER_AMQP_URL=amqp://user:password@host/vhost"
        )
        yield Finding("problem", "RabbitMQ", str(error), remedy)
        return
    yield Finding("ok", "RabbitMQ", f"answers on {address}")
    for queue in spec.queues:
        if queue.name in found:
            yield Finding(
                "ok", f"queue {queue.name}", f"is there, with {found[queue.name]} messages"
            )
        else:
            message = "is not there yet: the service declares it when it starts"
            yield Finding("note", f"queue {queue.name}", message)
