"""Masks to measure: knees and what a network might make of them, and small random pairs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.predicted import noisy
from demo import phantom
from dmapsvc.evaluate.masks import Mask
from dmapsvc.spec import Spacing
from dmapsvc.volumes import read_labels

SHAPE = (48, 96, 96)


@dataclass(frozen=True)
class Example:
    """A bone and a prediction of it; spacing (z, y, x) in mm."""

    truth: Mask
    prediction: Mask
    spacing: Spacing


def generated(seed: int, label: int) -> Example:
    """A bone of a generated knee, and the same with a noisy surface."""
    labels, affine = phantom.knee(seed, SHAPE)
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0)
    truth = labels == label
    return Example(truth, noisy(truth, seed), (z, y, x))


def real(file: Path, label: int, every: int = 1) -> Example:
    """One label of a file in its box and some voxels around, and the same with a noisy surface.

    Of each `every` voxels in a row along y and x one is taken.
    """
    volume = read_labels(file)
    assert volume.header.spacing is not None
    z, y, x = volume.header.spacing
    whole = volume.array[:, ::every, ::every] == label
    (box,) = ndimage.find_objects(whole.view(np.uint8))
    truth = whole[tuple(slice(max(side.start - 6, 0), side.stop + 6) for side in box)]
    return Example(truth, noisy(truth, label), (z, y * every, x * every))


spacings = st.tuples(*[st.sampled_from((0.36, 0.7, 1.0, 1.5, 6.0))] * 3)


@st.composite
def pairs(draw: st.DrawFn, *, filled: bool = False) -> tuple[Mask, Mask]:
    """Truth and prediction of random blobs; where `filled` neither is empty. Any may touch the edge."""
    shape = draw(st.tuples(*[st.integers(1, 9)] * 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    smooth = draw(st.sampled_from((0.0, 0.7, 1.5)))
    first, second = (_blobs(shape, smooth, draw(st.sampled_from((0.05, 0.3, 0.7))), rng) for _ in range(2))
    if not filled and draw(st.booleans()):
        second = first if draw(st.booleans()) else np.zeros_like(first)
    return first, second


def _blobs(shape: tuple[int, ...], smooth: float, share: float, rng: np.random.Generator) -> Mask:
    """Ones at the highest `share` of a random field, one voxel at least."""
    field: NDArray[np.float64] = ndimage.gaussian_filter(rng.standard_normal(shape), smooth)
    return field >= min(float(np.quantile(field, 1 - share)), float(field.max()))
