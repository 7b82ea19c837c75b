"""The benchmark of the service: once through a real one with little to do, and what its ratios mean."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import service
from benchmarks.service_case import BARE, PRECOMPUTE, SERVICE, Took, Upload
from benchmarks.service_queue import Drain, Starts
from benchmarks.service_told import Figures
from demo import phantom

PARTS = {"api": 1.0, "worker": 2.0, "database": 0.0}
FIGURES = Figures(
    database="sqlite",
    upload=Upload(sent=300.0, written=600.0),
    drain=Drain(jobs=9, workers=2, rate=150.0, accepted=80.0, upload_cpu_ms=PARTS, drain_cpu_ms=PARTS),
    starts=Starts(median=0.1, slow=0.2),
    ways={
        BARE: Took(seconds=0.5, cpu_seconds=1.0),
        PRECOMPUTE: Took(seconds=1.0, cpu_seconds=2.0),
        SERVICE: Took(seconds=1.15, cpu_seconds=3.0),
    },
    idle={"api": 0.001, "worker": 0.06, "database": 0.0},
)


def test_what_just_meets_its_target_holds() -> None:
    values = [ratio.value for ratio in FIGURES.ratios()]
    assert values == pytest.approx([150, 100, 0.5, 1.15, 1.5, 3])
    assert [ratio.holds for ratio in FIGURES.ratios()] == [True, True, None, True, None, True]


def test_what_misses_its_target_does_not_hold() -> None:
    slower = replace(
        FIGURES,
        drain=replace(FIGURES.drain, rate=149.0),
        starts=Starts(median=0.101, slow=0.2),
        ways=FIGURES.ways | {SERVICE: Took(seconds=1.16, cpu_seconds=3.0)},
        idle=FIGURES.idle | {"worker": 0.061},
    )
    assert [ratio.holds for ratio in slower.ratios()] == [False, False, None, False, None, False]


def test_a_run_measures_every_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    knee = tmp_path / "knee.nii.gz"
    phantom.write(knee, *phantom.knee(1, (8, 20, 20)))
    few = ["--jobs=4", "--starts=2", "--megabytes=1", "--repeat=1", "--idle=0.1", "--databases=sqlite"]
    monkeypatch.setattr(sys, "argv", ["benchmark", str(knee), *few, f"--json={tmp_path / 'report.json'}"])
    assert service.main() == 0
    figures = json.loads((tmp_path / "report.json").read_text())["databases"]["sqlite"]
    drain = figures["drain"]
    assert (drain["jobs"], drain["workers"]) == (4, 2)
    assert drain["upload_cpu_ms"]["api"] > drain["upload_cpu_ms"]["worker"] == 0
    assert drain["drain_cpu_ms"]["worker"] > drain["drain_cpu_ms"]["database"] == 0
    assert figures["starts"]["slow"] >= figures["starts"]["median"] > 0
    assert all(took["seconds"] > 0 for took in figures["ways"].values())
    assert figures["ways"].keys() == {BARE, PRECOMPUTE, SERVICE}


def test_an_unknown_database_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark", "--databases=sqlite,mysql"])
    with pytest.raises(SystemExit):
        service.main()
    assert "wanted sqlite or postgres, or both" in capsys.readouterr().err
