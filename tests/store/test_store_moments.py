"""The moments that an image's record keeps are those of its voxels."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dmapsvc.errors import BadInput
from dmapsvc.store import Dataset, ImageRecord, check
from dmapsvc.store.moments import channel_moments
from dmapsvc.store.record import Moments

if TYPE_CHECKING:
    from tests.store.conftest import Maps

KINDS = (np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64)


@settings(max_examples=60)
@given(
    shape=st.tuples(*[st.integers(1, 12)] * 3),
    channels=st.integers(1, 3),
    kind=st.sampled_from(KINDS),
    offset=st.integers(0, 200),
    spread=st.integers(1, 50),
    seed=st.integers(0, 2**32 - 1),
)
def test_moments_are_numpys_in_float64(
    shape: tuple[int, int, int], channels: int, kind: Any, offset: int, spread: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    image = random.integers(offset, offset + spread, (channels, *shape)).astype(kind)
    found = channel_moments(image if channels > 1 else image[0])
    assert len(found) == channels
    for moments, channel in zip(found, image.astype(np.float64), strict=True):
        assert moments.mean == pytest.approx(channel.mean(), rel=1e-12)
        assert moments.deviation == pytest.approx(channel.std() or 1.0, rel=1e-9)
        assert (moments.minimum, moments.maximum) == (channel.min(), channel.max())


def test_a_large_mean_does_not_swallow_the_deviation() -> None:
    values = np.random.default_rng(0).normal(0, 1, (20, 30, 30))
    (moments,) = channel_moments(values + 1e9)
    assert moments.deviation == pytest.approx(values.std(), rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0, 117])
def test_a_constant_image_has_a_deviation_of_one(kind: Any, value: int) -> None:
    (moments,) = channel_moments(np.full((3, 4, 5), value, kind))
    assert moments == Moments(mean=value, deviation=1.0, minimum=value, maximum=value)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("value", [0.1, 0.7, 1e-3, -1024.3, 3e38])
def test_a_constant_that_no_float_holds_is_constant_all_the_same(kind: Any, value: float) -> None:
    image = np.full((20, 24, 28), value, kind)
    (moments,) = channel_moments(image)
    same = float(image[0, 0, 0])
    assert moments == Moments(mean=same, deviation=1.0, minimum=same, maximum=same)


@pytest.mark.parametrize("voxels", [(-1e300, 1e300), (np.inf, np.inf), (-np.inf, np.inf)])
def test_voxels_beyond_a_finite_variance_are_refused(voxels: tuple[float, float]) -> None:
    image = np.array([[voxels]])
    with pytest.raises(BadInput, match="too large"):
        channel_moments(image)


@pytest.mark.parametrize(
    "edit", [{"mean": 3.0}, {"deviation": 1.0}, {"minimum": -1e4}, {"maximum": 1e4}, None], ids=str
)
def test_moments_that_are_not_those_of_the_voxels_are_found(
    dataset: Dataset,
    maps: Maps,
    image: NDArray[Any],
    add_image: Callable[..., bool],
    edit: dict[str, float] | None,
) -> None:
    maps.publish(dataset, "a", "a" * 64)
    add_image(dataset, "a", np.stack([image, 2 * image]))
    assert list(check(dataset)) == []
    node = dataset.path / "a" / "zarr.json"
    content = json.loads(node.read_text())
    moments = content["attributes"]["dmapsvc"]["image"]["moments"]
    if edit is None:
        moments.pop()
    else:
        moments[1].update(edit)
    node.write_text(json.dumps(content))
    (finding,) = check(dataset)
    assert finding.array == "image"
    assert ("1 moments for 2" if edit is None else "channel 1") in finding.found


def test_a_published_and_a_held_image_have_their_moments(
    dataset: Dataset, maps: Maps, image: NDArray[Any], add_image: Callable[..., bool]
) -> None:
    add_image(dataset, "a", np.stack([image, 2 * image]))
    held = dataset.held_image("a")
    assert held is not None
    assert held.moments == channel_moments(np.stack([image, 2 * image]))
    assert ImageRecord.from_json(json.loads(json.dumps(held.to_json()))) == held
    maps.publish(dataset, "a", "a" * 64)
    assert dataset.case("a").record.image == held
