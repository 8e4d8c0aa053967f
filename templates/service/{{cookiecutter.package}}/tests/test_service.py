{% set queues = cookiecutter.queues %}
{% set names = queues|map(attribute="shown")|list %}
{% set ordered = queues|selectattr("fifo")|list %}
{% set typed = queues|selectattr("rejects_misfits")|list %}
"""The service as a whole: from a sent message to an empty queue."""

{% if cookiecutter.on_rabbitmq %}
from loafer_kit.managers import LoaferManager
from loafer_kit.testing import LocalRabbitMQ

from {{ cookiecutter.package }}.routes import routes


def test_messages_are_handled_and_acknowledged(local_rabbitmq: LocalRabbitMQ) -> None:
    """One message to {% if queues|length == 1 %}the queue{% else %}each queue{% endif %}, one round of the service, and nothing is left."""
    messages = {
{% for queue in queues %}
        {{ queue.route_name|py }}: {{ queue.message.content|py }},
{% endfor %}
    }
    found = [route for route in routes if route.name in messages]
    for route in found:
        local_rabbitmq.send(route, messages[route.name])

    LoaferManager(found).run(forever=False)

    for route in found:
        assert not any(local_rabbitmq.depth(route).values())
{% for queue in typed %}


{% include "misfit_test.py" %}
{% endfor %}
{% else %}
{% if ordered %}
import logging

import pytest
{% endif %}
{% if cookiecutter.tested_envelopes %}
from loafer_kit.ext.aws.envelopes import EnvelopeTranslator, {{ cookiecutter.tested_envelopes|join(", ")|prose }}
{% endif %}
from loafer_kit.local import {% if cookiecutter.needs_local_queue %}LocalQueue, {% endif %}LocalQueues
from loafer_kit.managers import LoaferManager
{% if ordered %}
from loafer_kit.testing import run_until_empty
{% endif %}

from {{ cookiecutter.package }}.routes import routes


def test_messages_are_handled_and_deleted(local_queues: LocalQueues) -> None:
    """One message to {% if queues|length == 1 %}the queue{% else %}each queue{% endif %}, one round of the service, and nothing is left."""
    local_queues.create({% for queue in queues %}{% include "local_queue.txt" %}{% if not loop.last %}, {% endif %}{% endfor %})
{% for queue in queues if not queue.published %}
{% set envelopes, message = queue.envelopes, queue.message %}
    local_queues.send({{ queue.shown|py }}, {% include "body.txt" %}{% include "attributes.txt" %})
{% endfor %}
{% for topic in cookiecutter.topics %}
{% set envelopes, message = topic.envelopes, topic.message %}
    local_queues.publish({{ topic.name|py }}, {% include "body.txt" %}{% include "attributes.txt" %})
{% endfor %}
    names = {{ queues|map(attribute="route_name")|list|py }}
    manager = LoaferManager([route for route in routes if route.name in names])

    manager.run(forever=False)

{% for name in names + cookiecutter.dead_letter_queues %}
    assert local_queues.counts({{ name|py }}).total == 0
{% endfor %}
{% for queue in typed %}


{% include "misfit_test.py" %}
{% endfor %}
{% for queue in ordered %}


{% include "order_test.py" %}
{% endfor %}
{% endif %}
