import asyncio
import json
from dataclasses import dataclass
from typing import Any

import pytest

from loafer_kit.ext.aws.requests.clients import Clients

KEYS = {"aws_access_key_id": "AKIA", "aws_secret_access_key": "secret"}
EMPTY = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"


@dataclass
class Request:
    headers: dict[str, str]
    body: Any


class ScriptedServer:
    """Gives each request the next of `answers` (bytes; None: silence), then empty ones.

    Each connection ends after one answer.
    """

    def __init__(self, *answers, tls=None):
        self._answers = list(answers)
        self._tls = tls
        self._silence = asyncio.Event()
        self.requests = []
        self.asked = asyncio.Event()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *exc_info):
        self._silence.set()
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        try:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:-2]
            headers = {name.lower(): value for name, value in (x.split(": ", 1) for x in lines)}
            body = await reader.readexactly(int(headers["content-length"]))
            is_json = "json" in headers["content-type"]
            self.requests.append(Request(headers, json.loads(body) if is_json else body))
            self.asked.set()
            answer = self._answers.pop(0) if self._answers else EMPTY
            if answer is None:
                await self._silence.wait()
            else:
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
def scripted_server():
    """A server for what happens when SQS's answers are not as they should be."""
    return ScriptedServer


class Opened:
    """A direct transport to `url`, and the botocore client that it takes after."""

    def __init__(self, url, **options):
        self._clients = Clients(
            {**KEYS, "region_name": "us-east-1", "endpoint_url": url, **options}
        )

    async def __aenter__(self):
        return await self._clients.transport(), await self._clients.client()

    async def __aexit__(self, *exc_info):
        await self._clients.close()


@pytest.fixture
def opened():
    """Opens direct transports: `async with opened(url, **options) as (transport, client)`."""
    return Opened
