"""Telemetry: spans and metrics by the conventions, over the embedded server."""

import asyncio
import logging
import sys
import threading
from uuid import uuid4

import aiohttp
import pytest
from opentelemetry import baggage, trace
from opentelemetry import context as otel
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler
from opentelemetry.trace import SpanKind, StatusCode

from loafer_kit import Application, LoaferManager
from loafer_kit.contrib.telemetry import Telemetry
from loafer_kit.contrib.telemetry.conventions import of_address
from loafer_kit.exceptions import Abort, MissingExtraError, RejectMessage, RetryMessage
from loafer_kit.ext.aws.consumers import SQSConsumer
from loafer_kit.ext.aws.handlers import SNSHandler, SQSHandler
from loafer_kit.ext.aws.message_translators import SQSMessageTranslator
from loafer_kit.ext.aws.providers import SQSProvider
from loafer_kit.local import LocalQueue
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider

TRACE, SPAN = "5759e988bd862e3fe1be46a994272793", "53995c3f42cd8ad8"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"


def attribute(value):
    return {"DataType": "String", "StringValue": value}


CREATED = {"MessageAttributes": {"traceparent": attribute(TRACEPARENT)}}


class Collected:
    """The SDK with exporters in memory; `of(kind)` and so on read what they hold."""

    def __init__(self, processor=None, **options):
        self._spans, self._logs = InMemorySpanExporter(), InMemoryLogRecordExporter()
        self._reader = InMemoryMetricReader()
        tracers = TracerProvider(**options)
        tracers.add_span_processor(processor or SimpleSpanProcessor(self._spans))
        loggers = LoggerProvider()
        loggers.add_log_record_processor(SimpleLogRecordProcessor(self._logs))
        self.tracer = tracers.get_tracer("tests")
        self.providers = {
            "tracer_provider": tracers,
            "logger_provider": loggers,
            "meter_provider": MeterProvider([self._reader]),
        }

    @property
    def spans(self):
        return self._spans.get_finished_spans()

    def span(self, name):
        [span] = [span for span in self.spans if span.name.partition(" ")[0] == name]
        return span

    @property
    def logs(self):
        return [item.log_record for item in self._logs.get_finished_logs()]

    def metrics(self):
        """The instruments by name."""
        data = self._reader.get_metrics_data()
        if data is None:
            return {}
        [resource] = data.resource_metrics
        [scope] = resource.scope_metrics
        return {metric.name: metric for metric in scope.metrics}


@pytest.fixture
def collected():
    return Collected()


@pytest.fixture
def queue(local_queues):
    return local_queues.fresh()


async def serve(collected, provider, handler, *, telemetry=None, name="orders", **options):
    """Run a service for one fetch of its route."""
    provider = SQSProvider(provider) if isinstance(provider, str) else provider
    translator = SQSMessageTranslator() if isinstance(provider, SQSProvider) else None
    manager = LoaferManager([Route(provider, handler, name, translator, **options)])
    Telemetry(manager, **collected.providers, **(telemetry or {}))
    await manager.serve(forever=False)
    return manager


async def accept(content, metadata):
    return True


# Process spans


async def test_a_process_span_has_the_attributes_of_the_conventions(
    local_queues, queue, collected, local_server
):
    local_queues.send(queue, 1)

    await serve(collected, queue, accept)

    span = collected.span("process")
    url = local_queues.queue_url(queue)
    host, port = url.removeprefix("http://").partition("/")[0].split(":")
    message_id = span.attributes["messaging.message.id"]
    assert span.name == f"process {queue}"
    assert span.kind is SpanKind.CONSUMER
    assert message_id
    assert span.attributes == {
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.system.name": "aws.sqs",
        "messaging.destination.name": queue,
        "messaging.message.id": message_id,
        "aws.sqs.queue.url": url,
        "server.address": host,
        "server.port": int(port),
    }
    assert span.status.status_code is StatusCode.UNSET
    assert span.instrumentation_scope.schema_url == "https://opentelemetry.io/schemas/1.45.0"
    assert not span.links


async def test_sampling_sees_the_attributes(local_queues, queue):
    """They are there when the span is created."""
    seen = []

    class Watching(Sampler):
        def should_sample(self, *arguments, **keywords):
            attributes = keywords.get("attributes") or arguments[4]
            seen.append(dict(attributes))
            return ALWAYS_ON.should_sample(*arguments, **keywords)

        def get_description(self):
            return ""

    local_queues.send(queue, 1)

    await serve(Collected(sampler=Watching()), queue, accept)

    [attributes] = seen
    assert attributes["messaging.destination.name"] == queue
    assert attributes["messaging.operation.name"] == "process"
    assert attributes["server.address"]


@pytest.mark.parametrize("parent", [False, True])
async def test_a_process_span_links_the_creator(local_queues, queue, collected, parent):
    """By option the creator is its parent as well."""
    await SQSHandler(queue).publish(1, **CREATED)

    await serve(collected, queue, accept, telemetry={"parent": parent})

    span = collected.span("process")
    [link] = span.links
    assert f"{link.context.trace_id:032x}" == TRACE
    assert f"{link.context.span_id:016x}" == SPAN
    assert (span.parent is not None) == parent
    assert (span.context.trace_id == link.context.trace_id) == parent


async def test_a_service_within_a_span_keeps_it_as_the_parent(local_queues, queue, collected):
    """The creator is linked only."""
    await SQSHandler(queue).publish(1, **CREATED)

    with collected.tracer.start_as_current_span("outside") as outside:
        await serve(collected, queue, accept, telemetry={"parent": True})

    span = collected.span("process")
    assert span.parent == outside.get_span_context()
    assert len(span.links) == 1


async def test_the_context_of_x_ray_is_read(local_queues, queue, collected):
    header = f"Root=1-{TRACE[:8]}-{TRACE[8:]};Parent={SPAN};Sampled=1"
    await SQSHandler(queue).publish(
        1, MessageSystemAttributes={"AWSTraceHeader": attribute(header)}
    )

    await serve(collected, queue, accept)

    [link] = collected.span("process").links
    assert f"{link.context.trace_id:032x}" == TRACE


async def test_the_context_in_the_envelope_of_sns_is_read(local_queues, collected):
    topic = f"topic-{uuid4().hex[:8]}"
    local_queues.create(LocalQueue(f"{topic}-queue", topic=topic))
    await SNSHandler(topic).publish(1, **CREATED)

    await serve(collected, f"{topic}-queue", accept)

    [link] = collected.span("process").links
    assert f"{link.context.trace_id:032x}" == TRACE


@pytest.mark.parametrize("broken", ["", "x", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
async def test_a_context_that_is_none_is_ignored(local_queues, queue, collected, broken):
    text = broken or "none"
    await SQSHandler(queue).publish(1, MessageAttributes={"traceparent": attribute(text)})

    await serve(collected, queue, accept, telemetry={"parent": True})

    span = collected.span("process")
    assert not span.links
    assert span.parent is None


@pytest.mark.parametrize("opted_in", [False, True])
async def test_baggage_is_read_and_passed_on_by_option(local_queues, queue, collected, opted_in):
    """It comes from strangers."""
    target = local_queues.fresh("target")
    sent = {**CREATED["MessageAttributes"], "baggage": attribute("tenant=7")}
    await SQSHandler(queue).publish(1, MessageAttributes=sent)
    seen = []

    async def handle(content, metadata):
        seen.append(baggage.get_baggage("tenant"))
        return await SQSHandler(target).publish(2)

    await serve(collected, queue, handle, telemetry={"baggage": opted_in})

    [copy] = local_queues.receive(target)
    assert seen == (["7"] if opted_in else [None])
    assert ("baggage" in copy["MessageAttributes"]) == opted_in


def plain(content, metadata):
    with plain.tracer.start_as_current_span("inside"):
        return True


async def coroutine(content, metadata):
    return plain(content, metadata)


@pytest.mark.parametrize("handler", [plain, coroutine])
async def test_handlers_run_within_the_span(collected, handler):
    """Also in threads; the spans of two messages are apart."""
    plain.tracer = collected.tracer

    await serve(collected, InMemoryProvider(["a", "b"]), handler)

    spans = {span.context.span_id for span in collected.spans if span.name == "process memory"}
    parents = {span.parent.span_id for span in collected.spans if span.name == "inside"}
    assert len(spans) == 2
    assert parents == spans


async def test_a_source_that_is_no_aws_queue_is_named(collected):
    """By its class."""
    await serve(collected, InMemoryProvider(["a"]), accept)

    span = collected.span("process")
    assert span.name == "process memory"
    assert span.attributes["messaging.system.name"] == "InMemoryProvider"
    assert "server.address" not in span.attributes


async def test_a_batch_is_one_span_with_a_link_per_message(local_queues, queue, collected):
    """What differs is on the links; no creator is its parent."""
    for _ in range(3):
        await SQSHandler(queue).publish(1, **CREATED)

    await serve(
        collected,
        queue,
        accept,
        telemetry={"parent": True},
        batch_handler_size=10,
        batch_handler_wait=0.1,
    )

    span = collected.span("process")
    assert span.attributes["messaging.batch.message_count"] == 3
    assert "messaging.message.id" not in span.attributes
    assert span.parent is None
    assert len({link.attributes["messaging.message.id"] for link in span.links}) == 3


async def fail(content, metadata):
    raise ValueError("broken")


def fail_in_a_thread(content, metadata):
    raise aiohttp.ClientConnectionError("gone")


async def reject(content, metadata):
    raise RejectMessage("wrong")


async def refuse(content, metadata):
    return False


@pytest.mark.parametrize(
    ("handler", "error_type", "text"),
    [
        (fail, "ValueError", "broken"),
        (fail_in_a_thread, "aiohttp.client_exceptions.ClientConnectionError", "gone"),
        (reject, "rejected", "wrong"),
        (refuse, "left", "the handler returned False"),
    ],
)
async def test_a_failure_is_an_error(collected, handler, error_type, text):
    """Of the span and of the metric; exceptions are log events as well."""
    await serve(collected, InMemoryProvider(["a"]), handler)

    span = collected.span("process")
    assert span.attributes["error.type"] == error_type
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == text
    [point] = collected.metrics()["messaging.process.duration"].data.data_points
    assert point.attributes["error.type"] == error_type
    events = [] if handler in (reject, refuse) else ["messaging.process.exception"]
    assert [record.event_name for record in collected.logs] == events
    for record in collected.logs:
        assert record.severity_number.name == "WARN"
        assert record.attributes["exception.type"].endswith(error_type.rpartition(".")[2])
        assert record.span_id == span.context.span_id


async def test_a_retry_that_the_handler_asks_for_is_no_error(collected):
    answers = iter([RetryMessage(delay=0), True])

    async def handle(content, metadata):
        return next(answers)

    await serve(collected, InMemoryProvider(["a"]), handle)

    assert all(span.status.status_code is StatusCode.UNSET for span in collected.spans)


async def test_one_failed_message_of_a_batch_is_an_error(collected):
    async def handle(contents, metadata):
        return [True, False]

    await serve(collected, InMemoryProvider(["a", "b"]), handle, batch_handler_size=2)

    assert collected.span("process").attributes["error.type"] == "left"


# Messages that are sent


async def test_a_published_message_carries_the_context_of_its_span(local_queues, queue, collected):
    """A span of a producer within that of the handler."""
    local_queues.send(queue, 1)
    target = local_queues.fresh("target")

    async def handle(content, metadata):
        return await SQSHandler(target).publish(2, MessageAttributes={"own": attribute("x")})

    await serve(collected, queue, handle)

    span, process = collected.span("send"), collected.span("process")
    [message] = local_queues.receive(target)
    assert span.name == f"send {target}"
    assert span.kind is SpanKind.PRODUCER
    assert span.parent == process.context
    assert span.attributes["messaging.operation.name"] == "send"
    assert span.attributes["messaging.operation.type"] == "send"
    assert span.attributes["messaging.system.name"] == "aws.sqs"
    assert span.attributes["messaging.destination.name"] == target
    assert span.attributes["aws.sqs.queue.url"] == local_queues.queue_url(target)
    assert span.attributes["messaging.message.id"] == message["MessageId"]
    assert span.attributes["aws.request_id"]
    assert span.attributes["server.address"]
    assert "messaging.batch.message_count" not in span.attributes
    context = span.context
    assert message["MessageAttributes"].keys() == {"own", "traceparent"}
    value = message["MessageAttributes"]["traceparent"]["StringValue"]
    assert value.split("-")[1:3] == [f"{context.trace_id:032x}", f"{context.span_id:016x}"]


async def test_a_message_to_a_topic_carries_the_context(local_queues, queue, collected):
    topic = f"topic-{uuid4().hex[:8]}"
    local_queues.create(LocalQueue(f"{topic}-queue", topic=topic))
    local_queues.send(queue, 1)

    async def handle(content, metadata):
        return await SNSHandler(topic).publish(2)

    await serve(collected, queue, handle)
    await serve(collected, f"{topic}-queue", accept)

    span = collected.span("send")
    assert span.attributes["messaging.system.name"] == "aws.sns"
    assert span.attributes["messaging.destination.name"] == topic
    assert span.attributes["aws.sns.topic.arn"].endswith(f":{topic}")
    [link] = [link for span in collected.spans for link in span.links]
    assert link.context.span_id == span.context.span_id


async def test_a_message_that_is_passed_on_carries_the_context_of_its_span(
    local_queues, queue, collected
):
    """The creator of the original is linked by the span of its handler, which is the parent."""
    await SQSHandler(queue).publish(
        1,
        MessageAttributes={
            "traceparent": attribute(TRACEPARENT),
            "tracestate": attribute("old=1"),
            "own": attribute("x"),
        },
    )
    target = local_queues.fresh("target")

    await serve(collected, queue, SQSHandler(target))

    [message] = local_queues.receive(target)
    sent = message["MessageAttributes"]
    assert sent.keys() == {"own", "traceparent"}
    span = collected.span("send")
    assert f"{span.context.span_id:016x}" in sent["traceparent"]["StringValue"]
    assert span.parent == collected.span("process").context
    assert len(collected.span("process").links) == 1


async def test_a_message_that_cannot_be_published_is_an_error(local_queues, queue, collected):
    local_queues.send(queue, 1)

    async def handle(content, metadata):
        return await SQSHandler("missing").publish(2)

    await serve(collected, queue, handle)

    span = collected.span("send")
    assert span.attributes["error.type"].startswith("loafer_kit.")
    assert span.status.status_code is StatusCode.ERROR
    [point] = collected.metrics()["messaging.client.sent.messages"].data.data_points
    assert point.attributes["error.type"] == span.attributes["error.type"]


@pytest.fixture
def with_letters(local_queues):
    """A queue and its dead-letter queue."""
    name = f"queue-{uuid4().hex[:8]}"
    local_queues.create(LocalQueue(name, dead_letter_queue=f"{name}-dlq"))
    return name, f"{name}-dlq"


async def test_a_dead_letter_keeps_the_context_of_its_creator(
    local_queues, with_letters, collected
):
    """Its own span only sends it on."""
    source, letters = with_letters
    await SQSHandler(source).publish(1, **CREATED)

    await serve(collected, source, reject)

    [letter] = local_queues.receive(letters)
    span = collected.span("send")
    assert letter["MessageAttributes"]["traceparent"]["StringValue"] == TRACEPARENT
    assert "DeadLetterReason" in letter["MessageAttributes"]
    assert span.kind is SpanKind.CLIENT
    assert span.parent == collected.span("process").context
    [link] = span.links
    assert f"{link.context.trace_id:032x}" == TRACE


async def test_a_dead_letter_without_a_context_gets_one(local_queues, with_letters, collected):
    source, letters = with_letters
    local_queues.send(source, 1)

    await serve(collected, source, reject)

    [letter] = local_queues.receive(letters)
    span = collected.span("send")
    assert span.kind is SpanKind.PRODUCER
    assert span.parent == collected.span("process").context
    value = letter["MessageAttributes"]["traceparent"]["StringValue"]
    assert f"{span.context.span_id:016x}" in value


# Requests


async def test_requests_have_spans_by_option(local_queues, queue, collected):
    """A receive links the creators of its messages."""
    await SQSHandler(queue).publish(1, **CREATED)
    local_queues.send(queue, 2)

    await serve(collected, queue, accept, telemetry={"receive_spans": True, "settle_spans": True})

    receive, delete = collected.span("receive"), collected.span("delete")
    for span, name, kind in ((receive, "receive", "receive"), (delete, "delete", "settle")):
        assert span.name == f"{name} {queue}"
        assert span.kind is SpanKind.CLIENT
        assert span.parent is None
        assert span.attributes["messaging.operation.name"] == name
        assert span.attributes["messaging.operation.type"] == kind
        assert span.attributes["messaging.system.name"] == "aws.sqs"
        assert span.attributes["messaging.batch.message_count"] == 2
        assert span.attributes["aws.sqs.queue.url"] == local_queues.queue_url(queue)
        assert span.attributes["server.address"]
        assert span.attributes["aws.request_id"]
        assert span.start_time < span.end_time
    [link] = receive.links
    assert link.attributes["messaging.message.id"]
    assert not delete.links


async def test_a_delayed_retry_changes_the_visibility(local_queues, queue, collected):
    async def handle(content, metadata):
        raise RetryMessage(delay=100)

    local_queues.send(queue, 1)
    await serve(collected, queue, handle, telemetry={"settle_spans": True})

    assert collected.span("change_visibility").attributes["messaging.operation.type"] == "settle"


@pytest.mark.parametrize("transport", ["direct", "botocore"])
async def test_instrumented_clients_make_no_spans_of_our_requests(
    local_queues, queue, collected, transport, monkeypatch
):
    """But they do of those that a handler makes."""
    request, suppressed = aiohttp.ClientSession._request, {}

    async def watched(session, method, url, **keywords):
        kind = "handler" if "handler" in str(url) else "own"
        value = bool(otel.get_value("suppress_instrumentation"))
        suppressed.setdefault(kind, set()).add(value)
        return await request(session, method, url, **keywords)

    monkeypatch.setattr(aiohttp.ClientSession, "_request", watched)
    source, target = queue, local_queues.fresh("target")
    local_queues.send(source, 1)

    async def handle(content, metadata):
        await SQSHandler(target).publish(2)
        url = local_queues.queue_url(source)
        async with aiohttp.ClientSession() as session, session.get(f"{url}?handler"):
            return True

    await serve(collected, SQSProvider(source, transport=transport), handle)

    assert suppressed["handler"] == {False}
    assert suppressed["own"] == {True}


# Metrics


async def test_the_metrics_are_those_of_the_conventions(local_queues, queue, collected):
    for number in range(2):
        local_queues.send(queue, number)
    target = local_queues.fresh("target")

    async def handle(content, metadata):
        return await SQSHandler(target).publish(2)

    await serve(collected, queue, handle)

    metrics = collected.metrics()
    assert {name: metric.unit for name, metric in metrics.items()} == {
        "messaging.process.duration": "s",
        "messaging.client.operation.duration": "s",
        "messaging.client.consumed.messages": "{message}",
        "messaging.client.sent.messages": "{message}",
    }
    common = {"messaging.system.name": "aws.sqs"}
    here = {**common, "messaging.destination.name": queue}
    there = {**common, "messaging.destination.name": target}
    [process] = metrics["messaging.process.duration"].data.data_points
    assert process.attributes == {**here, "messaging.operation.name": "process"}
    assert process.count == 2
    assert process.explicit_bounds == (
        *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75),
        *(1, 2.5, 5, 7.5, 10),
    )
    [consumed] = metrics["messaging.client.consumed.messages"].data.data_points
    assert consumed.attributes == {**here, "messaging.operation.name": "receive"}
    assert consumed.value == 2
    [sent] = metrics["messaging.client.sent.messages"].data.data_points
    assert sent.attributes == {**there, "messaging.operation.name": "send"}
    assert sent.value == 2
    durations = {
        point.attributes["messaging.operation.name"]: point
        for point in metrics["messaging.client.operation.duration"].data.data_points
    }
    assert durations.keys() == {"receive", "delete", "send"}
    assert durations["delete"].attributes == {
        **here,
        "messaging.operation.name": "delete",
        "messaging.operation.type": "settle",
    }
    assert durations["send"].count == 2
    assert durations["receive"].explicit_bounds == process.explicit_bounds


# Applications


async def test_an_application_is_traced_as_well(local_queues, queue, collected):
    """Its messages are read by an SQSConsumer; deletions lie outside of its spans."""
    await SQSHandler(queue).publish(1, **CREATED)
    seen = []

    async def handle(app, message):
        seen.append(trace.get_current_span())
        app.consumer.stop_reading()

    app = Application("orders", callback=handle)
    app.consumer = SQSConsumer(app, queue, {"WaitTimeSeconds": 1})
    Telemetry(app, settle_spans=True, **collected.providers)

    await app.serve()

    span = collected.span("process")
    assert span.name == f"process {queue}"
    assert span.attributes["messaging.system.name"] == "aws.sqs"
    assert span.attributes["messaging.message.id"]
    assert span.attributes["server.address"]
    assert len(span.links) == 1
    assert seen[0].get_span_context() == span.context
    assert collected.span("delete").parent is None
    assert app.extensions["telemetry"]


async def test_an_application_with_a_consumer_of_its_own_is_traced(collected):
    class Consumer:
        messages = ["a"]

        async def read(self):
            if not self.messages:
                raise Abort("consumer.done", None)
            return self.messages.pop()

    async def handle(app, message):
        return []

    app = Application("orders", consumer=Consumer(), callback=handle)
    Telemetry(app, **collected.providers)

    await app.serve()

    assert collected.span("process").name == "process orders"


# Faults


class Exporter(SpanExporter):
    """Hangs, or raises."""

    def __init__(self, error=None):
        self._error = error
        self.go_on = threading.Event()

    def export(self, spans):
        if self._error is not None:
            raise self._error
        self.go_on.wait(60)
        return SpanExportResult.SUCCESS


async def test_an_exporter_that_hangs_holds_up_no_message(caplog, monkeypatch):
    """Not even one that is called for each span; the end of the service is held up for a moment."""
    monkeypatch.setattr("loafer_kit.contrib.telemetry._FLUSH_TIME", 0.05)
    exporter = Exporter()
    provider = InMemoryProvider(range(50))

    await serve(Collected(SimpleSpanProcessor(exporter)), provider, accept)
    exporter.go_on.set()

    assert len(provider.acknowledged) == 10
    assert "telemetry.flush_given_up" in caplog.text


async def test_spans_beyond_what_an_exporter_can_keep_up_with_are_dropped(caplog, monkeypatch):
    monkeypatch.setattr("loafer_kit.contrib.telemetry._FLUSH_TIME", 0.05)
    monkeypatch.setattr("loafer_kit.contrib.telemetry._MOST_WAITING", 2)
    exporter = Exporter()
    provider = InMemoryProvider(range(10))

    await serve(Collected(SimpleSpanProcessor(exporter)), provider, accept)
    exporter.go_on.set()

    assert len(provider.acknowledged) == 10
    assert caplog.text.count("telemetry.spans_dropped") == 1


async def test_a_processor_that_raises_fails_no_message(caplog):
    """It is reported once."""
    provider = InMemoryProvider(range(10))

    class Failing(SpanProcessor):
        def on_end(self, span):
            raise RuntimeError

    await serve(Collected(Failing()), provider, accept)

    assert len(provider.acknowledged) == 10
    assert [r.levelno for r in caplog.records if "telemetry.failed" in r.message] == [logging.ERROR]


async def test_a_sampler_that_raises_fails_no_message(caplog):
    """Spans end there; metrics go on."""

    class Failing(Sampler):
        def should_sample(self, *arguments, **keywords):
            raise RuntimeError

        def get_description(self):
            return ""

    provider = InMemoryProvider(range(10))
    collected = Collected(sampler=Failing())

    await serve(collected, provider, accept)

    assert len(provider.acknowledged) == 10
    assert caplog.text.count("observer.failed") == 1
    [point] = collected.metrics()["messaging.process.duration"].data.data_points
    assert point.count == 10


async def test_without_an_sdk_nothing_is_sent_along(local_queues, queue):
    """The API alone makes no spans."""
    local_queues.send(queue, 1)
    target = local_queues.fresh("target")
    manager = LoaferManager([Route(SQSProvider(queue), SQSHandler(target))])
    Telemetry(manager, tracer_provider=trace.NoOpTracerProvider())

    await manager.serve(forever=False)

    [message] = local_queues.receive(target)
    assert "MessageAttributes" not in message


def test_without_the_extra_the_error_names_it(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("loafer_kit.contrib.telemetry")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)

    with pytest.raises(MissingExtraError, match=r"pip install 'loafer-kit\[otel\]'"):
        import loafer_kit.contrib.telemetry  # noqa: F401


async def test_the_context_of_a_handler_ends_with_it(collected):
    """What the engine starts afterwards does not belong to its span."""
    provider = InMemoryProvider(["a", "b"])
    seen = []

    async def handle(content, metadata):
        seen.append(trace.get_current_span().get_span_context().span_id)
        await asyncio.sleep(0)
        return True

    await serve(collected, provider, handle, concurrency=1)

    assert len(set(seen)) == 2
    assert not trace.get_current_span().get_span_context().is_valid
    assert all(span.parent is None for span in collected.spans)


def test_the_address_of_a_broker_names_its_server_and_no_queue_of_sqs():
    """RabbitMQ's is a URL too."""
    assert of_address("amqp://broker:5672/shop") == {
        "server.address": "broker",
        "server.port": 5672,
    }
