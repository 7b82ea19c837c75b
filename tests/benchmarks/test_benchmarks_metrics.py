"""bench-metrics from its command line to its JSON file, on a volume that takes no time."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import metrics
from benchmarks.predicted import noisy_labels
from demo import phantom


def test_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    phantom.write(tmp_path / "knee.nii.gz", *phantom.knee(1, (24, 40, 40)))
    told = tmp_path / "report.json"
    command = ["benchmark", str(tmp_path / "knee.nii.gz"), "--repeat=1", "--json", str(told)]
    monkeypatch.setattr(sys, "argv", command)
    assert metrics.main() == 0
    report = json.loads(told.read_text())
    assert report["whole"].keys() == set(metrics.WHOLE)
    assert report["validation"].keys() == set(metrics.VALIDATION)
    by_name = {ratio["name"]: ratio["value"] for ratio in report["ratios"]}
    whole = report["whole"]
    expected = whole["MONAI"]["cpu_seconds"] / whole["dmapsvc"]["cpu_seconds"]
    assert by_name["CPU time, MONAI / dmapsvc"] == pytest.approx(expected)
    printed = capsys.readouterr().out
    assert all(name in printed for name in (*metrics.WHOLE, *by_name, "b_dsc_4", "hd95"))


def test_a_prediction_keeps_classes_and_moves_surfaces_alone() -> None:
    labels, _ = phantom.knee(1, (24, 40, 40))
    predicted = noisy_labels(labels, (1, 2, 3))
    assert set(np.unique(predicted)) == {0, 1, 2, 3}
    assert 0.01 < np.mean(predicted != labels) < 0.1
    np.testing.assert_array_equal(predicted, noisy_labels(labels, (1, 2, 3)))
