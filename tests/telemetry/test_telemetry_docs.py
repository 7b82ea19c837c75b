"""docs/telemetry.md tells of every metric there is, and of none that is not."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import Metric

from api.metrics import Metrics, QueueMetrics
from dmapsvc.jobs.engine import Jobs
from dmapsvc.settings import Settings
from worker.metrics import Metrics as WorkerMetrics

DOCS = Path(__file__).parents[2] / "docs"
ROW = re.compile(r"^\| `(dmapsvc_\w+)` \| (\w+) \|", re.MULTILINE)


def metrics(folder: Path) -> Iterable[Metric]:
    """Every metric of an API, the queue and a worker."""
    yield from Metrics().registry.collect()
    yield from WorkerMetrics("numba").registry.collect()
    with Jobs(Settings(data=folder)) as jobs:
        yield from QueueMetrics(jobs).collect()


def full_name(metric: Metric) -> str:
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


def test_each_metric_is_a_row_of_its_kind(tmp_path: Path) -> None:
    rows = dict(ROW.findall((DOCS / "telemetry.md").read_text()))
    found = {full_name(metric): metric.type for metric in metrics(tmp_path)}
    assert rows == {name: kind for name, kind in found.items() if name.startswith("dmapsvc_")}
