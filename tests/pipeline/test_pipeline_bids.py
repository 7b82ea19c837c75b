"""Images of BIDS folders: which scan a segmentation was drawn on, by its name."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmapsvc.errors import BadInput
from dmapsvc.pipeline import find_cases, unused_images
from dmapsvc.pipeline.bids import BidsName


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def paired(tmp_path: Path, mask: str, *images: str) -> str | None:
    labels = fill(tmp_path / "derivatives/knees/sub-01/anat", f"{mask}.nii.gz").parents[1]
    folder = fill(tmp_path / "raw/sub-01/anat", *(f"{name}.nii.gz" for name in images)).parents[1]
    (case,) = find_cases(labels, folder)
    return None if case.image is None else case.image.name.removesuffix(".nii.gz")


@pytest.mark.parametrize(
    ("mask", "image"),
    [
        ("sub-01_dseg", "sub-01_T1w"),
        ("sub-01_ses-2_dseg", "sub-01_ses-2_T1w"),
        ("sub-01_ses-2_acq-dess_desc-bones_dseg", "sub-01_ses-2_acq-dess_PDw"),
        ("sub-01_space-orig_desc-manual_label-femur_mask", "sub-01_T1w"),
        ("sub-01_space-MNI_dseg", "sub-01_space-MNI_desc-preproc_T1w"),
        ("sub-01_run-1_dseg", "sub-01_T2w"),
    ],
)
def test_a_segmentation_goes_with_the_image_of_its_scan(tmp_path: Path, mask: str, image: str) -> None:
    assert paired(tmp_path, mask, image) == image


@pytest.mark.parametrize(
    ("mask", "image"),
    [
        ("sub-01_dseg", "sub-02_T1w"),
        ("sub-01_ses-1_dseg", "sub-01_ses-2_T1w"),
        ("sub-01_ses-1_dseg", "sub-01_T1w"),
        ("sub-01_dseg", "sub-01_acq-dess_T1w"),
        ("sub-01_run-1_dseg", "sub-01_run-2_T1w"),
        ("sub-01_space-MNI_dseg", "sub-01_T1w"),
        ("sub-01_dseg", "sub-01_space-MNI_T1w"),
        ("sub-01_dseg", "sub-01_desc-other_mask"),
        ("knee_dseg", "knee_T1w"),
    ],
)
def test_another_scan_or_another_grid_is_no_pair(tmp_path: Path, mask: str, image: str) -> None:
    assert paired(tmp_path, mask, image) is None


def test_of_several_images_the_t1w_that_says_most_and_was_changed_least_is_taken(tmp_path: Path) -> None:
    several = ["sub-01_T1w", "sub-01_T2w", "sub-01_acq-a_T2w", "sub-01_acq-a_T1w", "sub-01_acq-a_desc-x_T1w"]
    assert paired(tmp_path, "sub-01_acq-a_dseg", *several) == "sub-01_acq-a_T1w"


def test_two_contrasts_of_which_none_comes_first_are_both_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"sub-01_PDw.*sub-01_T2w.*a case has one image"):
        paired(tmp_path, "sub-01_dseg", "sub-01_T2w", "sub-01_PDw")


def test_masks_inside_the_folder_of_images_are_not_their_own_images(tmp_path: Path) -> None:
    names = ["sub-01_T1w.nii", "sub-01_dseg.nii", "sub-02_T1w.nii", "sub-02_dseg.nii", "sub-03_T1w.nii"]
    fill(tmp_path, *names)
    cases = find_cases(tmp_path, tmp_path, pattern="*_dseg.*")
    assert {case.case: case.image and case.image.name for case in cases} == {
        "sub-01_dseg": "sub-01_T1w.nii",
        "sub-02_dseg": "sub-02_T1w.nii",
    }
    assert unused_images(cases, tmp_path) == [tmp_path / "sub-03_T1w.nii"]


key = st.sampled_from(["ses", "acq", "run", "desc", "space", "rec"])
value = st.text("abc019", min_size=1, max_size=4)


@given(st.dictionaries(key, value), st.sampled_from(["T1w", "dseg", "bold"]))
def test_a_name_is_taken_apart_as_it_was_put_together(entities: dict[str, str], suffix: str) -> None:
    whole = {"sub": "01", **entities}
    name = "_".join([*(f"{key}-{value}" for key, value in whole.items()), suffix])
    assert BidsName.parse(name) == BidsName(entities=whole, suffix=suffix)
