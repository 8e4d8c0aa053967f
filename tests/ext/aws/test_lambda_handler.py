"""Lambda's SQS events, handled by a manager's routes."""

import asyncio
import base64
import dataclasses
import http.server
import itertools
import json
import logging
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from loafer_kit import LoaferManager
from loafer_kit.exceptions import ConfigurationError, RejectMessage, RetryMessage
from loafer_kit.ext.aws import lambda_handler as lambdas
from loafer_kit.ext.aws.providers import SQSProvider
from loafer_kit.ext.aws.routes import SQSRoute
from loafer_kit.extensions import Extension
from loafer_kit.local.servers import child_environment
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider

numbers = itertools.count(1)


functions = []


@pytest.fixture(autouse=True)
def _ended(monkeypatch):
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    yield
    while functions:
        functions.pop().close()


def lambda_handler(manager):
    functions.append(lambdas.lambda_handler(manager))
    return functions[-1]


def record(content, *, queue="orders", partition="aws", group=None, received=1, **changes):
    number = next(numbers)
    attributes = {
        "ApproximateReceiveCount": str(received),
        "SentTimestamp": "1545082649183",
        "SenderId": "AIDAIENQZJOLO23YVJ4VO",
        "ApproximateFirstReceiveTimestamp": "1545082649185",
    }
    return {
        "messageId": f"id-{number}",
        "receiptHandle": f"handle-{number}",
        "body": json.dumps(content),
        "attributes": attributes | ({"MessageGroupId": group} if group else {}),
        "messageAttributes": {},
        "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:{partition}:sqs:us-east-2:123456789012:{queue}",
        "awsRegion": "us-east-2",
    } | changes


def of_message(message, queue):
    """Return a message that was received from a real queue as Lambda's record."""
    return record(
        None,
        body=message["Body"],
        queue=queue,
        messageId=message["MessageId"],
        receiptHandle=message["ReceiptHandle"],
        attributes=message["Attributes"],
    )


class Context:
    def __init__(self, seconds):
        self._until = time.monotonic() + seconds

    def get_remaining_time_in_millis(self):
        return int((self._until - time.monotonic()) * 1000)


class Function:
    """A function with one route, and what its handler saw."""

    def __init__(self, handler=None, queue="orders", **options):
        self.seen, self._handler = [], handler
        self.manager = LoaferManager([SQSRoute(queue, handler=self.note, **options)])
        self.handle = lambda_handler(self.manager)

    async def note(self, content, metadata):
        self.seen.append((content, metadata))
        answer = True if self._handler is None else self._handler(content)
        return await answer if asyncio.iscoroutine(answer) else answer

    @property
    def contents(self):
        return [content for content, _ in self.seen]

    def __call__(self, *records, seconds=60):
        answer = self.handle({"Records": list(records)}, Context(seconds))
        assert answer.keys() == {"batchItemFailures"}
        return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def fail_if(*bad):
    return lambda content: content not in bad


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov", "aws-iso-b"])
def test_what_failed_is_reported(partition):
    """Lambda deletes the rest."""
    function = Function(fail_if("bad"))
    records = [record(body, partition=partition) for body in ("a", "bad", "b")]

    assert function(*records) == [records[1]["messageId"]]
    assert sorted(function.contents) == ["a", "b", "bad"]


def test_a_record_arrives_as_a_message():
    """With attributes of all kinds, as ReceiveMessage gives them."""
    attributes = {
        "kind": {"dataType": "String", "stringValue": "order", "stringListValues": []},
        "blob": {"dataType": "Binary", "binaryValue": base64.b64encode(b"\x00\x01").decode()},
    }
    function = Function()
    assert function(record({"order": 7}, received=3, messageAttributes=attributes)) == []
    ((content, metadata),) = function.seen
    assert content == {"order": 7}
    assert metadata["MessageAttributes"] == {
        "kind": {"DataType": "String", "StringValue": "order"},
        "blob": {"DataType": "Binary", "BinaryValue": b"\x00\x01"},
    }
    assert metadata["Attributes"]["ApproximateReceiveCount"] == "3"
    assert metadata["MessageId"].startswith("id-")


def test_a_large_batch_keeps_to_the_concurrency():
    """All records are handled in one invocation."""
    running, most = 0, 0

    async def count(content):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return True

    function = Function(count, concurrency=7)
    assert function(*map(record, range(500))) == []
    assert sorted(function.contents) == list(range(500))
    assert most == 7


@pytest.mark.parametrize("concurrency", [1, 10])
def test_behind_a_failed_message_its_group_stops(concurrency):
    """Other groups go on; in the next event the group starts again."""
    function = Function(fail_if("a1"), "orders.fifo", concurrency=concurrency)
    records = {
        name: record(name, queue="orders.fifo", group=name[0])
        for name in [f"{group}{n}" for n in range(15) for group in "ab"]
    }

    failed = function(*records.values())
    assert failed == [records[f"a{n}"]["messageId"] for n in range(1, 15)]
    assert [c for c in function.contents if c[0] == "a"] == ["a0", "a1"]
    assert [c for c in function.contents if c[0] == "b"] == [f"b{n}" for n in range(15)]
    assert function(record("a2", queue="orders.fifo", group="a")) == []


def test_a_plain_handler_and_a_batch_handler():
    """As on a running service."""
    seen = []

    def plain(content, metadata):
        seen.append(threading.current_thread() is threading.main_thread())
        return content != "bad"

    def batch(contents, metadata):
        seen.append(contents)
        return [content != "bad" for content in contents]

    manager = LoaferManager(
        [
            SQSRoute("plain", handler=plain),
            SQSRoute("batch", handler=batch, batch_handler_size=5, batch_handler_wait=0.01),
        ]
    )
    handle = lambda_handler(manager)
    bad = [record("bad", queue=queue) for queue in ("plain", "batch")]
    answer = handle({"Records": [*bad, record("a", queue="batch")]}, None)
    assert [f["itemIdentifier"] for f in answer["batchItemFailures"]] == [
        one["messageId"] for one in bad
    ]
    assert sorted(map(str, seen)) == ["False", "['bad', 'a']"]


@dataclasses.dataclass
class Order:
    number: int


def test_a_misfit_of_a_typed_handler_goes_to_the_dead_letter_queue(local_queues):
    """It counts as handled: Lambda deletes it. Its letter has the reason."""
    queue = local_queues.fresh("typed", dead_letter_queue="typed-dlq")
    seen = []

    async def handler(order: Order, metadata):
        seen.append(order)
        return True

    handle = lambda_handler(LoaferManager([SQSRoute(queue, handler=handler)]))
    answer = handle({"Records": [record({"number": "x"}, queue=queue)]}, None)
    assert answer == {"batchItemFailures": []}
    (letter,) = local_queues.receive("typed-dlq")
    assert "does not fit Order" in letter["MessageAttributes"]["DeadLetterReason"]["StringValue"]
    assert handle({"Records": [record({"number": 7}, queue=queue)]}, None) == {
        "batchItemFailures": []
    }
    assert seen == [Order(7)]


def test_a_rejection_without_a_dead_letter_queue_is_a_failure(local_queues, caplog):
    """Nothing is lost; one line says why it comes back."""
    queue = local_queues.fresh("alone")

    def reject(content):
        raise RejectMessage("poison")

    function = Function(reject, queue)
    poison = record("m", queue=queue)
    assert function(poison) == [poison["messageId"]]
    (line,) = [r for r in caplog.records if getattr(r, "event", "") == "message.not_settled"]
    assert "has no dead-letter queue" in line.getMessage()
    assert line.exc_info is None


def test_a_retry_with_a_delay_changes_the_visibility(local_queues):
    """The message is reported, and hidden for as long as the handler asked."""
    queue = local_queues.fresh("retries", visibility_timeout=30)
    local_queues.send(queue, '"m"')
    (message,) = local_queues.receive(queue)

    def retry(content):
        raise RetryMessage(delay=0)

    function = Function(retry, queue)
    assert function(of_message(message, queue)) == [message["MessageId"]]
    assert local_queues.counts(queue).visible == 1


def test_a_visibility_that_cannot_be_changed_is_one_line(local_queues, caplog):
    """The message is reported all the same."""
    queue = local_queues.fresh("retries")

    def retry(content):
        raise RetryMessage(delay=5)

    late = record("m", queue=queue)
    assert Function(retry, queue)(late) == [late["messageId"]]
    (line,) = [r for r in caplog.records if getattr(r, "event", "") == "message.not_settled"]
    assert line.levelno == logging.ERROR


def test_the_time_limit_of_the_function_cancels_handlers(caplog):
    """Their messages are reported, also those that did not start; the next event is handled."""
    cancelled = []

    async def hang(content):
        if content != "hang":
            return True
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(content)
            raise

    function = Function(hang, concurrency=1)
    records = [record("hang"), *map(record, "abc")]
    assert function(*records, seconds=1.05) == [one["messageId"] for one in records]
    assert function(record("d")) == []
    assert cancelled == ["hang"]
    assert function.contents == ["hang", "d"]
    assert len([r for r in caplog.records if "the function's time is over" in r.message]) == 4


def test_without_time_for_an_answer_everything_is_reported():
    """A second is kept for the answer."""
    late = record("a")
    assert Function()(late, seconds=1) == [late["messageId"]]


def test_the_start_of_the_service_counts_against_the_time_limit():
    """The handler gets what the function has left after it."""
    left = [60_000]

    class Spent:
        def get_remaining_time_in_millis(self):
            return left[0]

    function = Function()

    @function.manager.startup
    async def start(manager):
        left[0] = 1_000

    late = record("a")
    answer = function.handle({"Records": [late]}, Spent())
    assert answer == {"batchItemFailures": [{"itemIdentifier": late["messageId"]}]}


def test_startup_runs_once_and_extensions_flush_after_each_event():
    """An execution environment serves many events."""
    calls = []

    class Flushing(Extension):
        def init_app(self, app):
            super().init_app(app)
            app.startup(self.start)

        async def start(self, app):
            calls.append("started")

        async def flush(self):
            calls.append("flushed")

    function = Function()
    Flushing(function.manager)
    function(record("a"))
    function(record("b"))
    assert calls == ["started", "flushed", "flushed"]


def test_routes_read_sqs_until_the_first_event_and_again_afterwards():
    """So a test of the function leaves the routes as the other tests need them."""
    function = Function()
    (route,) = function.manager.routes
    provider = route.provider

    assert isinstance(provider, SQSProvider)
    assert function(record(1)) == []
    assert route.provider is not provider
    functions.pop().close()

    assert route.provider is provider


def test_a_start_that_fails_fails_the_batch_and_is_tried_again():
    """The next event may be luckier."""
    function, failures = Function(), ["no database"]

    @function.manager.startup
    async def start(manager):
        if failures:
            raise RuntimeError(failures.pop())

    with pytest.raises(RuntimeError, match="no database"):
        function(record("a"))
    assert function(record("b")) == []
    assert function.contents == ["b"]


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({}, "it has no Records"),
        (None, "it has no Records"),
        ({"Records": [{"eventSource": "aws:s3"}]}, r"Records\[0\] has another source"),
        ({"Records": [record("a"), "b"]}, r"Records\[1\] has another source"),
        (
            {"Records": [record("a", receiptHandle=None)]},
            r"Records\[0\] of the event has no receipt",
        ),
        (
            {"Records": [record("a"), record("b", queue="mails")]},
            "No route reads the queue arn:aws:sqs:us-east-2:123456789012:mails: .* read orders",
        ),
    ],
)
def test_an_event_of_something_else_fails_as_a_whole(event, said):
    """One line; no handler has started."""
    function = Function()
    with pytest.raises(ValueError, match=said):
        function.handle(event, None)
    assert function.seen == []


def test_an_empty_event_has_no_failures():
    """Lambda sends none; a test of the function may."""
    assert Function()() == []


def test_routes_that_lambda_cannot_serve_are_refused():
    """When the function is loaded."""

    async def handler(content, metadata):
        return True

    with pytest.raises(ConfigurationError, match="not those of <Route: memory>"):
        lambda_handler(LoaferManager([Route(InMemoryProvider(), handler, "memory")]))
    twice = [SQSRoute("orders", handler=handler, name=name) for name in "ab"]
    with pytest.raises(ConfigurationError, match="Two routes read the queue 'orders'"):
        lambda_handler(LoaferManager(twice))


# A runtime

#: What runs a function inside Lambda, by its Runtime API: it fetches an event, and posts the answer.
RUNTIME = """
    import importlib, json, os, time, urllib.request
    base = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2018-06-01/runtime/invocation"
    handler = importlib.import_module("function").handler

    class Context:
        def __init__(self, deadline):
            self.deadline = deadline
        def get_remaining_time_in_millis(self):
            return self.deadline - int(time.time() * 1000)

    while True:
        with urllib.request.urlopen(f"{base}/next") as answer:
            event, headers = json.load(answer), answer.headers
        place = f"{base}/{headers['Lambda-Runtime-Aws-Request-Id']}"
        try:
            body = handler(event, Context(int(headers["Lambda-Runtime-Deadline-Ms"])))
            place += "/response"
        except Exception as error:
            body, place = {"errorMessage": str(error), "errorType": type(error).__name__}, place + "/error"
        urllib.request.urlopen(urllib.request.Request(place, json.dumps(body).encode())).close()
"""
FUNCTION = """
    from loafer_kit import LoaferManager
    from loafer_kit.ext.aws.lambda_handler import lambda_handler
    from loafer_kit.ext.aws.routes import SQSRoute

    def handle_order(order, metadata):
        return order["number"] > 0

    handler = lambda_handler(LoaferManager([SQSRoute("orders", handler=handle_order)]))
"""


class RuntimeApi(http.server.ThreadingHTTPServer):
    """Lambda's Runtime API: hands out events, and keeps the answers."""

    def __init__(self, events):
        super().__init__(("127.0.0.1", 0), _RuntimeRequest)
        self.events, self.answers = list(events), []
        self.total, self.done = len(self.events), threading.Event()


class _RuntimeRequest(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if not self.server.events:
            self.server.done.wait(60)
            return
        body = json.dumps(self.server.events.pop(0)).encode()
        self.send_response(200)
        self.send_header("Lambda-Runtime-Aws-Request-Id", str(len(self.server.events)))
        self.send_header("Lambda-Runtime-Deadline-Ms", str(int(time.time() * 1000) + 30_000))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.answers.append((self.path.rpartition("/")[2], body))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()
        if len(self.server.answers) == self.server.total:
            self.server.done.set()

    def log_message(self, *arguments):
        pass


def test_a_function_in_lambdas_runtime(tmp_path, local_server):
    """Three invocations of one process: one with a failure, one that is not of SQS, one that is well."""
    (tmp_path / "function.py").write_text(textwrap.dedent(FUNCTION))
    bad = record({"number": 0})
    events = [
        {"Records": [record({"number": 1}), bad]},
        {"Records": [{}]},
        {"Records": [record({"number": 2})]},
    ]
    with RuntimeApi(events) as api:
        threading.Thread(target=api.serve_forever, daemon=True).start()
        environment = child_environment(local_server.url) | {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api.server_port}",
            "PYTHONPATH": str(tmp_path),
        }
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(RUNTIME)],
            env=environment,
            cwd=tmp_path,
            stderr=subprocess.PIPE,
        )
        try:
            assert api.done.wait(60), process.communicate(timeout=1)
        finally:
            process.kill()
            process.communicate()
            api.shutdown()
    assert api.answers == [
        ("response", {"batchItemFailures": [{"itemIdentifier": bad["messageId"]}]}),
        (
            "error",
            {
                "errorMessage": "The event is not of SQS: Records[0] has another source.",
                "errorType": "ValueError",
            },
        ),
        ("response", {"batchItemFailures": []}),
    ]
