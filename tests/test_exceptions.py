"""The exceptions: their arguments and their common base."""

import pytest

from loafer_kit import exceptions


@pytest.mark.parametrize(
    "name", ["ProviderError", "ConfigurationError", "LoaferException", "DeleteMessage", "Abort"]
)
def test_documented_exceptions_share_one_base(name):
    """One `except` tells a reported problem from a bug."""
    assert issubclass(getattr(exceptions, name), exceptions.LoaferKitError)


@pytest.mark.parametrize("delay", [-1, float("inf"), float("nan")])
def test_retry_refuses_a_delay_that_no_source_can_wait(delay):
    """It is a number of seconds from now; the handler that computed it is in the traceback."""
    with pytest.raises(ValueError, match="negative"):
        exceptions.RetryMessage(delay=delay)
