"""Lanes: cases side by side, in order, stopped cleanly, and never more than the memory holds."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from dmapsvc.errors import Superseded
from dmapsvc.maps import quantised_map
from dmapsvc.pipeline import (
    CaseFile,
    Event,
    Happening,
    Summary,
    find_cases,
    memory_needed,
    precompute,
    run_case,
)
from dmapsvc.pipeline.events import Ending, Step
from dmapsvc.pipeline.lanes import Lanes, Watch, default_lanes
from dmapsvc.quantised import QuantisedMap
from dmapsvc.spec import MapSpec
from dmapsvc.store import Dataset, check

PATIENCE = 120.0  # seconds for what only comes true side by side; nothing waits so long when it does


def some_cases(count: int) -> list[CaseFile]:
    return [CaseFile(case=f"case{number}", mask=Path(f"case{number}.nii")) for number in range(count)]


def ended(case: CaseFile) -> Ending:
    return Ending(case=case.case, there=True, new=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six masks of 8 × 9 × 10 voxels, each another one."""
    (tmp_path / "labels").mkdir()
    for number in range(6):
        labels = np.zeros((8, 9, 10), np.uint8)
        labels[2:6, 2:7, 1 : 4 + number] = 1
        np.save(tmp_path / f"labels/case{number}.npy", labels)
    return tmp_path / "labels"


def test_as_many_cases_as_lanes_are_under_way_at_once() -> None:
    together = threading.Barrier(3)

    def make(case: CaseFile, watch: Watch) -> Ending:
        together.wait(PATIENCE)  # raises unless three are inside
        return ended(case)

    with Lanes(some_cases(6), 3, make) as lanes:
        assert sum(isinstance(report, Ending) for report in lanes) == 6


def test_cases_are_taken_in_their_order_and_the_news_of_each_come_in_order() -> None:
    def make(case: CaseFile, watch: Watch) -> Ending:
        for fraction in (0.25, 0.5, 1.0):
            watch.progress("map", fraction)
        return ended(case)

    with Lanes(some_cases(20), 4, make) as lanes:
        reports = list(lanes)
    taken = [report.case for report in reports if isinstance(report, Step) and report.stage is None]
    assert taken == [case.case for case in some_cases(20)]
    for case in some_cases(20):
        own = [report for report in reports if report.case == case.case]
        assert [report.fraction for report in own if isinstance(report, Step)] == [0.0, 0.25, 0.5, 1.0]
        assert own[-1] == ended(case)


def test_leaving_the_block_stops_all_lanes_and_nothing_more_is_made() -> None:
    begun, refused = threading.Barrier(3), list[str]()

    def make(case: CaseFile, watch: Watch) -> Ending:
        begun.wait(PATIENCE)
        while watch.wanted():
            pass
        with pytest.raises(Superseded):
            watch.progress("map", 1.0)
        refused.append(case.case)
        return ended(case)

    with Lanes(some_cases(9), 2, make) as lanes:
        reports = iter(lanes)
        assert {next(reports).case, next(reports).case} == {"case0", "case1"}
        begun.wait(PATIENCE)
    assert sorted(refused) == ["case0", "case1"]
    assert list(reports) == []  # what was stopped is not reported


def test_a_long_transform_does_not_keep_an_interrupted_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dmapsvc.pipeline.lanes._GRACE", 0.01)
    transformed, left, ended_so = threading.Event(), threading.Event(), list[bool]()

    def make(case: CaseFile, watch: Watch) -> Ending:
        transformed.wait(PATIENCE)
        ended_so.append(watch.wanted())
        left.set()
        return ended(case)

    with pytest.raises(KeyboardInterrupt), Lanes(some_cases(1), 1, make):
        raise KeyboardInterrupt
    assert not ended_so  # the caller goes on while the lane is still in it
    transformed.set()
    assert left.wait(PATIENCE)
    assert ended_so == [False]


def test_an_error_nobody_foresaw_ends_the_run_in_the_callers_thread() -> None:
    def make(case: CaseFile, watch: Watch) -> Ending:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"), Lanes(some_cases(3), 2, make) as lanes:
        list(lanes)


def test_there_is_a_lane_more_than_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, lanes in ((1, 2), (2, 3), (8, 9), (64, 16)):
        monkeypatch.setattr("os.sched_getaffinity", lambda process, cores=cores: set(range(cores)))
        assert default_lanes() == lanes


def test_one_case_is_published_while_the_next_is_mapped(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first case is not written before the second is on the device."""
    second_is_mapped, calls = threading.Event(), list[None]()

    def mapping(*given: object, **options: object) -> QuantisedMap:
        calls.append(None)
        if len(calls) == 2:
            second_is_mapped.set()
        return real(*given, **options)  # type: ignore[arg-type]  # handed on as they are

    def publishing(*given: object, **options: object) -> object:
        assert second_is_mapped.wait(PATIENCE)
        return real_publish(*given, **options)  # type: ignore[arg-type]

    real, real_publish = quantised_map, Dataset.publish
    monkeypatch.setattr("dmapsvc.pipeline.case.quantised_map", mapping)
    monkeypatch.setattr(Dataset, "publish", publishing)
    summary = run(folder, tmp_path / "out.zarr", jobs=2)
    assert len(summary.done) == 6


def test_the_device_takes_as_many_volumes_at_once_as_its_backend_profits_from(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for permits in (1, 2):
        inside = Inside(permits)

        def mapping(*given: object, inside: Inside = inside, **options: object) -> QuantisedMap:
            with inside:
                return quantised_map(*given, **options)  # type: ignore[arg-type]

        monkeypatch.setattr("dmapsvc.pipeline.case.quantised_map", mapping)
        monkeypatch.setattr("dmapsvc.maps.scipy_backend.side_by_side", permits)
        run(folder, tmp_path / f"out{permits}.zarr", jobs=4)
        assert inside.most == permits


def test_cases_under_way_never_need_more_than_the_memory_budget(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four lanes, memory for two: two are under way at once, and never three."""
    needed = memory_needed("labels", voxels=8 * 9 * 10, bytes=0, backend="scipy")
    inside, real = Inside(2), run_case

    def running(*given: object, **options: object) -> object:
        with inside:
            return real(*given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("dmapsvc.pipeline.maker.run_case", running)
    summary = run(folder, tmp_path / "out.zarr", jobs=4, memory_budget=2 * needed + needed // 2)
    assert inside.most == 2
    assert len(summary.done) == 6


def test_a_case_larger_than_the_budget_fails_by_its_header_and_the_others_go_on(
    folder: Path, tmp_path: Path
) -> None:
    np.save(folder / "case2.npy", np.ones((80, 90, 10), np.uint8))
    summary = run(folder, tmp_path / "out.zarr", jobs=3, memory_budget=60 * 720)
    assert [(failure.case, failure.problem.status) for failure in summary.failed] == [("case2", 413)]
    assert len(summary.done) == 5


@pytest.mark.parametrize("jobs", [1, 2, 7])
def test_the_result_is_the_same_however_many_lanes(folder: Path, tmp_path: Path, jobs: int) -> None:
    (folder / "case3.npy").write_bytes(b"damaged")
    events: list[Event] = []
    summary = precompute(
        folder, tmp_path / "out.zarr", spec=MapSpec(), backend="scipy", jobs=jobs, on_event=events.append
    )
    names = [case.case for case in find_cases(folder)]
    assert list(summary.done) == [name for name in names if name != "case3"]
    assert [failure.case for failure in summary.failed] == ["case3"]
    assert list(check(Dataset.open(tmp_path / "out.zarr"))) == []
    assert [event.ended for event in events] == sorted(event.ended for event in events)
    last = [event for event in events if event.happening in (Happening.DONE, Happening.FAILED)]
    assert [event.ended for event in last] == [1, 2, 3, 4, 5, 6]
    assert (summary.voxels, summary.lanes) == (5 * 720, min(jobs, 6))
    assert summary.cases_per_second == pytest.approx(5 / summary.wall)
    assert summary.bytes_per_second == pytest.approx(2 * 5 * 720 / summary.wall)


def run(folder: Path, out: Path, **how: object) -> Summary:
    return precompute(folder, out, spec=MapSpec(), backend="scipy", **how)  # type: ignore[arg-type]


class Inside:
    """Counts who is inside at once; the first wait for each other until `expected` are."""

    def __init__(self, expected: int) -> None:
        self._expected, self._now, self.most = expected, 0, 0
        self._changed = threading.Condition()

    def __enter__(self) -> None:
        with self._changed:
            self._now += 1
            self.most = max(self.most, self._now)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.most >= self._expected, PATIENCE)

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._now -= 1
