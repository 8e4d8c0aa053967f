{# What becomes of a message that does not fit its payload. #}
{% if cookiecutter.on_rabbitmq %}
def test_{{ queue.label }}_gets_no_misfit(local_rabbitmq: LocalRabbitMQ) -> None:
    """A message {% if queue.types %}of another type{% else %}that is no {{ queue.payload }}{% endif %} goes to the dead-letter queue."""
    (route,) = [route for route in routes if route.name == {{ queue.route_name|py }}]
    local_rabbitmq.send(route, {% if queue.types %}{}{% else %}[]{% endif %})

    LoaferManager([route]).run(forever=False)

    assert local_rabbitmq.depth(route) == {"visible": 0, "dead_letters": 1}
{% else %}
def test_{{ queue.label }}_gets_no_misfit(local_queues: LocalQueues) -> None:
    """A message {% if queue.types %}of another type{% else %}that is no {{ queue.payload }}{% endif %} goes to the dead-letter queue."""
    local_queues.create({% include "local_queue.txt" %})
{% set envelopes, message = queue.envelopes, {"content": {} if queue.types else [], "facts": {}} %}
    local_queues.send({{ queue.shown|py }}, {% include "body.txt" %})
    manager = LoaferManager([route for route in routes if route.name == {{ queue.route_name|py }}])

    manager.run(forever=False)

    assert local_queues.counts({{ queue.shown|py }}).total == 0
    assert local_queues.counts({{ queue.dead_letter_queue|py }}).total == 1
{% endif %}
