"""The volumes that grow are what their recipes say, and so are the numbers that are drawn from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import growth, standings
from benchmarks.cases import LARGEST, vary, write_cases
from benchmarks.measured import Measured
from benchmarks.subject import Subject
from benchmarks.timing import Timing
from demo import phantom
from tests.maps.reference import ellipsoids

LABELS = ellipsoids((12, 20, 16), 3)


def test_a_cube_of_the_same_size_is_the_same() -> None:
    cubic = ellipsoids((16, 16, 16), 3)
    cube, sampling = growth.cube(cubic, (0.7, 0.4, 0.3), 16)
    assert np.array_equal(cube, cubic)
    assert sampling == pytest.approx((0.7, 0.4, 0.3))


def test_a_cube_repeats_voxels_and_keeps_the_field_of_view() -> None:
    labels = ellipsoids((6, 12, 24), 3)
    cube, sampling = growth.cube(labels, (2.0, 1.0, 1.0), 24)
    assert np.array_equal(cube, labels.repeat(4, 0).repeat(2, 1))
    assert sampling == pytest.approx((0.5, 0.5, 1.0))
    assert cube.flags.c_contiguous


def test_each_voxel_of_a_class_goes_to_its_nearest_seed() -> None:
    spacing, count = (0.7, 0.4, 0.3), 9
    parts = growth.split(LABELS, (1, 3), spacing, count)
    member = np.isin(LABELS, (1, 3))
    places = np.argwhere(member)
    seeds = np.random.default_rng(count).choice(len(places), count, replace=False)
    apart = np.linalg.norm((places[:, None] - places[seeds]) * np.array(spacing), axis=2)
    own = apart[np.arange(len(places)), parts[member] - 1]
    assert own == pytest.approx(apart.min(axis=1))
    assert not parts[~member].any()
    assert set(np.unique(parts)) == set(range(count + 1))


@pytest.mark.parametrize(("count", "dtype"), [(255, np.uint8), (256, np.uint16)])
def test_the_parts_are_as_narrow_as_they_can_be(count: int, dtype: type) -> None:
    assert growth.split(LABELS, (1, 2, 3), (1.0, 1.0, 1.0), count).dtype == dtype


def test_flat_is_largest_over_least_from_128_on() -> None:
    assert standings.flatness({64**3: 99.0, 128**3: 10.0, 256**3: 8.0, 512**3: 12.0}) == pytest.approx(1.5)
    assert standings.flatness({64**3: 99.0, 128**3: 10.0}) is None


def test_time_and_memory_a_voxel_count_the_labels() -> None:
    subject = Subject(
        name="x", labels=np.zeros((10, 10, 10), np.uint16), classes=(1,), sampling=(1.0, 1.0, 1.0)
    )
    timing = Timing(seconds=2e-6, cpu_seconds=2e-6, peak_bytes=6000)
    measured = Measured(subject=subject, timings={"way": timing})
    assert measured.nanoseconds("way") == pytest.approx(2.0)
    assert measured.bytes_per_voxel("way") == pytest.approx(8.0)
    assert measured.to_json()["ways"]["way"]["peak_bytes"] == 8000


def test_the_turns_of_a_knee_are_different_files_of_the_same_anatomy() -> None:
    turned = [vary(LABELS, turn) for turn in range(24)]
    assert len({each.tobytes() for each in turned}) == 24
    assert all(np.array_equal(np.bincount(each.ravel()), np.bincount(LABELS.ravel())) for each in turned)
    assert np.array_equal(turned[0], LABELS)
    assert np.array_equal(turned[5], LABELS[::-1, :, ::-1])


def test_a_large_knee_is_cut_around_its_middle() -> None:
    depth = LARGEST[0]
    labels = np.arange(depth + 40, dtype=np.uint8)[:, None, None]
    assert vary(labels, 0).ravel().tolist() == list(range(20, depth + 20))


def test_the_first_masks_are_the_same_files_however_often_they_are_asked_for(tmp_path: Path) -> None:
    phantom.write(tmp_path / "knee.nii.gz", LABELS, np.eye(4))
    masks = write_cases([tmp_path / "knee.nii.gz"], tmp_path / "masks", 3)
    assert (masks.count, masks.total) == (3, 3 * LABELS.size)
    few, again, none = masks.first(2), masks.first(2), masks.first(0)
    assert few.folder != again.folder
    assert few.total == 2 * LABELS.size
    assert [mask.name for mask in sorted(few.folder.iterdir())] == ["case00.nii.gz", "case01.nii.gz"]
    assert (none.count, list(none.folder.iterdir())) == (0, [])
