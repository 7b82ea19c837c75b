"""Tests between contenders: the subject is the unit, the family is corrected, and words claim no more."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from dmapsvc.evaluate.scores import write_scores
from dmapsvc.report.comparison import Comparison
from dmapsvc.report.differences import Family, family
from dmapsvc.report.findings import findings, limits, verdict
from dmapsvc.report.folder import read_comparison
from dmapsvc.report.metrics import B_DSC, HD95
from dmapsvc.report.statistics import detectable_effect, holm, wilcoxon_p
from tests.report.synthetic import score, write_comparison


def of(comparison: Comparison) -> Family:
    return family(comparison, B_DSC, None, "mean")


def written(folder: Path, table: dict[str, list[list[float]]]) -> Comparison:
    """A comparison of one label from {contender: runs of subjects' B-DSC}."""
    for contender, runs in table.items():
        for number, values in enumerate(runs):
            rows = [score(f"s{n}", 1, "femur", value) for n, value in enumerate(values)]
            write_scores(folder / contender / f"run-{number}" / "scores.csv", rows)
    return read_comparison(folder)


def test_every_reference_meets_every_contender_that_is_none(tmp_path: Path) -> None:
    comparison = read_comparison(write_comparison(tmp_path, runs=2))
    pairs = [{found.reference, found.other} for found in of(comparison).differences]
    assert len({frozenset(pair) for pair in pairs}) == len(pairs) == 3 * 5
    penalties = {"penalty-region", "penalty-balanced", "penalty-none"}
    assert all(len(pair & penalties) == 1 for pair in pairs)
    alone = read_comparison(tmp_path, sorted(contender.name for contender in comparison.contenders))
    assert len(of(alone).differences) == 8 * 7 / 2
    one = read_comparison(tmp_path, ["dice"])
    assert len(of(one).differences) == 7
    assert {found.reference for found in of(one).differences} == {"dice"}


def test_the_numbers_are_those_of_the_subjects_means(tmp_path: Path) -> None:
    comparison = read_comparison(write_comparison(tmp_path, runs=3), ["penalty-region"])
    first, *others = comparison.contenders
    wanted = [first.values.mean(axis=(0, 2))[:, 1] - other.values.mean(axis=(0, 2))[:, 1] for other in others]
    found = of(comparison)
    assert [d.test.mean for d in found.differences] == pytest.approx([values.mean() for values in wanted])
    assert [d.test.p for d in found.differences] == pytest.approx([wilcoxon_p(values) for values in wanted])
    assert [d.p for d in found.differences] == pytest.approx(holm([wilcoxon_p(values) for values in wanted]))
    effect = detectable_effect(10, 0.05 / 7)
    assert effect is not None
    assert found.differences[0].detectable == pytest.approx(effect * wanted[0].std(ddof=1))


def test_more_runs_of_the_same_are_no_more_evidence(tmp_path: Path) -> None:
    folder = write_comparison(tmp_path, contenders=["a", "b", "c"], runs=2)
    before = of(read_comparison(folder))
    for run in list(folder.glob("*/*")):
        shutil.copytree(run, run.with_name(f"again-{run.name}"))
    after = of(read_comparison(folder))
    assert [d.test.subjects for d in after.differences] == [10, 10]
    assert [d.p for d in after.differences] == pytest.approx([d.p for d in before.differences])
    assert [d.test.mean for d in after.differences] == pytest.approx(
        [d.test.mean for d in before.differences]
    )


def test_a_difference_that_other_runs_would_turn_round_is_marked(tmp_path: Path) -> None:
    subjects = np.linspace(0.4, 0.6, 8)
    a, b = (subjects + np.linspace(0.02, 0.04, 8)).tolist(), subjects.tolist()
    steady = of(written(tmp_path / "steady", {"a": [a, a], "b": [b, b]}))
    shaken = of(
        written(
            tmp_path / "shaken",
            {
                name: [[v + 0.1 for v in row], [v - 0.1 for v in row]]
                for name, row in {"a": a, "b": b}.items()
            },
        )
    )
    assert steady.differences[0].p == pytest.approx(shaken.differences[0].p) == pytest.approx(2 / 2**8)
    assert verdict(steady, steady.differences[0]) == "better"
    assert verdict(shaken, shaken.differences[0]) == "better†"


def test_the_side_is_the_tests_where_most_subjects_are_alike(tmp_path: Path) -> None:
    """Six of 30 differ, all to one side: the Hodges-Lehmann estimate is 0, the test's side is not."""
    level = [0.5] * 30
    above = [value + (0.01 * (place + 1) if place < 6 else 0) for place, value in enumerate(level)]
    comparison = written(tmp_path, {"a": [above], "b": [level]})
    found = of(comparison)
    assert found.differences[0].test.shift == 0
    assert found.differences[0].p == pytest.approx(2 / 2**6)
    assert verdict(found, found.differences[0]) == "better"
    assert findings(comparison, [found])[0].sentences == ("a is better than b.",)


def test_of_distances_less_is_better(tmp_path: Path) -> None:
    low, high = np.linspace(0.4, 0.5, 8), np.linspace(0.6, 0.75, 8)
    comparison = written(tmp_path, {"good": [high.tolist()], "poor": [low.tolist()]})
    found = family(comparison, HD95, None, "femur")
    assert found.differences[0].test.mean < 0
    assert verdict(found, found.differences[0]) == "better"
    told = findings(comparison, [found])[0]
    assert told.lead.startswith("Lowest HD95: good, ")
    assert "mm" in told.lead
    assert told.sentences == ("good is better than poor.",)


def test_the_words_name_both_sides_and_what_was_too_small(tmp_path: Path) -> None:
    names = ["penalty-region", "penalty-none"]
    comparison = read_comparison(write_comparison(tmp_path, contenders=names), names)
    (told,) = findings(comparison, [of(comparison)])
    assert told.lead.startswith("Highest B-DSC: penalty-region, ")
    region, none = told.sentences
    assert region == "penalty-region is better than penalty-none."
    assert none == "penalty-none is worse than penalty-region."
    level = written(tmp_path / "level", {"a": [[0.5, 0.52, 0.48, 0.51, 0.5, 0.53]], "b": [[0.51, 0.5] * 3]})
    sentence = findings(level, [of(level)])[0].sentences[0]
    assert sentence.startswith("a is not shown to differ from b (differences under ")
    assert sentence.endswith("points are too small for this design).")


def test_contenders_that_are_the_same_say_nothing_of_what_is_too_small(tmp_path: Path) -> None:
    values = [0.5, 0.52, 0.48, 0.51, 0.5, 0.53]
    comparison = written(tmp_path, {"a": [values], "b": [values]})
    found = of(comparison)
    assert found.differences[0].detectable is None
    assert findings(comparison, [found])[0].sentences == ("a is not shown to differ from b.",)


@pytest.mark.parametrize(
    ("table", "spread"),
    [
        ([[0.10, 0.12], [0.30, 0.32]], " (SD over 2 subjects 1.41, over 2 runs 14.14)"),
        ([[0.20, 0.22]], " (SD over 2 subjects 1.41)"),
        ([[0.21], [0.21]], " (SD over 2 runs 0.00)"),
        ([[0.21]], ""),
    ],
)
def test_the_lead_tells_how_far_runs_are_apart_too(
    tmp_path: Path, table: list[list[float]], spread: str
) -> None:
    comparison = written(tmp_path, {"a": table})
    mean = 100 * np.mean(table)
    assert findings(comparison, [of(comparison)])[0].lead == f"Mean B-DSC: a, {mean:.2f} %{spread}."


@pytest.mark.parametrize(
    ("subjects", "told"),
    [(5, "no p below 0.0625"), (6, "has one sign in all 6 subjects"), (9, None), (1, "1 subject no p")],
)
def test_too_few_subjects_for_any_p_is_said(tmp_path: Path, subjects: int, told: str | None) -> None:
    comparison = read_comparison(write_comparison(tmp_path, contenders=["a", "b"], runs=2, subjects=subjects))
    sentences = " ".join(limits(comparison, of(comparison)))
    assert (told in sentences) if told else not sentences


def test_too_many_comparisons_for_any_p_is_said(tmp_path: Path) -> None:
    comparison = read_comparison(write_comparison(tmp_path, runs=2, subjects=8))
    found = of(comparison)
    assert found.smallest_p == pytest.approx(15 * 2 / 2**8)
    assert all(difference.detectable is None for difference in found.differences)
    assert "no corrected p below 0.117 is possible" in " ".join(limits(comparison, found))


def test_one_contender_has_no_test(tmp_path: Path) -> None:
    comparison = read_comparison(write_comparison(tmp_path, contenders=["a"], runs=1, subjects=3))
    found = of(comparison)
    assert found.differences == ()
    told = limits(comparison, found)
    assert "nothing to compare" in told[0]
    assert "one run" in told[1]
