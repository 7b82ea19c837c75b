"""Traces by OpenTelemetry, where its settings name a receiver: a request, the job it made, the job's stages.

Nothing is traced, and nothing of OpenTelemetry imported, unless `OTEL_EXPORTER_OTLP_ENDPOINT` is set. Its
other settings (`OTEL_TRACES_SAMPLER`, `OTEL_RESOURCE_ATTRIBUTES`, …) hold too.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from dmapsvc.errors import DmapsvcError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PATIENCE = 2.0  # seconds that the last spans may take when the process ends

_log = logging.getLogger(__name__)


class _Tracing:
    """What this process traces with: nothing until it is started."""

    provider: TracerProvider | None = None
    tracer: Tracer | None = None


def start_tracing(service: str) -> None:
    """Trace this process, called `dmapsvc-<service>`, if OpenTelemetry's settings name a receiver."""
    if not any(os.environ.get(name) for name in _ENDPOINTS):
        return
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.sdk") is None:
        _log.warning("%s is set, but nothing is traced: install dmapsvc[otel]", _ENDPOINTS[1])
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    name = os.environ.get("OTEL_SERVICE_NAME", f"dmapsvc-{service}")
    provider = TracerProvider(resource=Resource.create({"service.name": name}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _Tracing.provider, _Tracing.tracer = provider, provider.get_tracer("dmapsvc")


def stop_tracing() -> None:
    """Send what was traced, or give it up after some seconds."""
    provider, _Tracing.provider, _Tracing.tracer = _Tracing.provider, None, None
    if provider is not None:
        last = threading.Thread(target=provider.shutdown, daemon=True)
        last.start()
        last.join(_PATIENCE)


@contextmanager
def span(
    name: str,
    *,
    parent: str | None = None,
    kind: str = "internal",
    attributes: Mapping[str, str | int | float] | None = None,
) -> Iterator[None]:
    """Trace the block as `name`; of what it raises only which kind of error that is, as messages and those of
    the errors behind them may quote a file, and so a patient.

    It is part of the span around it, or of that of another process, by its `parent` as W3C's traceparent.
    `kind` is `internal`, `server` or `consumer`.
    """
    if _Tracing.tracer is None:
        yield
        return
    from opentelemetry.trace import SpanKind, Status, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = None if parent is None else TraceContextTextMapPropagator().extract({"traceparent": parent})
    with _Tracing.tracer.start_as_current_span(
        name,
        context=context,
        kind=SpanKind[kind.upper()],
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as begun:
        try:
            yield
        except Exception as error:
            title = error.title if isinstance(error, DmapsvcError) else type(error).__name__
            begun.set_status(Status(StatusCode.ERROR, title))
            raise


def annotate(name: str | None = None, **attributes: str | int) -> None:
    """Rename the span around the work at hand, or say more of it."""
    if _Tracing.tracer is None:
        return
    from opentelemetry.trace import get_current_span

    present = get_current_span()
    if name is not None:
        present.update_name(name)
    present.set_attributes(attributes)


def traceparent() -> str | None:
    """The span around the work at hand, for another process to go on from; None if nothing is traced."""
    if _Tracing.tracer is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent")
