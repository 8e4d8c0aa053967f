"""The routes: which queue's messages go to which handler."""

from {{ cookiecutter.package }} import handlers
from {{ cookiecutter.package }}.routes import routes


def test_each_queue_has_its_handler() -> None:
    """Each of these queues is read once, for its own handler."""
    expected = [
{% for queue in cookiecutter.queues %}
        ({{ queue.queue_name|py }}, handlers.{{ queue.handler }}),
{% endfor %}
    ]
    queues = [queue for queue, _ in expected]

    found = [(route.name, route.handler) for route in routes if route.name in queues]

    assert found == expected
