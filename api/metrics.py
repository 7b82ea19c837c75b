"""`/metrics` for Prometheus: what this process was asked and answered, and what is in the queue.

What is counted here is this process's own, to be summed over replicas; what is asked of the database is the
same from each of them. Seconds by stage are the workers', in `worker.metrics`.
"""

from __future__ import annotations

import logging
from collections import Counter as Counted
from collections.abc import Iterable, Mapping, Sequence

import sqlalchemy as sa
from fastapi import APIRouter, Request
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.responses import Response

from api.dependencies import JobsOf
from api.oneflight import OneFlight
from dmapsvc import __version__
from dmapsvc.jobs import Worker
from dmapsvc.jobs.census import Census

router = APIRouter(tags=["health"])

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

_PATIENCE = 3.0  # seconds for the database; chosen: well under the ten that Prometheus waits

_log = logging.getLogger("api")


QueueAnswer = tuple[Census, list[Worker]]


class Metrics:
    """The metrics of one process of the API, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.queue = OneFlight[QueueAnswer]()
        ProcessCollector(registry=self.registry)
        build = Gauge("dmapsvc_build_info", "The version that runs.", ["version"], registry=self.registry)
        build.labels(__version__).set(1)
        self.in_flight = Gauge(
            "dmapsvc_requests_in_flight", "Requests that are being answered.", registry=self.registry
        )
        self._requests = Counter(
            "dmapsvc_requests",
            "Requests answered; status 499: the client hung up.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "dmapsvc_request_seconds",
            "Seconds from a request's head to the end of its answer.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._received = Counter(
            "dmapsvc_upload_bytes",
            "Bytes of request bodies that were read.",
            ["route"],
            registry=self.registry,
        )
        self._sent = Counter(
            "dmapsvc_sent_bytes", "Bytes of answers' bodies.", ["route"], registry=self.registry
        )

    def count(
        self, method: str, route: str, status: int, *, seconds: float, received: int, sent: int
    ) -> None:
        """Count a request and its answer; bytes are of their bodies."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)
        if received:
            self._received.labels(route).inc(received)
        self._sent.labels(route).inc(sent)


class QueueMetrics(Collector):
    """What the queue's database says in `answer`; only that it is down if there is none."""

    def __init__(self, answer: QueueAnswer | None) -> None:
        self._answer = answer

    def collect(self) -> Iterable[Metric]:
        """The metrics of now."""
        if self._answer is None:
            yield _gauge("dmapsvc_database_up", _UP, 0)
            return
        census, workers = self._answer
        yield _gauge("dmapsvc_database_up", _UP, 1)
        yield _family(
            "dmapsvc_jobs",
            "Jobs by the state of their latest run.",
            ("state",),
            {(state,): count for state, count in census.jobs.items()},
        )
        yield _family(
            "dmapsvc_queue_oldest_seconds",
            "For how long the oldest queued job of a priority waits; none if none does.",
            ("priority",),
            {(str(priority),): age for priority, age in census.oldest.items()},
        )
        yield from _worker_metrics([worker for worker in workers if not worker.away])


_UP = "1 if the queue's database answers."


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"description": "Prometheus' text format.", "content": {"text/plain": {}}}},
)
async def metrics(request: Request, jobs: JobsOf) -> Response:
    """What this process was asked, and what is in the queue; docs/telemetry.md says what each one means."""
    own: Metrics = request.app.state.metrics
    try:
        answer = await own.queue.answer(lambda: (jobs.census(), jobs.workers()), patience=_PATIENCE)
    except (sa.exc.SQLAlchemyError, TimeoutError) as error:
        _log.warning("no metrics of the queue: %s", type(error).__name__)
        answer = None
    text = generate_latest(own.registry) + generate_latest(QueueMetrics(answer))
    return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})


def _worker_metrics(workers: Sequence[Worker]) -> Iterable[Metric]:
    """What the workers that live tell of themselves."""
    here = [(worker, (worker.host, str(worker.pid), worker.device)) for worker in workers]
    by_backend: dict[tuple[str, ...], float] = {
        (name,): count for name, count in Counted(worker.backend for worker in workers).items()
    }
    yield _family("dmapsvc_workers", "Workers by distance backend.", ("backend",), by_backend)
    labels = ("host", "pid", "device")
    yield _family(
        "dmapsvc_worker_slots",
        "Jobs that a worker runs side by side at most.",
        labels,
        {place: worker.concurrency for worker, place in here},
    )
    yield _family(
        "dmapsvc_device_memory_used_bytes",
        "Memory taken on a worker's GPU; of a worker without, by its process.",
        labels,
        {place: worker.memory_used for worker, place in here if worker.memory_used is not None},
    )
    yield _family(
        "dmapsvc_device_memory_bytes",
        "Memory of a worker's GPU; of a worker without, what its process may use.",
        labels,
        {place: worker.memory_total for worker, place in here if worker.memory_total is not None},
    )


def _family(name: str, says: str, labels: Sequence[str], values: Mapping[tuple[str, ...], float]) -> Metric:
    family = GaugeMetricFamily(name, says, labels=labels)
    for place, value in values.items():
        family.add_metric(place, value)
    return family


def _gauge(name: str, says: str, value: float) -> Metric:
    return GaugeMetricFamily(name, says, value=value)
