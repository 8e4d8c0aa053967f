{# Which types of messages a queue has handlers for. #}
def test_{{ queue.label }}_knows_the_types_of_its_messages() -> None:
    """Each has a handler of its own; {% if queue.handler %}any other goes to {{ queue.handler }}{% else %}any other is rejected{% endif %}."""
    (route,) = [item for item in routes if item.name == {{ queue.route_name|py }}]

    assert isinstance(route.handler, ByType)
    assert route.handler.types == {{ queue.types|list|py_tuple }}
