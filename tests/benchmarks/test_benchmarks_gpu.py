"""The benchmark of the GPU: without one, and on a fake of one."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import gpu, passes
from demo import phantom
from dmapsvc.errors import DeviceMissing
from tests.maps.fake_card import fake_card


def test_without_a_gpu_it_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def require_card() -> None:
        raise DeviceMissing("CuPy finds no GPU", remedy="See nvidia-smi")

    monkeypatch.setattr(gpu, "require_card", require_card)
    monkeypatch.setattr(sys, "argv", ["gpu"])
    assert gpu.main() == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "error: CuPy finds no GPU. See nvidia-smi.\n")


def test_every_pass_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mask, file = tmp_path / "knee.nii.gz", tmp_path / "gpu.json"
    phantom.write(mask, *phantom.knee(0, (12, 30, 30)))
    monkeypatch.setattr(passes, "_COPIED", 1 << 20)
    monkeypatch.setattr(sys, "argv", ["gpu", str(mask), "--repeat=3", "--side=16", f"--json={file}"])
    with fake_card():
        assert gpu.main() == 0
    report = json.loads(file.read_text())
    knee, cube = report["subjects"]
    assert (knee["shape"], cube["shape"]) == ([12, 30, 30], [16, 16, 16])
    steps = {step["name"]: step for step in knee["passes"]}
    assert list(steps) == ["labels up", "edges", "rows", "planes", "columns", "quantise", "Φ down"]
    assert (steps["labels up"]["bytes"], steps["Φ down"]["bytes"]) == (12 * 30 * 30, 2 * 12 * 30 * 30)
    on_card = [step["milliseconds"] for name, step in steps.items() if name not in passes.ON_THE_BUS]
    assert knee["fused_ms"] == pytest.approx(sum(on_card))
    assert knee["host_to_host_seconds"].keys() == {"cuda", "cucim"}
    assert "times the floor" in capsys.readouterr().out
