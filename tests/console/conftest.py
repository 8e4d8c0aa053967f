"""A console over HTTP: beside a test, or in a thread with a service for a browser."""

import contextlib
import io
import json
import shutil
from urllib.parse import urlsplit

import aiohttp
import pytest
from console.stage import SPEC, Stage

from loafer_kit.console.server import Console
from loafer_kit.local import LocalQueue
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
        given = {"Origin": self.origin, "Content_Type": "application/json"} | headers
        content = io.BytesIO(json.dumps(values or {}).encode())
        return await self._request("POST", path, given, data=content)

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


@pytest.fixture
def stage(local_server, local_queues, tmp_path, monkeypatch):
    """The queues of a service and a console that may write; the service is opened by the test."""
    for queue in SPEC["queues"]:
        local_queues.create(LocalQueue(queue["name"], dead_letter_queue=queue["dead_letter_queue"]))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("LOAFER_CONTROL", str(tmp_path / "shop.sock"))
    stage = Stage(local_server, local_queues, tmp_path / "shop.sock")
    try:
        yield stage
    finally:
        stage.end()


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """Headless Chromium, driven by Selenium; without one, the tests of the page are skipped."""
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    if missing := [name for name, path in programs.items() if path is None]:
        pytest.skip(f"{' and '.join(missing)} not found: `make browser` says what to install")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = programs["chromium"]
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for argument in (
        "headless",
        "no-sandbox",
        "disable-gpu",
        "disable-quic",
        "disable-dev-shm-usage",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        "in-process-gpu",  # fewer processes start faster
        "renderer-process-limit=1",
        "disable-site-isolation-trials",
        "window-size=1280,900",
        f"user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(f"--{argument}")
    driver = webdriver.Chrome(options, webdriver.ChromeService(programs["chromedriver"]))
    yield driver
    driver.quit()
