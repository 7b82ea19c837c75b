"""Tables and progress, on a terminal and off it."""

from __future__ import annotations

import io
import re
import time

import pytest

from dmapsvc.cli import output
from dmapsvc.cli.output import Meter, Notes, label_list, print_table, region_maxima, without_labels
from dmapsvc.compare.progress import Progress


def test_a_table_is_one_line_a_row_however_wide(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("case", "why"), [("a", "x" * 200), ("long_name", None), ("[b]", 1.23456789)])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["case       why", f"a          {'x' * 200}", "long_name  -", "[b]        1.235"]


def test_a_meter_off_a_terminal_says_now_and_then_how_far_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Meter("upload", 40e6, "B") as meter:
        for step in range(1, 4):
            now[0] += 5.0
            meter.show(step * 10e6, "a")
    assert capsys.readouterr().err == "upload: 20.0/40.0 MB, 2.0 MB/s, 0:00:10 left; a\n"


def test_the_rate_does_not_count_what_was_done_before(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A training that goes on at step 900 of 1000 at two steps a second has 49 seconds to go."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    meter = Meter("train", 1000, "steps")
    for step in (901, 902):
        now[0] += 0.5
        meter.show(step)
    assert meter.counts() == "902/1000 steps, 2.0/s, 0:00:49 left"
    capsys.readouterr()


def test_slow_things_show_seconds_each() -> None:
    meter = Meter("jobs", None, "cases")
    assert meter.counts() == "0 cases"
    assert output._rate(0.25, "cases") == "4.0 s each"


def test_a_terminal_gets_a_bar_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with Meter("precompute", 4, "cases") as meter:
        meter.show(2, "b: map")
        meter.log("a: done")
        meter.say("error: b")
    shown = terminal.getvalue()
    assert re.search(r"precompute.*2/4 cases; b: map", shown)
    assert "a: done" not in shown
    assert "error: b" in shown
    assert "\x1b[" in shown


def test_maxima_are_told_by_name() -> None:
    regions = [{"value": 0, "maximum": 206.66}, {"value": 5, "maximum": 51.9}, {"value": 7, "maximum": 3.0}]
    assert region_maxima(regions, {5: "femur"}) == "background: 206.7, femur: 51.9, 7: 3"


def test_of_many_regions_the_largest_are_told_and_the_others_counted() -> None:
    regions = [{"value": value, "maximum": float(value % 100)} for value in range(117)]
    words = region_maxima(regions)
    assert words == "99: 99, 98: 98, 97: 97, 96: 96, 95: 95, 94: 94 … and 111 more"
    assert label_list(range(1, 118)) == "1,2,3,4,5,6,7,8,9,10,11,12 … and 105 more"
    assert (label_list((7, 5)), label_list(None)) == ("7,5", "all")


def test_a_note_that_cases_share_is_told_once() -> None:
    notes = Notes()
    for case in ("a", "b", "c"):
        notes.add(case, ["Oblique.", *(["Thin."] if case == "b" else [])])
    assert notes.lines() == ["Oblique. (3 cases)", "b: Thin."]


def test_cases_without_labels_are_counted() -> None:
    assert without_labels([[0, 5], [5]]) == ""
    assert without_labels([[0], [0, 5]]) == "; 1 case has no label at all"
    assert without_labels([[0], [0]]) == "; 2 cases have no label at all"


def test_there_is_no_rate_to_tell_before_a_first_unit_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    meter = Meter("precompute", 3, "cases")
    for now[0], done in ((1.0, 0.0), (2.4, 0.7)):
        meter.show(done)
    assert meter.counts() == "0/3 cases"
    now[0] = 3.0
    meter.show(1.0)
    assert meter.counts() == "1/3 cases, 2.0 s each, 0:00:04 left"


def test_the_time_left_of_a_training_has_its_share_of_validations(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """300 steps of a second, and after every 100 a validation of 60 seconds: 220 seconds after the second."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    meter = Meter("train", 300, "steps", rate=False, steady=True)
    left = {}
    for step in range(1, 301):
        now[0] += 1.0
        if step % 100 == 0:
            meter.show(step - 1, "validating")
            now[0] += 60.0
        meter.show(step)
        left[step] = meter.counts()
    assert left[1] == "1/300 steps", "nothing can be told of one step"
    assert left[90] == "90/300 steps, 0:03:30 left"
    for step, truth in ((100, 320), (150, 210), (200, 160), (250, 110)):
        minutes, seconds = re.findall(r"0:(\d\d):(\d\d) left", left[step])[0]
        assert int(minutes) * 60 + int(seconds) == pytest.approx(truth, rel=0.35)
    capsys.readouterr()


def test_starting_up_is_no_time_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A comparison's first step comes 25 seconds after it began; the others take one second."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    meter = Meter("compare", 72, "steps", steady=True)
    for now[0], done in ((0.0, 0), (24.0, 0), (25.0, 1), (26.0, 2)):
        meter.show(done)
    assert meter.counts() == "2/72 steps"
    for now[0], done in ((27.0, 3), (28.0, 4)):
        meter.show(done)
    assert meter.counts() == "4/72 steps, 1.0/s, 0:01:08 left"


def test_a_hundred_columns_have_room_for_what_a_comparison_does(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with Meter("compare", 16000, "steps", rate=False, steady=True) as meter:
        for done in (0, 5000, 6000):
            meter.show(done)
        meter.show(
            9000,
            str(
                Progress(
                    steps=9000, total=16000, ended=3, runs=40, doing={"runs/dice/seed-0": "step 390/400"}
                )
            ),
        )
    assert "step 390/400 (dice/seed-0)" in terminal.getvalue()


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True
