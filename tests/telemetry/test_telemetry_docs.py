"""docs/telemetry.md tells of every metric there is, and of none that is not; the dashboard draws them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import Metric

from api.metrics import Metrics, QueueMetrics
from dmapsvc.jobs.engine import Jobs
from dmapsvc.settings import Settings
from worker.metrics import Metrics as WorkerMetrics

ROOT = Path(__file__).parents[2]
DOCS, DASHBOARD = ROOT / "docs", ROOT / "docker" / "grafana" / "dmapsvc.json"
ROW = re.compile(r"^\| `(dmapsvc_\w+)` \| (\w+) \|", re.MULTILINE)


def metrics(folder: Path) -> Iterable[Metric]:
    """Every metric of an API, the queue and a worker."""
    yield from Metrics().registry.collect()
    yield from WorkerMetrics("numba").registry.collect()
    with Jobs(Settings(data=folder)) as jobs:
        yield from QueueMetrics((jobs.census(), jobs.workers())).collect()


def full_name(metric: Metric) -> str:
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


def test_each_metric_is_a_row_of_its_kind(tmp_path: Path) -> None:
    rows = dict(ROW.findall((DOCS / "telemetry.md").read_text()))
    found = {full_name(metric): metric.type for metric in metrics(tmp_path)}
    assert rows == {name: kind for name, kind in found.items() if name.startswith("dmapsvc_")}


def test_each_metric_of_the_dashboard_exists(tmp_path: Path) -> None:
    found = {full_name(metric): metric for metric in metrics(tmp_path)}
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            names = re.findall(r"\b(?:dmapsvc|process)_\w+", target["expr"])
            assert names, panel["title"]
            for name in names:
                assert re.sub(r"_(bucket|sum|count)$", "", name) in found, panel["title"]


def test_the_dashboard_draws_what_matters_most() -> None:
    drawn = DASHBOARD.read_text()
    for name in ROW.findall((DOCS / "telemetry.md").read_text()):
        assert name[0] in drawn, f"{name[0]} is not drawn"


def test_the_panels_of_the_dashboard_do_not_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
