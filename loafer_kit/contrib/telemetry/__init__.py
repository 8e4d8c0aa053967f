"""Telemetry: an extension that makes OpenTelemetry's traces and metrics of a service.

`conventions` holds the names and what they say, `observers` make spans and metrics. Only the API of
OpenTelemetry is used: the service chooses SDK and exporter.
"""

import asyncio
from typing import Any

from loafer_kit import __version__
from loafer_kit.exceptions import MissingExtraError
from loafer_kit.extensions import Extension

try:
    from opentelemetry import _logs, trace
    from opentelemetry import metrics as otel_metrics

    from loafer_kit.contrib.telemetry import conventions
    from loafer_kit.contrib.telemetry.observers import Metrics, SpanEnder, SpanOptions, Spans
except ModuleNotFoundError as error:
    if not (error.name or "").startswith("opentelemetry"):
        raise
    raise MissingExtraError("loafer_kit.contrib.telemetry", "otel") from None

__all__ = ["Telemetry"]


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
        meter_provider: otel_metrics.MeterProvider | None = None,
        logger_provider: _logs.LoggerProvider | None = None,
    ) -> None:
        scope = ("loafer_kit", __version__)
        schema = conventions.SCHEMA_URL
        self._ender = SpanEnder()
        self._observers = (
            Spans(
                trace.get_tracer(*scope, tracer_provider, schema),
                _logs.get_logger(*scope, logger_provider, schema),
                SpanOptions(
                    parent=parent,
                    receive_spans=receive_spans,
                    settle_spans=settle_spans,
                    baggage=baggage,
                ),
                self._ender,
            ),
            Metrics(otel_metrics.get_meter(*scope, meter_provider, schema)),
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
