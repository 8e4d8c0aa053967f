"""The handlers, one by one."""

import asyncio
{% if cookiecutter.queues|selectattr("payload")|list %}

from pydantic import TypeAdapter
{% endif %}

from {{ cookiecutter.package }} import handlers{% if cookiecutter.queues|selectattr("payload")|list %}, payloads{% endif %}

{% for queue in cookiecutter.queues %}


def test_{{ queue.handler }}_accepts_a_message() -> None:
    """A handled message is deleted."""
{% if queue.payload %}
    message = TypeAdapter(payloads.{{ queue.payload }}).validate_python({{ queue.example|py }})
{% else %}
    message = {{ queue.example|py }}
{% endif %}

    assert asyncio.run(handlers.{{ queue.handler }}(message, {})) is True
{% endfor %}
{% for handler in cookiecutter.error_handlers %}


def test_{{ handler.name }}_leaves_the_message() -> None:
    """A message that could not be handled stays on the queue."""
    error = RuntimeError("no luck")

    answer = asyncio.run(handlers.{{ handler.name }}((RuntimeError, error, None), {}))

    assert answer is False
{% endfor %}
