"""Telemetry: an extension that makes OpenTelemetry's traces and metrics of a service.

Its observers make spans and metrics; `conventions` holds the names and what they say. Only the API of
OpenTelemetry is used: the service chooses SDK and exporter.
"""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextvars import Token
from dataclasses import dataclass
from typing import Any

from loafer_kit import __version__
from loafer_kit.contrib.telemetry import conventions
from loafer_kit.events import ObservedCall, ObservedRoute, Observer, Operation, Request, Sending
from loafer_kit.exceptions import MissingExtraError
from loafer_kit.extensions import Extension
from loafer_kit.logs import log_event
from loafer_kit.types import Message

try:
    from opentelemetry import _logs, metrics, trace
    from opentelemetry import context as otel
    from opentelemetry.baggage.propagation import W3CBaggagePropagator
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ModuleNotFoundError as error:
    if not (error.name or "").startswith("opentelemetry"):
        raise
    raise MissingExtraError("loafer_kit.contrib.telemetry", "otel") from None

__all__ = ["Telemetry"]

logger = logging.getLogger(__name__)

#: The instrumentations of aiohttp and botocore make no spans while this value is in the context.
_SUPPRESSED = "suppress_instrumentation"

#: Spans that wait for their processors; those beyond are dropped.
_MOST_WAITING = 10_000

#: Seconds that the last spans get when the service ends.
_FLUSH_TIME = 2.0

_context_of_messages = TraceContextTextMapPropagator()
_baggage_of_messages = W3CBaggagePropagator()


class Telemetry(Extension):
    """Traces and measures a service, by the conventions of OpenTelemetry.

    Each handler call has a span, which links the context in which its message was created; `parent`
    makes that context its parent too, unless the service runs within a span. `receive_spans` and
    `settle_spans` add the requests that receive and settle messages. With `baggage`, what comes with
    a message reaches its handler and travels on. The providers default to the global ones.
    """

    def __init__(
        self,
        app: Any = None,
        *,
        parent: bool = False,
        receive_spans: bool = False,
        settle_spans: bool = False,
        baggage: bool = False,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
        logger_provider: _logs.LoggerProvider | None = None,
    ) -> None:
        scope = ("loafer_kit", __version__)
        schema = conventions.SCHEMA_URL
        self._ender = _SpanEnder()
        self._observers = (
            _Spans(
                trace.get_tracer(*scope, tracer_provider, schema),
                _logs.get_logger(*scope, logger_provider, schema),
                _SpanOptions(
                    parent=parent,
                    receive_spans=receive_spans,
                    settle_spans=settle_spans,
                    baggage=baggage,
                ),
                self._ender,
            ),
            _Metrics(metrics.get_meter(*scope, meter_provider, schema)),
        )
        super().__init__(app)

    def init_app(self, app: Any) -> None:
        """Observe `app`."""
        super().init_app(app)
        for observer in self._observers:
            app.observe(observer)
        app.teardown(self.flush)

    async def flush(self, app: Any = None) -> None:
        """Return when the span processors were told of all spans, or after two seconds."""
        await asyncio.to_thread(self._ender.flush)


@dataclass(frozen=True, slots=True, kw_only=True)
class _SpanOptions:
    """Which spans there are, and what they read: see `Telemetry`."""

    parent: bool
    receive_spans: bool
    settle_spans: bool
    baggage: bool


class _SpanEnder:
    """Ends spans in a thread: a processor or exporter that hangs holds up no message."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[tuple[Span, int] | threading.Event] = queue.Queue(_MOST_WAITING)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_full = False

    def end(self, span: Span) -> None:
        """End a span now, and have its processors told soon."""
        if not span.is_recording():
            return
        try:
            self._waiting.put_nowait((span, time.time_ns()))
        except queue.Full:
            self._report_full()
        if self._thread is None:
            self._start()

    def flush(self) -> None:
        """Return when the processors were told of all spans, or after two seconds."""
        if self._thread is None:
            return
        told = threading.Event()
        try:
            self._waiting.put_nowait(told)
        except queue.Full:
            return
        if not told.wait(_FLUSH_TIME):
            facts, text = {"spans": self._waiting.qsize()}, "the exporter does not return"
            log_event(logger, logging.WARNING, "telemetry.flush_given_up", facts, text)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        failed = False
        while True:
            item = self._waiting.get()
            if isinstance(item, threading.Event):
                item.set()
                continue
            span, moment = item
            try:
                span.end(moment)
            except Exception as error:  # noqa: BLE001 - of a processor or an exporter
                if not failed:
                    text = "a span was not exported; further failures are not reported"
                    log_event(logger, logging.ERROR, "telemetry.failed", {}, text, exc_info=error)
                failed = True
            self._is_full = False

    def _report_full(self) -> None:
        if not self._is_full:
            self._is_full = True
            facts, text = {"waiting": _MOST_WAITING}, "the exporter does not keep up"
            log_event(logger, logging.WARNING, "telemetry.spans_dropped", facts, text)


class _Spans(Observer):
    """Makes the spans of a service, and gives the messages that it sends their context."""

    def __init__(
        self, tracer: trace.Tracer, events: _logs.Logger, options: _SpanOptions, ender: _SpanEnder
    ) -> None:
        self._tracer = tracer
        self._events = events
        self._options = options
        self._ender = ender
        self._calls: dict[ObservedCall, Span] = {}
        self._sendings: dict[Sending, Span] = {}
        self._requests: dict[Request, Token[Context]] = {}

    def started(self, call: ObservedCall) -> None:
        """Start the span of a handler and make it the current one, to the end of the task."""
        route, messages = call.route, call.messages
        attributes = conventions.of_route(route, messages[0], conventions.PROCESS)
        attributes[conventions.OPERATION_TYPE] = conventions.PROCESS
        attributes |= conventions.of_address(route.provider.address)
        headers = [route.provider.trace_headers(message) for message in messages]
        ids = [route.provider.describe(message).get("message_id") for message in messages]
        is_batch = route.options.batch_handler_size is not None
        if is_batch:
            attributes[conventions.BATCH_COUNT] = len(messages)
        elif ids[0] is not None:
            attributes[conventions.MESSAGE_ID] = str(ids[0])
        current = otel.get_current()
        base = current
        if not is_batch:
            base = self._parent(headers[0], current)
            if self._options.baggage:
                current = _baggage_of_messages.extract(headers[0], current)
        span = self._tracer.start_span(
            f"{conventions.PROCESS} {attributes[conventions.DESTINATION]}",
            base,
            SpanKind.CONSUMER,
            attributes,
            _links(headers, ids if is_batch else ()),
        )
        self._calls[call] = span
        otel.attach(trace.set_span_in_context(span, current))

    def finished(self, call: ObservedCall) -> None:
        """End the span of a handler. It stays current: what the message leads to belongs to it."""
        span = self._calls.pop(call, None)
        if span is None:
            return
        _set_failure(span, conventions.failure_of_call(call))
        errors = {id(made.error): made.error for made in call.deliveries if made.error is not None}
        for error in errors.values():
            self._events.emit(
                event_name=conventions.PROCESS_EXCEPTION,
                severity_number=_logs.SeverityNumber.WARN,
                context=trace.set_span_in_context(span),
                exception=error,
            )
        self._ender.end(span)

    def send_started(self, sending: Sending) -> None:
        """Start the span of a message and inject its context, unless the message has one."""
        created_by = _creator(sending.carried)
        attributes = {**conventions.of_sending(sending), **conventions.of_address(sending.address)}
        span = self._tracer.start_span(
            f"{conventions.SEND} {sending.destination}",
            None,
            SpanKind.PRODUCER if created_by is None else SpanKind.CLIENT,
            attributes,
            _links([sending.carried]),
        )
        if created_by is None:
            context = trace.set_span_in_context(span)
            _context_of_messages.inject(sending.headers, context)
            if self._options.baggage:
                _baggage_of_messages.inject(sending.headers, context)
        self._sendings[sending] = span

    def send_ended(self, sending: Sending) -> None:
        """End the span of a message."""
        span = self._sendings.pop(sending, None)
        if span is None:
            return
        span.set_attributes(conventions.of_address(sending.address))
        if message_id := sending.answer.get("MessageId"):
            span.set_attribute(conventions.MESSAGE_ID, message_id)
        if request_id := sending.answer.get("ResponseMetadata", {}).get("RequestId"):
            span.set_attribute(conventions.REQUEST_ID, request_id)
        self._end(span, sending)

    def request_started(self, request: Request) -> None:
        """Let instrumented clients make no span of a request: it would be a second one."""
        self._requests[request] = otel.attach(otel.set_value(_SUPPRESSED, True))

    def request_ended(self, request: Request) -> None:
        """Make the span of a request, if it is asked for: only now its messages are known."""
        token = self._requests.pop(request, None)
        if token is not None:
            otel.detach(token)
        attributes = conventions.of_request(request)
        if attributes is None:
            return
        is_receive = attributes[conventions.OPERATION_TYPE] == "receive"
        if not (self._options.receive_spans if is_receive else self._options.settle_spans):
            return
        messages = request.answer.get("Messages") or ()
        attributes |= conventions.of_address(request.parameters["QueueUrl"])
        count = len(messages) if is_receive else len(request.parameters["Entries"])
        attributes[conventions.BATCH_COUNT] = count
        if request.request_id:
            attributes[conventions.REQUEST_ID] = request.request_id
        span = self._tracer.start_span(
            f"{attributes[conventions.OPERATION]} {attributes[conventions.DESTINATION]}",
            None,
            SpanKind.CLIENT,
            attributes,
            _links(
                map(request.read_headers, messages), [message["MessageId"] for message in messages]
            ),
            start_time=time.time_ns() - int(request.seconds * 1e9),
        )
        self._end(span, request)

    def _parent(self, headers: Mapping[str, str], current: Context) -> Context:
        """Return the context of a handler's span: the creator's, if that is asked for."""
        if not self._options.parent or trace.get_current_span(current).get_span_context().is_valid:
            return current
        return _context_of_messages.extract(headers, current)

    def _end(self, span: Span, operation: Operation) -> None:
        _set_failure(span, conventions.failure_of_operation(operation))
        self._ender.end(span)


def _creator(headers: Mapping[str, str]) -> SpanContext | None:
    """Return the context in which a message was created."""
    if not headers:
        return None
    context = _context_of_messages.extract(headers, Context())
    found = trace.get_current_span(context).get_span_context()
    return found if found.is_valid else None


def _links(headers: Iterable[Mapping[str, str]], ids: Iterable[object] = ()) -> list[Link]:
    """Return links to the creators of messages; with `ids`, each names its message."""
    message_ids = list(ids)
    links = []
    for position, each in enumerate(headers):
        if (creator := _creator(each)) is not None:
            named = message_ids and message_ids[position] is not None
            attributes = {conventions.MESSAGE_ID: str(message_ids[position])} if named else None
            links.append(Link(creator, attributes))
    return links


def _set_failure(span: Span, failure: tuple[str, str] | None) -> None:
    if failure is not None:
        span.set_attribute(conventions.ERROR_TYPE, failure[0])
        span.set_status(Status(StatusCode.ERROR, failure[1]))


class _Metrics(Observer):
    """Records what happens with the instruments of the conventions."""

    def __init__(self, meter: metrics.Meter) -> None:
        self._process_duration = meter.create_histogram(
            conventions.PROCESS_DURATION,
            unit="s",
            description="Duration of processing operation.",
            explicit_bucket_boundaries_advisory=conventions.BOUNDARIES,
        )
        self._operation_duration = meter.create_histogram(
            conventions.OPERATION_DURATION,
            unit="s",
            description="Duration of messaging operation initiated by a producer or consumer client.",
            explicit_bucket_boundaries_advisory=conventions.BOUNDARIES,
        )
        self._consumed = meter.create_counter(
            conventions.CONSUMED,
            unit="{message}",
            description="Number of messages that were delivered to the application.",
        )
        self._sent = meter.create_counter(
            conventions.SENT,
            unit="{message}",
            description="Number of messages producer attempted to send to the broker.",
        )

    def received(self, route: ObservedRoute, messages: Sequence[Message]) -> None:
        self._consumed.add(len(messages), conventions.of_route(route, messages[0], "receive"))

    def finished(self, call: ObservedCall) -> None:
        attributes = conventions.of_route(call.route, call.messages[0], conventions.PROCESS)
        _add_failure(attributes, conventions.failure_of_call(call))
        self._process_duration.record(call.seconds, attributes)

    def send_ended(self, sending: Sending) -> None:
        attributes = conventions.of_sending(sending)
        _add_failure(attributes, conventions.failure_of_operation(sending))
        self._operation_duration.record(sending.seconds, attributes)
        del attributes[conventions.OPERATION_TYPE]
        self._sent.add(1, attributes)

    def request_ended(self, request: Request) -> None:
        attributes = conventions.of_request(request)
        if attributes is not None:
            _add_failure(attributes, conventions.failure_of_operation(request))
            self._operation_duration.record(request.seconds, attributes)


def _add_failure(attributes: conventions.Attributes, failure: tuple[str, str] | None) -> None:
    if failure is not None:
        attributes[conventions.ERROR_TYPE] = failure[0]
