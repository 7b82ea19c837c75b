"""What a format module hands back: a header, and how to get the voxels once they are wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmapsvc.volumes.grid import spacing_of
from dmapsvc.volumes.volume import Header, Shape


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A volume that is still in its file.

    `load` reads the voxels as they are stored, any byte order and strides: (z, y, x), or (c, z, y, x) if the
    header counts several channels. A voxel's value is stored · `slope` + `inter`.
    """

    header: Header
    load: Callable[[], NDArray[Any]]
    slope: float = 1.0
    inter: float = 0.0

    @classmethod
    def of(
        cls,
        format: str,
        load: Callable[[], NDArray[Any]],
        *,
        shape: Shape,
        dtype: np.dtype[Any],
        affine: NDArray[np.float64] | None,
        channels: int = 1,
        scaling: tuple[float, float] = (1.0, 0.0),
    ) -> Stored:
        """A volume by what its format says of it; the spacing follows from the affine."""
        header = Header(
            format=format,
            shape=shape,
            dtype=dtype.newbyteorder("="),
            spacing=None if affine is None else spacing_of(affine),
            affine=affine,
            channels=channels,
        )
        return cls(header=header, load=load, slope=scaling[0], inter=scaling[1])

    @property
    def scaled(self) -> bool:
        """Whether stored numbers are not the values themselves."""
        return (self.slope, self.inter) != (1.0, 0.0)
