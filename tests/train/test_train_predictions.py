"""A folder of predictions: the right labels on the right grid, gone on with, and never mixed with others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from dmapsvc.errors import BadFile, BadInput, BadName, Conflict, NotFound
from dmapsvc.evaluate.cleaning import clean
from dmapsvc.evaluate.evaluation import evaluate
from dmapsvc.evaluate.manifest import read_manifest
from dmapsvc.loader.source import LocalSource
from dmapsvc.maps import quantised_map
from dmapsvc.spec import MapSpec
from dmapsvc.store import Dataset
from dmapsvc.train import Checkpoint, RunFolder, VNet, predictor
from dmapsvc.train.images import DatasetImages, WholeImage
from dmapsvc.train.predict import read_case, segment
from dmapsvc.train.predictions import predict
from dmapsvc.train.split import Split
from dmapsvc.volumes import read_labels
from tests.train.train_runs import tiny

_CLASSES = (0, 4, 900)


@pytest.fixture
def oblique(tmp_path: Path) -> Dataset:
    """Three cases on an oblique grid, with labels 4 and 900."""
    dataset = Dataset.create(tmp_path / "oblique.zarr", MapSpec(), names={4: "bright"})
    for number, case in enumerate("abc"):
        random = np.random.default_rng(number)
        labels = np.zeros((20, 18, 22), np.uint16)
        labels[3:15, 3:9, 4:18], labels[3:15, 11:16, 4:18] = 4, 900
        image = (np.sign(labels) * 200 + random.normal(100, 40, labels.shape)).astype(np.int16)
        grid: dict[str, Any] = {"spacing": (2.0, 0.5, 0.5), "affine": _AFFINE}
        dataset.publish(
            case,
            label=labels,
            phi=quantised_map(labels, spec=dataset.spec, backend="scipy"),
            mask_sha256=f"{number:064x}",
            **grid,
        )
        dataset.publish_image(case, image, sha256=f"{number:064x}", **grid)
    return dataset


_AFFINE = np.array([[-0.5, 0, 0, 11], [0, 0, -2.0, 7], [0, 0.5, 0, -3], [0, 0, 0, 1]])


@pytest.fixture
def run(oblique: Dataset, tmp_path: Path) -> RunFolder:
    """A run whose network has its first weights: it says something of every voxel, and learnt nothing."""
    folder = RunFolder(tmp_path / "run")
    folder.prepare()
    _save(folder, seed=0)
    folder.write_split(Split(train=("a",), valid=(), test=("b", "c")))
    return folder


def _save(folder: RunFolder, *, seed: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = VNet(classes=3, width=2)
    Checkpoint(
        step=seed + 1,
        classes=_CLASSES,
        names={},
        spec=MapSpec(),
        channels=1,
        settings={"net": "vnet", "width": 2, "patch": [16, 16, 16], "precision": "auto"},
        processes=1,
        model=net.state_dict(),
        patches={},
        optimizer={},
        scaler={},
        history={},
    ).save(folder.last)


def test_the_files_have_the_datasets_labels_on_the_masks_grid(
    run: RunFolder, oblique: Dataset, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "predictions"
    heard: list[tuple[int, int, str]] = []
    parts: list[float] = []
    ended = predict(
        run.path,
        oblique.path,
        out,
        on_case=lambda *news: heard.append(news),
        on_progress=lambda done, total, case: parts.append(done),
    )
    assert parts == sorted(parts)
    assert 0 < parts[0] < 1
    assert parts[-1] == 2
    assert (ended.done, ended.skipped, ended.failed) == (("b", "c"), (), ())
    assert heard == [(1, 2, "b"), (2, 2, "c")]
    assert sorted(file.name for file in out.iterdir()) == ["b.nii.gz", "c.nii.gz", "predictions.json"]
    case = read_case(LocalSource(oblique.path), "b", classes=_CLASSES)
    classes = segment(run.checkpoint().network(), case.image, patch=(16, 16, 16))
    assert len(np.unique(classes)) > 1
    volume = read_labels(out / "b.nii.gz")
    assert np.array_equal(volume.array, np.array(_CLASSES)[classes])
    assert np.array_equal(np.asarray(volume.header.affine), _AFFINE)
    picture: Any = nib.load(out / "b.nii.gz")
    assert picture.shape == (22, 18, 20)
    assert picture.header.get_xyzt_units()[0] == "mm"
    assert evaluate(oblique.path, out, jobs=1).failed == ()


def test_a_second_run_goes_on_and_adds_cases(run: RunFolder, oblique: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "predictions"
    predict(run.path, oblique.path, out)
    (out / "b.nii.gz").unlink()
    before = (out / "c.nii.gz").stat().st_mtime_ns
    again = predict(run.path, oblique.path, out)
    assert (again.done, again.skipped) == (("b",), ("c",))
    assert predict(run.path, oblique.path, out, cases="train").done == ("a",)
    assert predict(run.path, oblique.path, out, cases="all").skipped == ("a", "b", "c")
    assert (out / "c.nii.gz").stat().st_mtime_ns == before
    manifest = read_manifest(out)
    assert manifest is not None
    assert manifest.cases == ("a", "b", "c")
    assert predict(run.path, oblique.path, out, cases=["c"], replace=True).done == ("c",)


def test_other_weights_or_another_cleaning_never_mix(
    run: RunFolder, oblique: Dataset, tmp_path: Path
) -> None:
    out = tmp_path / "predictions"
    predict(run.path, oblique.path, out)
    with pytest.raises(Conflict, match="made with closing 0; these are to be made with 1"):
        predict(run.path, oblique.path, out, closing=1)
    other = shutil.copytree(oblique.path, tmp_path / "knees.zarr")
    with pytest.raises(Conflict, match="made with images oblique; these are to be made with knees"):
        predict(run.path, other, out)
    assert sorted(file.name for file in out.iterdir()) == ["b.nii.gz", "c.nii.gz", "predictions.json"]
    _save(run, seed=7)
    with pytest.raises(Conflict, match="made with step 1"):
        predict(run.path, oblique.path, out)
    first = (out / "b.nii.gz").read_bytes()
    assert predict(run.path, oblique.path, out, replace=True).done == ("b", "c")
    assert (out / "b.nii.gz").read_bytes() != first
    labels = tmp_path / "labels"
    labels.mkdir()
    shutil.copy(out / "b.nii.gz", labels)
    with pytest.raises(Conflict, match=r"b\.nii\.gz: is there already; .*says nothing of it"):
        predict(run.path, oblique.path, labels)
    assert [file.name for file in labels.iterdir()] == ["b.nii.gz"]


def test_what_replacing_left_undone_is_not_taken_for_done(
    run: RunFolder, oblique: Dataset, tmp_path: Path
) -> None:
    out = tmp_path / "predictions"
    predict(run.path, oblique.path, out, cases="all")

    def stop(done: int, total: int, case: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(run.path, oblique.path, out, cases="all", closing=1, replace=True, on_case=stop)
    assert predict(run.path, oblique.path, out, cases="all", closing=1).done == ("b", "c")
    assert predict(run.path, oblique.path, out, cases=["c"], closing=1, replace=True).done == ("c",)
    manifest = read_manifest(out)
    assert manifest is not None
    assert manifest.cases == ("a", "b", "c"), "the same weights and cleaning: those before are still right"


def test_replacing_some_by_other_weights_leaves_none_of_the_old_beside_them(
    run: RunFolder, oblique: Dataset, tmp_path: Path
) -> None:
    out = tmp_path / "predictions"
    predict(run.path, oblique.path, out, cases="all")
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    with pytest.raises(Conflict, match=r"predictions of b, c that were made otherwise"):
        predict(run.path, oblique.path, out, cases=["a"], closing=1, replace=True)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    for case in "bc":
        (out / f"{case}.nii.gz").unlink()
    assert predict(run.path, oblique.path, out, cases=["a"], closing=1, replace=True).done == ("a",)
    manifest = read_manifest(out)
    assert manifest is not None
    assert manifest.cases == ("a",)


def test_one_at_a_time_predicts_into_a_folder(run: RunFolder, oblique: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "predictions"

    def another(done: int, total: int, case: str) -> None:
        with pytest.raises(Conflict, match="another prediction is at work there"):
            predict(run.path, oblique.path, out, replace=True)
        (score, *_) = evaluate(oblique.path, out, cases=[case], jobs=1).scores  # what is there can be used
        assert score.case == case

    assert predict(run.path, oblique.path, out, cases=["b"], on_case=another).done == ("b",)
    assert sorted(file.name for file in out.iterdir()) == ["b.nii.gz", "predictions.json"]


def test_cleaning_is_done_on_classes(run: RunFolder, oblique: Dataset, tmp_path: Path) -> None:
    plain, cleaned = tmp_path / "plain", tmp_path / "cleaned"
    predict(run.path, oblique.path, plain, cases=["b"])
    predict(run.path, oblique.path, cleaned, cases=["b"], closing=1, components=2)
    found = read_labels(plain / "b.nii.gz").array.astype(np.uint16)
    wanted = clean(found, closing=1, components=2)
    assert not np.array_equal(wanted, found)
    assert np.array_equal(read_labels(cleaned / "b.nii.gz").array, wanted)


def test_image_files_give_what_the_dataset_gives(run: RunFolder, oblique: Dataset, tmp_path: Path) -> None:
    images, out = tmp_path / "images", tmp_path / "predictions"
    images.mkdir()
    for case in "bc":
        stored = oblique.case(case).read("image")
        nib.save(nib.Nifti1Image(stored.T, _AFFINE), images / f"{case}_0000.nii.gz")
    predict(run.path, oblique.path, tmp_path / "wanted")
    assert predict(run.path, images, out).done == ("b", "c")
    for case in "bc":
        one, other = (read_labels(folder / f"{case}.nii.gz") for folder in (tmp_path / "wanted", out))
        assert np.array_equal(one.header.affine, other.header.affine)  # type: ignore[arg-type]
        assert (
            one.array == other.array
        ).mean() > 0.999  # the store's reader may round once where NumPy does twice
    nib.save(nib.Nifti1Image(stored.T, _AFFINE), images / "c_0001.nii.gz")
    with pytest.raises(BadInput, match=r"c_0001\.nii\.gz is a channel of an image"):
        predict(run.path, images, out)
    (images / "c_0001.nii.gz").rename(images / "c.nii.gz")
    with pytest.raises(BadName, match=r"c\.nii\.gz and \S*c_0000\.nii\.gz are images of one case"):
        predict(run.path, images, out)


def test_a_case_that_cannot_be_predicted_costs_no_other(
    run: RunFolder, oblique: Dataset, tmp_path: Path
) -> None:
    (oblique.path / "b" / "image" / "0" / "c" / "0" / "0" / "0").write_bytes(b"damaged")
    ended = predict(run.path, oblique.path, tmp_path / "out", cases=["b", "c"])
    assert ended.done == ("c",)
    assert [(case, problem.status) for case, problem in ended.failed] == [("b", 500)]
    two = np.zeros((2, 8, 8, 8), np.float32)
    np.save(tmp_path / "two.npy", two)
    wrong = predict(run.path, tmp_path / "two.npy", tmp_path / "other")
    assert "has 2 channels" in wrong.failed[0][1].detail


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (MemoryError(), 413, "case 'b': MemoryError. Take a device or a machine with more memory."),
        (OSError(5, "Input/output error"), 500, "case 'b': Input/output error. Look at its disk."),
    ],
)
def test_an_image_that_cannot_be_read_costs_no_other(
    run: RunFolder,
    oblique: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    status: int,
    says: str,
) -> None:
    real = DatasetImages.read

    def read(images: DatasetImages, case: str) -> WholeImage:
        if case == "b":
            raise error
        return real(images, case)

    monkeypatch.setattr(DatasetImages, "read", read)
    ended = predict(run.path, oblique.path, tmp_path / "out")
    assert ended.done == ("c",)
    assert [(case, problem.status, problem.detail) for case, problem in ended.failed] == [("b", status, says)]


def test_what_was_asked_wrong_is_told_before_anything_is_written(
    run: RunFolder, oblique: Dataset, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(BadInput, match="no case is in valid"):
        predict(run.path, oblique.path, out, cases="valid")
    with pytest.raises(BadInput, match="cases 'tests'"):
        predict(run.path, oblique.path, out, cases="tests")
    for name in ("x", "../b"):
        with pytest.raises(NotFound, match=f"oblique: there is no case {name}"):
            predict(run.path, oblique.path, out, cases=["b", name])
    shutil.copytree(run.path, tmp_path / "other")
    Split(train=("b",), test=("x", "y")).write(tmp_path / "other" / "split.json")
    with pytest.raises(NotFound, match=r"oblique: without the run.s test cases, x, y\. Name the dataset"):
        predict(tmp_path / "other", oblique.path, out)
    with pytest.raises(BadInput, match="components -1"):
        predict(run.path, oblique.path, out, components=-1)
    with pytest.raises(BadInput, match="overlap"):
        predict(run.path, oblique.path, out, overlap=1.0)
    with pytest.raises(BadFile, match=r"none: no run folder, so no last\.pt"):
        predict(tmp_path / "none", oblique.path, out)
    assert not out.exists()
    out.mkdir()
    (out / "predictions.json").write_text(json.dumps(["b"]))
    with pytest.raises(BadFile, match=r"predictions\.json: cannot be read"):
        predict(run.path, oblique.path, out)


def test_only_short_memory_is_told_as_short_memory(
    run: RunFolder, oblique: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(error: Exception) -> Callable[..., None]:
        def segment(*_: object, **__: object) -> None:
            raise error

        return segment

    for number, error in enumerate(
        (
            MemoryError(),
            RuntimeError("DefaultCPUAllocator: can't allocate memory"),
            torch.OutOfMemoryError("no"),
        )
    ):
        monkeypatch.setattr(predictor, "segment", fails(error))
        ended = predict(run.path, oblique.path, tmp_path / str(number), cases=["b"])
        assert [problem.status for _, problem in ended.failed] == [413]
        assert "more memory" in ended.failed[0][1].detail
    monkeypatch.setattr(
        predictor, "segment", fails(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    )
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        predict(run.path, oblique.path, tmp_path / "other", cases=["b"])


def test_the_run_of_a_training_predicts(split_dataset: Dataset, tmp_path: Path) -> None:
    from dmapsvc.train import train

    folder = train(tiny(split_dataset, steps=1))
    ended = predict(folder.path, split_dataset.path, tmp_path / "out")
    assert set(ended.done) == set(Split.read(folder.split).test)
    assert ended.failed == ()
