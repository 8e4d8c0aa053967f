"""The HTTP face of a running service: what each page says, and what cannot harm the service."""

import asyncio
import contextlib
import json
import logging
import socket
import threading

import aiohttp
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_prometheus

from loafer_kit import LoaferManager, __version__
from loafer_kit.applications import Application
from loafer_kit.contrib.monitoring import Monitoring
from loafer_kit.events import Observer
from loafer_kit.exceptions import Abort, ConfigurationError, TransientProviderError
from loafer_kit.operations import http
from loafer_kit.operations.http import Address
from loafer_kit.operations.metrics import families
from loafer_kit.operations.recorder import recorder_of
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider


@pytest.fixture(autouse=True)
def no_address(monkeypatch):
    """The environment names no address."""
    monkeypatch.delenv("LOAFER_HTTP", raising=False)


class Gate(InMemoryProvider):
    """An endless source whose fetches raise `error`, or answer nothing until it is opened."""

    def __init__(self, messages=(), error=None):
        super().__init__(messages, endless=True, wait_time=0.05)
        self.opened = asyncio.Event()
        self.error = error

    async def fetch(self, limit):
        if self.error is not None:
            raise self.error
        await self.opened.wait()
        return await super().fetch(limit)

    def stop(self):
        self.opened.set()
        super().stop()


class Polls(Observer):
    """Lets a test wait for a fetch that failed, and for one that was answered."""

    def __init__(self):
        self.failed, self.answered = asyncio.Event(), asyncio.Event()

    def polled(self, route, received, seconds, error):
        (self.answered if error is None else self.failed).set()


async def accept(content, metadata):
    return True


class Service:
    """A monitored manager that serves in a task, and a client of its pages."""

    def __init__(self, *routes, extend=True, **keywords):
        self.manager = LoaferManager(list(routes), **keywords)
        if extend:
            self.manager.settings["MONITORING_HTTP"] = "127.0.0.1:0"
            Monitoring(self.manager)
        self.polls = Polls()
        self.manager.observe(self.polls)
        self.port = None

    async def get(self, path, **headers):
        async with self.session.get(f"http://127.0.0.1:{self.port}{path}", headers=headers) as got:
            return got.status, await got.text(), got.headers

    async def status(self, path):
        return (await self.get(path))[0]

    @contextlib.asynccontextmanager
    async def serving(self, caplog):
        caplog.set_level(logging.INFO)
        started = asyncio.Event()
        handler = logging.Handler()
        handler.emit = lambda record: started.set()
        handler.addFilter(lambda record: getattr(record, "event", "").startswith("http."))
        http.logger.addHandler(handler)
        task = asyncio.create_task(self.manager.serve())
        try:
            await asyncio.wait(
                [task, wait := asyncio.create_task(started.wait())],
                timeout=10,
                return_when="FIRST_COMPLETED",
            )
            wait.cancel()
            [address] = [
                r.address for r in caplog.records if getattr(r, "event", "") == "http.started"
            ][-1:] or [":0"]
            self.port = int(address.rpartition(":")[2])
            async with aiohttp.ClientSession() as self.session:
                yield task
        finally:
            http.logger.removeHandler(handler)
            task.cancel()
            await asyncio.wait([task])


def events(caplog, name):
    return [record for record in caplog.records if getattr(record, "event", "") == name]


async def test_a_service_is_alive_at_once_and_ready_when_it_was_polled(caplog):
    """From the first moment of its start; readiness names what is missing."""
    provider = Gate()
    service = Service(Route(provider, accept, "orders"))
    begun, go_on = asyncio.Event(), asyncio.Event()

    @service.manager.startup
    async def start(manager):
        begun.set()
        await go_on.wait()

    async with service.serving(caplog):
        await begun.wait()
        assert await service.status("/livez") == 200
        assert await service.status("/readyz") == 503
        assert await service.status("/metrics") == 200
        go_on.set()
        assert (await service.get("/readyz"))[:2] == (
            503,
            "starting\n",
        )
        provider.opened.set()
        await service.polls.answered.wait()
        assert (await service.get("/readyz"))[:2] == (200, "ready\n")
        assert (await service.get("/livez"))[:2] == (200, "alive\n")
        service.manager.readiness.append(lambda: "no database")
        assert (await service.get("/readyz"))[:2] == (503, "no database\n")
        assert (await service.get("/livez"))[:2] == (200, "alive\n")


async def test_failing_fetches_keep_a_service_alive_and_not_ready(caplog):
    """Throttling is not mended by a restart."""
    service = Service(Route(Gate(error=TransientProviderError("throttled")), accept, "orders"))

    async with service.serving(caplog):
        await service.polls.failed.wait()
        assert await service.status("/livez") == 200
        assert await service.status("/readyz") == 503


async def test_a_paused_route_with_an_open_breaker_and_full_slots_is_alive_and_ready(caplog):
    """None of them is a fault; the metrics show them."""
    running = asyncio.Event()

    async def fail_or_wait(content, metadata):
        if content == "bad":
            raise ValueError
        running.set()
        await asyncio.Event().wait()

    orders = Route(Gate(["bad"]), fail_or_wait, "orders", concurrency=1, breaker_threshold=1)
    slow = Route(Gate(["slow"]), fail_or_wait, "slow", concurrency=1)
    service = Service(orders, slow, grace_time=0)
    opened = asyncio.Event()

    class Breaker(Observer):
        def flow_changed(self, route, change):
            if change == "breaker opened":
                opened.set()

    service.manager.observe(Breaker())
    async with service.serving(caplog):
        orders.provider.opened.set()
        slow.provider.opened.set()
        await asyncio.gather(running.wait(), opened.wait())
        orders.flow.pause()
        assert (await service.get("/livez"))[:2] == (200, "alive\n")
        assert (await service.get("/readyz"))[:2] == (200, "ready\n")
        values = await read_metrics(service)
    assert values["loafer_paused", "orders"] == values["loafer_breaker_open", "orders"] == 1
    assert values["loafer_paused", "slow"] == 0
    assert values["loafer_slots_used", "slow"] == values["loafer_slots_total", "slow"] == 1
    assert values["loafer_slots_used", "orders"] == 0


async def test_a_stuck_thread_is_a_fault(caplog):
    """Its slot is lost until the process ends."""
    release, taken = threading.Event(), asyncio.Event()
    stuck = Route(
        Gate(["a"]),
        lambda content, metadata: release.wait(20),
        "orders",
        concurrency=1,
        handler_timeout=0.05,
    )
    service = Service(stuck)
    handler = logging.Handler()
    handler.emit = lambda record: getattr(record, "event", "") == "handlers.stuck" and taken.set()
    logging.getLogger("loafer_kit.engine.jobs").addHandler(handler)
    try:
        async with service.serving(caplog):
            stuck.provider.opened.set()
            await taken.wait()
            status, text, _ = await service.get("/livez")
            assert (status, text) == (
                503,
                "threads that cannot be stopped use every slot of route 'orders'\n",
            )
            release.set()
    finally:
        release.set()
        logging.getLogger("loafer_kit.engine.jobs").removeHandler(handler)


async def test_a_service_that_drains_is_alive_and_not_ready(caplog):
    """The face answers until the last message is settled."""
    running, go_on = asyncio.Event(), asyncio.Event()

    async def handler(content, metadata):
        running.set()
        await go_on.wait()
        return True

    provider = Gate(["a"])
    service = Service(Route(provider, handler, "orders"))
    async with service.serving(caplog) as task:
        provider.opened.set()
        await running.wait()
        task.cancel()
        await asyncio.sleep(0)
        assert await service.status("/livez") == 200
        assert (await service.get("/readyz"))[:2] == (503, "stopping\n")
        assert (await read_metrics(service))["loafer_slots_used", "orders"] == 1
        assert json.loads((await service.get("/info"))[1])["state"] == "stopping"
        go_on.set()
        await asyncio.wait([task])
        with pytest.raises(aiohttp.ClientConnectionError):
            await service.get("/livez")
    assert provider.acknowledged == ["a"]


async def read_metrics(service, read=read_prometheus, **headers):
    _, text, _ = await service.get("/metrics", **headers)
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in read(text)
        for sample in family.samples
    }


@pytest.mark.parametrize(
    ("headers", "read", "kind"),
    [
        ({}, read_prometheus, "text/plain; version=0.0.4; charset=utf-8"),
        (
            {"Accept": "application/openmetrics-text"},
            read_openmetrics,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
    ],
)
async def test_metrics_are_in_the_format_that_is_asked_for(caplog, headers, read, kind):
    """Prometheus' own parsers read both."""
    provider = Gate(["a", "b"])
    service = Service(Route(provider, accept, "orders"))
    async with service.serving(caplog):
        provider.opened.set()
        await service.polls.answered.wait()
        assert (await service.get("/metrics", **headers))[2]["Content-Type"] == kind
        values = await read_metrics(service, read, **headers)
    assert values["loafer_messages_received_total", "orders"] == 2
    assert ("loafer_service_info", "loafer_kit", __version__, __version__) in values


async def test_info_tells_versions_state_and_routes_and_no_message(caplog):
    """What an operator asks first."""
    provider = Gate(["a secret"])
    service = Service(Route(provider, accept, "orders", concurrency=3), name="shop")
    async with service.serving(caplog):
        provider.opened.set()
        await service.polls.answered.wait()
        _, text, headers = await service.get("/info")
    info = json.loads(text)
    assert (info["service"], info["state"]) == ("shop", "ready")
    assert info["routes"] == {"orders": {"concurrency": 3, "paused": False, "breaker_open": False}}
    assert info["uptime"] >= 0
    assert headers["Cache-Control"] == "no-store"


async def test_the_face_controls_nothing(caplog):
    """It only reads, and there are no other pages."""
    service = Service(Route(Gate(), accept, "orders"))
    async with service.serving(caplog):
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            async with service.session.request(
                method, f"http://127.0.0.1:{service.port}/livez"
            ) as got:
                assert got.status == 405
        assert await service.status("/") == 404
        assert await service.status("/metrics/../etc") == 404


async def test_a_taken_port_costs_one_line(caplog):
    """The service goes on without its face."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        provider = InMemoryProvider(["a"])
        manager = LoaferManager(
            [Route(provider, accept)],
            settings={"MONITORING_HTTP": f"127.0.0.1:{other.getsockname()[1]}"},
        )
        Monitoring(manager)
        await manager.serve()

    [line] = events(caplog, "http.failed")
    assert "the service goes on without its pages" in line.getMessage()
    assert line.exc_info is None
    assert provider.acknowledged == ["a"]


@pytest.mark.parametrize(
    "text", ["no address", "host:99999", ":-1", "http://a:1/", "example.invalid:1", "192.0.2.1:0"]
)
async def test_a_bad_address_in_the_environment_costs_one_line(caplog, monkeypatch, text):
    """A deployment's mistake does not keep messages from being handled."""
    monkeypatch.setenv("LOAFER_HTTP", text)
    provider = InMemoryProvider(["a"])
    await LoaferManager([Route(provider, accept)]).serve()

    [line] = events(caplog, "http.failed")
    assert "\n" not in line.getMessage()
    assert provider.acknowledged == ["a"]


async def test_the_environment_turns_the_face_on_without_code(caplog, monkeypatch):
    """For a service that was written without monitoring."""
    monkeypatch.setenv("LOAFER_HTTP", "127.0.0.1:0")
    service = Service(Route(Gate(), accept, "orders"), extend=False)
    async with service.serving(caplog):
        assert await service.status("/livez") == 200


@pytest.mark.parametrize("extended", [True, False])
async def test_an_empty_address_in_the_environment_turns_the_face_off(
    caplog, monkeypatch, extended
):
    """Also where the code has it on."""
    monkeypatch.setenv("LOAFER_HTTP", "")
    caplog.set_level(logging.INFO)
    manager = LoaferManager([Route(InMemoryProvider(["a"]), accept)])
    if extended:
        Monitoring(manager)
    await manager.serve()

    assert not events(caplog, "http.started")


async def test_without_monitoring_there_is_no_face(caplog):
    """It is off by default."""
    caplog.set_level(logging.INFO)
    await LoaferManager([Route(InMemoryProvider(["a"]), accept)]).serve()

    assert not events(caplog, "http.started")


@pytest.mark.parametrize(
    ("host", "level"), [("127.0.0.1", logging.INFO), ("0.0.0.0", logging.WARNING)]
)
async def test_an_address_that_others_reach_is_said(caplog, monkeypatch, host, level):
    """The pages have no login."""
    monkeypatch.setenv("LOAFER_HTTP", f"{host}:0")
    service = Service(Route(Gate(), accept, "orders"), extend=False)
    async with service.serving(caplog):
        [line] = events(caplog, "http.started")
    assert line.levelno == level
    assert ("other machines" in line.getMessage()) == (level == logging.WARNING)


async def test_a_client_that_never_reads_is_dropped(caplog, monkeypatch):
    """The others are answered meanwhile, and the service ends in time."""
    monkeypatch.setattr(http, "_WRITE_TIME", 0.2)
    routes = [Route(Gate(), accept, f"{number:-<200}") for number in range(100)]
    service = Service(*routes)
    dropped, handler = asyncio.Event(), logging.Handler()
    handler.emit = lambda record: record.event == "http.client_dropped" and dropped.set()
    monkeypatch.setattr(http.logger, "handlers", [*http.logger.handlers, handler])
    async with service.serving(caplog):
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.connect(("127.0.0.1", service.port))
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
            assert await service.status("/livez") == 200
            await asyncio.wait_for(dropped.wait(), 20)
            client.settimeout(20)
            with contextlib.suppress(ConnectionResetError):
                await asyncio.to_thread(read_to_end, client)
    assert len(events(caplog, "http.client_dropped")) == 1


async def test_a_client_that_asks_nothing_does_not_hold_up_the_end(caplog):
    """Its connection is closed when the service ends."""
    service = Service(Route(Gate(), accept, "orders"))
    async with service.serving(caplog) as task:
        with socket.create_connection(("127.0.0.1", service.port)) as silent:
            silent.sendall(b"GET /metrics HT")
            assert await service.status("/livez") == 200
            task.cancel()
            await asyncio.wait_for(asyncio.wait([task]), 20)
            silent.settimeout(20)
            with contextlib.suppress(ConnectionResetError):
                assert await asyncio.to_thread(silent.recv, 1) == b""


def read_to_end(client):
    while client.recv(1 << 20):
        pass


async def test_an_application_has_the_same_face(caplog, monkeypatch):
    """Its one route is named like all others."""
    monkeypatch.setenv("LOAFER_HTTP", "127.0.0.1:0")
    caplog.set_level(logging.INFO)

    class Once:
        read_before = False

        async def read(self):
            if self.read_before:
                raise Abort("done", None)
            self.read_before = True
            return {"a": 1}

    async def callback(app, message):
        return None

    app = Application("shop", consumer=Once(), callback=callback)
    Monitoring(app)
    await app.serve()

    [handled] = [
        f for f in families(recorder_of(app).snapshot()) if f.name == "loafer_messages_handled"
    ]
    assert sum(handled.samples.values()) == 1
    assert events(caplog, "http.started")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        (":9464", "127.0.0.1", 9464),
        ("0.0.0.0:80", "0.0.0.0", 80),
        ("[::1]:0", "::1", 0),
        ("localhost:65535", "localhost", 65535),
        (" :1 ", "127.0.0.1", 1),
    ],
)
def test_addresses(text, host, port):
    """A host is optional: without one, only this machine reaches the face."""
    assert Address.parse(text, "LOAFER_HTTP") == Address(host, port)


@pytest.mark.parametrize(
    "text", ["", "9464", "host:", "::1:80", "a b:1", ":65536", None, 9464, ":१"]
)
def test_a_setting_that_is_no_address_is_refused(text):
    """When the extension is made, in one line."""
    with pytest.raises(ConfigurationError, match=r"must be \[host\]:port, like :9464"):
        Address.parse(text, "MONITORING_HTTP")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("shop.example", False),
    ],
)
def test_loopback_addresses(host, loopback):
    """All others are said at the start."""
    assert Address(host, 1).is_loopback is loopback
