"""A folder becomes a dataset: once, whole, and going on where it stopped."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dmapsvc.errors import BadName, Conflict
from dmapsvc.pipeline import Event, Happening, Summary, precompute
from dmapsvc.spec import MapSpec
from dmapsvc.store import Dataset, check
from tests.pipeline.conftest import WriteNifti, reference_phi

SPEC = MapSpec(labels=(5, 9))


@pytest.fixture
def folder(tmp_path: Path, write_nifti: WriteNifti, blocks: NDArray[np.uint8]) -> Path:
    """Five masks, each another one; two of them in a folder of their own."""
    for number, name in enumerate(("a", "b", "c", "site/d", "site/e")):
        write_nifti(tmp_path / f"labels/{name}.nii.gz", np.roll(blocks, number, axis=2))
    return tmp_path / "labels"


def run(folder: Path, out: Path, events: list[Event] | None = None, **how: object) -> Summary:
    return precompute(
        folder,
        out,
        spec=SPEC,
        on_event=(events if events is not None else []).append,
        **how,  # type: ignore[arg-type]  # the options under test
    )


def test_every_case_is_published_under_its_name(
    tmp_path: Path, folder: Path, blocks: NDArray[np.uint8]
) -> None:
    summary = run(folder, tmp_path / "out.zarr", names={5: "femur"})
    assert summary.done == ("a", "b", "c", "site__d", "site__e")
    assert (summary.skipped, summary.failed, summary.without_image) == ((), (), ())
    assert set(summary.seconds) == {"read", "map", "publish"}
    dataset = Dataset.open(tmp_path / "out.zarr")
    assert dataset.names == {5: "femur"}
    assert dataset.cases() == list(summary.done)
    phi = dataset.case("site__d").phi_values()
    assert np.abs(phi - reference_phi(np.roll(blocks, 3, axis=2), (5, 9))).max() < 0.01
    assert list(check(dataset)) == []


def test_a_second_run_skips_all_of_it(tmp_path: Path, folder: Path) -> None:
    first = run(folder, tmp_path / "out.zarr")
    before = {case: Dataset.open(tmp_path / "out.zarr").case(case).record for case in first.done}
    for replace in (False, True):
        again = run(folder, tmp_path / "out.zarr", replace=replace)
        assert (again.done, again.skipped, again.seconds) == ((), first.done, {})
    assert before == {case: Dataset.open(tmp_path / "out.zarr").case(case).record for case in first.done}


@pytest.mark.parametrize("seed", range(4))
def test_a_run_that_is_interrupted_leaves_no_trace_and_goes_on(
    tmp_path: Path, folder: Path, seed: int
) -> None:
    events: list[Event] = []
    whole = run(folder, tmp_path / "whole.zarr", events)
    moment = random.Random(seed).randrange(len(events))
    seen = Counter[str]()

    def interrupt(event: Event) -> None:
        seen.update(["event"])
        if seen["event"] > moment:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        precompute(folder, tmp_path / "out.zarr", spec=SPEC, on_event=interrupt)
    dataset = Dataset.open(tmp_path / "out.zarr")
    published = dataset.cases()
    assert list(check(dataset)) == []
    assert list(tmp_path.glob(".out.zarr.staging/**/zarr.json")) == []
    summary = run(folder, tmp_path / "out.zarr")
    assert list(summary.skipped) == published
    assert sorted([*summary.done, *summary.skipped]) == list(whole.done)
    assert list(check(dataset)) == []


def test_bad_files_are_listed_and_cost_only_their_own_case(
    tmp_path: Path, folder: Path, write_nifti: WriteNifti
) -> None:
    (folder / "b.nii.gz").write_bytes((folder / "b.nii.gz").read_bytes()[:-40])
    (folder / "web.nii").write_text("<html>not found</html>")
    write_nifti(folder / "half.nii", np.full((3, 4, 5), 0.5, np.float32))
    events: list[Event] = []
    summary = run(folder, tmp_path / "out.zarr", events)
    assert summary.done == ("a", "c", "site__d", "site__e")
    assert [failure.case for failure in summary.failed] == ["b", "half", "web"]
    assert [failure.file.name for failure in summary.failed] == ["b.nii.gz", "half.nii", "web.nii"]
    assert all(failure.file.name in failure.problem.detail for failure in summary.failed)
    assert {failure.problem.status for failure in summary.failed} == {422}
    told = {event.case: event.problem for event in events if event.happening is Happening.FAILED}
    assert told == {failure.case: failure.problem for failure in summary.failed}
    assert Dataset.open(tmp_path / "out.zarr").cases() == list(summary.done)


def test_another_mask_for_a_case_fails_alone_until_it_may_replace(
    tmp_path: Path, folder: Path, write_nifti: WriteNifti, blocks: NDArray[np.uint8]
) -> None:
    run(folder, tmp_path / "out.zarr")
    write_nifti(folder / "c.nii.gz", np.flip(blocks, 0))
    dataset = Dataset.open(tmp_path / "out.zarr")
    before = dataset.case("c").record
    summary = run(folder, tmp_path / "out.zarr")
    assert [(failure.case, failure.problem.status) for failure in summary.failed] == [("c", 409)]
    assert before.mask_sha256 in summary.failed[0].problem.detail
    assert dataset.case("c").record == before
    assert run(folder, tmp_path / "out.zarr", replace=True).done == ("c",)
    assert np.array_equal(dataset.case("c").label[:], np.flip(blocks, 0))
    assert dataset.case("c").record.revision == before.revision + 1


def test_images_go_with_their_cases_and_later_ones_are_added(
    tmp_path: Path, folder: Path, write_nifti: WriteNifti, blocks: NDArray[np.uint8]
) -> None:
    images = tmp_path / "images"
    write_nifti(images / "a.nii", np.full(blocks.shape, 7, np.int16))
    write_nifti(images / "site/d_0000.nii", np.full(blocks.shape, 8, np.int16))
    write_nifti(images / "b.nii", np.zeros((2, 3, 4), np.int16))
    events: list[Event] = []
    first = run(folder, tmp_path / "out.zarr", events, images=images)
    dataset = Dataset.open(tmp_path / "out.zarr")
    assert first.without_image == ("c", "site__e")
    assert "b" in first.done
    assert [(failure.case, failure.file) for failure in first.failed] == [("b", images / "b.nii")]
    assert [event.case for event in events if event.happening is Happening.FAILED] == ["b"]
    assert max(event.ended for event in events) == 5
    for case in ("a", "b", "c"):
        fractions = [event.fraction for event in events if event.case == case and event.stage]
        assert fractions == sorted(fractions)
    assert {case for case in dataset.cases() if dataset.case(case).image is not None} == {"a", "site__d"}
    write_nifti(images / "b.nii", np.full(blocks.shape, 9, np.int16))
    second = run(folder, tmp_path / "out.zarr", images=images)
    assert (second.done, second.failed) == (("b",), ())
    assert (dataset.case("b").read("image") == 9).all()
    assert list(check(dataset)) == []


def test_events_tell_each_case_from_start_to_end(tmp_path: Path, folder: Path) -> None:
    events: list[Event] = []
    run(folder, tmp_path / "out.zarr", events)
    cases = list(dict.fromkeys(event.case for event in events))
    assert cases == ["a", "b", "c", "site__d", "site__e"]
    assert {event.total for event in events} == {5}
    for case in cases:
        first, *stages, last = [event for event in events if event.case == case]
        assert first.happening is Happening.STARTED
        assert {event.happening for event in stages} == {Happening.STAGE}
        assert list(dict.fromkeys(event.stage for event in stages)) == ["read", "map", "publish"]
        assert [event.fraction for event in stages] == sorted(event.fraction for event in stages)
        assert (last.happening, last.ended - first.ended >= 1) == (Happening.DONE, True)
    assert [event.ended for event in events if event.happening is Happening.DONE] == [1, 2, 3, 4, 5]


def test_what_is_wrong_with_the_folder_is_said_before_anything_runs(tmp_path: Path, folder: Path) -> None:
    (folder / "a.nrrd").touch()
    with pytest.raises(BadName, match=r"a\.nii\.gz and .*a\.nrrd"):
        run(folder, tmp_path / "out.zarr")
    assert not (tmp_path / "out.zarr").exists()
    (folder / "a.nrrd").unlink()
    run(folder, tmp_path / "out.zarr")
    with pytest.raises(Conflict):
        precompute(folder, tmp_path / "out.zarr", spec=MapSpec(units="mm"))


def test_a_spacing_is_taken_for_files_that_have_none(tmp_path: Path) -> None:
    labels = np.zeros((4, 8, 8), np.uint8)
    labels[:, 2:6, 2:6] = 1
    np.save(tmp_path / "a.npy", labels)
    spec = MapSpec(units="mm")
    summary = precompute(tmp_path / "a.npy", tmp_path / "out.zarr", spec=spec, spacing=(2.0, 0.5, 0.5))
    assert summary.done == ("a",)
    regions = Dataset.open(tmp_path / "out.zarr").case("a").record.regions
    assert [region.maximum for region in regions if region.value == 1] == [1.0]  # two voxels of 0.5 mm


def test_another_spacing_is_another_map(tmp_path: Path) -> None:
    labels = np.zeros((4, 8, 8), np.uint8)
    labels[:, 2:6, 2:6] = 1
    np.save(tmp_path / "a.npy", labels)
    spec, out = MapSpec(units="mm"), tmp_path / "out.zarr"
    precompute(tmp_path / "a.npy", out, spec=spec, spacing=(2.0, 0.5, 0.5))
    (failure,) = precompute(tmp_path / "a.npy", out, spec=spec, spacing=(2.0, 1.0, 1.0)).failed
    assert "another spacing" in failure.problem.detail
    precompute(tmp_path / "a.npy", out, spec=spec, spacing=(2.0, 1.0, 1.0), replace=True)
    assert Dataset.open(out).case("a").record.spacing == (2.0, 1.0, 1.0)


def test_replace_mends_a_damaged_case(tmp_path: Path) -> None:
    labels = np.zeros((4, 8, 8), np.uint8)
    labels[:, 2:6, 2:6] = 1
    np.save(tmp_path / "a.npy", labels)
    out = tmp_path / "out.zarr"
    precompute(tmp_path / "a.npy", out, spec=MapSpec())
    shard = next(path for path in (out / "a" / "phi" / "0" / "c").rglob("*") if path.is_file())
    shard.write_bytes(shard.read_bytes()[:-1])
    assert precompute(tmp_path / "a.npy", out, spec=MapSpec()).skipped == ("a",)
    assert precompute(tmp_path / "a.npy", out, spec=MapSpec(), replace=True).done == ("a",)
    assert list(check(out)) == []
