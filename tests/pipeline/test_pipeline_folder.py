"""Which files are which cases: DESIGN's rules for folders, over real folders."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dmapsvc.errors import BadInput, BadName
from dmapsvc.pipeline import CaseFile, find_cases


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def cases(masks: Path, images: Path | None = None) -> dict[str, str | None]:
    return {case.case: case.image.name if case.image else None for case in find_cases(masks, images)}


def test_a_case_is_called_by_its_path_without_the_ending(tmp_path: Path) -> None:
    fill(tmp_path, "b.nii.gz", "a.nrrd", "site1/p2/left.NII.GZ", "v1.2.mha")
    found = find_cases(tmp_path)
    assert [(case.case, case.mask) for case in found] == [
        ("a", tmp_path / "a.nrrd"),
        ("b", tmp_path / "b.nii.gz"),
        ("site1__p2__left", tmp_path / "site1/p2/left.NII.GZ"),
        ("v1.2", tmp_path / "v1.2.mha"),
    ]


def test_hidden_files_and_other_files_are_passed_over(tmp_path: Path) -> None:
    fill(tmp_path, "a.nii", ".b.nii", ".git/c.nii", "README.md", "dataset.json", "x/.y/d.nii")
    assert list(cases(tmp_path)) == ["a"]


def test_a_single_file_is_called_by_its_own_name(tmp_path: Path) -> None:
    fill(tmp_path, "deep/knee.nii.gz", "deep/export.seg")
    assert find_cases(tmp_path / "deep/knee.nii.gz") == [
        CaseFile(case="knee", mask=tmp_path / "deep/knee.nii.gz")
    ]
    assert list(cases(tmp_path / "deep/export.seg")) == ["export"]


def test_a_list_may_hold_files_and_folders(tmp_path: Path) -> None:
    fill(tmp_path, "a.nii", "more/b.nii", "more/c/d.nii")
    found = find_cases([tmp_path / "a.nii", tmp_path / "more"])
    assert [case.case for case in found] == ["a", "b", "c__d"]


@pytest.mark.parametrize(
    "names", [("a.nii", "a.nii.gz"), ("x/a.nrrd", "x__a.nrrd"), ("a.mha", "a.npy")], ids=" ".join
)
def test_two_files_for_one_case_stop_everything_and_are_both_named(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    fill(tmp_path, *names, "other.nii")
    with pytest.raises(BadName) as caught:
        find_cases(tmp_path)
    assert all(str(tmp_path / name) in caught.value.detail for name in names)


@pytest.mark.parametrize("name", ["left knee.nii", "_a.nii", "Ω.nii", f"{'a' * 129}.nii", "-x/b.nii"])
def test_a_file_whose_name_no_case_may_have_is_named_with_what_to_do(tmp_path: Path, name: str) -> None:
    fill(tmp_path, name)
    with pytest.raises(BadName, match="Rename the file") as caught:
        find_cases(tmp_path)
    assert str(tmp_path / name) in caught.value.detail


def test_a_file_called_as_the_datasets_own_metadata_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, "zarr.json.nii.gz")
    with pytest.raises(BadName, match="Rename the file") as caught:
        find_cases(tmp_path)
    assert str(tmp_path / "zarr.json.nii.gz") in caught.value.detail


def test_nothing_there_says_what_was_wanted(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no volume files; wanted files ending in .*\.nii"):
        find_cases(fill(tmp_path, "README.md"))
    with pytest.raises(BadInput, match="no such file or folder"):
        find_cases(tmp_path / "nowhere")
    with pytest.raises(BadInput, match="no volume files"):
        find_cases([])


def test_images_pair_by_the_same_name_whatever_their_format(tmp_path: Path) -> None:
    masks = fill(tmp_path / "labels", "a.nii.gz", "s/b.nrrd", "lonely.nii")
    images = fill(tmp_path / "images", "a.mha", "s/b.nii", "unused.nii")
    assert cases(masks, images) == {"a": "a.mha", "s__b": "b.nii", "lonely": None}


def test_images_pair_by_nnunets_first_channel(tmp_path: Path) -> None:
    masks = fill(tmp_path / "labelsTr", "knee_001.nii.gz", "knee_002.nii.gz")
    images = fill(tmp_path / "imagesTr", "knee_001_0000.nii.gz", "knee_002_0001.nii.gz")
    assert cases(masks, images) == {"knee_001": "knee_001_0000.nii.gz", "knee_002": None}


def test_numbers_of_cases_are_not_taken_for_channels(tmp_path: Path) -> None:
    masks = fill(tmp_path / "labels", "liver_0000.nii", "liver_0001.nii", "liver.nii")
    images = fill(tmp_path / "images", "liver_0000.nii", "liver_0001.nii", "liver.nii")
    assert cases(masks, images) == {
        "liver": "liver.nii",
        "liver_0000": "liver_0000.nii",
        "liver_0001": "liver_0001.nii",
    }


def test_several_channel_files_are_refused_by_name(tmp_path: Path) -> None:
    masks = fill(tmp_path / "labels", "brain.nii")
    images = fill(tmp_path / "images", "brain_0000.nii", "brain_0001.nii")
    with pytest.raises(BadInput, match="channels of one image") as caught:
        find_cases(masks, images)
    assert "brain_0000.nii" in caught.value.detail
    assert "brain_0001.nii" in caught.value.detail


def test_images_that_lie_inside_the_masks_folder_are_no_masks(tmp_path: Path) -> None:
    fill(tmp_path, "a.nii", "images/a.nii")
    assert cases(tmp_path, tmp_path / "images") == {"a": "a.nii"}


def test_images_inside_are_found_by_a_link_and_whatever_the_number_of_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks = fill(tmp_path / "masks", "a.nii", "pictures/a.nii", *(f"{n}/b/c.nii" for n in range(50)))
    (tmp_path / "images").symlink_to(masks / "pictures")
    (tmp_path / "labels").symlink_to(masks)
    resolved: list[Path] = []
    resolve = Path.resolve

    def noted(path: Path, strict: bool = False) -> Path:
        resolved.append(path)
        return resolve(path, strict)

    monkeypatch.setattr(Path, "resolve", noted)
    found = cases(tmp_path / "labels", tmp_path / "images")
    assert (len(found), found["a"]) == (51, "a.nii")
    assert len(resolved) < 10


def test_a_folder_that_cannot_be_read_stops_everything_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, "a.nii", "closed/b.nii", ".closed/c.nii")
    scandir = os.scandir

    def guarded(path: str) -> Any:
        if Path(path).name.endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(BadInput, match=r"closed: the folder cannot be read \(Permission denied\)"):
        find_cases(tmp_path)
    (tmp_path / "closed").rename(tmp_path / ".unclosed")
    assert list(cases(tmp_path)) == ["a"]


def test_a_pattern_names_the_masks_of_a_folder(tmp_path: Path) -> None:
    fill(tmp_path, "a_seg.nii", "a_ct.nii", "s1/b_seg.nii", "s2/c_seg.nii.gz", "s2/c_ct.nii")
    for pattern, names in {
        "*_seg.*": ["a_seg", "s1__b_seg", "s2__c_seg"],
        "s?/*_seg.nii": ["s1__b_seg"],
        "[!s]*": ["a_ct", "a_seg", "s1__b_seg", "s2__c_ct", "s2__c_seg"],
    }.items():
        assert [case.case for case in find_cases(tmp_path, pattern=pattern)] == names
    with pytest.raises(BadInput, match=r"no volume files called \*\.mha"):
        find_cases(tmp_path, pattern="*.mha")


PARTS = st.text(alphabet="abcXYZ019._- ", min_size=1, max_size=12).filter(
    lambda part: part not in (".", "..")
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(folders=st.lists(PARTS, max_size=3), stem=PARTS, ending=st.sampled_from([".nii", ".nii.gz", ".NRRD"]))
def test_any_path_gives_the_name_of_the_rule_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, folders: list[str], stem: str, ending: str
) -> None:
    root = tmp_path_factory.mktemp("masks")
    parts = [*folders, stem]
    fill(root, "/".join(parts) + ending)
    if any(part.startswith(".") for part in parts):
        with pytest.raises(BadInput, match="no volume files"):
            find_cases(root)
    elif re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", "__".join(parts)):
        assert [case.case for case in find_cases(root)] == ["__".join(parts)]
    else:
        with pytest.raises(BadName):
            find_cases(root)
