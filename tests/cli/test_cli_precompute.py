"""A folder of masks, from the command line to pictures, without a service."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from obstore.store import S3Store

from tests.cli.cli_run import Run
from tests.cli.conftest import save_nifti
from tests.store import shelf

QUICK = ("--backend", "scipy")


def test_a_folder_becomes_a_dataset(cli: Callable[..., Run], masks: Path, tmp_path: Path) -> None:
    store = tmp_path / "knees.zarr"
    names = "5=femur,6=tibia"
    run = cli(
        "precompute",
        masks,
        store,
        "--images",
        tmp_path / "images",
        "--labels",
        "5,6",
        "--names",
        names,
        *QUICK,
    )
    assert run.code == 0, run.err
    assert run.err.splitlines()[-1] == (
        "no image for 1 case: sub__c; looked for files called sub__c or sub__c_0000"
    )
    header, *rows, pace, counts = run.out.splitlines()
    columns = "case state shape z,y,x largest distances (voxels) seconds backend"
    assert header.split() == columns.split()
    assert [row.split()[0] for row in rows] == ["a", "b", "sub__c"]
    assert all(
        "12, 20, 24" in row and "femur: 3" in row and "read " in row and "scipy" in row for row in rows
    )
    assert re.fullmatch(
        r"3 cases in [\d.]+ s: [\d.]+ cases/s, [\d.]+ MB/s of Φ \(16 bits a voxel\); "
        r"read [\d.]+, map [\d.]+, publish [\d.]+ s in \d+ lanes",
        pace,
    )
    assert counts == f"{store}: 3 done, 0 there already, 0 failed"

    again = cli("precompute", masks, store, "--images", tmp_path / "images", "--labels", "5,6", *QUICK)
    assert again.code == 0
    assert again.out.splitlines()[-1] == f"{store}: 0 done, 3 there already, 0 failed"


def test_files_are_cases_too(cli: Callable[..., Run], masks: Path, tmp_path: Path) -> None:
    run = cli("precompute", masks / "a.nii.gz", masks / "b.nii.gz", tmp_path / "knees.zarr", *QUICK)
    assert run.code == 0
    assert run.out.splitlines()[-1].endswith("2 done, 0 there already, 0 failed")


def test_a_bad_file_among_good_ones_is_listed_at_the_end(
    cli: Callable[..., Run], masks: Path, tmp_path: Path
) -> None:
    (masks / "ab.nii.gz").write_text("no volume")
    run = cli("precompute", masks, tmp_path / "knees.zarr", *QUICK)
    assert run.code == 1
    assert run.err.splitlines()[-1].startswith("error: ")
    assert "ab.nii.gz" in run.err.splitlines()[-1]
    assert "Traceback" not in run.err
    assert run.out.splitlines()[-1].endswith("3 done, 0 there already, 1 failed")


def test_a_dataset_that_got_no_case_is_not_left_behind(
    cli: Callable[..., Run], masks: Path, tmp_path: Path
) -> None:
    save_nifti(tmp_path / "half.nii.gz", np.full((4, 4, 4), 1.5, np.float32))
    store = tmp_path / "knees.zarr"
    before = sorted(tmp_path.iterdir())
    assert cli("precompute", tmp_path / "half.nii.gz", store, *QUICK).code == 2
    assert sorted(tmp_path.iterdir()) == before
    assert cli("precompute", masks / "a.nii.gz", store, *QUICK).code == 0
    assert cli("precompute", tmp_path / "half.nii.gz", store, *QUICK).code == 2
    assert cli("check", store).out == "1 case sound\n"


def test_what_many_cases_share_is_told_once_and_masks_without_labels_are_counted(
    cli: Callable[..., Run], masks: Path, tmp_path: Path
) -> None:
    save_nifti(masks / "d.nii.gz", np.full((24, 20, 12), 7, np.uint8))
    run = cli("precompute", masks, tmp_path / "knees.zarr", "--labels", "7", *QUICK)
    assert run.code == 0
    assert "Label 7 is not in the mask, which has 5 and 6. (3 cases)" in run.err.splitlines()
    assert run.out.splitlines()[-1].endswith(
        "4 done, 0 there already, 0 failed; 3 cases have no label at all"
    )


def test_labels_that_no_mask_has_are_an_error_that_says_what_there_is(
    cli: Callable[..., Run], masks: Path, tmp_path: Path
) -> None:
    """Each time: that the cases are published does not make it right."""
    store = tmp_path / "knees.zarr"
    for _ in range(2):
        run = cli("precompute", masks, store, "--labels", "1,7", *QUICK)
        assert (run.code, run.err.splitlines()[-1]) == (
            1,
            "error: no mask has any of the labels 1,7; a has 5,6. "
            f"Name its labels with --labels, and another dataset than {store}, or remove that folder first.",
        )
    part = cli("precompute", masks, tmp_path / "part.zarr", "--labels", "7", "--shard", "1/2", *QUICK)
    assert part.code == 0, "other parts may have it"


def test_images_that_go_with_no_mask_are_counted(
    cli: Callable[..., Run], masks: Path, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    (images / "a.nii.gz").rename(images / "a_img.nii.gz")
    (images / "b.nii.gz").rename(images / "b_img.nii.gz")
    run = cli("precompute", masks, tmp_path / "knees.zarr", "--images", images, *QUICK)
    assert run.err.splitlines()[-2:] == [
        "no image for 3 cases: a, b, sub__c; looked for files called a or a_0000",
        f"2 image files left unused, the first {images / 'a_img.nii.gz'}: no mask is called so",
    ]


def test_another_spec_is_told_in_the_words_of_the_options(
    cli: Callable[..., Run], masks: Path, tmp_path: Path
) -> None:
    store = tmp_path / "knees.zarr"
    cli("precompute", masks, store, "--labels", "5,6", *QUICK)
    other = cli("precompute", masks, store, "--units", "mm", *QUICK)
    assert other.code == 2
    assert "labels 5,6 in voxel" in other.error
    assert "all labels in mm" in other.error


def test_another_mask_needs_replace(cli: Callable[..., Run], masks: Path, tmp_path: Path) -> None:
    store = tmp_path / "knees.zarr"
    mask = masks / "a.nii.gz"
    assert cli("precompute", mask, store, *QUICK).code == 0
    save_nifti(mask, np.ones((4, 4, 4), np.uint8))
    refused = cli("precompute", mask, store, *QUICK)
    assert refused.code == 2
    assert "--replace" in refused.error
    assert cli("precompute", mask, store, "--replace", *QUICK).code == 0
    assert json.loads(cli("info", store, "a", "--json").out)["shape"] == [4, 4, 4]


def test_info_view_and_check_of_a_dataset(cli: Callable[..., Run], masks: Path, tmp_path: Path) -> None:
    store = tmp_path / "knees.zarr"
    cli("precompute", masks, store, "--labels", "5,6", "--names", "5=femur", *QUICK)

    dataset = cli("info", store)
    assert (dataset.code, dataset.err) == (0, "")
    fields = dict(line.split(maxsplit=1) for line in dataset.out.partition("\n\n")[0].splitlines())
    assert fields == {"dataset": "knees", "labels": "5,6", "units": "voxel", "names": "5=femur", "cases": "3"}

    case = cli("info", store, "b")
    assert "0.007812 voxels (of the stored 16-bit values)" in case.out
    assert "largest distance (voxels)" in case.out
    regions = [line.split() for line in case.out.partition("\n\n")[2].splitlines()[1:]]
    assert [(row[0], row[1], row[2]) for row in regions[:2]] == [
        ("0", "background", str(24 * 20 * 12 - 9 * 48 - 5 * 48)),
        ("5", "femur", str(9 * 8 * 6)),
    ]

    whole = json.loads(cli("info", store, "--json").out)
    assert (whole["name"], sorted(whole["cases"])) == ("knees", ["a", "b", "sub__c"])
    assert whole["cases"]["a"]["regions"][1]["value"] == 5

    missing = cli("info", store, "d")
    assert missing.code == 2
    assert "`dmapsvc info` lists the cases" in missing.error

    picture = tmp_path / "b.png"
    view = cli("view", store, "b", "-o", picture, "--axis", "x", "--index", "8")
    assert (view.code, view.out, view.err) == (0, f"{picture}\n", "")
    assert picture.read_bytes().startswith(b"\x89PNG")
    outside = cli("view", store, "b", "-o", picture, "--axis", "z", "--index", "12")
    assert outside.code == 2
    assert "slice 12" in outside.error

    sound = cli("check", store)
    assert (sound.code, sound.out, sound.err) == (0, "3 cases sound\n", "")


def test_check_finds_damage(cli: Callable[..., Run], masks: Path, tmp_path: Path) -> None:
    store = tmp_path / "knees.zarr"
    cli("precompute", masks, store, *QUICK)
    shard = max(
        (store / "b" / "phi").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0
    )
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 0xFF
    shard.write_bytes(data)
    run = cli("check", store)
    assert run.code == 1
    assert run.err.startswith("b: ")
    assert run.out == "2 cases sound, 1 damaged\n"
    assert cli("check", store, "a").out == "1 case sound\n"


def test_a_pipe_gets_plain_lines(masks: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dmapsvc", "precompute", str(masks), str(tmp_path / "k.zarr"), *QUICK]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "\x1b" not in run.stdout + run.stderr
    assert sorted(run.stderr.splitlines()) == ["a: done", "b: done", "sub__c: done"]


def test_what_needs_more_than_the_memory_budget_is_refused_by_its_header(
    cli: Callable[..., Run], masks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(tmp_path.iterdir())
    store = tmp_path / "knees.zarr"
    monkeypatch.setenv("DMAPSVC_MEMORY_BUDGET", "1000")
    single = cli("precompute", masks / "a.nii.gz", store, *QUICK)
    assert single.code == 2
    assert single.error.startswith("error: a.nii.gz: 5,760 voxels need about 0.33 MiB; ")
    assert "DMAPSVC_MEMORY_BUDGET" in single.error
    assert sorted(tmp_path.iterdir()) == before

    monkeypatch.setenv("DMAPSVC_MEMORY_BUDGET", str(60 * 5760))  # just enough for each of these
    save_nifti(masks / "large.nii.gz", np.ones((30, 30, 30), np.uint8))
    folder = cli("precompute", masks, store, *QUICK)
    assert folder.code == 1
    assert folder.out.splitlines()[-1].endswith("3 done, 0 there already, 1 failed")
    assert folder.err.splitlines()[-1].startswith("error: large.nii.gz: 27,000 voxels ")


def test_an_image_over_the_memory_budget_is_refused_too(
    cli: Callable[..., Run], masks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = tmp_path / "channels"
    save_nifti(images / "a.nii.gz", np.zeros((24, 20, 12, 20), np.float64))
    monkeypatch.setenv("DMAPSVC_MEMORY_BUDGET", str(60 * 5760))
    run = cli("precompute", masks / "a.nii.gz", tmp_path / "knees.zarr", "--images", images, *QUICK)
    assert run.code == 1
    assert "5,760 voxels of 20 channels" in run.err.splitlines()[-1]


def test_a_case_whose_image_does_not_fit_is_done_and_its_image_is_listed(
    cli: Callable[..., Run], masks: Path, tmp_path: Path
) -> None:
    save_nifti(tmp_path / "images" / "a.nii.gz", np.zeros((5, 4, 3), np.int16))
    store = tmp_path / "knees.zarr"
    command = ("precompute", masks / "a.nii.gz", store, "--images", tmp_path / "images", *QUICK)
    for state, counts in (
        ("done", "1 done, 0 there already, 1 failed"),
        ("there already", "0 done, 1 there already, 1 failed"),
    ):
        run = cli(*command)
        assert run.code == 1
        row = run.out.splitlines()[1]
        assert row.startswith(f"a     {state}")
        assert run.out.splitlines()[-1] == f"{store}: {counts}"
        assert "image" in run.err.splitlines()[-1]
    assert cli("check", store).out == "1 case sound\n"


def test_a_place_that_cannot_be_written_is_one_line(
    cli: Callable[..., Run], masks: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    run = cli("precompute", masks, tmp_path / "file" / "knees.zarr", *QUICK)
    assert run.code == 2
    assert run.error.startswith(f"error: {tmp_path / 'file' / 'knees.zarr'}: the dataset cannot be made")


def test_a_spacing_that_is_none_is_found_before_anything_is_made(
    cli: Callable[..., Run], masks: Path, tmp_path: Path
) -> None:
    before = sorted(tmp_path.iterdir())
    run = cli("precompute", masks, tmp_path / "knees.zarr", "--spacing", "1,2,-3", *QUICK)
    assert run.code == 2
    assert "three positive lengths" in run.error
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_becomes_a_dataset_in_a_bucket(
    cli: Callable[..., Run], masks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = "s3://shelf/lab/knees.zarr"
    with shelf.moto() as endpoint:
        shelf.use(monkeypatch, endpoint, "shelf")
        run = cli("precompute", masks, store, "--images", tmp_path / "images", *QUICK)
        assert run.code == 0, run.err
        assert run.out.splitlines()[-1] == f"{store}: 3 done, 0 there already, 0 failed"
        again = cli("precompute", masks, store, *QUICK)
        assert again.out.splitlines()[-1] == f"{store}: 0 done, 3 there already, 0 failed"
        assert (cli("check", store).code, cli("check", store).out) == (0, "3 cases sound\n")
        bucket = S3Store("shelf", client_options={"allow_http": True})
        bucket.put("lab/knees.zarr/a/phi/0/c/0/0/0", b"?")
        damaged = cli("check", store)
        assert (damaged.code, damaged.out) == (1, "2 cases sound, 1 damaged\n")
        assert cli("precompute", masks, "s3://attic/knees.zarr", *QUICK).code == 1
