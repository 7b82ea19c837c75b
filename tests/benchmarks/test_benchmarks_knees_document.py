"""The document of the knee benchmark: its tables say what the scores say, and the text around them stays."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.knees import document, tables
from demo import phantom
from dmapsvc.compare import Config
from dmapsvc.compare.contenders import DEFAULT
from dmapsvc.errors import BadFile, NotFound
from dmapsvc.evaluate.measures import Measures
from dmapsvc.evaluate.scores import Score, write_scores
from dmapsvc.report.folder import read_comparison
from dmapsvc.report.metrics import B_DSC
from dmapsvc.train.settings import TrainSettings
from dmapsvc.train.split import Split

ROOT = Path(__file__).parents[2]
SUBJECTS = tuple(f"knee{number:02}" for number in range(31, 41))
BONES = {1: "femur", 2: "tibia", 3: "patella"}
LEVELS = {"penalty-region": 0.62, "cross-entropy": 0.60, "dice": 0.58}


def _score(subject: int, label: int, level: float) -> Score:
    b_dsc = level + 0.01 * label + 0.002 * subject
    values = {field.name: 1.0 for field in dataclasses.fields(Measures)}
    values |= {"g_dsc": 0.95, "b_dsc": b_dsc, "truth_voxels": 9, "predicted_voxels": 9}
    known = {"case": SUBJECTS[subject], "label": label, "name": BONES[label], "unit": "mm", "tolerance": 1.0}
    return Score(**known, **values)  # type: ignore[arg-type]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A benchmark's folder: three contenders of two seeds, a tenth of a percent apart."""
    folder = tmp_path / "out"
    for contender, level in LEVELS.items():
        for seed in range(2):
            run = folder / "comparison" / "runs" / contender / f"seed-{seed}"
            scores = [_score(i, label, level + 0.001 * seed) for i in range(10) for label in BONES]
            write_scores(run / "scores.csv", scores)
            settings = {"select": "b_dsc", "net": "vnet", "lr": level, "steps": 40}
            (run / "settings.json").write_text(json.dumps(settings))
            (run / "history.csv").write_text(
                "step,seconds,loss,lr,g_dsc,b_dsc\n10,60,1,1,,\n20,120,1,1,.5,.4\n30,180,1,1,.5,.3\n"
            )
    figures = folder / "comparison" / "report" / "figures"
    figures.mkdir(parents=True)
    for name in ("figure-3", "figure-3a", "differences", "figure-2", "learning-b-dsc"):
        Image.new("RGB", (9, 6), "teal").save(figures / f"{name}.png")
    told = {"anatomies": {name: f"generated {name}" for name in SUBJECTS}, "shares_anatomies": False}
    (folder / "subjects.json").write_text(json.dumps(told))
    Split(train=("knee01",), test=SUBJECTS).write(folder / "split.json")
    labels, _ = phantom.knee(0, (12, 24, 24))
    for part in ("masks", "images"):
        (folder / part).mkdir()
        for name in SUBJECTS[:4]:
            drawn = labels if part == "masks" else phantom.render(labels, 0)
            phantom.write(folder / part / f"{name}.nii.gz", drawn, np.eye(4))
    return folder


def test_scores_by_bone_are_means_over_seeds_with_their_spread(out: Path) -> None:
    table = tables.bones(read_comparison(out / "comparison" / "runs"))
    rows = {row.split(" | ")[0].strip("| "): row for row in table.splitlines()[2:]}
    assert set(rows) == set(LEVELS)
    patella = 100 * (0.60 + 0.0005 + 0.03 + 0.002 * 4.5)
    spread = 100 * 0.002 * np.std(range(10), ddof=1)
    assert f"{patella:.2f} ± {spread:.2f}" in rows["cross-entropy"]
    assert "**" in rows["penalty-region"]
    assert rows["dice"].endswith(f"| {100 * 0.001 * np.std([0, 1], ddof=1):.2f} |")  # of the seeds


def test_the_penalty_is_tested_against_every_other_contender(out: Path) -> None:
    lines = tables.tests(read_comparison(out / "comparison" / "runs"), B_DSC).splitlines()
    ahead = {line.split(" | ")[1]: [cell.strip("| ") for cell in line.split(" | ")] for line in lines[2:]}
    assert set(ahead) == {"cross-entropy", "dice"}
    assert ahead["cross-entropy"][2] == "+2.00"
    assert ahead["dice"][2] == "+4.00"
    assert ahead["dice"][5] == "0.0020"  # 2 / 2**10: all ten subjects say the same
    assert ahead["dice"][6] == "**0.0039**"  # two comparisons


def test_a_difference_that_other_seeds_may_not_show_is_marked(out: Path) -> None:
    for seed, luck in enumerate((-0.1, 0.1)):
        scores = [_score(i, label, LEVELS["dice"] + luck) for i in range(10) for label in BONES]
        write_scores(out / "comparison" / "runs" / "dice" / f"seed-{seed}" / "scores.csv", scores)
    *_, cross_entropy, dice = tables.tests(read_comparison(out / "comparison" / "runs"), B_DSC).splitlines()
    assert "| **0.0039** |" in cross_entropy
    assert "| **0.0039**† |" in dice


def test_volumes_are_predicted_over_true_voxels(out: Path) -> None:
    scores = [(name, _score(0, label, 0.5)) for name in LEVELS for label in BONES]
    scores[0] = (scores[0][0], dataclasses.replace(scores[0][1], predicted_voxels=18))
    head, _, first, *others = tables.volumes(
        read_comparison(out / "comparison" / "runs"), scores
    ).splitlines()
    assert head == "| predicted / true voxels | femur | tibia | patella |"
    assert first == "| penalty-region | 2.000 | 1.000 | 1.000 |"
    assert all(row.endswith("| 1.000 | 1.000 | 1.000 |") for row in others)


def test_what_was_chosen_is_bold_and_what_failed_has_no_number() -> None:
    rows = [
        {"contender": "dice", "values": "lr=0.1", "score": "0.5", "chosen": "no"},
        {"contender": "dice", "values": "lr=1,batch=2", "score": "0.625", "chosen": "yes"},
        {"contender": "focal", "values": "lr=0.1", "score": "0.4", "chosen": "yes"},
        {"contender": "focal", "values": "lr=1,batch=2", "score": "", "chosen": "no"},
    ]
    assert tables.search(rows).splitlines() == [
        "| validation, % | dice | focal |",
        "| --- | --- | --- |",
        "| lr=0.1 | 50.00 | **40.00** |",
        "| lr=1, batch=2 | **62.50** | \N{EN DASH} |",
    ]


def test_the_budget_is_read_off_the_histories(out: Path) -> None:
    run = out / "comparison" / "runs" / "dice" / "seed-1"
    run.joinpath("history.csv").write_text("step,seconds,b_dsc\n20,60,.2\n40,60,.6\n")
    found = tables.budget(read_comparison(out / "comparison" / "runs")).splitlines()
    assert "| dice | 35 | 30 | 1 of 2 | 1 of 2 | 2 |" in found
    assert "| cross-entropy | 30 | 20 | 2 of 2 | 0 of 2 | 3 |" in found


def test_growth_is_the_best_validation_so_far_and_ended_runs_keep_theirs(out: Path) -> None:
    run = out / "comparison" / "runs" / "dice" / "seed-1"
    run.joinpath("history.csv").write_text("step,seconds,b_dsc\n20,1,.2\n30,1,.6\n40,1,.1\n")
    head, _, *rows = tables.growth(read_comparison(out / "comparison" / "runs")).splitlines()
    assert head == "| validation, %, by step | 10 | 20 | 30 | 40 |"
    assert "| dice | \N{EN DASH} | 30.00 | 50.00 | 50.00 |" in rows
    assert "| cross-entropy | \N{EN DASH} | 40.00 | 40.00 | 40.00 |" in rows


@pytest.mark.parametrize(
    ("anatomies", "shares", "told"),
    [
        (("a", "b"), False, "no two share one"),
        (("a", "a"), True, "**Test subjects are made of anatomies that training subjects are made of"),
        (("a", "b", "b"), False, "no test subject of one that a training"),
    ],
)
def test_the_first_line_says_whether_anatomies_are_shared(
    anatomies: tuple[str, ...], shares: bool, told: str
) -> None:
    names = {str(number): name for number, name in enumerate(anatomies)}
    assert told in tables.anatomies({"anatomies": names, "shares_anatomies": shares})


def test_the_document_is_brought_up_to_date_and_its_text_stays(out: Path, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    committed = (ROOT / "docs" / document.DOCUMENT).read_text()
    (docs / document.DOCUMENT).write_text(committed)
    assert document.main([str(out), "--docs", str(docs)]) == 0
    once = (docs / document.DOCUMENT).read_text()
    assert document.main([str(out), "--docs", str(docs)]) == 0
    assert (docs / document.DOCUMENT).read_text() == once
    assert "The 10 subjects have 10 anatomies" in once.splitlines()[3]
    assert _by_hand(once) == _by_hand(committed)
    with (docs / document.NUMBERS).open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 2 * 10 * 3
    assert {"contender", "run", "case", "name", "b_dsc"} <= set(rows[0])
    with Image.open(docs / "figures" / "knees" / "figure-3.png") as figure:
        assert (figure.mode, figure.size) == ("P", (9, 6))
        assert figure.convert("RGB").getpixel((4, 3)) == (0, 128, 128)
    assert not (docs / "figures" / "knees" / "figure-3a.png").exists()  # the document does not show it
    assert (docs / "figures" / "knees" / "subjects.png").read_bytes().startswith(b"\x89PNG")


def test_a_benchmark_that_is_not_through_makes_no_document(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / document.DOCUMENT).write_text((ROOT / "docs" / document.DOCUMENT).read_text())
    (out / "comparison" / "runs" / "dice" / "seed-1" / "scores.csv").unlink()
    assert document.main([str(out), "--docs", str(docs)]) == 2
    told = capsys.readouterr().err
    assert "dice/seed-1" in told
    assert "Run the benchmark's command once more" in told
    assert not (docs / document.NUMBERS).exists()
    Split(train=("knee01",), test=(*SUBJECTS, "knee99")).write(out / "split.json")
    assert document.main([str(out), "--docs", str(docs)]) == 2
    assert "knee99" in capsys.readouterr().err


def _by_hand(text: str) -> list[str]:
    """The document without what stands between markers."""
    kept, inside = [], False
    for line in text.splitlines():
        inside = inside and not line.startswith("<!-- end")
        if not inside:
            kept.append(line)
        inside = inside or line.startswith("<!-- begin")
    return kept


def test_a_figure_that_is_shown_but_was_not_drawn_is_told_before_anything_is_written(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    committed = (ROOT / "docs" / document.DOCUMENT).read_text()
    (docs / document.DOCUMENT).write_text(committed)
    for name in ("figure-2", "differences"):
        (out / "comparison" / "report" / "figures" / f"{name}.png").unlink()
    assert document.main([str(out), "--docs", str(docs)]) == 2
    assert "without differences.png, figure-2.png" in capsys.readouterr().err
    assert [path.name for path in docs.iterdir()] == [document.DOCUMENT]
    assert (docs / document.DOCUMENT).read_text() == committed


def test_a_document_without_a_place_is_told(out: Path, tmp_path: Path) -> None:
    (tmp_path / document.DOCUMENT).write_text("# The knee benchmark\n")
    with pytest.raises(BadFile, match="no place for anatomies"):
        document.write(out, tmp_path)
    with pytest.raises(NotFound, match="nowhere"):
        document.write(tmp_path / "nowhere", tmp_path)


@pytest.mark.parametrize("name", ["cpu.toml", "gpu.toml"])
def test_both_sizes_are_comparisons_that_can_run(name: str) -> None:
    config = Config.from_toml(ROOT / "benchmarks" / "knees" / name)
    assert config.contenders == DEFAULT
    assert len(config.contenders) == 8
    assert config.seeds >= 5
    TrainSettings(location="knees.zarr", out=Path("out"), **config.train)
    for values in config.search.values():
        assert len(values) > 1
