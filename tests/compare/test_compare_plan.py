"""The plan and the choice: which runs there are, what is through, and which values are taken."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmapsvc.compare.choice import Tried, answers, choose, read_choice, write_choice, write_tried
from dmapsvc.compare.config import Config
from dmapsvc.compare.contenders import CONTENDERS
from dmapsvc.compare.outcome import Outcome, best_score, is_trained, steps_made
from dmapsvc.compare.plan import Place, Run, combinations, planned_runs, scored_runs, search_runs, values_name
from dmapsvc.compare.progress import Progress, Tally
from dmapsvc.compare.task import News
from dmapsvc.errors import BadInput

TRAIN = {"patch": (16, 16, 16), "steps": 400, "width": 2}
SEARCH: dict[str, tuple[Any, ...]] = {"lr": (1e-4, 1e-3), "foreground": (0.3, 0.5, 0.7)}
CONFIG = Config(
    contenders=("penalty-none", "dice"), seeds=3, train=TRAIN, search=SEARCH, search_seeds=2, search_steps=100
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(location="knees.zarr", out=tmp_path / "out")


def test_every_contender_has_the_same_search(place: Place) -> None:
    runs = search_runs(CONFIG, place)
    assert len(runs) == 2 * 2 * 6 == len({run.folder for run in runs})
    by_contender = {
        contender: [(dict(run.values), run.settings.seed) for run in runs if run.contender == contender]
        for contender in CONFIG.contenders
    }
    assert by_contender["penalty-none"] == by_contender["dice"]
    assert {run.settings.steps for run in runs} == {100}
    for run in runs:
        assert (run.settings.lr, run.settings.foreground) == tuple(run.values.values())
    assert runs[0].folder == place.out / "search/penalty-none/lr=0.0001,foreground=0.3/seed-1000"


def test_no_run_that_is_scored_has_a_seed_of_the_search(place: Place) -> None:
    chosen = {contender: {"lr": 1e-3, "foreground": 0.5} for contender in CONFIG.contenders}
    scored = scored_runs(CONFIG, place, chosen)
    assert not {run.settings.seed for run in scored} & {
        run.settings.seed for run in search_runs(CONFIG, place)
    }


def test_the_scored_runs_have_what_was_chosen_and_their_contenders_loss(place: Place) -> None:
    chosen: dict[str, dict[str, Any]] = {
        "penalty-none": {"lr": 1e-3, "foreground": 0.5},
        "dice": {"lr": 1e-4, "foreground": 0.7},
    }
    runs = scored_runs(CONFIG, place, chosen)
    assert [run.name for run in runs] == [
        f"runs/{contender}/seed-{seed}" for seed in range(3) for contender in CONFIG.contenders
    ]
    for run in runs:
        settings, kind = run.settings, CONTENDERS[run.contender]
        assert (settings.loss, settings.scale) == (kind.loss, kind.scale)
        assert (settings.lr, settings.foreground) == tuple(chosen[run.contender].values())
        assert (settings.steps, settings.width, settings.split) == (400, 2, place.split)
        assert run.folder == place.runs / run.contender / f"seed-{settings.seed}"


def test_without_a_choice_a_contender_has_no_run(place: Place) -> None:
    runs = scored_runs(CONFIG, place, {"dice": {"lr": 1e-3, "foreground": 0.5}})
    assert {run.contender for run in runs} == {"dice"}


@pytest.mark.parametrize("search", [{}, {"lr": (1e-3,)}])
def test_where_there_is_nothing_to_choose_nothing_is_searched(place: Place, search: dict[str, Any]) -> None:
    config = Config(seeds=1, train=TRAIN, search=search)
    assert search_runs(config, place) == []
    assert {run.settings.lr for run in planned_runs(config, place)} == {search.get("lr", (1e-4,))[0]}


def test_values_with_one_name_are_told_before_anything_runs(place: Place) -> None:
    for values in ((1e-3, 0.001), (0.12345671, 0.12345672)):
        with pytest.raises(BadInput, match=r"search: lr=.* twice"):
            search_runs(Config(search={"lr": values}), place)


def test_settings_that_cannot_be_are_told_before_anything_runs(place: Place) -> None:
    with pytest.raises(BadInput, match="lr is -1"):
        search_runs(Config(train=TRAIN, search={"lr": (1e-3, -1.0)}), place)


@given(st.dictionaries(st.sampled_from("abc"), st.lists(st.integers(), min_size=1, max_size=4, unique=True)))
def test_combinations_are_all_and_have_names_of_their_own(search: dict[str, list[int]]) -> None:
    found = combinations(search)
    product = 1
    for values in search.values():
        product *= len(values)
    assert len(found) == product == len({values_name(values) for values in found})


def _tried(place: Place, scores: dict[float, list[float | None]]) -> list[Tried]:
    """Trainings with one searched field, lr, and the scores of their seeds."""
    config = Config(contenders=("dice",), train=TRAIN, search={"lr": tuple(scores)}, search_seeds=2)
    runs = search_runs(config, place)
    return [
        Tried(run=run, score=scores[run.settings.lr][run.settings.seed - 1000])
        for run in runs
        if run.settings.seed - 1000 < len(scores[run.settings.lr])
    ]


@pytest.mark.parametrize(
    ("scores", "lr"),
    [
        ({1e-4: [0.5, 0.7], 1e-3: [0.1, 0.9]}, 1e-4),  # the mean counts, not the best seed
        ({1e-4: [0.5, 0.5], 1e-3: [0.5, 0.5]}, 1e-4),  # the first of equals
        ({1e-4: [0.2, 0.2], 1e-3: [None, 0.9]}, 1e-4),  # with one seed it could not be trained
        ({1e-4: [None, None], 1e-3: [0.0, 0.0]}, 1e-3),
        ({1e-4: [None, None], 1e-3: [0.3, None]}, None),
    ],
)
def test_the_best_mean_validation_is_taken(
    place: Place, scores: dict[float, list[float | None]], lr: float | None
) -> None:
    assert choose(_tried(place, scores)) == (None if lr is None else {"lr": lr})


def _ended(run: Run, score: float | None) -> None:
    run.folder.mkdir(parents=True)
    Outcome(steps=run.settings.steps, score=score).write(run.folder)


def test_a_contender_waits_until_its_whole_search_is_through(place: Place) -> None:
    config = Config(contenders=("dice", "focal"), train=TRAIN, search={"lr": (1e-4, 1e-3)})
    runs = search_runs(config, place)
    for run in runs[:3]:
        _ended(run, 0.5)
    waiting = runs[3]
    through = answers(runs, hopeless=set())
    assert through[waiting.contender] is None
    assert [len(tried or ()) for tried in through.values()].count(2) == 1
    tried = answers(runs, hopeless={waiting.name})[waiting.contender]
    assert tried is not None
    assert [one.score for one in tried] == [0.5, None]


def test_the_choice_is_kept_with_its_types(tmp_path: Path) -> None:
    choice = {"dice": {"lr": 1.0, "patch": (16, 32, 32)}, "focal": None}
    assert read_choice(tmp_path) == {}
    write_choice(tmp_path, choice)
    assert read_choice(tmp_path) == choice


def test_every_training_of_the_search_is_in_its_table(place: Place) -> None:
    config = Config(contenders=("dice",), train=TRAIN, search={"lr": (1e-4, 1e-3, 1e-2)}, search_steps=9)
    runs = search_runs(config, place)
    for run, score in zip(runs, (0.25, 0.75), strict=False):
        _ended(run, score)
    write_tried(place.out, runs, {"dice": {"lr": 1e-3}})
    with (place.out / "search.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["values"], row["steps"], row["score"], row["chosen"]) for row in rows] == [
        ("lr=0.0001", "9", "0.250000", "no"),
        ("lr=0.001", "9", "0.750000", "yes"),
        ("lr=0.01", "", "", "no"),
    ]


def test_what_a_folder_says_of_its_run(tmp_path: Path) -> None:
    assert not is_trained(tmp_path)
    assert (steps_made(tmp_path), best_score(tmp_path, "b_dsc")) == (0, None)
    (tmp_path / "history.csv").write_text(
        "step,seconds,loss,lr,g_dsc,b_dsc\n5,1,0.9,0.1,0.5,0.3\n10,2,0.8,0.1,0.7,0.2\n12,3,0.8,0.1,,\n"
    )
    assert steps_made(tmp_path) == 12
    assert best_score(tmp_path, "g_dsc") == 0.7
    assert best_score(tmp_path, "b_dsc") == 0.3


def test_progress_counts_steps_of_earlier_calls_and_of_runs_that_ended_early(place: Place) -> None:
    config = Config(contenders=("dice", "focal"), seeds=2, train=TRAIN)
    runs = planned_runs(config, place)
    tally = Tally(runs)
    assert tally.now == Progress(steps=0, total=1600, ended=0, runs=4)
    runs[1].folder.mkdir(parents=True)
    (runs[1].folder / "history.csv").write_text("step,seconds,loss,lr,g_dsc,b_dsc\n250,1,0.9,0.1,0.5,0.3\n")
    tally.through(runs[:1])
    tally.begin(runs[1:])
    assert (tally.now.steps, tally.now.ended) == (650, 1)
    tally.hear(runs[1].name, News(step=260, doing="step 260"))
    tally.hear(runs[2].name, News(step=0, doing="predicting"))
    assert tally.now.steps == 660
    assert str(tally.now) == "1 of 4 runs; step 260 (focal/seed-0), predicting (dice/seed-1)"
    tally.through(runs[1:2])
    assert tally.now.steps == 800
