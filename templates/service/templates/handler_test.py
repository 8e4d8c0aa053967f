{# How one queue's handler is tested. #}
def test_{{ queue.handler }}_accepts_a_message() -> None:
    """A handled message is deleted."""
    (route,) = [item for item in routes if item.handler is handlers.{{ queue.handler }}]

    outcome = asyncio.run(deliver(route, {{ queue.example|py }}))

    assert outcome == ACKNOWLEDGE
