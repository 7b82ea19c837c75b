"""What contenders are measured on: a label map in memory, and what is asked of it.

What comes out is not kept here.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.contenders import Task
from demo import phantom
from dmapsvc.errors import BadInput
from dmapsvc.pipeline import check_units
from dmapsvc.spec import MapSpec, Spacing
from dmapsvc.volumes import read_labels


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A label map (z, y, x), the values that are classes, and the distance between neighbours by axis."""

    name: str
    labels: NDArray[Any]
    classes: tuple[int, ...]
    sampling: Spacing

    def task(self, path: Path) -> Task:
        """The same, with the labels in the new .npy file `path`."""
        np.save(path, self.labels)
        return Task(labels=path, classes=self.classes, sampling=self.sampling)


def read_subject(mask: Path | None, spec: MapSpec) -> Subject:
    """The label file `mask`, or a generated knee if None, with what `spec` asks.

    Raises what reading it raises, and BadInput for a volume of one region: it has no distances.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = mask or _generated_knee(Path(folder))
        volume = read_labels(path)
    check_units(volume.header, spec, path.name)
    values = tuple(np.unique(volume.array).tolist())
    classes = spec.labels or tuple(value for value in values if value)
    if len({value if value in classes else 0 for value in values}) < 2:
        raise BadInput(
            f"{path.name}: all of it is one region", "wanted background and classes", "Name others"
        )
    return Subject(
        name=path.name,
        labels=volume.array,
        classes=classes,
        sampling=(volume.header.spacing if spec.units == "mm" else None) or (1.0, 1.0, 1.0),
    )


def _generated_knee(folder: Path) -> Path:
    path = folder / "generated_knee.nii.gz"
    phantom.write(path, *phantom.knee(0))
    return path
