"""Checks of a service of RabbitMQ: its broker and its queues."""

import asyncio
import contextlib
from collections.abc import Iterator

from loafer_kit.doctor import Finding
from loafer_kit.exceptions import LoaferKitError, MissingExtraError
from loafer_kit.scaffold.spec.specs import ServiceSpec


def findings(spec: ServiceSpec) -> Iterator[Finding]:
    """Yield a finding for each queue, or the one that explains why none could be looked at."""
    try:
        from loafer_kit.ext.amqp.connections import address_of, broker_url
    except MissingExtraError as error:
        yield Finding("problem", "RabbitMQ", str(error))
        return
    try:
        url = broker_url()
        found = asyncio.run(_look(url, spec))
    except LoaferKitError as error:
        remedy = "name a broker that answers: LOAFER_AMQP_URL=amqp://user:password@host/vhost"
        yield Finding("problem", "RabbitMQ", str(error), remedy)
        return
    yield Finding("ok", "RabbitMQ", f"answers on {address_of(url)}")
    for queue in spec.queues:
        if queue.name in found:
            yield Finding(
                "ok", f"queue {queue.name}", f"is there, with {found[queue.name]} messages"
            )
        else:
            message = "is not there yet: the service declares it when it starts"
            yield Finding("note", f"queue {queue.name}", message)


async def _look(url: str, spec: ServiceSpec) -> dict[str, int]:
    """Return how many messages are ready in each queue that exists; nothing is created."""
    from aio_pika.exceptions import ChannelNotFoundEntity

    from loafer_kit.ext.amqp.connections import connect, disconnect

    connection = await connect(url, "doctor")
    found = {}
    try:
        for queue in spec.queues:
            with contextlib.suppress(ChannelNotFoundEntity):
                async with connection.channel() as channel:
                    declared = await channel.declare_queue(queue.name, passive=True)
                found[queue.name] = declared.declaration_result.message_count or 0
    finally:
        await disconnect(connection)
    return found
