"""What is derived of a case normalises its image as float64 would, however large its mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dmapsvc.loader.derived import derive
from dmapsvc.store.mapped import MappedCase

SHAPE = (12, 12, 12)


@pytest.mark.parametrize(("dtype", "mean"), [("int32", 2**24), ("float64", 1e8), ("int16", 300)])
def test_an_image_is_normalised_however_large_its_mean(
    make_dataset: Callable[..., Path], two_bones: Callable[..., tuple[Any, Any]], dtype: str, mean: float
) -> None:
    image = (mean + np.random.default_rng(0).integers(0, 50, SHAPE)).astype(dtype)
    folder = make_dataset({"a": (two_bones(SHAPE)[0], image)})
    case = derive(MappedCase(folder / "a", "a"), classes=(0, 3, 5, 7), scale="region", normalise="case")
    out = np.empty((1, *SHAPE), np.float32)
    case.voxels.read_image((0, 0, 0), out, case.image.factor, case.image.offset)
    np.testing.assert_allclose(out[0], (image - image.mean()) / image.std(), atol=2e-6)
