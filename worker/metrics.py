"""`/metrics` of a worker: what it did with the runs it took, and how long each stage was.

They are of one process that runs jobs; a fresh one counts from nothing, as Prometheus expects.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    start_http_server,
)

from dmapsvc import __version__
from dmapsvc.errors import Conflict, DmapsvcError, Superseded
from dmapsvc.jobs.executor import Work
from dmapsvc.jobs.run import HandedBack, Outcome, Run
from dmapsvc.settings import Settings
from dmapsvc.telemetry.tracing import span

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)


class Metrics:
    """The metrics of a worker whose first distance backend is `backend`, in a registry of their own."""

    def __init__(self, backend: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        build = Gauge(
            "dmapsvc_worker_info", "The worker that runs.", ["version", "backend"], registry=self.registry
        )
        build.labels(__version__, backend).set(1)
        self._running = Gauge("dmapsvc_runs_in_progress", "Runs under way here.", registry=self.registry)
        self._attempts = Counter(
            "dmapsvc_attempts",
            "Attempts at a run, by what became of them.",
            ["kind", "outcome"],
            registry=self.registry,
        )
        self._stages = Histogram(
            "dmapsvc_stage_seconds",
            "Seconds of each stage of a run that published.",
            ["kind", "stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )

    def measured(self, work: Work) -> Work:
        """`work`, measured and traced."""

        def measure(run: Run) -> Outcome:
            request = run.request
            about = {
                "dmapsvc.dataset": request.dataset,
                "dmapsvc.case": request.case,
                "dmapsvc.job": request.id,
            }
            with (
                self._running.track_inprogress(),
                self._counted(request.kind),
                span(f"job {request.kind}", parent=request.traceparent, kind="consumer", attributes=about),
            ):
                outcome = work(run)
            for stage, seconds in outcome.seconds.items():
                self._stages.labels(request.kind, stage).observe(seconds)
            return outcome

        return measure

    @contextmanager
    def _counted(self, kind: str) -> Iterator[None]:
        outcome = "broken"
        try:
            yield
            outcome = "done"
        except HandedBack:
            outcome = "handed back"
            raise
        except Superseded:
            outcome = "cancelled"
            raise
        except DmapsvcError as error:
            outcome = "refused" if error.permanent else "failed"
            raise
        finally:
            self._attempts.labels(kind, outcome).inc()

    def serve(self, settings: Settings) -> None:
        """Answer `/metrics` from now on, where the settings name a port; raises Conflict if it is taken."""
        if settings.metrics_port is None:
            return
        try:
            start_http_server(settings.metrics_port, settings.metrics_host, self.registry)
        except OSError as error:
            where = f"{settings.metrics_host}:{settings.metrics_port}"
            raise Conflict(
                f"cannot listen on {where}: {error.strerror or error}",
                remedy="Choose another port for each worker of a machine with DMAPSVC_METRICS_PORT",
            ) from None
