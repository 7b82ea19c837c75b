"""Whatever bytes come, a reader refuses them in one line or reads what their header promised."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.inputs import damaged, numbered, samples
from tests.fuzz.judging import judge

EACH = 125


@pytest.mark.parametrize("first", range(0, 8 * EACH, EACH))
def test_numbered_files_are_refused_or_read(first: int, tmp_path: Path) -> None:
    path = tmp_path / "input"
    taken = 0
    for number in range(first, first + EACH):
        how, content = numbered(number)
        path.write_bytes(content)
        try:
            taken += judge(path)
        except Exception as error:
            raise AssertionError(f"input {number}, {how}") from error
    assert EACH / 10 < taken < EACH  # neither is all of it noise, nor all of it sound


@given(st.randoms(use_true_random=False), st.data())
@settings(max_examples=250, suppress_health_check=list(HealthCheck), derandomize=True)
def test_damaged_files_are_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, random: Random, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(damaged(random, data.draw(st.sampled_from(sorted(samples())))).content)
    judge(path)


@given(st.binary(max_size=600))
@settings(max_examples=100, derandomize=True)
def test_arbitrary_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "arbitrary"
    path.write_bytes(content)
    assert not judge(path)
