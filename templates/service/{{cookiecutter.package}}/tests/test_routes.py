"""The routes: which queue's messages go to which handler, and within which limits."""

{% set typed = cookiecutter.queues|selectattr("types")|list %}
{% set plain = cookiecutter.queues|rejectattr("types")|list %}
{% if typed %}
from loafer_kit.payloads.by_type import ByType

{% endif %}
{% if plain %}
from {{ cookiecutter.package }} import handlers
{% endif %}
from {{ cookiecutter.package }}.routes import routes


{% if plain %}
def test_each_queue_has_its_handler() -> None:
    """Each of these queues is read once, for its own handler."""
    expected = [
{% for queue in plain %}
        ({{ queue.route_name|py }}, handlers.{{ queue.handler }}),
{% endfor %}
    ]
    queues = [queue for queue, _ in expected]

    found = [(route.name, route.handler) for route in routes if route.name in queues]

    assert found == expected


{% endif %}
{% for queue in typed %}
{% include "types_test.py" %}


{% endfor %}
def test_each_queue_has_its_limits() -> None:
    """They are those of loafer.toml.

    Unset the variables LOAFER_<ROUTE>_<OPTION>, which override them, for this test.
    """
    options = {route.name: route.options for route in routes}

{% for queue in cookiecutter.queues %}
{% for option, value in queue.limits.items() %}
    assert options[{{ queue.route_name|py }}].{{ option }} == {{ value|py }}
{% endfor %}
{% endfor %}
