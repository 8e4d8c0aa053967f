"""What the console shows and does, over HTTP against a local server and a running service.

Its streams are at the end: pages get the newest state, and those that do not read cost nothing.
"""

import asyncio
import contextlib
import json
import socket
from pathlib import Path

import aiohttp
import pytest
import rabbit
from aiohttp import web
from console.stage import SPEC, serving
from operations.running import until

from loafer_kit.console import server
from loafer_kit.console.queues import Queue
from loafer_kit.console.server import Service
from loafer_kit.local import LocalQueue, LocalServer
from loafer_kit.local import rabbitmq as local_rabbitmq
from loafer_kit.local.sending import Server

QUEUES = [Queue(queue["name"], queue["dead_letter_queue"]) for queue in SPEC["queues"]]


@pytest.fixture
def shop(local_queues, tmp_path, monkeypatch):
    """A service with queues, a control socket that nobody listens on yet, and a journal's folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("LOAFER_CONTROL", str(tmp_path / "shop.sock"))
    for queue in QUEUES:
        local_queues.create(LocalQueue(queue.name, dead_letter_queue=queue.dead_letter_queue))
    return Service("shop", QUEUES, tmp_path / "shop.sock")


@contextlib.asynccontextmanager
async def streaming(client):
    """Yield a function that waits for a state of a topic that meets a condition."""
    headers = {"Sec-Fetch-Site": "same-origin"}
    async with client.session.get(f"{client.origin}/api/stream", headers=headers) as stream:
        assert stream.status == 200

        async def state(topic, condition):
            async with asyncio.timeout(20):
                while True:
                    event = await stream.content.readuntil(b"\n\n")
                    name, _, data = event.decode().strip().partition("\ndata: ")
                    if name == f"event: {topic}" and condition(json.loads(data)):
                        return json.loads(data)

        yield state


def row_of(rows, name):
    return next(row for row in rows if row["name"] == name)


async def seen(client, queue):
    """Wait until the console has found a queue."""
    async with streaming(client) as state:
        await state("queues", lambda rows: row_of(rows, queue)["place"] is not None)


async def test_queues_are_shown_with_their_counts_and_what_they_were(console, shop, local_queues):
    """Each dead-letter queue follows its source."""
    local_queues.send("orders", "one")
    local_queues.send("orders", "two")
    async with console(shop) as client, streaming(client) as state:
        rows = await state("queues", lambda rows: row_of(rows, "orders").get("visible") == 2)
        assert [row["name"] for row in rows] == [
            "orders", "orders-dead", "mails", "mails-dead", "audit.fifo", "audit-dead.fifo",
        ]  # fmt: skip
        assert [row["is_dead_letter_queue"] for row in rows] == [False, True] * 3
        assert row_of(rows, "orders")["history"][-1] == [2, 0]
        assert row_of(rows, "orders")["is_local"]
        local_queues.receive("orders")
        rows = await state("queues", lambda rows: row_of(rows, "orders")["in_flight"] == 2)
        assert row_of(rows, "orders")["history"][-1] == [0, 2]


async def test_a_queue_that_is_missing_is_said_in_one_line_until_it_is_there(
    console, shop, local_queues, monkeypatch
):
    """The others are shown."""
    monkeypatch.setattr("loafer_kit.console.queues._RETRY_AFTER", 0.1)
    local_queues.delete("mails")
    async with console(shop) as client, streaming(client) as state:
        rows = await state("queues", lambda rows: row_of(rows, "mails")["error"])
        assert row_of(rows, "orders")["error"] is None
        assert "\n" not in row_of(rows, "mails")["error"]
        local_queues.create("mails")
        await state("queues", lambda rows: row_of(rows, "mails")["error"] is None)


async def test_a_process_is_shown_from_its_control_socket_and_can_be_paused(
    console, shop, local_queues
):
    """One that is not running costs one line; its messages are shown without their bodies."""
    async with console(shop, write=True) as client, streaming(client) as state:
        [stopped] = await state("processes", lambda states: states)
        assert "No service listens" in stopped["error"]
        async with serving() as manager:
            await state("processes", lambda states: states[0]["status"])
            local_queues.send("orders", {"reject": "no customer", "secret": "4711"})
            recent = await state("messages", lambda messages: messages)
            assert (recent[0]["service"], recent[0]["route"]) == ("shop", "orders")
            assert (recent[0]["outcome"], "4711" in json.dumps(recent)) == ("rejected", False)
            [orders, _] = [status.route for status in manager.statuses()]
            values = {"service": "shop", "route": "orders", "paused": True}
            assert (await client.post("/api/flow", values))[:2] == (200, {"routes": ["orders"]})
            assert orders.flow.paused
            await state("processes", lambda states: states[0]["status"]["routes"][0]["paused"])
            assert (await client.post("/api/flow", values | {"paused": False}))[0] == 200
            assert not orders.flow.paused
            for values in ({"service": "shop", "route": "ordres"}, {"service": "shop"}, {}):
                status, answer, _ = await client.post("/api/flow", values)
                assert status == 400
                assert "no route" in answer["error"] or "no service" in answer["error"]
        await state("processes", lambda states: states[0]["status"] is None)


@pytest.mark.parametrize("body", ['{"number": 1}', "<img src=x onerror=alert(1)>", "x" * 1_000_000])
async def test_a_message_is_sent_as_it_is(console, shop, local_queues, body):
    """What a handler refuses is for a person to try."""
    async with console(shop, write=True) as client:
        await seen(client, "audit.fifo")
        status, answer, _ = await client.post("/api/send", {"queue": "orders", "body": body})
        assert status == 200
        [message] = local_queues.receive("orders")
        assert (message["Body"], message["MessageId"]) == (body, answer["message_id"])
        values = {"queue": "audit.fifo", "body": body, "group": "a"}
        assert (await client.post("/api/send", values))[0] == 200
        [message] = local_queues.receive("audit.fifo")
        assert message["Attributes"]["MessageGroupId"] == "a"


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"queue": "others", "body": "a"}, "The console has no queue 'others'"),
        ({"queue": ["orders"], "body": "a"}, "The console has no queue"),
        ({"queue": "orders", "body": ""}, "The body is empty"),
        ({"queue": "orders", "body": {"a": 1}}, "The body is empty"),
        ({"queue": "orders", "body": "x" * 2_000_000}, "orders: "),
        ({"queue": "orders", "body": "x" * 9_000_000}, "The request has more than 8,388,608 bytes"),
        ({"queue": "orders", "body": "\ud800"}, "The request must be an object"),
    ],
)
async def test_a_message_that_cannot_be_sent_costs_one_line(console, shop, values, error):
    """Queues of others are out of reach."""
    async with console(shop, write=True) as client:
        await seen(client, "orders")
        status, answer, _ = await client.post("/api/send", values)
        assert (status in {400, 413}, answer["error"].startswith(error)) == (True, True), answer
        assert "\n" not in answer["error"]


def bury(local_queues, body):
    """Put a letter into the dead-letter queue of orders."""
    attributes = {
        "DeadLetterReason": "KeyError: 'customer'",
        "DeadLetterSourceQueue": "orders",
        "tenant": "7",
    }
    return local_queues.send("orders-dead", body, attributes=attributes)


async def test_letters_are_shown_without_their_content_until_it_is_asked_for(
    console, shop, local_queues
):
    """Each is back in its queue after the look."""
    ids = {bury(local_queues, {"secret": number}) for number in range(3)}
    async with console(shop) as client:
        await seen(client, "orders-dead")
        status, answer, _ = await client.get("/api/letters?queue=orders-dead&limit=50")
        assert (status, {letter["id"] for letter in answer["letters"]}) == (200, ids)
        assert "secret" not in json.dumps(answer)
        assert "tenant" not in json.dumps(answer)
        [letter, *_] = answer["letters"]
        assert (letter["exception"], letter["source"], letter["size"]) == ("KeyError", "orders", 13)
        _, content, _ = await client.get(f"/api/letter?queue=orders-dead&id={letter['id']}")
        assert content["body"].startswith('{"secret":')
        assert content["attributes"]["tenant"] == "7"
        path = "/api/letters?queue=orders-dead&limit=9&where=body.secret==`1`"
        assert len((await client.get(path))[1]["letters"]) == 1
    assert local_queues.counts("orders-dead").visible == 3


async def test_a_look_that_cannot_be_costs_one_line(console, shop):
    """Whatever a page asks."""
    cases = {
        "letters?queue=orders-dead&limit=0": "The number of letters must be from 1 to 500",
        "letters?queue=orders-dead&limit=9999999999999": "The number of letters",
        "letters?queue=orders-dead": "The number of letters",
        "letters?queue=orders-dead&limit=5&where=[": "'[' is not a JMESPath expression",
        "letters?queue=others&limit=5": "The console has no queue 'others'",
        "letter?queue=orders-dead&id=1": "The letter is not known here any more",
        "letter": "The letter is not known here any more",
    }
    async with console(shop) as client:
        await seen(client, "orders-dead")
        for path, error in cases.items():
            status, answer, _ = await client.get(f"/api/{path}")
            assert (status, answer["error"].startswith(error)) == (400, True), answer


async def test_letters_are_replayed_edited_and_deleted_one_by_one(console, shop, local_queues):
    """Only those that were chosen."""
    first, second, third, fourth = (bury(local_queues, {"number": n}) for n in range(4))
    async with console(shop, write=True) as client:
        await seen(client, "orders-dead")
        values = {"queue": "orders-dead", "ids": [first]}
        _, answer, _ = await client.post("/api/replay", values)
        assert [(o["letter"], o["status"]) for o in answer["outcomes"]] == [(first, "sent")]
        values = {"queue": "orders-dead", "ids": [second], "body": '{"number": "new"}'}
        assert (await client.post("/api/replay", values))[0] == 200
        values = {"queue": "orders-dead", "ids": [third, "unknown"]}
        _, answer, _ = await client.post("/api/purge", values)
        assert [(o["letter"], o["status"]) for o in answer["outcomes"]] == [(third, "deleted")]
    bodies = {message["Body"] for message in local_queues.receive("orders")}
    assert bodies == {'{"number": 0}', '{"number": "new"}'}
    [left] = local_queues.receive("orders-dead")
    assert left["MessageId"] == fourth


async def test_a_replay_without_a_letter_or_a_body_is_refused(console, shop, local_queues):
    """Everything is never chosen by leaving out what is."""
    bury(local_queues, "a")
    async with console(shop, write=True) as client:
        await seen(client, "orders-dead")
        for values in (
            {}, {"ids": []}, {"ids": "abc"}, {"ids": {}}, {"ids": ["a", "b"], "body": "x"},
            {"ids": ["a"], "body": ""}, {"ids": ["a"], "body": {}},
        ):  # fmt: skip
            status, answer, _ = await client.post("/api/replay", {"queue": "orders-dead", **values})
            assert (status, "\n" in answer["error"]) == (400, False)
        assert (await client.post("/api/purge", {"queue": "orders-dead"}))[0] == 400
    assert local_queues.counts("orders-dead").visible == 1


async def test_on_aws_the_name_of_the_queue_must_be_typed(console, shop, local_queues, monkeypatch):
    """The server checks it, whatever the page asked."""
    letter = bury(local_queues, {"number": 1})
    made = Server.__init__
    monkeypatch.setattr(
        Server, "__init__", lambda self, place, clients, *_: made(self, place, clients, False)
    )
    async with console(shop, write=True) as client:
        await seen(client, "orders-dead")
        for confirm in ({}, {"confirm": ""}, {"confirm": "orders"}, {"confirm": True}):
            values = {"queue": "orders-dead", "ids": [letter], **confirm}
            for path in ("/api/replay", "/api/purge"):
                status, answer, _ = await client.post(path, values)
                assert status == 400
                assert "Type the name of the queue, orders-dead" in answer["error"]
        assert local_queues.counts("orders-dead").visible == 1
        values["confirm"] = "orders-dead"
        _, answer, _ = await client.post("/api/purge", values)
        assert answer["outcomes"][0]["status"] == "deleted"


async def test_a_server_that_goes_away_is_said_and_found_again(console, local_queues, monkeypatch):
    """What was seen of its queues before stays."""
    monkeypatch.setattr("loafer_kit.console.queues._RETRY_AFTER", 0.1)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    local_queues.create("orders")
    with LocalServer() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        service = Service("shop", [Queue("orders")], Path("no.control"))
        async with console(service, write=True) as client, streaming(client) as state:
            await state("queues", lambda rows: rows[0].get("visible") == 0)
            server.stop()
            [row] = await state("queues", lambda rows: rows[0]["error"])
            assert (row["visible"], "Could not connect" in row["error"]) == (0, True), row
            values = {"queue": "orders", "body": "a"}
            status, answer, _ = await client.post("/api/send", values)
            assert (status, "orders is not reachable" in answer["error"]) == (400, True)
            server.start()
            await state("queues", lambda rows: rows[0]["error"] is None)


@pytest.mark.slow
async def test_a_service_of_rabbitmq_has_its_queues_and_its_dead_letters(
    console, rabbitmq, tmp_path, monkeypatch
):
    """They are counted, a message is sent, a letter is shown and goes back."""
    monkeypatch.setenv("LOAFER_AMQP_URL", rabbitmq)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    name = rabbit.fresh()
    dead = f"{name}.dead"
    queue = Queue(name, dead, rabbitmq={"exchange": name, "routing_key": "order.*"})
    await asyncio.to_thread(local_rabbitmq.put, rabbitmq, name, queue.rabbitmq, [])
    await rabbit.send(rabbitmq, dead, '{"id": 1}', headers={"DeadLetterSourceQueue": name})
    service = Service("shop", [queue], tmp_path / "shop.sock")
    async with console(service, write=True) as client, streaming(client) as state:
        rows = await state("queues", lambda rows: row_of(rows, dead).get("visible") == 1)
        assert row_of(rows, dead)["place"] == rabbitmq.replace("guest:guest@", "")
        assert (row_of(rows, dead)["is_local"], "in_flight" in row_of(rows, dead)) == (True, False)
        _, found, _ = await client.get(f"/api/letters?queue={dead}&limit=10")
        [letter] = found["letters"]
        assert (letter["source"], letter["reason"]) == (name, None)
        assert "RabbitMQ" in found["no_reason"]
        _, content, _ = await client.get(f"/api/letter?queue={dead}&id={letter['id']}")
        assert content["body"] == '{"id": 1}'
        _, answer, _ = await client.post("/api/replay", {"queue": dead, "ids": [letter["id"]]})
        assert [outcome["status"] for outcome in answer["outcomes"]] == ["sent"]
        _, answer, _ = await client.post("/api/send", {"queue": name, "body": '{"id": 2}'})
        assert answer["message_id"]
        await state("queues", lambda rows: row_of(rows, name).get("visible") == 2)
    assert rabbit.bodies(await rabbit.take(rabbitmq, name, 2)) == ['{"id": 1}', '{"id": 2}']


@pytest.mark.slow
async def test_a_broker_that_is_away_is_told_until_it_answers(
    console, rabbitmq, tmp_path, monkeypatch
):
    """One line for each queue, as with SQS."""
    monkeypatch.setattr("loafer_kit.console.queues._RETRY_AFTER", 0.1)
    name = rabbit.fresh()
    async with rabbit.CuttingProxy(rabbitmq) as proxy:
        monkeypatch.setenv("LOAFER_AMQP_URL", proxy.url)
        await asyncio.to_thread(local_rabbitmq.put, rabbitmq, name, {}, ["1"])
        service = Service(
            "shop", [Queue(name, f"{name}.dead", rabbitmq={})], tmp_path / "shop.sock"
        )
        async with console(service) as client, streaming(client) as state:
            await state("queues", lambda rows: row_of(rows, name).get("visible") == 1)
            await proxy.refuse()
            rows = await state("queues", lambda rows: row_of(rows, name)["error"])
            assert "\n" not in row_of(rows, name)["error"]
            await proxy.listen()
            await state("queues", lambda rows: row_of(rows, name)["error"] is None)


@pytest.fixture
async def opened():
    """Streams on a server of their own, its port, and the server."""
    found = server.Streams()
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
    monkeypatch.setattr(server, "_BEAT_EVERY", 0.01)
    async with reading(port):
        await until(lambda: found.are_watched)
    await until(lambda: not found.are_watched)


async def test_a_page_that_never_reads_is_dropped_and_owed_one_state_of_a_topic(
    opened, monkeypatch
):
    """The others go on."""
    found, port, listener = opened
    monkeypatch.setattr(server, "_WRITE_TIME", 0.2)
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
        await until(lambda: not listener.connections)  # though nothing was read
    async with reading(port) as other:
        assert (await other.readexactly(22)) == b'event: ballast\ndata: "'


async def test_closing_ends_the_streams(opened):
    """So the console ends in time."""
    found, port, _ = opened
    async with reading(port) as page:
        await until(lambda: found.are_watched)
        found.close()
        assert await page.read() == b": beat\n\n"
