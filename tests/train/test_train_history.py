"""The rows of a course, what is best in them, and the clock."""

from __future__ import annotations

import errno
import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmapsvc.train.history import History, Validation

_SCORES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), max_size=8)


@given(_SCORES)
def test_the_best_is_the_first_of_the_largest(scores: list[float]) -> None:
    history = _history(scores)
    if not scores:
        assert (history.best, history.latest, history.since_best) == (None, None, 0)
        return
    at = scores.index(max(scores))
    assert history.best == Validation(step=10 * (at + 1), g_dsc=0.0, b_dsc=scores[at])
    assert history.since_best == len(scores) - 1 - at
    assert history.latest == Validation(step=10 * len(scores), g_dsc=0.0, b_dsc=scores[-1])


@given(_SCORES, st.integers(0, 8))
def test_a_history_goes_on_as_if_it_had_not_stopped(scores: list[float], stop: int) -> None:
    whole, first = _history(scores), _history(scores[:stop])
    first.add_loss(0.5)
    second = History("b_dsc")
    second.load_state_dict(first.state_dict())
    second.add_loss(1.5)
    second.add_row(1000, 0.1, None)
    assert second.rows[-1].loss == 1.0
    assert second.step == 1000
    assert [row.b_dsc for row in second.rows[:-1]] == [row.b_dsc for row in whole.rows[:stop]]
    assert (second.best, second.since_best) == (first.best, first.since_best)


def test_the_clock_counts_all_runs_together() -> None:
    history = History("g_dsc")
    history.load_state_dict({"rows": [], "sum": 0.0, "count": 0, "seconds": 1000.0})
    assert 1000 <= history.seconds < 1100


def test_the_file_has_a_line_a_row_and_nothing_where_nothing_was_validated(tmp_path: Path) -> None:
    history = History("g_dsc")
    for loss in (1.0, 2.0):
        history.add_loss(loss)
    history.add_row(2, 1e-4, None)
    history.add_loss(math.pi)
    history.add_row(3, 1e-4, Validation(step=3, g_dsc=0.5, b_dsc=0.25))
    history.write(tmp_path / "history.csv")
    header, *rows = [line.split(",") for line in (tmp_path / "history.csv").read_text().splitlines()]
    assert header == ["step", "seconds", "loss", "lr", "g_dsc", "b_dsc"]
    assert [row[:1] + row[2:] for row in rows] == [
        ["2", "1.5", "0.0001", "", ""],
        ["3", repr(math.pi), "0.0001", "0.5", "0.25"],
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["history.csv"]


def test_a_history_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _history([0.5]).write(tmp_path / "history.csv")
    before = (tmp_path / "history.csv").read_bytes()

    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        _history([0.5, 0.75]).write(tmp_path / "history.csv")
    assert (tmp_path / "history.csv").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["history.csv"]


def _history(scores: list[float]) -> History:
    history = History("b_dsc")
    for number, score in enumerate(scores, start=1):
        history.add_loss(1.0)
        history.add_row(10 * number, 1e-3, Validation(step=10 * number, g_dsc=0.0, b_dsc=score))
    return history
