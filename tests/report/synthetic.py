"""A comparison folder of made-up scores: eight contenders, five runs, ten subjects, three bones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from demo import phantom
from dmapsvc.evaluate.scores import Score, write_scores
from dmapsvc.spec import Units

CONTENDERS = (
    "penalty-region",
    "penalty-balanced",
    "penalty-none",
    "cross-entropy",
    "dice",
    "weighted-cross-entropy",
    "focal",
    "confidence-penalty",
)
BONES = {1: "femur", 2: "tibia", 3: "patella"}
GAINS = {"penalty-region": 0.035, "penalty-none": -0.2, "focal": -0.02}  # in B-DSC


def score(
    case: str, label: int, name: str, b_dsc: float, unit: Units = "mm", tolerance: float = 1.0
) -> Score:
    """A row whose other measures follow from its B-DSC."""
    b_dsc = min(max(b_dsc, 0.01), 0.99)
    relaxed = [1 - (1 - b_dsc) ** power for power in (2, 3, 4, 5)]
    return Score(
        case=case,
        label=label,
        name=name,
        unit=unit,
        tolerance=tolerance,
        g_dsc=0.9 + 0.12 * b_dsc,
        b_dsc=b_dsc,
        b_dsc_1=relaxed[0],
        b_dsc_2=relaxed[1],
        b_dsc_3=relaxed[2],
        b_dsc_4=relaxed[3],
        nsd=relaxed[0],
        hd95=6 - 6 * b_dsc,
        asd=1.2 - 1.2 * b_dsc,
        truth_voxels=10_000,
        predicted_voxels=10_100,
    )


def write_comparison(
    folder: Path,
    *,
    contenders: Sequence[str] = CONTENDERS,
    runs: int = 5,
    subjects: int = 10,
    bones: dict[int, str] | None = None,
    histories: bool = False,
) -> Path:
    """Write `<contender>/seed-<n>/scores.csv` of each run into `folder`, deterministically; returns it."""
    random = np.random.default_rng(7)
    ability = random.normal(0.5, 0.05, subjects)
    for contender in contenders:
        for run in range(runs):
            luck = random.normal(GAINS.get(contender, 0.0), 0.012)
            home = folder / contender / f"seed-{run}"
            scores = [
                score(f"knee_{n:02d}", label, name, ability[n] + luck + random.normal(-0.03 * label, 0.015))
                for n in range(subjects)
                for label, name in (bones or BONES).items()
            ]
            write_scores(home / "scores.csv", scores)
            if histories:
                _write_history(home, contender, run, luck, random)
    return folder


def _write_history(home: Path, contender: str, run: int, luck: float, random: np.random.Generator) -> None:
    lines = ["step,seconds,loss,lr,g_dsc,b_dsc"]
    for step in range(250, 5001, 250):
        risen = 1 - np.exp(-step / 1200)
        b_dsc = (0.5 + luck) * risen + random.normal(0, 0.01)
        scores = f"{0.95 * risen:.4f},{b_dsc:.4f}" if step % 500 == 0 else ","
        lines.append(f"{step},{step * 0.2:.1f},{1.1 - risen + random.normal(0, 0.01):.4f},0.0001,{scores}")
    (home / "history.csv").write_text("\n".join(lines) + "\n")
    loss = contender.partition("-")[0] if contender.startswith("penalty") else contender
    scale = contender.partition("-")[2] if loss == "penalty" else "region"  # that of losses without Φ, too
    settings = {"net": "vnet", "loss": loss, "scale": scale, "lr": 1e-4, "seed": run}
    settings |= {"steps": 5000, "patch": [32, 64, 64]}
    (home / "settings.json").write_text(json.dumps(settings))


def write_truth(folder: Path, *, subjects: int = 10, shape: tuple[int, int, int] = (24, 48, 48)) -> Path:
    """Label files of `subjects` knees, `knee_00.nii.gz` and on; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(subjects):
        labels, affine = phantom.knee(number, shape)
        phantom.write(folder / f"knee_{number:02d}.nii.gz", labels, affine)
    return folder


def write_predictions(
    runs: Path,
    *,
    contenders: Sequence[str],
    run: str,
    subject: int,
    shape: tuple[int, int, int] = (24, 48, 48),
) -> None:
    """A prediction of one subject for one run of each contender: the truth, its surface shaken."""
    labels, affine = phantom.knee(subject, shape)
    for place, contender in enumerate(contenders):
        random = np.random.default_rng(place)
        shifts = [gaussian_filter(random.normal(0, 25 + 5 * place, shape), 3) for _ in shape]
        places = np.indices(shape) + np.array(shifts)
        shaken = map_coordinates(labels, places, order=0, mode="nearest")
        home = runs / contender / run / "predictions"
        home.mkdir(parents=True, exist_ok=True)
        phantom.write(home / f"knee_{subject:02d}.nii.gz", shaken, affine)
