"""The exceptions: their arguments and their common base."""

import pytest

from loafer_kit import exceptions


@pytest.mark.parametrize(
    "name", ["ProviderError", "ConfigurationError", "LoaferException", "DeleteMessage", "Abort"]
)
def test_documented_exceptions_share_one_base(name):
    """One `except` tells a reported problem from a bug."""
    assert issubclass(getattr(exceptions, name), exceptions.LoaferKitError)


def test_retry_refuses_a_negative_delay():
    """A delay is a number of seconds from now."""
    with pytest.raises(ValueError, match="negative"):
        exceptions.RetryMessage(delay=-1)
