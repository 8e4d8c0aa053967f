"""Checks of a service of RabbitMQ: its broker and its queues."""

import asyncio
from collections.abc import Iterator

from loafer_kit.doctor import Finding
from loafer_kit.exceptions import LoaferKitError, MissingExtraError
from loafer_kit.scaffold.spec.specs import ServiceSpec


def findings(spec: ServiceSpec) -> Iterator[Finding]:
    """Yield a finding for each queue, or the one that explains why none could be looked at."""
    try:
        from loafer_kit.ext.amqp import connections  # only a service of RabbitMQ has the extra
    except MissingExtraError as error:
        yield Finding("problem", "RabbitMQ", str(error))
        return

    async def look(url: str) -> dict[str, int]:
        connection = await connections.connect(url, "doctor")
        try:
            return await connections.depths(connection, [queue.name for queue in spec.queues])
        finally:
            await connections.disconnect(connection)

    try:
        url = connections.broker_url()
        found = asyncio.run(look(url))
    except LoaferKitError as error:
        remedy = "name a broker that answers: LOAFER_AMQP_URL=amqp://user:password@host/vhost"
        yield Finding("problem", "RabbitMQ", str(error), remedy)
        return
    yield Finding("ok", "RabbitMQ", f"answers on {connections.address_of(url)}")
    for queue in spec.queues:
        if queue.name in found:
            yield Finding(
                "ok", f"queue {queue.name}", f"is there, with {found[queue.name]} messages"
            )
        else:
            message = "is not there yet: the service declares it when it starts"
            yield Finding("note", f"queue {queue.name}", message)
