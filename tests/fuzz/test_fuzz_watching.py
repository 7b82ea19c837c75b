"""The watchdog of the long run notices a hang, a death, a fault, and memory that grows."""

from __future__ import annotations

import sys

import pytest

from tests.fuzz import watching
from tests.fuzz.watching import growth, watch_reading


def reader(*lines: str) -> tuple[str, ...]:
    """A process of these lines, which is given the number to begin with."""
    return (sys.executable, "-c", "import sys, time; n = int(sys.argv[1])\n" + "\n".join(lines))


def test_inputs_are_counted_by_what_became_of_them() -> None:
    says = "print(n, 'reads'); print(n, 100, 'fault ValueError: x' if n % 2 else 'taken', flush=True); n += 1"
    seen = watch_reading(5, inputs=3, command=reader("while True:", f"    {says}"))
    assert dict(seen.verdicts) == {"fault": 2, "taken": 1}
    assert seen.faults == ["input 5: fault ValueError: x", "input 7: fault ValueError: x"]


def test_a_death_is_noticed_and_reading_goes_on_behind_it() -> None:
    seen = watch_reading(5, inputs=2, command=reader("print(n, 'reads', flush=True)"))
    assert seen.faults == ["input 5: ended its process", "input 6: ended its process"]


def test_a_hang_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "PATIENCE", 0.1)
    monkeypatch.setattr(watching, "STARVED", 0.1)
    seen = watch_reading(5, inputs=1, command=reader("print(n, 'reads', flush=True); time.sleep(600)"))
    assert seen.faults == ["input 5: hangs"]


def test_growth_is_that_of_a_run_once_it_is_warm() -> None:
    assert growth([1, *[100] * 15]) == 1.0
    assert growth(list(range(100, 200))) == pytest.approx(187 / 162, abs=0.01)
