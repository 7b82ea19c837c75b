"""The long run: damaged files and calls for an hour, or DMAPSVC_FUZZ_MINUTES of them.

Its inputs begin where the short tests end, or at DMAPSVC_FUZZ_FIRST.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.fuzz.described import check_calls
from tests.fuzz.uploading import Uploader, limited
from tests.fuzz.watching import PATIENCE, growth, watch_reading

SECONDS = 60 * float(os.environ.get("DMAPSVC_FUZZ_MINUTES", "60"))
FIRST = int(os.environ.get("DMAPSVC_FUZZ_FIRST", "1000000"))
MOST_GROWTH = 1.03  # of the memory, from the third quarter of a run to the last

pytestmark = pytest.mark.soak


def test_readers_take_or_refuse_every_file() -> None:
    seen = watch_reading(FIRST, seconds=SECONDS / 4)
    grown = growth(seen.memory)
    print(f"\nreaders: {seen.inputs} inputs, {dict(seen.verdicts)}")
    print(f"slowest {seen.slowest[0]:.2f} s of a core (input {seen.slowest[1]})")
    print(f"memory x {grown:.3f}, {_mb(seen.memory)}")
    assert seen.faults == []
    assert grown < MOST_GROWTH
    assert seen.slowest[0] < PATIENCE


def test_the_service_stands_uploads_and_hostile_requests(tmp_path: Path) -> None:
    end = time.monotonic() + SECONDS / 2
    with limited(tmp_path) as service:
        uploader = Uploader(service)
        number = FIRST
        while time.monotonic() < end:
            uploader.upload(number)
            uploader.disturb(number)
            number += 1
        seen = uploader.seen
    print(f"\nservice: {seen.inputs} uploads, {dict(sorted(seen.statuses.items()))}")
    print(f"slowest {seen.slowest[0]:.2f} s (number {seen.slowest[1]})")
    for part, memory in seen.memory.items():
        print(f"{part}: memory x {growth(memory):.3f}, {_mb(memory)}")
    assert seen.faults == []
    assert max(map(growth, seen.memory.values())) < MOST_GROWTH


def test_the_service_answers_as_it_is_described(tmp_path: Path) -> None:
    end = time.monotonic() + SECONDS / 4
    calls = rounds = 0
    with limited(tmp_path) as service:
        while time.monotonic() < end:
            calls += sum(check_calls(service.url, examples=50, first=FIRST + rounds).values())
            rounds += 1
    print(f"\ndescribed: {calls} calls in {rounds} rounds")


def _mb(memory: list[int]) -> str:
    few = [memory[index * (len(memory) - 1) // 5] for index in range(6)] if memory else []
    return "MB " + " ".join(str(size >> 20) for size in few)
