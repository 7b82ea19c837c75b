"""Masks whose faults only the voxels show end failed at the first attempt; odd ones are taken with a word."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dmapsvc.pipeline import run_case
from dmapsvc.spec import MapSpec
from dmapsvc.store import Dataset
from dmapsvc.store.check import check
from tests.api.bodies import SHAPE, affine_of, gzip_bomb, nifti, npy, two_balls
from tests.api.talk import Talk, assert_problem


def with_voxel(value: float) -> NDArray[np.float32]:
    """Two balls as float32, with one voxel of another value."""
    labels = two_balls().astype(np.float32)
    labels[1, 2, 3] = value
    return labels


def truncated_gzip() -> bytes:
    noise = np.random.default_rng(0).integers(0, 9, (40, 40, 40), np.uint8)
    whole = nifti(noise)
    return whole[: len(whole) // 2]


def many_labels() -> bytes:
    return npy(np.arange(41 * 40 * 40, dtype=np.uint32).reshape(41, 40, 40))


FAULTS: dict[str, tuple[Callable[[], bytes], str]] = {
    "NaN": (lambda: nifti(with_voxel(np.nan)), "voxel (1, 2, 3) is nan"),
    "inf": (lambda: nifti(with_voxel(np.inf)), "voxel (1, 2, 3) is inf"),
    "fractional": (lambda: nifti(with_voxel(1.5)), "voxel (1, 2, 3) is 1.5"),
    "negative": (lambda: nifti(with_voxel(-1).astype(np.int16)), "voxel (1, 2, 3) is -1"),
    "many labels": (many_labels, "more than 65535 distinct"),
    "truncated gzip": (truncated_gzip, "truncated"),
    "gzip bomb": (gzip_bomb, "header"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_only_the_voxels_show_fails_the_job_at_once(work: Talk, fault: str) -> None:
    make, words = FAULTS[fault]
    name = work.dataset()
    job = work.done(work.put(f"{name}/a/mask", make(), filename="mask.nii.gz"))
    assert (job["state"], job["attempts"]) == ("failed", 1)
    problem = job["problem"]
    assert set(problem) == {"type", "title", "status", "detail"}
    assert problem["status"] == 422
    assert words in problem["detail"]
    assert "mask.nii.gz" in problem["detail"]
    assert work.spool() == []
    assert_problem(work.http.get(f"/v1/datasets/{name}/cases/a"), 404)
    assert_problem(work.http.post(f"/v1/jobs/{job['id']}/retry"), 409)
    work.publish(f"{name}/a/mask", nifti(two_balls()))  # the worker lives, and the case is free


def test_overlapping_segments_fail_the_job(work: Talk, shared: Path) -> None:
    body = (shared / "dicomseg_overlapping.dcm").read_bytes()
    name = work.dataset()
    answer = work.put(f"{name}/a/mask", body, filename="seg.dcm")
    problem = answer.json() if answer.status_code == 422 else work.done(answer)["problem"]
    assert problem["status"] == 422
    assert "overlap" in problem["detail"]
    assert work.spool() == []


ODDITIES: dict[str, tuple[NDArray[np.generic], str]] = {
    "all zeros": (np.zeros(SHAPE, np.uint8), "whole mask is background"),
    "one class": (np.full(SHAPE, 7, np.uint8), "whole mask is label 7"),
    "one voxel thick": (
        np.where(np.arange(12) == 5, np.uint8(3), np.uint8(0)) * np.ones(SHAPE, np.uint8),
        "thick",
    ),
    "a slice": (two_balls()[2], "single voxel"),
    "size-1 axes": (two_balls()[2:3, :, :], "single voxel"),
    "big-endian": (two_balls().astype(">i4"), ""),
    "Fortran order": (np.asfortranarray(two_balls()), ""),
}


@pytest.mark.parametrize("oddity", ODDITIES)
def test_odd_masks_are_taken_with_a_word(work: Talk, oddity: str) -> None:
    array, word = ODDITIES[oddity]
    job = work.publish(f"{work.dataset()}/a/mask", npy(array))
    assert job["notes"]
    assert word in " ".join(job["notes"])


def test_absent_labels_and_oblique_frames_are_taken(work: Talk) -> None:
    affine = affine_of()
    angle = np.deg2rad(30)
    affine[:3, :3] = (
        np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
        @ affine[:3, :3]
    )
    job = work.publish(f"{work.dataset()}/a/mask", nifti(two_balls(), affine), labels="5,9", units="mm")
    assert "9" in " ".join(job["notes"])


def test_a_published_mask_again_is_200_with_its_job(work: Talk) -> None:
    name = work.dataset()
    job = work.publish(f"{name}/a/mask", nifti(two_balls()))
    again = work.put(f"{name}/a/mask", nifti(two_balls()))
    assert (again.status_code, again.json()) == (200, job)
    assert again.headers["location"] == f"/v1/jobs/{job['id']}"
    assert work.spool() == []


def test_a_mask_that_was_published_elsewhere_is_200_without_a_job_to_follow(
    work: Talk, tmp_path: Path
) -> None:
    name, mask = work.dataset(), tmp_path / "mask.nii.gz"
    mask.write_bytes(nifti(two_balls()))
    data = work.service.data
    home = Dataset.create(data / "store" / f"{name}.zarr", MapSpec(), staging=data / "staging" / name)
    run_case(mask, home, "a")
    answer = work.put(f"{name}/a/mask", mask.read_bytes())
    assert answer.status_code == 200
    assert "location" not in answer.headers
    assert_problem(work.http.get(f"/v1/jobs/{answer.json()['id']}"), 404)


@pytest.mark.parametrize("array", ["phi", "label", "image"])
def test_what_is_damaged_is_mended_by_the_same_again(work: Talk, array: str) -> None:
    name = work.dataset()
    bodies = {"mask": nifti(two_balls()), "image": nifti(np.ones(SHAPE, np.int16))}
    for what, body in bodies.items():
        work.publish(f"{name}/a/{what}", body)
    folder = work.service.data / "store" / f"{name}.zarr"
    shard = next(path for path in (folder / "a" / array).rglob("c/**/*") if path.is_file())
    damaged = bytearray(shard.read_bytes())
    damaged[0] ^= 1
    shard.write_bytes(damaged)
    assert list(check(folder))
    what = "image" if array == "image" else "mask"
    query = {"replace": "true"} if what == "mask" else {}
    answer = work.put(f"{name}/a/{what}", bodies[what], **query)
    assert answer.status_code == 202
    assert work.done(answer)["state"] == "done"
    assert list(check(folder)) == []
    assert work.put(f"{name}/a/{what}", bodies[what], **query).status_code == 200


def test_a_mask_then_b_then_a_again(work: Talk) -> None:
    name = work.dataset()
    bodies = {"a": nifti(two_balls()), "b": nifti(two_balls(1))}
    hashes = {key: hashlib.sha256(body).hexdigest() for key, body in bodies.items()}

    def published() -> object:
        return work.http.get(f"/v1/datasets/{name}/cases/c").json()["mask_sha256"]

    work.publish(f"{name}/c/mask", bodies["a"])
    assert_problem(work.put(f"{name}/c/mask", bodies["b"]), 409, *hashes.values())
    assert published() == hashes["a"]
    work.publish(f"{name}/c/mask", bodies["b"], replace="true")
    assert published() == hashes["b"]
    assert_problem(work.put(f"{name}/c/mask", bodies["a"]), 409)
    work.publish(f"{name}/c/mask", bodies["a"], replace="true")
    assert published() == hashes["a"]


def test_a_deleted_case_may_come_again(work: Talk) -> None:
    name = work.dataset()
    job = work.publish(f"{name}/a/mask", nifti(two_balls()))
    assert work.http.delete(f"/v1/datasets/{name}/cases/a").status_code == 204
    assert work.publish(f"{name}/a/mask", nifti(two_balls()))["id"] == job["id"]


def test_another_spacing_of_the_same_numpy_file_is_another_mask(work: Talk) -> None:
    name = work.dataset()
    body = npy(two_balls())
    work.publish(f"{name}/a/mask", body, units="mm", spacing="2,1,1")
    assert work.put(f"{name}/a/mask", body, spacing="2,1,1").status_code == 200
    assert_problem(work.put(f"{name}/a/mask", body, spacing="4,1,1"), 409, "spacing")
    work.publish(f"{name}/a/mask", body, spacing="4,1,1", replace="true")
    assert work.http.get(f"/v1/datasets/{name}/cases/a").json()["spacing"] == [4, 1, 1]


@pytest.mark.parametrize("first", ["image", "mask"])
def test_an_image_comes_before_or_after_its_mask(work: Talk, first: str) -> None:
    name = work.dataset()
    image = np.random.default_rng(0).integers(-1000, 1000, SHAPE).astype(np.int16)
    bodies = {"mask": nifti(two_balls()), "image": nifti(image)}
    for what in (first, "image" if first == "mask" else "mask"):
        work.publish(f"{name}/a/{what}", bodies[what])
    case = work.http.get(f"/v1/datasets/{name}/cases/a").json()
    assert case["image"]["sha256"] == hashlib.sha256(bodies["image"]).hexdigest()
    assert work.put(f"{name}/a/image", bodies["image"]).status_code == 200
    smaller = nifti(image[1:])
    assert_problem(work.put(f"{name}/a/image", smaller, filename="i.nii"), 409, "i.nii", "grid")
    shifted = affine_of()
    shifted[0, 3] += 1
    assert_problem(work.put(f"{name}/a/image", nifti(image, shifted)), 409, "affines")
    assert_problem(work.put(f"{name}/a/mask", nifti(two_balls()[1:]), replace="true"), 409, "grid")
    assert work.spool() == []


def test_a_mask_that_does_not_fit_the_image_that_waits_is_refused(work: Talk) -> None:
    name = work.dataset()
    work.publish(f"{name}/a/image", nifti(np.ones(SHAPE, np.int16)))
    assert_problem(work.put(f"{name}/a/mask", nifti(two_balls()[1:])), 409, "grid")


def test_an_image_with_nan_fails_its_job(work: Talk) -> None:
    job = work.done(work.put(f"{work.dataset()}/a/image", nifti(with_voxel(np.nan)), filename="i.nii"))
    assert (job["state"], job["problem"]["status"]) == ("failed", 422)


def test_a_zipped_numpy_file_of_one_array_is_a_mask(work: Talk) -> None:
    file = io.BytesIO()
    np.savez_compressed(file, two_balls())
    work.publish(f"{work.dataset()}/a/mask", file.getvalue())
