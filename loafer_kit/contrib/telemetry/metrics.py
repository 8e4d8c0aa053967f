"""Metrics: durations of handlers and requests, and the numbers of messages."""

from collections.abc import Sequence

from opentelemetry.metrics import Meter

from loafer_kit.contrib.telemetry import conventions as names
from loafer_kit.contrib.telemetry import facts
from loafer_kit.events import ObservedCall, ObservedRoute, Observer, Request, Sending
from loafer_kit.types import Message


class Metrics(Observer):
    """Records what happens with the instruments of the conventions."""

    def __init__(self, meter: Meter) -> None:
        self._process_duration = meter.create_histogram(
            names.PROCESS_DURATION,
            unit="s",
            description="Duration of processing operation.",
            explicit_bucket_boundaries_advisory=names.BOUNDARIES,
        )
        self._operation_duration = meter.create_histogram(
            names.OPERATION_DURATION,
            unit="s",
            description="Duration of messaging operation initiated by a producer or consumer client.",
            explicit_bucket_boundaries_advisory=names.BOUNDARIES,
        )
        self._consumed = meter.create_counter(
            names.CONSUMED,
            unit="{message}",
            description="Number of messages that were delivered to the application.",
        )
        self._sent = meter.create_counter(
            names.SENT,
            unit="{message}",
            description="Number of messages producer attempted to send to the broker.",
        )

    def received(self, route: ObservedRoute, messages: Sequence[Message]) -> None:
        self._consumed.add(len(messages), facts.of_route(route, messages[0], "receive"))

    def finished(self, call: ObservedCall) -> None:
        attributes = facts.of_route(call.route, call.messages[0], names.PROCESS)
        _add_failure(attributes, facts.failure_of_call(call))
        self._process_duration.record(call.seconds, attributes)

    def send_ended(self, sending: Sending) -> None:
        attributes = facts.of_sending(sending)
        _add_failure(attributes, facts.failure_of_operation(sending))
        self._operation_duration.record(sending.seconds, attributes)
        del attributes[names.OPERATION_TYPE]
        self._sent.add(1, attributes)

    def request_ended(self, request: Request) -> None:
        attributes = facts.of_request(request)
        if attributes is not None:
            _add_failure(attributes, facts.failure_of_operation(request))
            self._operation_duration.record(request.seconds, attributes)


def _add_failure(attributes: facts.Attributes, failure: tuple[str, str] | None) -> None:
    if failure is not None:
        attributes[names.ERROR_TYPE] = failure[0]
