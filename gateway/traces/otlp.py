"""Spans to a collector, by OpenTelemetry's SDK: imported only where traces are switched on."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span as Begun
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer, set_span_in_context

from gateway.traces.spans import Span

TIMEOUT_S = 5
"""Of one export; also how long a stop may wait for a collector that is away."""


def resource_of(instance: str) -> Resource:
    return Resource.create(
        {
            "service.name": "tollgate",
            "service.version": version("tollgate"),
            "service.instance.id": instance,
        }
    )


class Otlp:
    """Sends by a thread of the SDK's own; what its queue has no room for is dropped."""

    def __init__(self, url: str, instance: str) -> None:
        """`instance` tells gateways and workers apart."""
        exporter = OTLPSpanExporter(f"{url.rstrip('/')}/v1/traces", timeout=TIMEOUT_S)
        self._provider = TracerProvider(resource=resource_of(instance), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer: Tracer = self._provider.get_tracer("tollgate")

    def send(self, trace: Sequence[Span]) -> None:
        """The first is the whole, the others are its parts."""
        whole, *parts = trace
        root = self._begin(whole, None, SpanKind.SERVER)
        context = set_span_in_context(root)
        for part in parts:
            kind = SpanKind.CLIENT if part.calls else SpanKind.INTERNAL
            self._begin(part, context, kind).end(part.end_ns)
        root.end(whole.end_ns)

    def close(self) -> None:
        """What is queued is sent first. Blocks."""
        self._provider.shutdown()

    def _begin(self, span: Span, context: Context | None, kind: SpanKind) -> Begun:
        begun = self._tracer.start_span(
            span.name,
            context=context,
            kind=kind,
            attributes=span.attributes,
            start_time=span.start_ns,
        )
        if span.first_token_ns is not None:
            begun.add_event("gen_ai.first_token", timestamp=span.first_token_ns)
        if span.failed:
            begun.set_attribute("error.type", span.failed)
            begun.set_status(Status(StatusCode.ERROR))
        return begun
