"""The routes: which queue's messages go to which handler."""

from {{ cookiecutter.package }} import handlers
from {{ cookiecutter.package }}.routes import routes


def test_each_queue_has_its_handler() -> None:
    """Each queue is read once, for its own handler."""
    assert [(route.name, route.handler) for route in routes] == [
{% for queue in cookiecutter.queues %}
        ({{ queue.queue_name|py }}, handlers.{{ queue.handler }}),
{% endfor %}
    ]
