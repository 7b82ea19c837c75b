"""Figure 2 shows the distance from the truth's surface, of a subject and of runs in the middle."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from dmapsvc.errors import BadInput, GridMismatch
from dmapsvc.evaluate.scores import write_scores
from dmapsvc.report.errormaps import error_figure, error_maps
from dmapsvc.report.folder import read_comparison
from dmapsvc.report.plots import LIGHT
from tests.report.synthetic import score

SPACING = 2.0
SHAPE = (20, 24, 22)


def write_box(path: Path, grown: int, shape: tuple[int, int, int] = SHAPE) -> None:
    """A box of label 1, `grown` voxels larger on each side, as NIfTI."""
    labels = np.zeros(shape, dtype=np.uint8)
    labels[6 - grown : 14 + grown, 7 - grown : 16 + grown, 6 - grown : 15 + grown] = 1
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(labels.transpose(2, 1, 0), np.diag([SPACING] * 3 + [1.0])), path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two contenders with three runs each in three subjects; run and subject 1 are in the middle."""
    for contender, grown in (("exact", 0), ("grown", 2)):
        for run, luck in enumerate((0.0, 0.1, 0.2)):
            home = tmp_path / "runs" / contender / f"run-{run}"
            rows = [score(f"s{n}", 1, "box", 0.3 + 0.1 * n + luck) for n in range(3)]
            write_scores(home / "scores.csv", rows)
            for n in range(3):
                write_box(home / "predictions" / f"s{n}.nii.gz", grown)
    for n in range(3):
        write_box(tmp_path / "truth" / f"s{n}.nii.gz", 0)
    return tmp_path


def test_the_errors_are_distances_in_mm(folder: Path) -> None:
    comparison = read_comparison(folder / "runs")
    maps = error_maps(comparison, folder / "truth")
    assert maps is not None
    exact, grown = maps.maps
    assert (maps.unit, maps.subject) == ("mm", "s1")
    assert (exact.contender, exact.run, grown.contender) == ("exact", "run-1", "grown")
    assert exact.mean == 0
    assert grown.mean == pytest.approx(2 * SPACING)  # the nearest point of a parallel face
    for found, seen in zip(grown.colours, maps.looks, strict=True):
        assert found.shape == (len(seen.points),)
        assert found == pytest.approx(2 * SPACING)


def test_the_figure_has_a_panel_a_side_a_contender_and_a_named_scale(folder: Path) -> None:
    comparison = read_comparison(folder / "runs")
    maps = error_maps(comparison, folder / "truth")
    assert maps is not None
    figure = error_figure(comparison, maps, LIGHT)
    panels = [axes for axes in figure.axes if axes.images]
    assert [axes.get_xlabel() for axes in panels] == ["front", "right", "back"] * 2
    assert any("(mm)" in axes.get_xlabel() for axes in figure.axes)
    assert [cell.get_suptitle() for cell in figure.subfigs[:2]] == [
        "exact   mean 0.00 mm, truth → prediction",
        "grown   mean 4.00 mm, truth → prediction",
    ]
    picture = np.asarray(panels[0].images[0].get_array())
    assert set(np.unique(picture[..., 3])) == {0.0, 1.0}
    right = np.asarray(panels[3].images[0].get_array())
    assert picture[picture[..., 3] > 0][:, :3].mean() > right[right[..., 3] > 0][:, :3].mean() + 0.2  # darker


def test_a_contender_without_predictions_is_not_drawn(folder: Path) -> None:
    for path in (folder / "runs" / "grown").rglob("*.nii.gz"):
        path.unlink()
        (path.parent / "predictions.json").write_text("{}")
    maps = error_maps(read_comparison(folder / "runs"), folder / "truth")
    assert maps is not None
    assert [found.contender for found in maps.maps] == ["exact"]
    for path in (folder / "runs" / "exact").rglob("*.nii.gz"):
        path.unlink()
    assert error_maps(read_comparison(folder / "runs"), folder / "truth") is None


def test_a_subject_that_cannot_be_drawn_gives_way_to_the_next(folder: Path) -> None:
    (folder / "truth" / "s1.nii.gz").unlink()
    maps = error_maps(read_comparison(folder / "runs"), folder / "truth")
    assert maps is not None
    assert maps.subject == "s2"
    for n in (0, 2):
        (folder / "truth" / f"s{n}.nii.gz").rename(folder / "truth" / f"other{n}.nii.gz")
    with pytest.raises(BadInput, match="no subject has a truth"):
        error_maps(read_comparison(folder / "runs"), folder / "truth")


def test_a_subject_with_an_empty_truth_gives_way_to_one_beside_it(folder: Path) -> None:
    write_box(folder / "truth" / "s1.nii.gz", -5)
    maps = error_maps(read_comparison(folder / "runs"), folder / "truth")
    assert maps is not None
    assert maps.subject == "s0"
    for n in (0, 2):
        write_box(folder / "truth" / f"s{n}.nii.gz", -5)
    with pytest.raises(BadInput, match="a truth that is not empty"):
        error_maps(read_comparison(folder / "runs"), folder / "truth")


def test_another_grid_is_an_error_that_names_both(folder: Path) -> None:
    for path in (folder / "runs" / "grown").rglob("s1.nii.gz"):
        write_box(path, 1, (20, 24, 23))
    with pytest.raises(GridMismatch, match=r"s1\.nii\.gz.*the truth of s1"):
        error_maps(read_comparison(folder / "runs"), folder / "truth")
