"""A console over HTTP: beside a test, or in a thread with a service for a browser."""

import contextlib
from urllib.parse import urlsplit

import aiohttp
import pytest

from loafer_kit.console.server import Console
from loafer_kit.operations.http import Address


class Client:
    """A browser without a page: its cookies, and what a browser tells of each request."""

    def __init__(self, session, url):
        parts = urlsplit(url)
        self.session = session
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self.token = parts.fragment.removeprefix("token=")

    async def get(self, path, **headers):
        return await self._request("GET", path, headers)

    async def post(self, path, values=None, **headers):
        return await self._request(
            "POST", path, {"Origin": self.origin} | headers, json=values or {}
        )

    async def log_in(self):
        status, answer, headers = await self.post("/api/session", {"token": self.token})
        assert status == 200, answer
        return headers

    async def _request(self, method, path, headers, **options):
        """Send a request; a header of None is left out."""
        sent = {"Sec-Fetch-Site": "same-origin"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        sent = {name: value for name, value in sent.items() if value is not None}
        async with self.session.request(
            method, self.origin + path, headers=sent, **options
        ) as answer:
            is_json = answer.content_type == "application/json"
            content = await (answer.json() if is_json else answer.text())
            return answer.status, content, answer.headers


@pytest.fixture
def console():
    """Open a console for the block, with a client that is logged in."""

    @contextlib.asynccontextmanager
    async def opened(*services, write=False, address=":0", log_in=True):
        console = Console(services, write=write)
        jar = aiohttp.CookieJar(unsafe=True)
        async with (
            console.listening(Address.parse(address, "here")) as url,
            aiohttp.ClientSession(cookie_jar=jar) as session,
        ):
            client = Client(session, url.replace("0.0.0.0", "127.0.0.1"))
            if log_in:
                await client.log_in()
            yield client

    return opened
