{% set queue = cookiecutter.queues[0] %}
"""The queue {{ queue.queue_name|prose }}: its handler, its route, and a message from end to end."""

import asyncio

from loafer_kit.local import {% if cookiecutter.needs_local_queue %}LocalQueue, {% endif %}LocalQueues
from loafer_kit.managers import LoaferManager
{% if queue.payload %}
from pydantic import TypeAdapter
{% endif %}

from {{ cookiecutter.package }} import handlers{% if queue.payload %}, payloads{% endif %}

from {{ cookiecutter.package }}.routes import routes


def test_{{ queue.handler }}_accepts_a_message() -> None:
    """A handled message is deleted."""
{% if queue.payload %}
    message = TypeAdapter(payloads.{{ queue.payload }}).validate_python({{ queue.example|py }})
{% else %}
    message = {{ queue.example|py }}
{% endif %}

    assert asyncio.run(handlers.{{ queue.handler }}(message, {})) is True

{% if queue.error_handler %}

def test_{{ queue.error_handler }}_leaves_the_message() -> None:
    """A message that could not be handled stays on the queue."""
    error = RuntimeError("no luck")

    answer = asyncio.run(handlers.{{ queue.error_handler }}((RuntimeError, error, None), {}))

    assert answer is False

{% endif %}

def test_the_queue_has_its_handler() -> None:
    """The queue is read once, for its own handler."""
    found = [route.handler for route in routes if route.name == {{ queue.queue_name|py }}]

    assert found == [handlers.{{ queue.handler }}]


def test_a_message_is_handled_and_deleted(local_queues: LocalQueues) -> None:
    """One message, one round of the service, and nothing is left."""
{% if cookiecutter.needs_local_queue %}
    queue = LocalQueue({{ queue.queue_name|py }}
{%- if queue.topic %}, topic={{ queue.topic|py }}{% endif %}
{%- if queue.dead_letter_queue %}, dead_letter_queue={{ queue.dead_letter_queue|py }}, max_receive_count={{ queue.max_receive_count }}{% endif %}
)
    local_queues.create(queue)
{% else %}
    local_queues.create({{ queue.queue_name|py }})
{% endif %}
{% if queue.topic %}
    local_queues.publish({{ queue.topic|py }}, {{ queue.example|py }})
{% else %}
    local_queues.send({{ queue.queue_name|py }}, {{ queue.example|py }})
{% endif %}
    manager = LoaferManager([route for route in routes if route.name == {{ queue.queue_name|py }}])

    manager.run(forever=False)

    assert local_queues.counts({{ queue.queue_name|py }}).total == 0
