{# The order of the messages of a FIFO queue. #}
def test_{{ queue.label }}_gets_messages_in_order(
    local_queues: LocalQueues, caplog: pytest.LogCaptureFixture
) -> None:
    """The messages of a group are handled in the order in which they were sent."""
    caplog.set_level(logging.INFO, "loafer_kit")
    local_queues.create({% include "local_queue.txt" %})
{% set envelopes, message = queue.envelopes, queue.message %}
    message = {% include "body.txt" +%}
    sent = [local_queues.send({{ queue.shown|py }}, message{% include "attributes.txt" %}) for _ in range(3)]
    manager = LoaferManager([route for route in routes if route.name == {{ queue.route_name|py }}])

    run_until_empty(manager, local_queues)

    records = map(vars, caplog.records)
    handled = [item["message_id"] for item in records if item.get("event") == "message.handled"]
    assert handled == sent
