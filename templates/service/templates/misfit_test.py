{# What becomes of a message that does not fit its payload. #}
def test_{{ queue.handler }}_gets_no_misfit(local_queues: LocalQueues) -> None:
    """A message that is no {{ queue.payload }} goes to the dead-letter queue."""
    local_queues.create({% include "local_queue.txt" %})
{% set envelopes, content = queue.envelopes, [] %}
    local_queues.send({{ queue.shown|py }}, {% include "body.txt" %})
    manager = LoaferManager([route for route in routes if route.name == {{ queue.route_name|py }}])

    manager.run(forever=False)

    assert local_queues.counts({{ queue.shown|py }}).total == 0
    assert local_queues.counts({{ queue.dead_letter_queue|py }}).total == 1
