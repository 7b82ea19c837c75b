"""The tables, figures and numbers of docs/knee-benchmark.md, made anew from what the benchmark left.

    python -m benchmarks.knees.document OUT [--docs docs]

Between `<!-- begin NAME -->` and `<!-- end NAME -->` stands what is made here; the text around it is people's
and stays. Beside the document: every test subject's scores by run and bone, and those of the report's figures
that it shows.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.knees import tables
from benchmarks.knees.pictures import draw_subjects
from benchmarks.knees.subjects import SPLIT, TOLD
from dmapsvc.errors import BadFile, BadInput, DmapsvcError, NotFound
from dmapsvc.evaluate.scores import COLUMNS, Score, read_scores
from dmapsvc.listing import first_few
from dmapsvc.report.comparison import Comparison
from dmapsvc.report.folder import read_comparison
from dmapsvc.report.metrics import B_DSC, G_DSC
from dmapsvc.runfiles import SCORES
from dmapsvc.train.split import Split

DOCUMENT, NUMBERS, FIGURES = "knee-benchmark.md", "knee-benchmark.csv", Path("figures/knees")
SUBJECTS = "subjects.png"  # drawn here; the other figures are the report's
COMPARISON = "comparison"  # the folder of the comparison, in the benchmark's
_DRAWN = 4  # test subjects


def write(out: Path, docs: Path) -> None:
    """Bring the document in `docs` up to date with the benchmark in `out`.

    Raises NotFound if the benchmark, the document or a figure that it shows is not there, BadInput if the
    benchmark is not through, BadFile if the document lacks a place for what is made here.
    """
    document, runs = docs / DOCUMENT, out / COMPARISON / "runs"
    for path in (out / TOLD, runs, document):
        if not path.exists():
            raise NotFound(f"{path} is not there", "wanted the benchmark's folder, and the document's")
    comparison = read_comparison(runs)
    _check_complete(comparison, Split.read(out / SPLIT))
    text = document.read_text(encoding="utf-8")
    figures = _figures(text, out / COMPARISON / "report" / "figures", document)
    for name, made in _sections(out, comparison).items():
        text = _put(text, name, made, document)
    document.write_text(text, encoding="utf-8")
    (docs / NUMBERS).write_text(_numbers(comparison), encoding="utf-8")
    (docs / FIGURES).mkdir(parents=True, exist_ok=True)
    for figure in figures:
        _copy(figure, docs / FIGURES / figure.name)
    draw_subjects(out, Split.read(out / SPLIT).test[:_DRAWN], docs / FIGURES / SUBJECTS)


def _check_complete(comparison: Comparison, split: Split) -> None:
    """Raises BadInput unless every contender has the same seeds, and each of them every test subject."""
    seeds = {tuple(run.name for run in contender.runs) for contender in comparison.contenders}
    told = list(comparison.notes)
    if len(seeds) > 1:
        told.append("Contenders have different seeds.")
    if missing := set(split.test) - set(comparison.subjects):
        told.append(f"Without scores: {first_few(sorted(missing))}.")
    if told:
        raise BadInput(
            " ".join(told), "the document is of the whole benchmark", "Run the benchmark's command once more"
        )


def _figures(text: str, drawn: Path, document: Path) -> list[Path]:
    """The figures of the report in `drawn` that the document shows; raises NotFound if it lacks some."""
    shown = dict.fromkeys(re.findall(rf"\]\({re.escape(FIGURES.as_posix())}/([^)]+)\)", text))
    figures = [drawn / name for name in shown if name != SUBJECTS]
    if missing := [figure.name for figure in figures if not figure.is_file()]:
        raise NotFound(
            f"{drawn}: without {', '.join(missing)}",
            f"{document} shows {'it' if len(missing) == 1 else 'them'}",
            "Make the report again: run the benchmark's command once more",
        )
    return figures


def _copy(figure: Path, to: Path) -> None:
    """Copy a picture with a palette of 256 colours: shaded surfaces take a third of the bytes."""
    with Image.open(figure) as picture:
        picture.convert("RGB").quantize(256).save(to, optimize=True)


def _sections(out: Path, comparison: Comparison) -> dict[str, str]:
    """What stands in the document, by the name of its place."""
    told: Mapping[str, Any] = json.loads((out / TOLD).read_text())
    tried = out / COMPARISON / "search.csv"
    rows = list(csv.DictReader(io.StringIO(tried.read_text()))) if tried.exists() else []
    return {
        "anatomies": tables.anatomies(told),
        "settings": tables.settings(comparison),
        "search": tables.search(rows),
        "budget": tables.budget(comparison),
        "growth": tables.growth(comparison),
        "bones": tables.bones(comparison),
        "tests of B-DSC": tables.tests(comparison, B_DSC),
        "tests of G-DSC": tables.tests(comparison, G_DSC),
        "metrics": tables.metrics(comparison),
        "seeds": tables.seeds(comparison),
        "volumes": tables.volumes(comparison, [(name, score) for name, _, score in _scores(comparison)]),
    }


def _put(text: str, name: str, made: str, document: Path) -> str:
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    parts = re.split(f"({re.escape(begin)}\n).*?({re.escape(end)})", text, flags=re.DOTALL)
    if len(parts) != 4:
        raise BadFile(f"{document}: no place for {name}", f"wanted {begin} and {end}, once", "Put them back")
    before, opening, closing, after = parts
    return f"{before}{opening}{made}\n{closing}{after}"


def _scores(comparison: Comparison) -> Iterator[tuple[str, str, Score]]:
    """Every score there is, with the names of its contender and run."""
    for contender in sorted(comparison.contenders, key=lambda one: one.name):
        for run in contender.runs:
            for score in read_scores(run.folder / SCORES):
                yield contender.name, run.name, score


def _numbers(comparison: Comparison) -> str:
    """Every score there is, as CSV: a row a contender, run, subject and bone."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("contender", "run", *COLUMNS))
    for contender, run, score in _scores(comparison):
        values = (getattr(score, column) for column in COLUMNS)
        cells = (f"{value:.6g}" if isinstance(value, float) else value for value in values)
        rows.writerow((contender, run, *cells))
    return text.getvalue()


def main(arguments: Sequence[str] | None = None) -> int:
    """Make what the command line says; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.knees.document",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("out", type=Path, help="the benchmark's folder")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="(default: %(default)s)")
    parsed = parser.parse_args(arguments)
    try:
        write(parsed.out, parsed.docs)
    except DmapsvcError as error:
        print(f"error: {error.detail}", file=sys.stderr)
        return 2
    print(f"{parsed.docs / DOCUMENT} is up to date with {parsed.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
