{# A file of tests for one queue that is added to a service. #}
{% set queue = cookiecutter.queues[0] %}
"""The queue {{ queue.shown|prose }}: its handler, its route, and a message from end to end."""

import asyncio
{% if queue.fifo %}
import logging

import pytest
{% else %}

{% endif %}
{% if cookiecutter.tested_envelopes %}
from loafer_kit.ext.aws.envelopes import EnvelopeTranslator, {{ cookiecutter.tested_envelopes|join(", ")|prose }}
{% endif %}
{% if not cookiecutter.on_rabbitmq %}
from loafer_kit.local import {% if cookiecutter.needs_local_queue %}LocalQueue, {% endif %}LocalQueues
{% endif %}
from loafer_kit.managers import LoaferManager
from loafer_kit.outcomes import ACKNOWLEDGE
{% if queue.types %}
from loafer_kit.payloads.by_type import ByType
{% endif %}
from loafer_kit.testing import {% if cookiecutter.on_rabbitmq %}LocalRabbitMQ, {% endif %}deliver{% if queue.fifo %}, run_until_empty{% endif %}


{% if queue.error_handler or not queue.types %}
from {{ cookiecutter.package }} import handlers
{% endif %}
from {{ cookiecutter.package }}.routes import routes


{% for function in queue.functions %}
{% if not loop.first %}


{% endif %}
{% include "handler_test.py" %}
{% endfor %}

{% if queue.error_handler %}

{% set name = queue.error_handler %}
{% include "error_handler_test.py" %}

{% endif %}

def test_the_queue_has_its_handler_and_its_limits() -> None:
    """The queue is read once, for its own handler, within the limits of loafer.toml."""
    (route,) = [route for route in routes if route.name == {{ queue.route_name|py }}]

{% if queue.types %}
    assert isinstance(route.handler, ByType)
    assert route.handler.types == {{ queue.types|list|py_tuple }}
{% else %}
    assert route.handler is handlers.{{ queue.handler }}
{% endif %}
{% for option, value in queue.limits.items() %}
    assert route.options.{{ option }} == {{ value|py }}
{% endfor %}


{% if cookiecutter.on_rabbitmq %}
def test_a_message_is_handled_and_acknowledged(local_rabbitmq: LocalRabbitMQ) -> None:
    """One message, one round of the service, and nothing is left."""
    (route,) = [route for route in routes if route.name == {{ queue.route_name|py }}]
    local_rabbitmq.send(route, {{ queue.message.content|py }})

    LoaferManager([route]).run(forever=False)

    assert not any(local_rabbitmq.depth(route).values())
{% else %}
def test_a_message_is_handled_and_deleted(local_queues: LocalQueues) -> None:
    """One message, one round of the service, and nothing is left."""
    local_queues.create({% include "local_queue.txt" %})
{% set message = queue.message %}
{% if queue.published %}
{% set envelopes = queue.inner_envelopes %}
    local_queues.publish({{ queue.topic|py }}, {% include "body.txt" %}{% include "attributes.txt" %})
{% else %}
{% set envelopes = queue.envelopes %}
    local_queues.send({{ queue.shown|py }}, {% include "body.txt" %}{% include "attributes.txt" %})
{% endif %}
    manager = LoaferManager([route for route in routes if route.name == {{ queue.route_name|py }}])

    manager.run(forever=False)

    assert local_queues.counts({{ queue.shown|py }}).total == 0
{% if queue.dead_letter_queue %}
    assert local_queues.counts({{ queue.dead_letter_queue|py }}).total == 0
{% endif %}
{% endif %}
{% if queue.rejects_misfits %}


{% include "misfit_test.py" %}
{% endif %}
{% if queue.fifo %}


{% include "order_test.py" %}
{% endif %}
