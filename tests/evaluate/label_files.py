"""Small label maps of two boxes, as files of several formats and as a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nrrd
import numpy as np
from numpy.typing import NDArray

from dmapsvc.maps import quantised_map
from dmapsvc.spec import MapSpec, Spacing
from dmapsvc.store import Dataset
from dmapsvc.volumes.writing import write_labels

SHAPE = (8, 12, 14)
SPACING: Spacing = (2.0, 0.5, 0.5)


def boxes(shift: int = 0) -> NDArray[np.uint8]:
    """Labels 5 and 7, (z, y, x); `shift` moves that of 5 along x."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:6, 2:6, 2 + shift : 6 + shift] = 5
    labels[2:6, 7:11, 8:12] = 7
    return labels


def write_folder(folder: Path, volumes: dict[str, NDArray[np.uint8]], spacing: Spacing = SPACING) -> Path:
    """A folder of NIfTI files, by the name of their case."""
    folder.mkdir(exist_ok=True)
    for case, labels in volumes.items():
        write_labels(folder / f"{case}.nii.gz", labels, spacing=spacing)
    return folder


def write_nrrd(path: Path, labels: NDArray[np.uint8], spacing: Spacing = SPACING) -> None:
    """The label map as NRRD, on the grid that `write_folder` gives it."""
    z, y, x = spacing
    header: dict[str, Any] = {
        "space": "right-anterior-superior",
        "space directions": np.diag((x, y, z)),
        "space origin": [0, 0, 0],
    }
    nrrd.write(str(path), labels.T, header)


def make_dataset(
    path: Path,
    volumes: dict[str, NDArray[np.uint8]],
    *,
    labels: tuple[int, ...] | None = None,
    names: dict[int, str] | None = None,
) -> Path:
    """A dataset of the label maps, on the grid that `write_folder` gives them."""
    dataset = Dataset.create(path, MapSpec(labels=labels), names=names)
    z, y, x = SPACING
    for number, (case, array) in enumerate(volumes.items()):
        dataset.publish(
            case,
            label=array,
            phi=quantised_map(array, SPACING, dataset.spec, backend="scipy"),
            spacing=SPACING,
            affine=np.diag((x, y, z, 1.0)),
            mask_sha256=f"{number:064x}",
        )
    return path
