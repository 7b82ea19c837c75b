"""The memory that a job is said to need, from the header of its upload to the worker's budget."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import DTypeLike

from dmapsvc.jobs import Kind, Request
from dmapsvc.settings import Settings
from dmapsvc.spec import MapSpec
from dmapsvc.volumes import read_header
from worker.cases import memory_of

ANY = Settings()


def image_request(folder: Path, shape: tuple[int, ...], dtype: DTypeLike) -> Request:
    """A request for the image of zeros with this shape, as the API would make it."""
    file = folder / "image.npy"
    np.save(file, np.zeros(shape, dtype))
    header = read_header(file, kind="image")
    return Request(
        kind=Kind.IMAGE,
        dataset="knees",
        case="a",
        sha256=hashlib.sha256(b"").hexdigest(),
        spool="x",
        filename="image.npy",
        spec=MapSpec(),
        shape=header.shape,
        affine=None,
        spacing=None,
        bytes=header.bytes,
        replace=False,
    )


@pytest.mark.parametrize(
    ("shape", "dtype", "loaded"),
    [
        ((10, 20, 30), np.float32, 6000 * 4),
        ((10, 20, 30), np.float64, 6000 * 8),
        ((250, 10, 20, 30), np.float32, 250 * 6000 * 4),
        ((10, 20, 30), np.uint8, 6000 * 4),  # a slope would make it float32
    ],
)
def test_every_channel_of_an_image_counts(
    tmp_path: Path, shape: tuple[int, ...], dtype: DTypeLike, loaded: int
) -> None:
    """A run holds the file's voxels and a copy of them."""
    asked = image_request(tmp_path, shape, dtype)
    assert 2 * loaded <= memory_of(asked, "numba", ANY) <= 4 * loaded
    assert memory_of(asked, "scipy", ANY) == memory_of(asked, "numba", ANY)  # nothing is mapped


def test_a_mask_counts_by_the_backend(tmp_path: Path) -> None:
    mask = dataclasses.replace(image_request(tmp_path, (10, 20, 30), np.uint8), kind=Kind.MASK)
    assert memory_of(mask, "numba", ANY) >= 6000 * (1 + 1 + 1 + 4 + 2)
    assert memory_of(mask, "scipy", ANY) > 3 * memory_of(mask, "numba", ANY)
    for card in ("cuda", "cucim"):  # numba maps what the card cannot
        assert memory_of(mask, card, ANY) == memory_of(mask, "numba", ANY)
