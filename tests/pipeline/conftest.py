"""Small masks as files, and Φ computed another way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

WriteNifti = Callable[..., Path]


@pytest.fixture
def write_nifti() -> WriteNifti:
    """Writes a (z, y, x) array as NIfTI, with a diagonal affine of the spacing or the affine given."""

    def write(
        path: Path,
        array: NDArray[Any],
        spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
        affine: NDArray[np.float64] | None = None,
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        matrix = np.diag([*spacing[::-1], 1.0]) if affine is None else affine
        nib.save(nib.Nifti1Image(array.transpose(2, 1, 0), matrix), path)
        return path

    return write


@pytest.fixture
def blocks() -> NDArray[np.uint8]:
    """Two blocks, labels 5 and 9, in a volume (z, y, x) of three different sizes."""
    labels = np.zeros((10, 20, 30), dtype=np.uint8)
    labels[2:8, 3:9, 4:12] = 5
    labels[1:7, 9:18, 10:27] = 9
    return labels


def reference_phi(
    labels: NDArray[Any], classes: tuple[int, ...], spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> NDArray[np.float64]:
    """Φ by the paper's letter: SciPy on each region alone, in float64."""
    phi = np.zeros(labels.shape)
    for region in [~np.isin(labels, classes), *(labels == value for value in classes)]:
        if region.any() and not region.all():
            distance = ndimage.distance_transform_edt(region, sampling=spacing)
            phi[region] = distance[region].max() - distance[region]
    return phi
