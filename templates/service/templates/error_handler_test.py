{# How an error handler is tested. #}
def test_{{ name }}_leaves_the_message() -> None:
    """A message that could not be handled stays on the queue."""
    error = RuntimeError("no luck")

    answer = asyncio.run(handlers.{{ name }}((RuntimeError, error, None), {}))

    assert answer is False
