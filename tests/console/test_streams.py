"""Streams: pages get the newest state, and those that do not read cost nothing."""

import asyncio
import contextlib
import socket

import aiohttp
import pytest
from aiohttp import web
from operations.running import until

from loafer_kit.console import server as streams


@pytest.fixture
async def opened():
    """Streams on a server of their own, its port, and the server."""
    found = streams.Streams()
    application = web.Application()
    application.router.add_get("/", found.serve)
    runner = web.AppRunner(application, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield found, runner.addresses[0][1], runner.server
    found.close()
    await runner.cleanup()


@contextlib.asynccontextmanager
async def reading(port):
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}") as page:
        yield page.content


async def test_a_page_gets_what_is_known_when_it_opens_and_then_what_changes(opened):
    """What stays the same is not sent again; a text cannot end its event."""
    found, port, _ = opened
    found.publish("queues", "first\n\nevent: forged\ndata: 1")
    async with reading(port) as page:
        event = await page.readuntil(b"\n\n")
        assert event == b'event: queues\ndata: "first\\n\\nevent: forged\\ndata: 1"\n\n'
        found.publish("queues", "first\n\nevent: forged\ndata: 1")
        found.publish("messages", 2)
        assert await page.readuntil(b"\n\n") == b"event: messages\ndata: 2\n\n"


async def test_a_page_that_went_away_is_forgotten(opened, monkeypatch):
    """At the next sign of life."""
    found, port, _ = opened
    monkeypatch.setattr(streams, "_BEAT_EVERY", 0.01)
    async with reading(port):
        await until(lambda: found.are_watched)
    await until(lambda: not found.are_watched)


async def test_a_page_that_never_reads_is_dropped_and_owed_one_state_of_a_topic(
    opened, monkeypatch
):
    """The others go on."""
    found, port, server = opened
    monkeypatch.setattr(streams, "_WRITE_TIME", 0.2)
    with socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        stuck.connect(("127.0.0.1", port))
        stuck.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: found.are_watched)
        [page] = found._pages
        for number in range(100):
            found.publish("ballast", f"{number}" + "x" * 1_000_000)
            assert sum(map(len, page._owed.values())) < 2_000_000
            await asyncio.sleep(0)
        await until(lambda: not found.are_watched)
        await until(lambda: not server.connections)  # though nothing was read
    async with reading(port) as other:
        assert (await other.readexactly(22)) == b'event: ballast\ndata: "'


async def test_closing_ends_the_streams(opened):
    """So the console ends in time."""
    found, port, _ = opened
    async with reading(port) as page:
        await until(lambda: found.are_watched)
        found.close()
        assert await page.read() == b": beat\n\n"
