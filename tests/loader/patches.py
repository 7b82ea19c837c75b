"""What tests of patches share: a case as it lies in the store, and which patches batches hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from numpy.typing import NDArray

from dmapsvc.loader.batch import Batch
from dmapsvc.loader.patchloader import PatchLoader

MakeDataset = Callable[..., Path]
TwoBones = Callable[..., tuple[Any, Any]]
Publish = Callable[..., None]

PATCH = (16, 20, 12)


def arrays_of(folder: Path, case: str) -> tuple[NDArray[Any], ...]:
    """Image (C, z, y, x), class indices and Φ of a case, read by zarr alone."""
    group = zarr.open_group(folder, mode="r")
    arrays = [group[f"{case}/{name}/0"] for name in ("image", "label", "phi")]
    assert all(isinstance(array, zarr.Array) for array in arrays)
    image, label, phi = (np.asarray(array[...]) for array in arrays)  # type: ignore[index]
    indices = np.select([label == 7, label == 5], [1, 2], 0)  # spec.labels is (7, 5); 3 is background
    image = image if image.ndim == 4 else image[np.newaxis]
    attributes = arrays[2].attrs
    return image, indices, phi * float(str(attributes["scale_factor"])) + float(str(attributes["add_offset"]))


def zscore(image: NDArray[Any]) -> NDArray[np.float64]:
    values = image.astype(np.float64)
    axes = (-3, -2, -1)
    deviations = values.std(axes, keepdims=True)
    normalised: NDArray[np.float64] = (values - values.mean(axes, keepdims=True)) / np.where(
        deviations, deviations, 1
    )
    return normalised


def part_of(array: NDArray[Any], corner: Iterable[int], sides: tuple[int, ...] = PATCH) -> NDArray[Any]:
    """The patch of a volume, channels or not."""
    for axis, (at, side) in enumerate(zip(corner, sides, strict=True), start=array.ndim - 3):
        array = array.take(range(at, at + side), axis)
    return array


def same(one: Batch, other: Batch) -> bool:
    tensors = ("image", "label", "phi", "maxima", "means", "corner")
    return one["case"] == other["case"] and all(torch.equal(one[name], other[name]) for name in tensors)  # type: ignore[literal-required]


def first_batches(loader: PatchLoader, batches: int) -> list[Batch]:
    return list(islice(loader, batches))


def patches_of(batches: Iterable[Batch]) -> list[tuple[str, tuple[int, ...]]]:
    """Which patches they are: case and corner."""
    return [
        (case, tuple(corner))
        for batch in batches
        for case, corner in zip(batch["case"], batch["corner"].tolist(), strict=True)
    ]
