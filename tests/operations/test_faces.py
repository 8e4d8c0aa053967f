"""What the faces of a real process say: throttled, ready, paused, hung, blocked, drained and killed."""

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import textwrap
from dataclasses import dataclass

import aiohttp
import pytest
from faults.proxy import FaultProxy, throttled
from operations.running import until
from prometheus_client.parser import text_string_to_metric_families as read_prometheus

from loafer_kit.local.servers import child_environment
from loafer_kit.operations import probe

#: Handles messages that ask for a fault, and never finishes its teardown. Its times are short.
SERVICE = """
    import asyncio, sys, time
    from loafer_kit import LoaferManager, logs
    from loafer_kit.ext.aws.routes import SQSRoute
    from loafer_kit.operations import health

    health._LOOK_EVERY, health._WRITE_EVERY, health.STOP_MARGIN = 0.05, 0.1, 3.0

    async def handle(content, metadata):
        if content["do"] == "pause":
            route.flow.pause()
        elif content["do"] == "blocked":
            time.sleep(600)
        return True

    def hang(content, metadata):
        time.sleep(600)

    polls = {"options": {"WaitTimeSeconds": 1}}
    orders, threads = sys.argv[1:]
    route = SQSRoute(orders, polls, handler=handle, name="orders")
    hanging = SQSRoute(threads, polls, handler=hang, name="threads", concurrency=1, handler_timeout=0.1)
    manager = LoaferManager([route, hanging], grace_time=1)

    @manager.teardown
    async def never_end(manager):
        await asyncio.Event().wait()

    logs.configure()
    manager.run()
"""


@dataclass(frozen=True)
class Faces:
    """What each face says. A page is its status and its text, or None if it does not answer."""

    live: str | None
    ready: str | None
    livez: tuple[int, str] | None = (200, "alive\n")
    readyz: tuple[int, str] | None = (200, "ready\n")
    #: The state that `/info` tells.
    info: str | None = "ready"


STUCK = "threads that cannot be stopped use every slot of route 'threads'"
LATE = "the service has not stopped within N s"
STALLED = "the event loop has not run for N s"
STOPPING = "the service is stopping"

#: By the state of a service: what its faces say, a sample of its metrics, and an event of its log.
TABLE = {
    "throttled from the start": (
        Faces(None, "the service is starting", readyz=(503, "starting\n"), info="starting"),
        None,
        "fetch.failed",
    ),
    "ready": (Faces(None, None), ("loafer_paused", 0), "service.started"),
    "throttled": (Faces(None, None), None, "fetch.failed"),
    "paused": (Faces(None, None), ("loafer_paused", 1), "message.handled"),
    "drained": (
        Faces(None, STOPPING, readyz=(503, "stopping\n"), info="stopping"),
        ("loafer_slots_used", 0),
        "service.stopping",
    ),
    "drained past its deadline": (
        Faces(
            LATE,
            f"{LATE}; {STOPPING}",
            livez=(503, f"{LATE}\n"),
            readyz=(503, f"{LATE}\n"),
            info="stopping",
        ),
        None,
        None,
    ),
    "killed": (Faces(STALLED, STALLED, None, None, None), None, None),
    "hung": (
        Faces(STUCK, STUCK, livez=(503, f"{STUCK}\n"), readyz=(503, f"{STUCK}\n")),
        ("loafer_messages_received_total", 0),
        "handlers.stuck",
    ),
    "blocked": (Faces(STALLED, STALLED, None, None, None), None, "loop.blocked"),
}


class Service:
    """A service in a process of its own, and its faces."""

    def __init__(self, process, folder, session):
        self.process = process
        self.health, self._log, self._session = folder / "health", folder / "log", session

    @property
    def events(self):
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    async def page(self, path):
        """The status and the text of a page; None if it does not answer."""
        [address] = [e["address"] for e in self.events if e.get("event") == "http.started"]
        try:
            async with (
                asyncio.timeout(1),
                self._session.get(f"http://{address}{path}") as got,
            ):
                return got.status, re.sub(r"\b\d+ s\b", "N s", await got.text())
        except (TimeoutError, aiohttp.ClientError):
            return None

    async def metric(self, name):
        status, text = await self.page("/metrics")
        assert status == 200
        samples = [sample for family in read_prometheus(text) for sample in family.samples]
        return next(s.value for s in samples if s.name == name and s.labels["route"] == "orders")

    async def faces(self):
        pages = [await self.page(path) for path in ("/livez", "/readyz", "/info")]
        asked = [probe.problem_of(self.health, ready=ready) for ready in (False, True)]
        live, ready = (text and re.sub(r"\b\d+ s\b", "N s", text) for text in asked)
        return Faces(live, ready, *pages[:2], pages[2] and json.loads(pages[2][1])["state"])

    async def reaches(self, state):
        """Wait until all faces say what the table says about a state."""
        faces, sample, event = TABLE[state]
        expected, seen = (faces, True), None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(40):
                while seen != expected:  # noqa: ASYNC110 - it happens in another process
                    await asyncio.sleep(0.05)
                    logged = event is None or event in [line.get("event") for line in self.events]
                    seen = await self.faces(), logged
        assert seen == expected, f"{state}: {self._log.read_text()}"
        if sample is not None:
            assert await self.metric(sample[0]) == sample[1], state


@pytest.fixture
async def start(tmp_path, local_queues, python_copies):
    """Starts a service on two fresh queues of a server; kills it at the end."""
    async with aiohttp.ClientSession() as session, contextlib.AsyncExitStack() as started:

        async def start(url):
            queues = local_queues.fresh(), local_queues.fresh()
            folder = tmp_path / queues[0]
            folder.mkdir()
            environment = {
                **child_environment(url),
                "LOAFER_HEALTH_FILE": str(folder / "health"),
                "LOAFER_HTTP": "127.0.0.1:0",
                "LOAFER_LOG": "json",
                "PYTHONPATH": os.pathsep.join(sys.path),
            }
            with (folder / "log").open("w") as log:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-c", textwrap.dedent(SERVICE), *queues),
                    env=environment,
                    stderr=log,
                )
            started.push_async_callback(_kill, process)
            service = Service(process, folder, session)
            await until(lambda: "http.started" in [e.get("event") for e in service.events])
            return service, queues

        yield start


async def _kill(process):
    if process.returncode is None:
        process.kill()
    await process.wait()


async def test_each_face_says_what_state_a_service_is_in(
    start, local_server, local_queues, monkeypatch
):
    """All faces at once, in the states of the table that one process goes through."""
    monkeypatch.setattr(probe, "STALLED", 3.0)
    async with FaultProxy(local_server.url) as proxy:
        proxy.inject(throttled, "ReceiveMessage", times=1_000_000)
        service, (orders, _) = await start(proxy.url)
        await service.reaches("throttled from the start")
        proxy.faults.clear()
        await service.reaches("ready")
        failures = await service.metric("loafer_poll_failures_total")
        proxy.inject(throttled, "ReceiveMessage", times=1_000_000)
        async with asyncio.timeout(40):
            while await service.metric("loafer_poll_failures_total") == failures:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await service.reaches("throttled")
        proxy.faults.clear()
        await asyncio.to_thread(local_queues.send, orders, {"do": "pause"})
        async with asyncio.timeout(40):
            while not await service.metric("loafer_paused"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await service.reaches("paused")
        service.process.send_signal(signal.SIGTERM)
        await service.reaches("drained")
        await service.reaches("drained past its deadline")
        assert await _asked(service) == (1, b"the service has not stopped within 4 s\n")
        await _kill(service.process)
        await service.reaches("killed")


async def _asked(service):
    """The exit code of the command itself, and what it prints."""
    command = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "loafer_kit", "health", "--live"),
        env={**os.environ, "LOAFER_HEALTH_FILE": str(service.health)},
        stderr=asyncio.subprocess.PIPE,
    )
    _, printed = await command.communicate()
    return command.returncode, printed


async def test_a_service_that_is_beyond_help_says_so(
    start, local_server, local_queues, monkeypatch
):
    """Stuck threads are named; a blocked loop answers nowhere, and its file grows old."""
    monkeypatch.setattr(probe, "STALLED", 3.0)
    service, (orders, threads) = await start(local_server.url)
    await service.reaches("ready")
    for queue, state in ((threads, "hung"), (orders, "blocked")):
        await asyncio.to_thread(local_queues.send, queue, {"do": state})
        await service.reaches(state)
