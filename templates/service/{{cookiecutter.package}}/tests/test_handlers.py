"""The handlers, one by one."""

import asyncio

from {{ cookiecutter.package }} import handlers
{% for queue in cookiecutter.queues %}


def test_{{ queue.handler }}_accepts_a_message() -> None:
    """What was handled is deleted."""
    message = {"hello": "world"}

    assert asyncio.run(handlers.{{ queue.handler }}(message, {})) is True
{% endfor %}
{% for handler in cookiecutter.error_handlers %}


def test_{{ handler.name }}_leaves_the_message() -> None:
    """What could not be handled stays on the queue."""
    error = RuntimeError("no luck")

    answer = asyncio.run(handlers.{{ handler.name }}((RuntimeError, error, None), {}))

    assert answer is False
{% endfor %}
