import pytest

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.ext.aws import clients
from loafer_kit.ext.aws.botocore_transport import BotocoreTransport
from loafer_kit.ext.aws.direct import DirectTransport
from loafer_kit.ext.aws.providers import SQSProvider


@pytest.mark.parametrize(
    ("option", "expected"),
    [({}, DirectTransport), ({"transport": "botocore"}, BotocoreTransport)],
    ids=["default", "botocore"],
)
async def test_a_provider_uses_the_transport_that_is_asked_for(local_queues, option, expected):
    """Either transport fetches a message and deletes it; the direct one is the default."""
    name = local_queues.fresh()
    local_queues.send(name, "hello")
    provider = SQSProvider(name, {"WaitTimeSeconds": 1}, **option)
    shared = clients.share({})
    try:
        [message] = await provider.fetch_messages()
        await provider.confirm_message(message)
        used = [kind for kind in ("direct", "botocore") if kind in shared._transports]
        assert [type(shared._transports[kind]) for kind in used] == [expected]
    finally:
        await provider.close()
        await clients.release(shared)
    assert message["Body"] == "hello"
    assert local_queues.counts(name).total == 0


def test_an_unknown_transport_is_one_clear_line():
    """It names the queue and what would work."""
    expected = "Queue 'orders': transport must be 'direct' or 'botocore', not 'pigeon'."
    with pytest.raises(ConfigurationError) as raised:
        SQSProvider("orders", transport="pigeon")
    assert str(raised.value) == expected
