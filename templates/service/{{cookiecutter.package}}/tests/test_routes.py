"""The routes: which queue's messages go to which handler, and within which limits."""

from {{ cookiecutter.package }} import handlers
from {{ cookiecutter.package }}.routes import routes


def test_each_queue_has_its_handler() -> None:
    """Each of these queues is read once, for its own handler."""
    expected = [
{% for queue in cookiecutter.queues %}
        ({{ queue.route_name|py }}, handlers.{{ queue.handler }}),
{% endfor %}
    ]
    queues = [queue for queue, _ in expected]

    found = [(route.name, route.handler) for route in routes if route.name in queues]

    assert found == expected


def test_each_queue_has_its_limits() -> None:
    """They are those of loafer.toml."""
    options = {route.name: route.options for route in routes}

{% for queue in cookiecutter.queues %}
{% for option, value in queue.limits.items() %}
    assert options[{{ queue.route_name|py }}].{{ option }} == {{ value|py }}
{% endfor %}
{% endfor %}
