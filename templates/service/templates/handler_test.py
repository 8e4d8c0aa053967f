{# How one queue's handler is tested. #}
def test_{{ function.name }}_accepts_a_message() -> None:
    """A handled message is deleted."""
    (route,) = [item for item in routes if {% if queue.types %}item.name == {{ queue.route_name|py }}{% else %}item.handler is handlers.{{ queue.handler }}{% endif %}]

    outcome = asyncio.run(deliver(route, {{ function.message.content|py }}{% if function.message.facts %}, envelope={{ function.message.facts|py }}{% endif %}{% set message = function.message %}{% include "attributes.txt" %}))

    assert outcome == ACKNOWLEDGE
