"""Sharing of clients."""

import asyncio

import pytest
from aiobotocore.config import AioConfig

from loafer_kit.ext.aws import clients
from loafer_kit.ext.aws.botocore_transport import BotocoreTransport
from loafer_kit.ext.aws.direct import DirectTransport

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
    """Clients stay for the users that are left, and are made anew after the last has gone."""
    first, second = clients.share(LOCAL), clients.share(LOCAL)
    client = await first.client()
    await clients.release(first)
    assert await second.client() is client
    await clients.release(second)
    third = clients.share(LOCAL)
    assert third is not first
    await clients.release(third)


async def test_unused_clients_stay_open_while_others_are_used():
    """Whoever uses clients now and then does not open them anew each time in a running service."""
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
    """Everybody gets one direct transport, or one that uses botocore where it is named."""
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


@pytest.mark.parametrize(
    ("environment", "region"),
    [
        ({"AWS_REGION": "eu-west-1"}, "eu-west-1"),
        ({"AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-2"),
        ({"AWS_DEFAULT_REGION": "eu-west-2", "AWS_REGION": "eu-west-1"}, "eu-west-2"),
    ],
)
async def test_the_region_may_come_from_either_variable(monkeypatch, environment, region):
    """ECS, EKS and Lambda set AWS_REGION, which botocore does not read."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    shared = clients.share({name: value for name, value in LOCAL.items() if name != "region_name"})
    try:
        assert (await shared.client()).meta.region_name == region
    finally:
        await clients.release(shared)
