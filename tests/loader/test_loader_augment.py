"""Turned patches against NumPy and SciPy: each voxel where it belongs, Φ as if it were made again."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from demo.phantom import knee
from dmapsvc.errors import BadInput
from dmapsvc.loader.augment import CPU_BLOCK, RawPatch, Target, penalty_from_distance, turn_patch
from dmapsvc.loader.batch import IGNORE_INDEX
from dmapsvc.loader.turns import Box, Plane, Turn
from dmapsvc.region import SCALES, Region, Scale
from dmapsvc.spec import Spacing

PADDING = (-3.0, -5.0)
MAXIMA = np.array([30, 20, 10, 0], dtype=np.float32)
MEANS = np.array([12, 8, 3, 0], dtype=np.float32)


def volume(shape: Box, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Two smooth channels, labels 0 to 2 and D up to the maxima, all of noise."""
    random = np.random.default_rng(seed)
    image = ndimage.gaussian_filter(random.normal(size=(2, *shape)), (0, 1, 1, 1)).astype(np.float32)
    label = random.integers(0, 3, shape, dtype=np.int16)
    distance = (random.random(shape, dtype=np.float32) * MAXIMA[label]).astype(np.float32)
    return {"image": image, "label": label, "distance": distance}


def raw_patch(
    arrays: dict[str, NDArray[Any]],
    patch: Box,
    turn: Turn,
    plane: Plane,
    corner: Box | None = None,
    maxima: NDArray[np.float32] = MAXIMA,
    spare: int = 0,
) -> RawPatch:
    """What a loader reads for a patch at `corner`, by default in the middle; NaN where it reads nothing."""
    shape = arrays["label"].shape
    margin = np.add(turn.margin(patch, plane), spare)
    corner_ = np.subtract(shape, patch) // 2 if corner is None else np.asarray(corner)
    box, low = np.add(patch, 2 * margin), corner_ - margin
    real = tuple(
        slice(max(0, -at), min(side, size - at))
        for at, side, size in zip(low.tolist(), box.tolist(), shape, strict=True)
    )
    inside = tuple(
        slice(part.start + at, part.stop + at) for part, at in zip(real, low.tolist(), strict=True)
    )
    tensors = {}
    for name, values in arrays.items():
        nothing = np.nan if values.dtype.kind == "f" else 77
        read = np.full((*values.shape[:-3], *box), nothing, dtype=values.dtype)
        read[..., real[0], real[1], real[2]] = values[..., inside[0], inside[1], inside[2]]
        tensors[name] = torch.from_numpy(read)
    return RawPatch(
        **tensors,
        maxima=torch.from_numpy(maxima),
        means=torch.from_numpy(MEANS),
        real=(real[0], real[1], real[2]),
        padding=PADDING[: len(arrays["image"])],
        plane=plane,
    )


def turned(raw: RawPatch, turn: Turn, patch: Box, scale: Scale = "none") -> dict[str, NDArray[Any]]:
    target = Target(
        image=torch.full((len(raw.image), *patch), math.nan, device=raw.image.device),
        label=torch.full(patch, 99, dtype=raw.label.dtype, device=raw.image.device),
        phi=torch.full(patch, math.nan, device=raw.image.device),
        maxima=torch.empty_like(raw.maxima),
        means=torch.empty_like(raw.means),
    )
    turn_patch(raw, turn, target, scale=scale)
    return {field.name: getattr(target, field.name).cpu().numpy() for field in fields(target)}


def matrix(turn: Turn, plane: Plane) -> NDArray[np.float64]:
    """From offsets in the turned volume to offsets in the source, (z, y, x): worked out anew, by matrices."""
    first, second = plane.axes
    rotation = np.eye(3)
    rotation[first, first] = rotation[second, second] = math.cos(turn.angle)
    rotation[first, second], rotation[second, first] = -math.sin(turn.angle), math.sin(turn.angle)
    lengths = np.eye(3)
    lengths[second, second] = plane.aspect
    flips = np.diag([-1.0 if flip else 1.0 for flip in turn.flips])
    forward = flips @ np.linalg.inv(lengths) @ rotation @ lengths * turn.zoom
    return np.linalg.inv(forward)


def turned_volume(values: NDArray[Any], turn: Turn, plane: Plane, order: Literal[0, 1]) -> NDArray[Any]:
    """A whole volume turned about its middle by SciPy."""
    middle = (np.array(values.shape) - 1) / 2
    to_source = matrix(turn, plane)
    offset = middle - to_source @ middle
    result: NDArray[Any] = ndimage.affine_transform(values, to_source, offset, order=order, mode="nearest")
    return result


def middle_of(values: NDArray[Any], patch: Box) -> NDArray[Any]:
    z, y, x = (
        slice((size - side) // 2, (size - side) // 2 + side)
        for size, side in zip(values.shape[-3:], patch, strict=True)
    )
    return values[..., z, y, x]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("spare", [0, 3])
def test_no_turn_copies_the_patch(scale: Scale, spare: int) -> None:
    arrays, patch = volume((20, 24, 22)), (10, 12, 14)
    out = turned(raw_patch(arrays, patch, Turn(), Plane(normal=1), spare=spare), Turn(), patch, scale)
    assert np.array_equal(out["image"], middle_of(arrays["image"], patch))
    assert np.array_equal(out["label"], middle_of(arrays["label"], patch))
    assert np.array_equal(out["maxima"], MAXIMA)
    assert np.array_equal(out["means"], MEANS)
    factor, offset = np.transpose([region(k).scaling(scale) for k in out["label"].ravel()])
    phi = MAXIMA[out["label"]] - middle_of(arrays["distance"], patch)
    assert np.allclose(out["phi"].ravel(), factor * phi.ravel() + offset, rtol=0, atol=1e-6 * MAXIMA.max())


def region(k: int) -> Region:
    return Region(value=k, voxels=1, maximum=float(MAXIMA[k]), mean_phi=float(MEANS[k]))


@pytest.mark.parametrize("flips", [(True, False, False), (False, True, True), (True, True, True)])
@pytest.mark.parametrize("normal", [0, 1, 2])
def test_flips_are_numpys(flips: tuple[bool, bool, bool], normal: int) -> None:
    arrays, patch, turn = volume((12, 13, 14)), (8, 9, 10), Turn(flips=flips)
    out = turned(raw_patch(arrays, patch, turn, Plane(normal=normal)), turn, patch)
    axes = tuple(axis - 3 for axis in range(3) if flips[axis])
    assert np.array_equal(out["label"], np.flip(middle_of(arrays["label"], patch), axes))
    assert np.array_equal(out["image"], np.flip(middle_of(arrays["image"], patch), axes))


@pytest.mark.parametrize("side", [8, 9])
@pytest.mark.parametrize("normal", [0, 1, 2])
def test_a_quarter_is_rot90(normal: int, side: int) -> None:
    arrays, patch, turn = volume((11, 12, 13)), (side, side, side), Turn(angle=math.pi / 2)
    plane = Plane(normal=normal)
    out = turned(raw_patch(arrays, patch, turn, plane), turn, patch)
    axes = (plane.axes[0] - 3, plane.axes[1] - 3)
    assert np.array_equal(out["label"], np.rot90(middle_of(arrays["label"], patch), axes=axes))
    image = np.rot90(middle_of(arrays["image"], patch), axes=axes)
    assert np.allclose(out["image"], image, rtol=0, atol=1e-5)


def test_a_quarter_and_a_flip_by_hand() -> None:
    arrays = volume((1, 3, 3))
    arrays["label"] = np.array([[[0, 1, 2], [0, 0, 1], [2, 2, 1]]], dtype=np.int16)
    turn = Turn(angle=math.pi / 2)
    out = turned(raw_patch(arrays, (1, 3, 3), turn, Plane()), turn, (1, 3, 3))
    assert out["label"].tolist() == [[[2, 1, 1], [1, 0, 2], [0, 0, 2]]]
    turn = Turn(angle=math.pi / 2, flips=(False, True, False))  # rotated first, then flipped
    out = turned(raw_patch(arrays, (1, 3, 3), turn, Plane()), turn, (1, 3, 3))
    assert out["label"].tolist() == [[[0, 0, 2], [1, 0, 2], [2, 1, 1]]]


TURNED = [
    (Turn(angle=0.2), Plane()),
    (Turn(angle=-2.5), Plane(normal=1)),
    (Turn(angle=0.7, flips=(True, False, True)), Plane(normal=2)),
    (Turn(angle=0.3, flips=(False, True, False)), Plane(normal=0, aspect=2.5)),
    (Turn(angle=1.0), Plane(normal=2, aspect=0.6)),
    (Turn(zoom=1.31), Plane()),
    (Turn(angle=-0.3, zoom=0.8, flips=(True, True, False)), Plane(normal=1, aspect=1.5)),
    (Turn(angle=0.1, zoom=1.0001), Plane(normal=2)),
]


@pytest.mark.parametrize(("turn", "plane"), TURNED)
def test_image_is_linear_and_label_nearest(turn: Turn, plane: Plane) -> None:
    arrays, patch = volume((44, 46, 48)), (20, 18, 16)
    out = turned(raw_patch(arrays, patch, turn, plane), turn, patch)
    for channel, source in zip(out["image"], arrays["image"], strict=True):
        expected = middle_of(turned_volume(source, turn, plane, order=1), patch)
        assert np.allclose(channel, expected, rtol=0, atol=2e-5)
    labels = turned_volume(arrays["label"], turn, plane, order=0)
    assert np.array_equal(out["label"], middle_of(labels, patch))
    distance = middle_of(turned_volume(arrays["distance"], turn, plane, order=1), patch)
    phi = np.maximum(0, MAXIMA[out["label"]] - distance) * turn.zoom
    assert np.allclose(out["phi"], phi, rtol=0, atol=1e-3)  # D is noise: 1e-5 of a voxel is 3e-4 of D


def test_a_zoom_multiplies_maxima_means_and_penalty() -> None:
    arrays, patch, plane = volume((30, 30, 30)), (12, 12, 12), Plane()
    arrays["distance"] = np.full((30, 30, 30), 8, dtype=np.float32)
    arrays["label"] = np.ones((30, 30, 30), dtype=np.int16)
    turn = Turn(zoom=1.25)
    raw = raw_patch(arrays, patch, turn, plane)
    out = turned(raw, turn, patch)
    assert out["maxima"].tolist() == pytest.approx((MAXIMA * 1.25).tolist())
    assert out["means"].tolist() == pytest.approx((MEANS * 1.25).tolist())
    assert np.allclose(out["phi"], 15)  # (20 − 8) · 1.25
    assert np.allclose(turned(raw, turn, patch, "region")["phi"], 12 / 20)
    assert np.allclose(turned(raw, turn, patch, "balanced")["phi"], (1 + 15) / (1 + 10) - 1)


def test_where_distance_exceeds_the_regions_maximum_the_penalty_is_zero() -> None:
    arrays, patch = volume((9, 9, 9)), (5, 5, 5)
    arrays["distance"] += 40
    for turn in (Turn(), Turn(angle=0.3)):
        assert not turned(raw_patch(arrays, patch, turn, Plane()), turn, patch)["phi"].any()


@given(
    angle=st.floats(-math.pi, math.pi),
    zoom=st.sampled_from([1.0, 0.7, 1.4]),
    flips=st.tuples(*[st.booleans()] * 3),
    plane=st.builds(Plane, normal=st.integers(0, 2), aspect=st.sampled_from([1.0, 0.5, 3.0])),
    corner=st.tuples(st.integers(-6, 8), st.integers(-6, 10), st.integers(-6, 12)),
)
@example(angle=0.0, zoom=1.0, flips=(False, True, False), plane=Plane(normal=1), corner=(-2, 10, 3))
def test_padding_is_what_lies_outside_the_volume(
    angle: float, zoom: float, flips: tuple[bool, bool, bool], plane: Plane, corner: Box
) -> None:
    arrays, patch, turn = volume((14, 16, 18)), (7, 8, 9), Turn(angle=angle, zoom=zoom, flips=flips)
    out = turned(raw_patch(arrays, patch, turn, plane, corner), turn, patch)
    offsets = np.indices(patch).reshape(3, -1) - (np.array(patch)[:, None] - 1) / 2
    source = matrix(turn, plane) @ offsets + np.array(corner)[:, None] + (np.array(patch)[:, None] - 1) / 2
    size = np.array(arrays["label"].shape)[:, None]
    real = ((source >= -0.5) & (source < size - 0.5)).all(axis=0).reshape(patch)
    on_edge = (np.minimum(abs(source + 0.5), abs(source - size + 0.5)) < 1e-9).any(axis=0).reshape(patch)
    assert np.array_equal((out["label"] == IGNORE_INDEX) | on_edge, ~real | on_edge)
    padded = out["label"] == IGNORE_INDEX
    assert not out["phi"][padded].any()
    for channel, padding in zip(out["image"], PADDING, strict=True):
        assert (channel[padded] == padding).all()
    # NaN and 77 lie around what is real: none of it has come in
    assert np.isfinite(out["image"]).all()
    assert np.isfinite(out["phi"]).all()
    assert set(np.unique(out["label"][~padded])) <= {0, 1, 2}


def test_a_larger_read_makes_rotated_corners_real() -> None:
    arrays, patch, turn = volume((8, 30, 30)), (8, 16, 16), Turn(angle=math.pi / 4)
    raw = raw_patch(arrays, patch, turn, Plane())
    assert (turned(raw, turn, patch)["label"] != IGNORE_INDEX).all()
    cropped = {name: middle_of(values, patch) for name, values in arrays.items()}
    label = turned(raw_patch(cropped, patch, turn, Plane()), turn, patch)["label"]
    assert (label[:, [0, 0, -1, -1], [0, -1, 0, -1]] == IGNORE_INDEX).all()
    assert (label[:, 8, :] != IGNORE_INDEX).all()


def test_a_volume_of_one_plane_and_one_row() -> None:
    arrays, patch, turn = volume((1, 1, 9)), (3, 4, 5), Turn(angle=0.1, zoom=1.1)
    out = turned(raw_patch(arrays, patch, turn, Plane()), turn, patch)
    assert 0 < (out["label"] != IGNORE_INDEX).sum() < out["label"].size
    assert np.isfinite(out["image"]).all()


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64])
def test_labels_of_any_integer_type(dtype: type) -> None:
    arrays, patch, turn = volume((12, 20, 20)), (8, 8, 8), Turn(angle=0.4)
    expected = turned(raw_patch(arrays, patch, turn, Plane()), turn, patch)
    arrays["label"] = arrays["label"].astype(dtype)
    out = turned(raw_patch(arrays, patch, turn, Plane()), turn, patch)
    assert out["label"].dtype == dtype
    assert np.array_equal(out["label"], expected["label"])
    assert np.array_equal(out["phi"], expected["phi"])


@pytest.mark.parametrize(
    "turn", [Turn(flips=(True, True, False)), Turn(angle=0.3), Turn(angle=0.3, zoom=1.1)]
)
def test_blocks_of_planes_leave_no_trace(turn: Turn, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays, patch = volume((30, 40, 40)), (20, 16, 16)
    raw = raw_patch(arrays, patch, turn, Plane())
    assert math.prod(patch) < CPU_BLOCK
    whole = turned(raw, turn, patch)
    for voxels in (1, 3 * 256):
        monkeypatch.setattr("dmapsvc.loader.augment.CPU_BLOCK", voxels)
        blocks = turned(raw, turn, patch)
        assert all(np.allclose(blocks[name], whole[name], rtol=0, atol=1e-6) for name in whole)


def measured(labels: NDArray[Any], spacing: Spacing = (1, 1, 1)) -> NDArray[np.float32]:
    """D by SciPy, region by region."""
    distance = np.zeros(labels.shape, dtype=np.float32)
    for label in np.unique(labels):
        inside = labels == label
        distance[inside] = ndimage.distance_transform_edt(inside, sampling=spacing)[inside]
    return distance


def boundary_errors(
    turn: Turn, plane: Plane, spacing: Spacing = (1, 1, 1), seed: int = 0
) -> NDArray[np.float64]:
    """|Φ − Φ made again from the turned label map with the original maxima|, at voxels with D ≤ 1 voxel.

    In units of the largest in-plane side of a voxel.
    """
    labels = knee(seed, (48, 112, 112))[0].astype(np.int16)
    distance, patch = measured(labels, spacing), (24, 64, 64)
    maxima = ndimage.maximum(distance, labels, range(4)).astype(np.float32)
    arrays: dict[str, NDArray[Any]] = {"image": distance[np.newaxis], "label": labels, "distance": distance}
    out = turned(raw_patch(arrays, patch, turn, plane, maxima=maxima), turn, patch)
    again = turned_volume(labels, turn, plane, order=0)
    distance_again = middle_of(measured(again, spacing), patch)
    real = out["label"] != IGNORE_INDEX
    alike = out["label"] == middle_of(again, patch)
    assert alike[real].mean() > 0.9999
    side = max(spacing[axis] for axis in plane.axes)
    near = real & alike & (distance_again <= side)
    assert near.sum() > 2000
    expected = maxima[np.maximum(out["label"], 0)] * turn.zoom - distance_again
    errors: NDArray[np.float64] = np.abs(out["phi"] - expected)[near] / side
    return errors


@pytest.mark.parametrize(
    ("turn", "plane"),
    [
        (Turn(angle=math.radians(15)), Plane()),
        (Turn(angle=math.radians(-7)), Plane()),
        (Turn(angle=math.radians(130), flips=(True, False, True)), Plane()),
        (Turn(angle=math.radians(-10), flips=(False, True, False)), Plane(normal=1)),
        (Turn(angle=math.radians(15)), Plane(normal=2)),
        (Turn(flips=(True, True, True)), Plane()),
    ],
)
def test_the_penalty_is_as_made_again_from_the_turned_labels(turn: Turn, plane: Plane) -> None:
    assert boundary_errors(turn, plane).mean() <= 0.1


@pytest.mark.parametrize("spacing", [(1.5, 0.6, 0.6), (1.5, 0.6, 0.8)])
def test_so_it_nearly_is_where_planes_are_far_apart(spacing: Spacing) -> None:
    # in mm only boundaries within a plane are nearer than a pixel, and those alone are interpolated
    turn, plane = Turn(angle=math.radians(12)), Plane.of(spacing, "mm")
    assert boundary_errors(turn, plane, spacing).mean() <= 0.15


@pytest.mark.parametrize("zoom", [0.847, 1.153])
def test_a_zoomed_penalty_is_near_too(zoom: float) -> None:
    # D counts to the centre of a voxel across the boundary, so about half a voxel of it does not zoom
    assert boundary_errors(Turn(angle=math.radians(8), zoom=zoom), Plane()).mean() <= 0.3


@pytest.mark.parametrize("scale", SCALES)
def test_penalty_from_distance_by_hand(scale: Scale) -> None:
    label = torch.tensor([[[0, 1, 2, 3, IGNORE_INDEX]]], dtype=torch.int16)
    distance = torch.tensor([[[10.0, 25.0, 2.5, 1.0, 3.0]]])
    phi = penalty_from_distance(
        distance, label, maxima=torch.from_numpy(MAXIMA), means=torch.from_numpy(MEANS), scale=scale
    )
    expected = {
        "none": [20, 0, 7.5, 0, 0],
        "region": [20 / 30, 0, 0.75, 0, 0],
        "balanced": [21 / 13 - 1, 1 / 9 - 1, 8.5 / 4 - 1, 0, 0],
    }
    assert phi.dtype == torch.float32
    assert phi.flatten().tolist() == pytest.approx(expected[scale])


@pytest.mark.parametrize("scale", SCALES)
def test_each_patch_of_a_batch_has_its_own_maxima(scale: Scale) -> None:
    random = torch.Generator().manual_seed(0)
    label = torch.randint(-1, 4, (3, 4, 5, 6), generator=random)
    distance = 20 * torch.rand(3, 4, 5, 6, generator=random)
    maxima, means = 30 * torch.rand(3, 4, generator=random), torch.rand(3, 4, generator=random)
    together = penalty_from_distance(distance, label, maxima=maxima, means=means, scale=scale)
    for n in range(3):
        alone = penalty_from_distance(distance[n], label[n], maxima=maxima[n], means=means[n], scale=scale)
        assert torch.equal(together[n], alone)


def test_an_unknown_scale_is_told() -> None:
    with pytest.raises(BadInput, match="none, region, balanced"):
        _from_distance("log")


def _from_distance(scale: Any) -> Tensor:
    one = torch.ones(1, 1, 1)
    return penalty_from_distance(one, one.int(), maxima=torch.ones(2), means=torch.ones(2), scale=scale)


@pytest.mark.gpu
@pytest.mark.parametrize(("turn", "plane"), [(Turn(flips=(True, False, True)), Plane()), *TURNED])
def test_a_gpu_turns_alike(turn: Turn, plane: Plane) -> None:
    arrays, patch = volume((30, 32, 34)), (20, 18, 16)
    raw = raw_patch(arrays, patch, turn, plane)
    there = {field.name: getattr(raw, field.name) for field in fields(raw)}
    there |= {name: value.cuda() for name, value in there.items() if isinstance(value, Tensor)}
    expected, out = turned(raw, turn, patch, "region"), turned(RawPatch(**there), turn, patch, "region")
    assert np.array_equal(out["label"], expected["label"])
    for name in ("image", "phi", "maxima", "means"):
        assert np.allclose(out[name], expected[name], rtol=0, atol=1e-4)
