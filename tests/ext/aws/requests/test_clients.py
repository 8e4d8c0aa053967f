"""Sharing of clients."""

import asyncio

import pytest
from aiobotocore.config import AioConfig

from loafer_kit.ext.aws.requests import clients
from loafer_kit.ext.aws.requests.direct import DirectTransport
from loafer_kit.ext.aws.requests.transport import BotocoreTransport

LOCAL = {
    "endpoint_url": "http://127.0.0.1:1",
    "region_name": "us-east-1",
    "aws_access_key_id": "test",
    "aws_secret_access_key": "test",
}


async def test_equal_options_share_one_session():
    """Two users with equal options get the same clients; None counts as not given."""
    first = clients.share(LOCAL)
    second = clients.share({**LOCAL, "verify": None})
    other = clients.share({**LOCAL, "region_name": "eu-west-1"})
    try:
        assert first is second
        assert other is not first
    finally:
        for shared in (first, second, other):
            await clients.release(shared)


async def test_client_is_opened_once():
    """Concurrent first uses get one client; receiving and settling have one each."""
    shared = clients.share(LOCAL)
    try:
        one, two = await asyncio.gather(shared.client(), shared.client())
        assert one is two
        assert await shared.client(long_polling=True) is not one
    finally:
        await clients.release(shared)


async def test_last_user_closes():
    """Clients stay open for the remaining users; the last one closes them."""
    first, second = clients.share(LOCAL), clients.share(LOCAL)
    client = await first.client()
    await clients.release(first)
    assert await second.client() is client
    await clients.release(second)
    third = clients.share(LOCAL)
    assert third is not first
    await clients.release(third)


async def test_unused_clients_stay_open_while_others_are_used():
    """In a running service, a user that comes and goes does not open its clients each time."""
    service = clients.share(LOCAL)
    now_and_then = {**LOCAL, "region_name": "eu-west-1"}
    borrowed = clients.share(now_and_then)
    client = await borrowed.client()
    await clients.release(borrowed)
    again = clients.share(now_and_then)
    assert await again.client() is client
    await clients.release(again)
    await clients.release(service)
    fresh = clients.share(now_and_then)
    assert fresh is not borrowed
    await clients.release(fresh)


async def test_long_polls_have_a_read_timeout_above_their_wait():
    """A long poll of 20 s is never cut off, and both clients leave repeating to their users."""
    shared = clients.share(LOCAL)
    try:
        for long_polling in (True, False):
            config = (await shared.client(long_polling=long_polling)).meta.config
            assert config.retries["total_max_attempts"] == 1
            assert (config.read_timeout > 20) is long_polling
    finally:
        await clients.release(shared)


async def test_requests_go_straight_unless_botocore_is_asked_for():
    """All users share one direct transport, or one of botocore if they ask for it."""
    shared = clients.share(LOCAL)
    try:
        direct = await shared.transport()
        assert isinstance(direct, DirectTransport)
        assert await shared.transport("direct") is direct
        assert isinstance(await shared.transport("botocore"), BotocoreTransport)
    finally:
        await clients.release(shared)


async def test_what_only_botocore_does_is_left_to_it():
    """With a proxy, requests go by botocore."""
    config = AioConfig(proxies={"http": "http://127.0.0.1:3128"})
    shared = clients.share({**LOCAL, "config": config})
    try:
        transport = await shared.transport()
        assert isinstance(transport, BotocoreTransport)
        assert await shared.transport("botocore") is transport
    finally:
        await clients.release(shared)


@pytest.fixture
async def region_of_client(monkeypatch):
    """Returns the region of the client for some options and an address."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS"):
        monkeypatch.delenv(name, raising=False)

    async def region(options, address=""):
        async with clients.borrowed(options, address) as shared:
            return (await shared.client()).meta.region_name

    return region


URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"


async def test_the_region_of_an_address_counts_before_the_environment(
    region_of_client, monkeypatch
):
    """A queue is asked for where it is."""
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    assert await region_of_client({}, URL) == "eu-west-1"
    assert await region_of_client({}, "orders") == "eu-north-1"


async def test_a_named_region_or_endpoint_wins(region_of_client, monkeypatch):
    """An explicit region is never replaced; requests to a local server keep their region."""
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    assert await region_of_client({"region_name": "us-east-1"}, URL) == "us-east-1"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:5000")
    assert await region_of_client({}, URL) == "eu-north-1"
