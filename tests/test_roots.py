"""Folders that callers may name: links on both sides, and what a refusal tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmapsvc.errors import BadInput
from dmapsvc.roots import Roots
from dmapsvc.settings import Settings, load_settings


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data/labels").mkdir(parents=True)
    (tmp_path / "database").mkdir()
    (tmp_path / "outside/labels").mkdir(parents=True)
    return tmp_path / "data"


def test_a_root_and_what_lies_below_it_are_allowed(root: Path) -> None:
    roots = Roots([root])
    assert roots.folder(str(root)) == root
    assert roots.folder(f"{root}/labels") == root / "labels"
    assert roots.folder(f"{root}/labels/../labels") == root / "labels/../labels"


@pytest.mark.parametrize("there", [True, False])
def test_a_refusal_does_not_tell_what_exists(root: Path, there: bool) -> None:
    name = "labels" if there else "nothing"
    (root / "link").symlink_to(root.parent / "outside")
    asked = [
        str(root.parent / "outside" / name),
        f"{root}/../outside/{name}",
        f"{root}/link/{name}",
        f"{root}base/{name}",
        f"data/{name}",
        f"{root}/a\0{name}",
        f"{root}/\ud800{name}",
        f"{root}/{'a/' * 3000}{name}",
    ]
    for text in asked:
        with pytest.raises(BadInput) as caught:
            Roots([root]).folder(text)
        assert caught.value.found == f"{text[:200]!r}: not below a folder that this service may read"


def test_what_is_not_there_below_a_root_is_said_to_be_missing(root: Path) -> None:
    for text in (f"{root}/nothing", f"{root}/{'a' * 300}"):
        with pytest.raises(BadInput, match="no such folder"):
            Roots([root]).folder(text)


def test_a_root_may_be_a_link_itself(root: Path) -> None:
    (root.parent / "mount").symlink_to(root)
    (root / "a.nii").touch()
    roots = Roots([root.parent / "mount"])
    assert roots.folder(f"{root}/labels") == root / "labels"
    assert roots.real(root.parent / "mount/a.nii") == str(root / "a.nii")
    assert roots.is_real(str(root / "a.nii"))
    assert not roots.is_real(str(root.parent / "mount/a.nii"))


def test_a_file_is_where_its_links_lead_or_refused(root: Path) -> None:
    (root / "objects").mkdir()
    (root / "objects/17.nii").touch()
    (root / "labels/a.nii").symlink_to("../objects/17.nii")
    (root / "labels/b.nii").symlink_to(root.parent / "outside/b.nii")
    (root / "labels/c.nii").symlink_to("c.nii")
    roots = Roots([root])
    assert roots.real(root / "labels/a.nii") == str(root / "objects/17.nii")
    assert roots.real(root / "labels/b.nii") is None
    assert roots.real(root / "labels/c.nii") == str(root / "labels/c.nii")
    assert not roots.is_real(str(root / "labels/a.nii"))


def test_without_roots_no_folder_is_read(root: Path) -> None:
    with pytest.raises(BadInput, match="DMAPSVC_ROOTS"):
        Roots(Settings().root_folders).folder(str(root))


def test_roots_are_whole_paths() -> None:
    assert load_settings(roots="/data:/mnt/x").root_folders == (Path("/data"), Path("/mnt/x"))
    with pytest.raises(BadInput, match=r"DMAPSVC_ROOTS='/data:labels'; wanted whole paths"):
        load_settings(roots="/data:labels")
