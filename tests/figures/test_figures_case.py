"""The figure shows the right voxels, where they belong, with boundaries exactly where the region changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dmapsvc.errors import BadInput
from dmapsvc.figures import case_figure, case_preview, figure_png
from dmapsvc.maps import quantised_map
from dmapsvc.spec import MapSpec, Spacing
from dmapsvc.store import Case, Dataset

SPACING: Spacing = (3.0, 0.5, 1.0)
SPEC = MapSpec(labels=(4, 2))


@pytest.fixture(scope="module")
def labels() -> NDArray[np.uint8]:
    """Lopsided in every direction, so that a flip or a swap of axes shows; label 7 is not chosen."""
    labels = np.zeros((6, 14, 20), np.uint8)
    labels[1:3, 2:6, 3:9] = 4
    labels[3:5, 5:13, 8:17] = 2
    labels[4, 0:2, 0:2] = 7
    return labels


def publish(
    folder: Path,
    labels: NDArray[Any],
    affine: NDArray[np.float64] | None = None,
    image: NDArray[Any] | None = None,
) -> Case:
    dataset = Dataset.create(folder / "d.zarr", SPEC)
    dataset.publish(
        "a",
        label=labels,
        phi=quantised_map(labels, SPACING, SPEC, backend="scipy"),
        spacing=SPACING,
        affine=affine,
        mask_sha256="0" * 64,
    )
    if image is not None:
        dataset.publish_image("a", image, spacing=SPACING, affine=affine, sha256="1" * 64)
    return dataset.case("a")


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory, labels: NDArray[np.uint8]) -> Case:
    return publish(tmp_path_factory.mktemp("figures"), labels)


def shown(figure: Figure, panel: int, layer: int = -1) -> NDArray[Any]:
    array = figure.axes[panel].images[layer].get_array()
    assert array is not None
    return np.ma.filled(array, 0)


@pytest.mark.parametrize(("axis", "index"), [(0, 1), (0, 4), (1, 5), (2, 8)])
def test_both_panels_show_the_slice_that_was_asked_for(
    case: Case, labels: NDArray[np.uint8], axis: int, index: int
) -> None:
    figure = case_figure(case, axis=axis, index=index)
    plane = np.take(labels, index, axis)
    assert np.array_equal(shown(figure, 0), np.select([plane == 2, plane == 4], [1, 2]))
    assert np.array_equal(shown(figure, 1), np.take(case.phi_values(), index, axis))


def test_the_default_is_the_fullest_slice_through_the_coarsest_axis(case: Case) -> None:
    figure = case_figure(case)
    assert "slice z = 3 of 6" in figure.get_suptitle()
    assert shown(figure, 0).shape == (14, 20)


@pytest.mark.parametrize(("axis", "aspect"), [(0, 0.5 / 1.0), (1, 3.0 / 1.0), (2, 3.0 / 0.5)])
def test_voxels_have_their_true_shape(case: Case, axis: int, aspect: float) -> None:
    figure = case_figure(case, axis=axis, index=3)
    for panel in figure.axes[:2]:
        assert panel.get_aspect() == pytest.approx(aspect)


def test_boundaries_run_exactly_between_voxels_of_two_regions(case: Case, labels: NDArray[np.uint8]) -> None:
    figure = case_figure(case, axis=0, index=4)
    region = np.where(np.isin(labels[4], SPEC.labels or ()), labels[4], 0)
    expected = {
        (min(a, c), min(b, d))
        for a, b in np.ndindex(region.shape)
        for c, d in ((a + 1, b), (a, b + 1))
        if c < region.shape[0] and d < region.shape[1] and region[a, b] != region[c, d]
    }
    for panel in figure.axes[:2]:
        (lines,) = (found for found in panel.collections if isinstance(found, LineCollection))
        segments = np.array(lines.get_segments())
        middles = segments.mean(axis=1)
        assert np.allclose(np.abs(np.diff(segments, axis=1)).sum(axis=(1, 2)), 1.0)
        assert {(int(np.floor(y)), int(np.floor(x))) for x, y in middles} == expected
        steps = {(round(2 * y) % 2, round(2 * x) % 2) for x, y in middles}
        assert steps == {(0, 1), (1, 0)}
        assert np.allclose(lines.get_colors()[0], (1, 1, 1, 1))


def test_the_heat_scale_is_the_cases_not_the_slices_and_has_its_unit(case: Case) -> None:
    figure = case_figure(case, axis=0, index=0)
    low, high = figure.axes[1].images[0].get_clim()
    assert (low, high) == (0, max(region.maximum for region in case.record.regions))
    assert figure.axes[2].get_ylabel() == "Φ (voxels)"


def test_the_legend_names_the_labels_of_the_slice(case: Case) -> None:
    legend = case_figure(case, axis=0, index=4, names={2: "tibia"}).axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["tibia"]
    legend = case_figure(case, axis=2, index=8).axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["label 2", "label 4"]


# Columns: the way of i, j, k in RAS+. What a (z, y, x) slice through z must look like, superior up, anterior
# left.
@pytest.mark.parametrize(
    ("i", "j", "k", "lay", "letters"),
    [
        ((0, -1, 0), (0, 0, -1), (1, 0, 0), lambda plane: plane, "SIAP"),
        ((0, 1, 0), (0, 0, 1), (1, 0, 0), lambda plane: plane[::-1, ::-1], "SIAP"),
        ((0, 0, 1), (0, -1, 0), (1, 0, 0), lambda plane: plane.T[::-1], "SIAP"),
        ((-1, 0, 0), (0, 1, 0), (0, 0, 1), lambda plane: plane[::-1], "APRL"),
    ],
)
def test_the_slice_is_turned_upright_and_says_so(
    tmp_path: Path, labels: NDArray[np.uint8], i: Any, j: Any, k: Any, lay: Any, letters: str
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = np.array([i, j, k]).T * SPACING[::-1]
    figure = case_figure(publish(tmp_path, labels, affine), axis=0, index=4)
    assert np.array_equal(shown(figure, 0) > 0, lay(labels[4] == 2))
    assert "".join(text.get_text() for text in figure.axes[0].texts) == letters


@pytest.mark.parametrize("channels", [(), (2,)], ids=["one", "two"])
def test_the_image_lies_under_the_labels(
    tmp_path: Path, labels: NDArray[np.uint8], channels: tuple[int, ...]
) -> None:
    image = np.arange(np.prod(channels + labels.shape), dtype=np.int16).reshape(channels + labels.shape)
    figure = case_figure(publish(tmp_path, labels, image=image), axis=0, index=2)
    assert np.array_equal(shown(figure, 0, layer=0), image[0][2] if channels else image[2])
    assert float(figure.axes[0].images[1].get_alpha() or 0) < 1


@pytest.mark.parametrize(("axis", "index"), [(0, 6), (0, -1), (2, 20)])
def test_a_slice_that_is_not_there_says_which_are(case: Case, axis: int, index: int) -> None:
    with pytest.raises(BadInput, match=rf"has slices 0 to {case.record.shape[axis] - 1} there"):
        case_figure(case, axis=axis, index=index)


def test_an_axis_that_is_not_there(case: Case) -> None:
    with pytest.raises(BadInput, match="axis 3"):
        case_figure(case, axis=3)


def test_the_preview_is_a_png(case: Case) -> None:
    assert case_preview(case, 0, 2).startswith(b"\x89PNG\r\n\x1a\n")
    assert figure_png(case_figure(case)).startswith(b"\x89PNG\r\n\x1a\n")


@pytest.mark.parametrize("shape", [(1, 5, 9), (3, 1, 1)])
def test_flat_and_empty_masks_have_a_figure_too(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    case = publish(tmp_path, np.zeros(shape, np.uint8))
    assert case_preview(case).startswith(b"\x89PNG")
