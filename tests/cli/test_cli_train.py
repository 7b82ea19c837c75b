"""`train` hands over what was asked for, and its checkpoint is gone on from."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path

import pytest

from dmapsvc.cli import train
from dmapsvc.cli.options import parse_sides
from dmapsvc.train.settings import TrainSettings
from tests.cli.cli_run import Run


def test_a_training_and_its_continuation(cli: Callable[..., Run], masks: Path, tmp_path: Path) -> None:
    store, out = tmp_path / "knees.zarr", tmp_path / "knees.pt"
    (masks / "sub" / "c.nii.gz").unlink()  # it has no image
    cli("precompute", masks, store, "--images", tmp_path / "images", "--backend", "scipy")
    quick = ("--patch", "16,16,16", "--width", "1", "--batch", "1", "--threads", "1", "--lr", "0.001")
    run = cli("train", store, "-o", out, "--steps", "2", *quick)
    assert run.code == 0, run.err
    assert run.out.startswith(f"{out}: step 2 of 2, loss ")
    assert out.exists()

    on = cli("train", store, "-o", out, "--steps", "3", *quick)
    assert on.out.startswith(f"{out}: step 3 of 3, loss ")
    assert "training on cpu" in on.err or "training on cuda" in on.err
    assert str(out) in on.err
    idle = cli("train", store, "-o", out, "--steps", "3", *quick)
    assert (idle.code, idle.out) == (0, f"{out}: it has its 3 steps already\n")
    other = cli("train", store, "-o", out, "--steps", "3", *quick, "--seed", "1")
    assert other.code == 2
    assert "seed" in other.error


def test_ctrl_c_tells_which_step_is_kept_and_where(
    cli: Callable[..., Run], masks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, out = tmp_path / "knees.zarr", tmp_path / "knees.pt"
    images = ("--images", tmp_path / "images")
    cli("precompute", masks / "a.nii.gz", store, *images, "--backend", "scipy")
    monkeypatch.setattr(train._Shown, "__call__", _interrupt)
    quick = ("--patch", "16,16,16", "--width", "1", "--batch", "1", "--threads", "1")
    run = cli("train", store, "-o", out, *quick)
    assert run.code == 130
    assert f"saved at step 1 in {out}" in run.err.splitlines()


def test_scale_none_says_what_it_does(cli: Callable[..., Run], masks: Path, tmp_path: Path) -> None:
    store = tmp_path / "knees.zarr"
    cli("precompute", masks / "a.nii.gz", store, "--images", tmp_path / "images", "--backend", "scipy")
    quick = ("--patch", "16,16,16", "--width", "1", "--batch", "1", "--threads", "1", "--steps", "1")
    for scale, said in (("none", 1), ("region", 0)):
        run = cli("train", store, "-o", tmp_path / f"{scale}.pt", "--scale", scale, *quick)
        assert run.code == 0, run.err
        lines = [line for line in run.err.splitlines() if "nearly all of the weight" in line]
        assert len(lines) == said


@pytest.mark.parametrize("width", [600_000, 999_999_999])  # over any address space, over any integer
def test_a_network_too_large_for_the_machine_is_one_line(
    cli: Callable[..., Run], masks: Path, tmp_path: Path, width: int
) -> None:
    store, out = tmp_path / "knees.zarr", tmp_path / "knees.pt"
    cli("precompute", masks / "a.nii.gz", store, "--images", tmp_path / "images", "--backend", "scipy")
    run = cli("train", store, "-o", out, "--patch", "16,16,16", "--threads", "1", "--width", width)
    assert run.code == 2
    assert run.error == (
        "error: this machine's memory is too small for this training. Make patch, batch or width smaller."
    )
    assert not out.exists()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_the_defaults_are_those_of_the_library() -> None:
    ours = {
        name: option.default
        for name, option in inspect.signature(train.command).parameters.items()
        if option.default is not inspect.Parameter.empty
    }
    library = {field.name: field.default for field in dataclasses.fields(TrainSettings)}
    assert {**ours, "patch": parse_sides(ours["patch"])} == {name: library[name] for name in ours}
