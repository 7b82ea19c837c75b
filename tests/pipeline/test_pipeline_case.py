"""One case, from the file to the store, against Φ computed by SciPy on each region alone."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dmapsvc.errors import BadFile, BadLabels, BadSpec, Conflict, GridMismatch, Superseded
from dmapsvc.pipeline import STAGES, bytes_per_voxel, run_case, run_image
from dmapsvc.spec import MapSpec, Spacing, map_id
from dmapsvc.store import Dataset, check
from tests.pipeline.conftest import WriteNifti, reference_phi

SPACING: Spacing = (2.0, 0.5, 1.25)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset.create(tmp_path / "out/blocks.zarr", MapSpec(labels=(5, 9)))


@pytest.fixture
def mask(tmp_path: Path, write_nifti: WriteNifti, blocks: NDArray[np.uint8]) -> Path:
    return write_nifti(tmp_path / "blocks.nii.gz", blocks, SPACING)


@pytest.mark.parametrize("units", ["voxel", "mm"])
@pytest.mark.parametrize("labels", [(9, 5), (5,), None])
def test_the_published_phi_is_the_papers(
    tmp_path: Path, mask: Path, blocks: NDArray[np.uint8], units: Any, labels: tuple[int, ...] | None
) -> None:
    dataset = Dataset.create(tmp_path / "out/all.zarr", MapSpec(labels=labels, units=units))
    run_case(mask, dataset, "a")
    case = dataset.case("a")
    expected = reference_phi(blocks, labels or (5, 9), SPACING if units == "mm" else (1.0, 1.0, 1.0))
    assert np.abs(case.phi_values() - expected).max() <= case.record.quantisation.max_error + 1e-4
    assert np.array_equal(case.read("label"), blocks)  # all of the file's labels, chosen or not
    assert list(check(dataset)) == []


def test_the_record_says_which_map_of_which_file_and_how_long_it_took(mask: Path, dataset: Dataset) -> None:
    outcome = run_case(mask, dataset, "a", backend="scipy", revision=7)
    record = dataset.case("a").record
    digest = hashlib.sha256(mask.read_bytes()).hexdigest()
    assert outcome.record == record
    assert record.mask_sha256 == digest
    assert record.id == map_id(dataset="blocks", case="a", mask_sha256=digest, spec=dataset.spec)
    assert (record.revision, record.backend, outcome.backend) == (7, "scipy", "scipy")
    assert record.spacing == pytest.approx(SPACING)
    assert tuple(outcome.seconds) == STAGES
    assert {stage: record.seconds[stage] for stage in ("read", "map")} == {
        stage: outcome.seconds[stage] for stage in ("read", "map")
    }
    assert outcome.notes == ()


def test_progress_names_the_stages_in_order_and_never_falls(mask: Path, dataset: Dataset) -> None:
    told: list[tuple[str, float]] = []
    run_case(mask, dataset, "a", progress=lambda stage, fraction: told.append((stage, fraction)))
    assert tuple(dict.fromkeys(stage for stage, _ in told)) == STAGES
    fractions = [fraction for _, fraction in told]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)


def test_the_device_is_locked_while_the_map_is_made_and_only_then(mask: Path, dataset: Dataset) -> None:
    device = threading.Lock()
    held: dict[str, set[bool]] = {}
    run_case(
        mask,
        dataset,
        "a",
        device_lock=device,
        progress=lambda stage, fraction: held.setdefault(stage, set()).add(device.locked()),
    )
    assert held == {"read": {False}, "map": {True}, "publish": {False}}


def test_a_run_that_is_no_longer_wanted_publishes_nothing(mask: Path, dataset: Dataset) -> None:
    with pytest.raises(Superseded):
        run_case(mask, dataset, "a", wanted=lambda: False)
    assert dataset.cases() == []


@pytest.mark.parametrize("last", ["read", "map", "publish"])
def test_a_run_that_is_told_to_stop_goes_no_further(mask: Path, dataset: Dataset, last: str) -> None:
    told = []

    def progress(stage: str, fraction: float) -> None:
        told.append(stage)
        if stage == last:
            raise Superseded("stop")

    with pytest.raises(Superseded):
        run_case(mask, dataset, "a", progress=progress)
    assert told[-1] == last
    assert dataset.cases() == []


def test_another_mask_conflicts_unless_it_replaces(
    tmp_path: Path, mask: Path, dataset: Dataset, write_nifti: WriteNifti, blocks: NDArray[np.uint8]
) -> None:
    other = write_nifti(tmp_path / "other.nii.gz", np.flip(blocks, 2), SPACING)
    first = run_case(mask, dataset, "a").record
    with pytest.raises(Conflict):
        run_case(other, dataset, "a", revision=2)
    assert dataset.case("a").record == first
    run_case(other, dataset, "a", revision=2, replace=True)
    assert np.array_equal(dataset.case("a").label[:], np.flip(blocks, 2))


def test_errors_call_the_file_what_the_user_calls_it(tmp_path: Path, dataset: Dataset) -> None:
    spool = tmp_path / "0f3a"
    np.save(tmp_path / "x.npy", np.full((2, 3, 4), -1, np.int16))
    (tmp_path / "x.npy").rename(spool)
    with pytest.raises(BadLabels, match=r"^knee\.npy: "):
        run_case(spool, dataset, "a", filename="knee.npy")
    with pytest.raises(BadFile, match=r"^gone\.nii: "):
        run_case(tmp_path / "missing", dataset, "a", filename="gone.nii")
    assert dataset.cases() == []


def test_mm_needs_a_spacing_and_right_angles(tmp_path: Path, write_nifti: WriteNifti) -> None:
    dataset = Dataset.create(tmp_path / "out/mm.zarr", MapSpec(units="mm"))
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[1:3, 1:4, 2:5] = 1
    np.save(tmp_path / "a.npy", labels)
    with pytest.raises(BadSpec, match=r"^a\.npy: the file has no spacing"):
        run_case(tmp_path / "a.npy", dataset, "a")
    run_case(tmp_path / "a.npy", dataset, "a", spacing=(3.0, 1.0, 1.0))
    phi = dataset.case("a").phi_values()
    assert np.abs(phi - reference_phi(labels, (1,), (3.0, 1.0, 1.0))).max() < 0.02
    sheared = np.eye(4)
    sheared[0, 1] = 0.2
    with pytest.raises(BadSpec, match=r"sheared"):
        run_case(write_nifti(tmp_path / "s.nii", labels, affine=sheared), dataset, "s")
    assert dataset.cases() == ["a"]


def test_an_image_before_or_after_its_mask_ends_up_beside_it(
    tmp_path: Path, mask: Path, dataset: Dataset, write_nifti: WriteNifti, blocks: NDArray[np.uint8]
) -> None:
    voxels = np.arange(blocks.size, dtype=np.int16).reshape(blocks.shape)
    image = write_nifti(tmp_path / "image.nii", voxels, SPACING)
    before = run_image(image, dataset, "before")
    assert not before.published
    assert before.notes == (
        "The image came before its mask: it is kept, and joins the case when the mask is published.",
    )
    run_case(mask, dataset, "before")
    run_case(mask, dataset, "after")
    after = run_image(image, dataset, "after")
    assert after.published
    assert after.notes == ()
    assert set(after.seconds) == {"read", "publish"}
    for name in ("before", "after"):
        case = dataset.case(name)
        assert np.array_equal(case.read("image"), voxels)
        assert case.record.image is not None
        assert case.record.image.sha256 == hashlib.sha256(image.read_bytes()).hexdigest()


def test_an_image_on_another_grid_is_refused(
    tmp_path: Path, mask: Path, dataset: Dataset, write_nifti: WriteNifti
) -> None:
    run_case(mask, dataset, "a")
    image = write_nifti(tmp_path / "image.nii", np.zeros((10, 20, 31), np.int16), SPACING)
    with pytest.raises(GridMismatch):
        run_image(image, dataset, "a")
    assert dataset.case("a").image is None


def test_a_real_volume_of_thick_slices_is_the_papers_map(shared: Path, tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "thigh.zarr", MapSpec(labels=(18, 14), units="mm"))
    outcome = run_case(shared / "thigh_muscles.nii.gz", dataset, "thigh")
    case = dataset.case("thigh")
    assert case.record.spacing == pytest.approx((6.0, 1.5, 1.5))
    labels = case.read("label")
    expected = reference_phi(labels, (18, 14), (6.0, 1.5, 1.5))
    assert np.abs(case.phi_values() - expected).max() <= case.record.quantisation.max_error + 1e-3
    assert outcome.record.regions[1].maximum == pytest.approx(expected[labels == 18].max(), abs=6.1)


def test_the_memory_a_run_is_said_to_need_covers_its_arrays_and_scipys() -> None:
    """File, label map, regions, distances, stored Φ; SciPy adds a float64 transform and int32 indices."""
    assert bytes_per_voxel("numba") == bytes_per_voxel("auto") >= 1 + 1 + 1 + 4 + 2
    assert bytes_per_voxel("scipy") >= bytes_per_voxel("numba") + 8 + 3 * 4
