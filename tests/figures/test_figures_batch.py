"""The figure of a batch shows each patch's own slice, plain and turned, on one scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dmapsvc.figures import PatchArrays, TurnedPatch, batch_figure, figure_png

SHAPE = (6, 10, 14)


def arrays(seed: int, fullest: tuple[int, int, int], axis: int) -> PatchArrays:
    """Noise, with most foreground in one slice across `axis`."""
    random = np.random.default_rng(seed)
    label = (random.random(SHAPE) < 0.1).astype(np.int16)
    label[(slice(None),) * axis + (fullest[axis],)] = 2
    label[:, :2] = -100
    return PatchArrays(
        image=random.normal(size=SHAPE).astype(np.float32),
        label=label,
        phi=random.random(SHAPE).astype(np.float32),
    )


def patch(axis: int = 0, seed: int = 0) -> TurnedPatch:
    return TurnedPatch(
        title=f"case{seed}, corner (1, 2, 3)",
        turn="rotated by +30.0°",
        plain=arrays(seed, (4, 5, 6), axis),
        turned=arrays(seed + 100, (1, 1, 1), axis),
        axis=axis,
        spacing=(3.0, 1.0, 0.5),
    )


def shown(figure: Figure, panel: int, layer: int = 0) -> NDArray[Any]:
    array = figure.axes[panel].images[layer].get_array()
    assert array is not None
    return array


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_both_halves_show_the_plain_patchs_fullest_slice(axis: int) -> None:
    one = patch(axis)
    figure = batch_figure([one], title="knees", phi="Φ")
    index = (4, 5, 6)[axis]
    for first, half in ((0, one.plain), (3, one.turned)):
        image, phi = (np.take(volume, index, axis) for volume in (half.image, half.phi))
        assert np.array_equal(shown(figure, first), image)
        assert np.array_equal(shown(figure, first + 1), image)
        drawn = shown(figure, first + 2)
        padded = np.take(half.label, index, axis) < 0
        assert np.array_equal(np.ma.getmaskarray(drawn), padded)
        assert np.array_equal(drawn[~padded], phi[~padded])


@pytest.mark.parametrize(("axis", "aspect"), [(0, 2.0), (1, 6.0), (2, 3.0)])
def test_voxels_have_their_true_shape(axis: int, aspect: float) -> None:
    figure = batch_figure([patch(axis)], title="knees", phi="Φ")
    assert [panel.get_aspect() for panel in figure.axes[:6]] == pytest.approx([aspect] * 6)


def test_boundaries_lie_between_two_regions_and_not_around_padding() -> None:
    one = patch()
    figure = batch_figure([one], title="knees", phi="Φ")
    label = one.plain.label[4]
    inside = label[2:]
    changes = (inside[1:] != inside[:-1]).sum() + (inside[:, 1:] != inside[:, :-1]).sum()
    for panel in figure.axes[1:3]:
        (lines,) = (found for found in panel.collections if isinstance(found, LineCollection))
        assert len(lines.get_segments()) == changes


def test_titles_and_one_scale_for_all() -> None:
    patches = [patch(seed=seed) for seed in (1, 2)]
    figure = batch_figure(patches, title="knees", phi="Φ over its region's maximum")
    titles = [panel.get_title(loc="left") for panel in figure.axes]
    assert [title for title in titles if title] == [
        "case1, corner (1, 2, 3)",
        "rotated by +30.0°",
        "case2, corner (1, 2, 3)",
        "rotated by +30.0°",
    ]
    assert figure.get_suptitle() == "knees"
    assert figure.axes[-1].get_ylabel() == "Φ over its region's maximum"
    (limits,) = {figure.axes[panel].images[0].get_clim() for panel in (2, 5, 8, 11)}
    everything = np.stack([half.phi for one in patches for half in (one.plain, one.turned)])
    assert limits == pytest.approx((everything.min(), everything.max()))


def test_a_patch_without_foreground_has_a_picture_too() -> None:
    empty = PatchArrays(image=np.zeros(SHAPE), label=np.zeros(SHAPE, np.int16), phi=np.zeros(SHAPE))
    one = TurnedPatch(title="", turn="", plain=empty, turned=empty, axis=0)
    assert figure_png(batch_figure([one], title="", phi="Φ")).startswith(b"\x89PNG\r\n\x1a\n")
