"""The generated knees: one for each seed, the same again for the same, three bones and a plausible image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from demo import phantom
from dmapsvc.volumes import read_image, read_labels

SHAPE = (28, 64, 72)


@pytest.mark.parametrize("seed", range(3))
def test_three_bones_each_in_one_piece_and_apart(seed: int) -> None:
    labels, _ = phantom.knee(seed, SHAPE)
    assert labels.shape == SHAPE
    assert set(np.unique(labels)) == {0, *phantom.NAMES}
    middles = {value: ndimage.center_of_mass(labels == value) for value in phantom.NAMES}
    for value in phantom.NAMES:
        _, pieces = ndimage.label(labels == value)
        assert pieces == 1
    assert middles[phantom.FEMUR][1] < middles[phantom.TIBIA][1]
    assert middles[phantom.PATELLA][2] < middles[phantom.FEMUR][2]
    volumes = np.bincount(labels.ravel())
    assert volumes[phantom.PATELLA] < volumes[phantom.TIBIA] < volumes[0]


def test_a_seed_is_an_anatomy() -> None:
    again, other = phantom.knee(1, SHAPE)[0], phantom.knee(2, SHAPE)[0]
    assert np.array_equal(phantom.knee(1, SHAPE)[0], again)
    assert not np.array_equal(again, other)


def test_files_come_back_with_their_voxels_spacing_and_oblique_frame(tmp_path: Path) -> None:
    labels, affine = phantom.knee(3, SHAPE)
    image = phantom.render(labels, 3)
    phantom.write(tmp_path / "m.nii.gz", labels, affine)
    phantom.write(tmp_path / "i.nii.gz", image, affine)
    mask = read_labels(tmp_path / "m.nii.gz")
    assert np.array_equal(mask.array, labels)
    assert np.array_equal(read_image(tmp_path / "i.nii.gz").array, image)
    assert mask.header.spacing == pytest.approx((112 / 28, 140 / 64, 140 / 72), rel=1e-4)
    assert mask.header.affine is not None
    assert np.abs(mask.header.affine - affine).max() < 1e-3


def test_bones_look_unlike_what_is_around_them() -> None:
    labels, _ = phantom.knee(4, SHAPE)
    image = phantom.render(labels, 4)
    assert image.dtype == np.int16
    inside = ndimage.binary_erosion(labels > 0, iterations=2)
    around = ndimage.binary_dilation(labels > 0, iterations=3) & (labels == 0)
    assert abs(image[inside].mean() - image[around].mean()) > image[inside].std()


@pytest.mark.parametrize("shape", [(1, 9, 9), (12, 40, 3)])
def test_any_label_map_can_be_rendered(shape: tuple[int, int, int]) -> None:
    labels = np.zeros(shape, np.uint16)
    assert phantom.render(labels, 0).shape == shape
    labels[:, 2:6, 1:] = 300
    assert phantom.render(labels, 0).max() > 0
