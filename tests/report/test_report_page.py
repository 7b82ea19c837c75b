"""The report as a whole: one page with everything in it, figures and tables as files, and the command."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest

from dmapsvc.cli import main
from dmapsvc.errors import BadInput, Conflict
from dmapsvc.report import write_report
from dmapsvc.report.folder import read_comparison
from dmapsvc.report.metrics import B_DSC, METRICS
from dmapsvc.report.paper import NUMBERS
from dmapsvc.report.reportfolder import FIGURES
from dmapsvc.report.tables import number, p_value, settings_table, signed
from tests.loader.docs_run import DOCS, blocks, run_block_here
from tests.report.synthetic import write_comparison, write_predictions, write_truth

NAMES = ("dice", "focal", "penalty-none")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `runs`, `truth` and the `report` on them."""
    home = tmp_path_factory.mktemp("compared")
    runs = write_comparison(home / "runs", contenders=NAMES, runs=2, subjects=7, histories=True)
    truth = write_truth(home / "truth", subjects=7, shape=(16, 32, 32))
    for subject in range(7):
        write_predictions(runs, contenders=NAMES, run="seed-1", subject=subject, shape=(16, 32, 32))
    write_report(runs, home / "report", truth=truth)
    return home


class Tags(HTMLParser):
    """The tags of a page, their attributes, and which are left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "source", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def text_of(page: Path) -> str:
    """The page's words, without tags and pictures."""
    body = page.read_text().partition("<body>")[2]
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


def test_the_page_is_whole_and_fetches_nothing(home: Path) -> None:
    tags = Tags((home / "report" / "index.html").read_text())
    assert tags.open == []
    named = {name for name, _ in tags.found}
    assert not named & {"script", "link", "iframe", "object"}
    for _, attributes in tags.found:
        for key in ("src", "srcset", "href"):
            value = attributes.get(key) or "#"
            assert value.startswith(("#", "data:image/"))
    anchors = {attributes["href"] for name, attributes in tags.found if name == "a"}
    sections = {
        f"#{attributes['id']}" for name, attributes in tags.found if name == "section" and "id" in attributes
    }
    assert anchors == sections


def test_every_picture_says_what_it_shows_and_has_a_dark_twin(home: Path) -> None:
    tags = Tags((home / "report" / "index.html").read_text()).found
    pictures = [attributes for name, attributes in tags if name == "img"]
    assert len(pictures) == sum(name == "source" for name, _ in tags) == 7
    assert all(len(attributes["alt"] or "") > 10 for attributes in pictures)


def test_the_figures_are_files_named_as_in_the_paper(home: Path) -> None:
    names = {path.stem for path in (home / "report" / "figures").iterdir()}
    assert {"figure-2", "figure-3", *(f"figure-3{letter}" for letter in "abcdef")} <= names
    assert {"differences", "figure-3-labels", "learning-loss", "learning-g-dsc", "learning-b-dsc"} <= names
    for name in names:
        assert (home / "report" / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert b"<svg" in (home / "report" / "figures" / f"{name}.svg").read_bytes()[:1000]


def test_the_tables_hold_what_the_tests_are_of(home: Path) -> None:
    comparison = read_comparison(home / "runs")
    with (home / "report" / "tables" / "subjects.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 4 * 7
    for contender in comparison.contenders:
        own = [row for row in rows if row["contender"] == contender.name and row["label"] == "mean"]
        assert [float(row["b_dsc (%)"]) for row in own] == pytest.approx(
            (contender.subject_means(B_DSC) * 100).tolist(), abs=1e-6
        )
    with (home / "report" / "tables" / "means.csv").open() as file:
        means = list(csv.DictReader(file))
    assert len(means) == 3 * 4 * len(METRICS)
    paper = {
        row["contender"]: row["paper_mean"]
        for row in means
        if row["metric"] == "B-DSC" and row["label"] == "mean"
    }
    assert paper == {name: str(NUMBERS[name]["b_dsc"].mean) for name in NAMES}
    assert {row["unit"] for row in means if row["metric"] in ("HD95", "ASD")} == {"mm"}
    with (home / "report" / "tables" / "differences.csv").open() as file:
        tests = list(csv.DictReader(file))
    assert len(tests) == 2 * 4 * len(METRICS)
    assert {(row["comparisons"], row["subjects"]) for row in tests} == {("2", "7")}


def test_the_page_says_numbers_units_methods_and_the_papers_numbers(home: Path) -> None:
    text = text_of(home / "report" / "index.html")
    for words in (
        "3 contenders compared",
        "7 test subjects",
        "2 runs each",
        "penalty-none is worse than dice and focal.",
        "paper 28.83 ± 4.45",
        "HD95&nbsp;↓ mm",
        "NSD at 1 mm",
        "Figure 2 of the paper",
        "Figure 3 of the paper",
        "Holm",
        "rank-biserial",
        "80 % power",
    ):
        assert words in text
    assert str(home) not in text


@pytest.mark.parametrize(
    ("value", "plain", "with_sign"),
    [
        (0.12345, "12.35", "+12.35"),
        (-0.5, "\N{MINUS SIGN}50.00", "\N{MINUS SIGN}50.00"),
        (-1e-6, "0.00", "0.00"),
        (1e-6, "0.00", "0.00"),
        (None, "\N{EN DASH}", "\N{EN DASH}"),
    ],
)
def test_numbers_as_they_are_written(value: float | None, plain: str, with_sign: str) -> None:
    assert number(value, 100) == plain
    assert signed(value, 100) == with_sign


@pytest.mark.parametrize(("p", "written"), [(0.001953125, "0.0020"), (1.0, "1.0000"), (9e-5, "< 0.0001")])
def test_a_p_is_never_written_as_zero(p: float, written: str) -> None:
    assert p_value(p) == written


def test_one_contender_and_one_run_are_reported_without_tests(tmp_path: Path) -> None:
    runs = write_comparison(tmp_path / "runs", contenders=["mine"], runs=1, subjects=1, bones={1: "liver"})
    page = write_report(runs, tmp_path / "report", truth=tmp_path)
    text = text_of(page)
    assert "One contender: there is nothing to compare it with" in text
    assert "No run has predictions, so there are no surface error maps." in text
    assert "Wilcoxon" not in text
    assert "nan" not in text
    assert not (tmp_path / "report" / "tables" / "differences.csv").exists()
    assert not (tmp_path / "report" / "figures" / "differences.png").exists()


def test_the_command_prints_where_the_page_is_and_names_stay_text(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bones = {1: "<script>x</script>"}
    names = ["a<b", "a&c", "$\\no$"]
    runs = write_comparison(tmp_path / "runs", contenders=names, runs=1, subjects=2, bones=bones)
    arguments = ["report", str(runs), "-o", str(tmp_path / "out"), "--reference", "a<b"]
    assert main(arguments) == 0
    assert capfd.readouterr().out == f"{tmp_path / 'out' / 'index.html'}\n"
    page = (tmp_path / "out" / "index.html").read_text()
    assert "reference: a&lt;b" in page
    assert "<script>" not in page
    assert Tags(page).open == []


def test_what_cannot_be_reported_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    runs = write_comparison(tmp_path / "runs", contenders=["a", "b"], runs=1, subjects=2)
    out = str(tmp_path / "out")
    assert main(["report", str(runs), "-o", out, "--reference", "c"]) == 2
    assert "no contender 'c'; there are a, b" in capfd.readouterr().err
    assert main(["report", str(tmp_path), "-o", out]) == 2
    assert capfd.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_of_somebody_elses_is_refused_and_left_alone(
    home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "index.html").write_text("<!doctype html><title>My page</title>")
    assert main(["report", str(home / "runs"), "-o", str(mine)]) == 2
    assert f"{mine}: holds other things than a report" in capfd.readouterr().err
    assert [path.name for path in mine.iterdir()] == ["index.html"]
    assert "My page" in (mine / "index.html").read_text()
    (mine / "index.html").rename(mine / "thesis.tex")
    with pytest.raises(Conflict):
        write_report(home / "runs", mine)


@pytest.mark.parametrize("name", ["file.txt", "file.txt/report"])
def test_a_place_that_cannot_be_a_folder_is_refused_before_any_work(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "file.txt").write_text("mine")
    assert main(["report", str(tmp_path / "no runs"), "-o", str(tmp_path / name)]) == 2
    assert "file.txt: is a file; wanted a folder for the report" in capfd.readouterr().err
    assert (tmp_path / "file.txt").read_text() == "mine"


def test_an_unwritable_place_is_refused_before_any_work(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(dir: Path) -> None:
        raise OSError(30, "Read-only file system", str(dir))

    monkeypatch.setattr("dmapsvc.report.reportfolder.TemporaryFile", refuse)
    monkeypatch.setattr("dmapsvc.report.writing.read_comparison", None)
    with pytest.raises(BadInput, match="Read-only file system; wanted a folder"):
        write_report(home / "runs", tmp_path / "new" / "report")


def test_a_report_made_again_keeps_no_figure_of_the_one_before_and_what_is_not_its_own(
    tmp_path: Path,
) -> None:
    bones = {1: "femur"}
    runs = write_comparison(tmp_path / "runs", contenders=["a", "b"], runs=1, subjects=2, bones=bones)
    out = tmp_path / "report"
    write_report(runs, out)
    for name in ("figure-2.png", "figure-2.svg", "learning-loss.png", "my-own.png"):
        (out / "figures" / name).write_bytes(b"old")
    shutil.rmtree(runs / "b")
    write_report(runs, out)
    left = {path.name for path in (out / "figures").iterdir()}
    assert {"figure-3.png", "my-own.png"} <= left
    assert not left & {"figure-2.png", "figure-2.svg", "learning-loss.png", "differences.png"}


def test_every_figure_of_a_report_is_known_to_the_next(home: Path) -> None:
    assert {path.stem for path in (home / "report" / "figures").iterdir()} == set(FIGURES)


def test_what_few_subjects_cannot_have_is_not_explained(tmp_path: Path) -> None:
    bones = {1: "femur"}
    runs = write_comparison(tmp_path / "runs", contenders=["a", "b"], runs=1, subjects=2, bones=bones)
    text = text_of(write_report(runs, tmp_path / "report"))
    for words in ("boxes are quartiles", "inside the grey bar", "thin line"):
        assert words not in text


def test_the_scale_is_told_of_losses_with_phi_alone(home: Path, tmp_path: Path) -> None:
    shared, differing = settings_table(read_comparison(home / "runs"))
    assert "scale" not in shared
    assert {name: one["scale"] for name, one in differing.items()} == {
        "penalty-none": "none",
        "dice": "\N{EN DASH}",
        "focal": "\N{EN DASH}",
    }
    plain = write_comparison(tmp_path, contenders=["dice", "focal"], runs=1, subjects=2, histories=True)
    shared, differing = settings_table(read_comparison(plain))
    assert "scale" not in {*shared, *differing["dice"]}


def test_another_programs_scale_is_its_own(tmp_path: Path) -> None:
    runs = write_comparison(tmp_path, contenders=["nnunet"], runs=1, subjects=2)
    (runs / "nnunet" / "seed-0" / "settings.json").write_text('{"loss": "dice", "scale": 0.5}')
    assert settings_table(read_comparison(runs))[0]["scale"] == "0.5"


def test_the_document_names_every_option_and_file() -> None:
    text = (DOCS / "report.md").read_text()
    words = (
        "--reference",
        "--truth",
        "-o report",
        "means.csv",
        "subjects.csv",
        "differences.csv",
        "figure-3-labels",
    )
    assert [word for word in words if word not in text] == []


def test_the_documents_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["penalty-region", "dice"]
    write_comparison(tmp_path / "compared" / "runs", contenders=names, runs=1, subjects=2, bones={1: "femur"})
    monkeypatch.chdir(tmp_path)
    (block,) = blocks("report.md")
    assert run_block_here(block) == []
    assert (tmp_path / "report" / "index.html").is_file()
