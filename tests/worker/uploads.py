"""Uploads for a worker, as the API would make them, and waiting for what becomes of them."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demo.service import PATIENCE
from dmapsvc.jobs import Kind, Request
from dmapsvc.settings import Settings
from dmapsvc.spec import MapSpec
from dmapsvc.store import WritableDataset, open_store

SPEC = MapSpec(labels=(3,))


def cube(side: int) -> NDArray[np.uint8]:
    """A volume with a box of label 3 in it."""
    volume = np.zeros((side, side, side), np.uint8)
    volume[side // 4 : side // 2, side // 4 : side // 2, side // 3 :] = 3
    return volume


def request(
    settings: Settings, array: NDArray[Any], case: str = "a", *, kind: Kind = Kind.MASK, spec: MapSpec = SPEC
) -> Request:
    """An upload of `array` as a NumPy file."""
    spool = uuid.uuid4().hex
    with (settings.spool / spool).open("wb") as file:
        np.save(file, array)
    return Request(
        kind=kind,
        dataset="knees",
        case=case,
        sha256=hashlib.sha256((settings.spool / spool).read_bytes()).hexdigest(),
        spool=spool,
        filename="knee.npy",
        spec=spec,
        shape=(array.shape[0], array.shape[1], array.shape[2]),
        affine=None,
        spacing=None,
        bytes=array.nbytes,
        replace=False,
    )


def dataset(settings: Settings) -> WritableDataset:
    """The dataset that `request` asks for."""
    return open_store(settings.store_location, settings.staging).open("knees")


def eventually(look: Callable[[], bool]) -> None:
    """Wait until `look` is true."""
    end = time.monotonic() + PATIENCE
    while not look():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)
