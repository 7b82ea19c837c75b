from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import losses
from dmapsvc.train.names import LOSSES


def test_a_step_with_every_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    few = ["--patch=16,16,16", "--width=1", "--rounds=1", f"--json={report}"]
    monkeypatch.setattr(sys, "argv", ["benchmark", *few])
    assert losses.main() == 0
    told = json.loads(report.read_text())
    seconds = told["seconds"]
    assert set(seconds) == set(LOSSES)
    assert all(0 < cost["own"] <= cost["step"] for cost in seconds.values())
    by_step, by_part = told["ratios"]
    assert by_step["value"] == pytest.approx(seconds["penalty"]["step"] / seconds["cross-entropy"]["step"])
    assert by_part["target"] == by_step["target"] == "<= 1.03"
    printed = capsys.readouterr().out
    assert all(name in printed for name in LOSSES)


def test_the_ratio_by_parts_leaves_out_what_both_do() -> None:
    plain, dear = losses.Cost(step=2.0, own=0.1), losses.Cost(step=7.0, own=0.3)
    assert losses.by_parts(dear, plain) == pytest.approx(2.2 / 2.0)
