"""The benchmarks from their command lines to their JSON files, on volumes that take no time."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import cases, lineup, maps, precompute
from benchmarks.report import Ratio
from benchmarks.subject import Subject, read_subject
from demo import phantom
from dmapsvc.errors import BadInput
from dmapsvc.spec import MapSpec


def ran(main: Any, arguments: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(sys, "argv", ["benchmark", *arguments, "--json", str(folder / "report.json")])
    assert main() == 0
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return report


@pytest.fixture
def knees(tmp_path: Path) -> Path:
    """A folder of two small knees."""
    folder = tmp_path / "knees"
    folder.mkdir()
    for seed in (1, 2):
        phantom.write(folder / f"knee{seed}.nii.gz", *phantom.knee(seed, (24, 40, 40)))
    return folder


def test_maps(
    knees: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(knees / "knee1.nii.gz"), "--threads=1", "--repeat=1", "--sides=8,12", "--counts=3,300"]
    report = ran(maps.main, arguments, tmp_path, monkeypatch)
    whole = report["whole"]
    assert whole["shape"] == [24, 40, 40]
    assert whole["sampling"] == pytest.approx([112 / 24, 3.5, 3.5], rel=1e-5)
    assert whole["classes"] == 3
    assert all(
        way["seconds"] > 0 and way["rounds"] == 1 and way["bytes_per_voxel"] >= 1
        for way in whole["ways"].values()
    )
    assert [size["shape"] for size in report["sizes"]] == [[8] * 3, [12] * 3]
    assert [parts["classes"] for parts in report["classes"]] == [3, 300]
    by_name = {ratio["name"]: ratio for ratio in report["ratios"]}
    scipy, numba = whole["ways"]["SciPy, K + 1 volumes"], whole["ways"]["dmapsvc numba, 1 thread"]
    ratio = by_name["SciPy, K + 1 volumes / dmapsvc numba, 1 thread"]
    assert ratio["value"] == pytest.approx(scipy["seconds"] / numba["seconds"])
    assert (ratio["target"], ratio["holds"]) == (">= 75", ratio["value"] >= 75)
    assert report["versions"].keys() >= {"python", "scipy", "edt", "monai"}
    printed = capsys.readouterr().out
    assert all(name in printed for name in (*whole["ways"], *by_name, "drawn as seeds"))


def test_precompute(
    knees: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--cases=3", f"--data={knees}", "--labels=1,2,3", "--repeat=1"]
    report = ran(precompute.main, arguments, tmp_path, monkeypatch)
    assert (report["cases"], report["voxels"]) == (3, 3 * 24 * 40 * 40)
    script, pool, ours = report["ways"]
    assert [way["cases_made"] for way in (script, pool, ours)] == [2, 3, 3]
    beyond = script["seconds"] - script["start_seconds"]
    assert script["seconds_for_all"] == pytest.approx(script["start_seconds"] + beyond * 3 / 2)
    assert ours["cases_per_second"] == pytest.approx(3 / ours["seconds"])
    assert ours["bytes_per_second"] == pytest.approx(2 * report["voxels"] / ours["seconds"])
    assert all(way["disk_bytes"] > 0 and way["peak_bytes"] > 0 for way in report["ways"])
    assert report["stages_alone"]["seconds"].keys() == {"read", "map", "publish"}
    ratio = report["ratios"][0]
    assert ratio["value"] == pytest.approx(script["seconds_for_all"] / ours["seconds_for_all"])
    assert cases.RECIPE in capsys.readouterr().out


def test_a_way_that_memory_does_not_hold_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    labels = np.zeros((100, 100, 100), np.uint8)
    subject = Subject(name="x", labels=labels, classes=(1, 2), sampling=(1.0, 1.0, 1.0))
    ways = lineup.all_ways(1)
    assert maps.fitting(ways, subject, 54_000_000) == ways
    assert ways.keys() - maps.fitting(ways, subject, 53_999_999).keys() == {lineup.MONAI}
    assert capsys.readouterr().out.startswith("left out: MONAI")


@pytest.mark.parametrize("main", [maps.main, precompute.main])
def test_labels_that_are_none_are_told_in_a_line(
    main: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark", "--labels=bone"])
    assert main() == 2
    assert capsys.readouterr().err.startswith("error: label 'bone'")


@pytest.mark.parametrize(
    ("value", "target", "at_least", "holds"),
    [
        (75.0, 75, True, True),
        (74.9, 75, True, False),
        (1.4, 1.4, False, True),
        (1.41, 1.4, False, False),
        (1, None, True, None),
    ],
)
def test_a_ratio_holds_at_its_target(
    value: float, target: float | None, at_least: bool, holds: bool | None
) -> None:
    assert Ratio(name="a / b", value=value, target=target, at_least=at_least).holds is holds


def test_a_volume_of_one_region_is_refused(knees: Path) -> None:
    with pytest.raises(BadInput, match="all of it is one region"):
        read_subject(knees / "knee1.nii.gz", MapSpec(labels=(99,)))
