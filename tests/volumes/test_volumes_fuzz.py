"""Whatever bytes are damaged: an error of ours or a volume, never anything else."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dmapsvc.errors import DmapsvcError
from dmapsvc.volumes import read_header, read_image, read_labels

FAMILIES = {
    "plain.nii": 400, "two.nii": 600, "gzipped.nii.gz": 10_000, "gzipped.mgz": 10_000, "plain.mgh": 300,
    "lps.nrrd": 10_000, "bzip2.nrrd": 10_000, "plain.mha": 500, "packed.mha": 10_000, "plain.npy": 128,
    "packed.npz": 10_000, "binary.dcm": 10_000, "labelmap.dcm": 10_000,
}  # fmt: skip
"""How many bytes from the start are worth damaging: the header, and the body where it is compressed."""


def read_all_ways(path: Path) -> None:
    ways: list[Callable[[Path], Any]] = [read_header, read_labels, read_image]
    for read in ways:
        try:
            volume = read(path)
        except DmapsvcError as error:
            assert error.detail  # noqa: PT017
        else:
            assert volume is not None


@pytest.mark.filterwarnings("ignore")  # pydicom and numpy warn of what they read
@pytest.mark.parametrize("name", FAMILIES)
def test_damaged_files_are_refused_or_read(name: str, written: dict[str, Path], tmp_path: Path) -> None:
    whole = written[name].read_bytes()
    last = min(len(whole), FAMILIES[name]) - 1

    @settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(
        st.lists(st.tuples(st.integers(0, last), st.integers(0, 255)), min_size=0, max_size=4),
        st.one_of(st.just(len(whole)), st.integers(0, len(whole))),
    )
    def check(changes: list[tuple[int, int]], length: int) -> None:
        content = bytearray(whole)
        for offset, value in changes:
            content[offset] = value
        (tmp_path / "a").write_bytes(content[:length])
        read_all_ways(tmp_path / "a")
        if name in ("plain.nii", "plain.mgh"):
            (tmp_path / "a").write_bytes(gzip.compress(content[:length], 1))
            read_all_ways(tmp_path / "a")

    check()


@given(st.binary(max_size=600))
@settings(max_examples=100, deadline=None)
def test_arbitrary_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "arbitrary"
    path.write_bytes(content)
    read_all_ways(path)
