"""The statistics against SciPy, by hand, and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from dmapsvc.report.statistics import (
    RunsError,
    detectable_effect,
    holm,
    largest_rejected,
    paired_test,
    rank_biserial,
    runs_error,
    smallest_p,
    walsh_averages,
    wilcoxon_p,
)

numbers = st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=12)
few_whole_numbers = st.lists(st.integers(-4, 4), min_size=2, max_size=9)


@given(numbers)
def test_without_ties_p_is_scipys_exact_p(values: list[float]) -> None:
    sizes = {abs(value) for value in values}
    assume(len(sizes) == len(values) and 0.0 not in sizes)
    assert wilcoxon_p(values) == pytest.approx(
        float(stats.wilcoxon(values, method="exact").pvalue), rel=1e-12
    )


@given(few_whole_numbers)
def test_with_ties_and_zeros_p_is_that_of_all_sign_changes(values: list[int]) -> None:
    kept = np.array([value for value in values if value])
    assume(kept.size)
    ranks = stats.rankdata(np.abs(kept))
    signs = np.array(np.meshgrid(*[[0, 1]] * kept.size)).reshape(kept.size, -1)
    sums, seen = ranks @ signs, ranks[kept > 0].sum()
    expected = min(1.0, 2 * min((sums <= seen).mean(), (sums >= seen).mean()))
    assert wilcoxon_p(values) == pytest.approx(expected, rel=1e-12)


def test_no_difference_at_all() -> None:
    found = paired_test([0.0] * 8)
    assert (found.p, found.effect, found.shift, found.mean) == (1.0, 0.0, 0.0, 0.0)
    assert (found.above, found.below) == (0, 0)


@pytest.mark.parametrize(
    ("values", "effect"), [([1, 2, -3], 0.0), ([1, 2, 3, -4], 0.2), ([-5, -1], -1.0), ([2, -2, 3], 0.5)]
)
def test_rank_biserial_by_hand(values: list[float], effect: float) -> None:
    assert rank_biserial(values) == pytest.approx(effect)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_keeps_the_order_and_lies_between_p_and_bonferroni(ps: list[float]) -> None:
    corrected = holm(ps)
    for p, found in zip(ps, corrected, strict=True):
        assert p <= found <= min(1.0, p * len(ps)) + 1e-12
    order = np.argsort(ps, kind="stable")
    assert np.all(np.diff(np.array(corrected)[order]) >= 0)


def test_the_interval_of_ten_is_from_the_ninth_to_the_ninth_walsh_average() -> None:
    values = np.array([1.3, -0.4, 2.2, 0.9, 3.1, -1.2, 0.3, 1.8, 2.7, 0.6])
    found = paired_test(values)
    averages = sorted((a + b) / 2 for i, a in enumerate(values) for b in values[i:])
    assert len(averages) == 55
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((averages[8], averages[-9]))
    assert found.shift == pytest.approx(averages[27])
    assert np.array_equal(walsh_averages(values), averages)


@given(st.lists(st.floats(-3, 3, width=32), min_size=6, max_size=14, unique=True))
def test_the_interval_holds_what_the_test_does_not_reject(values: list[float]) -> None:
    interval = paired_test(values).interval
    assert interval is not None
    assume(np.diff(walsh_averages(np.array(values))).min() > 1e-6)
    for end, outwards in ((interval.low, -1), (interval.high, 1)):
        assert wilcoxon_p(np.array(values) - (end - outwards * 1e-7)) > 0.05
        assert wilcoxon_p(np.array(values) - (end + outwards * 1e-7)) <= 0.05


@pytest.mark.parametrize(("subjects", "p"), [(1, 1.0), (5, 0.0625), (6, 0.03125), (10, 0.001953125)])
def test_the_smallest_p(subjects: int, p: float) -> None:
    assert smallest_p(subjects) == p
    assert wilcoxon_p(np.arange(1, subjects + 1)) == pytest.approx(p)


def test_five_subjects_have_no_interval_and_find_nothing() -> None:
    assert paired_test([1.0, 2.0, 3.0, 4.0, 5.0]).interval is None
    assert detectable_effect(5) is None
    assert paired_test([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).interval is not None
    assert detectable_effect(6) is not None
    assert detectable_effect(10, 0.05 / 30) is None  # 2 / 2**10 is larger


@pytest.mark.parametrize(("subjects", "level"), [(6, 0.05), (10, 0.05), (10, 0.05 / 7), (20, 0.05 / 18)])
def test_the_detectable_effect_is_found_in_four_of_five_experiments(subjects: int, level: float) -> None:
    effect = detectable_effect(subjects, level)
    assert effect is not None
    experiments = np.random.default_rng(123).normal(effect, 1.0, (6000, subjects))
    p = stats.wilcoxon(experiments, axis=1, method="exact").pvalue
    found = ((p <= level) & (np.median(experiments, axis=1) > 0)).mean()
    assert found == pytest.approx(0.8, abs=0.02)  # 4 standard errors


def test_the_detectable_effect_of_many_is_nearly_the_t_tests() -> None:
    effect = detectable_effect(40)
    assert effect is not None
    formula = (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) / np.sqrt(40 * 3 / np.pi)  # Pitman: 3 / π
    assert effect == pytest.approx(formula, rel=0.04)


def test_the_error_of_runs_is_welchs() -> None:
    by_hand = runs_error([1, 3], [2, 4, 6])
    assert by_hand is not None
    assert by_hand.error == pytest.approx(np.sqrt(2 / 2 + 4 / 3))
    first, second = np.random.default_rng(5).normal(size=(2, 5)) * [[1.0], [3.0]]
    found = runs_error(first, second)
    welch = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    assert found is not None
    assert first.mean() - second.mean() + found.reach * np.array([-1, 1]) == pytest.approx([*welch])


def test_runs_that_are_all_alike_reach_nowhere_and_one_run_says_nothing() -> None:
    assert runs_error([2, 2], [3, 3]) == RunsError(error=0.0, reach=0.0)
    assert runs_error([1], [2, 2]) is None


def test_only_one_sign_is_rejected_where_there_is_no_room_for_more() -> None:
    assert largest_rejected(5) is None
    assert largest_rejected(6) == 0
    assert largest_rejected(10) == 8  # Wilcoxon's table
    assert largest_rejected(10, 0.05 / 15) == 0


@pytest.mark.parametrize("values", [[], [float("nan")], [[1.0, 2.0]]])
def test_what_is_no_difference_a_subject_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="one finite difference"):
        paired_test(values)
