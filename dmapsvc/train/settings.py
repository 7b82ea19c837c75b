"""What a training is asked to do: one frozen record, checked when it is made."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from dmapsvc.errors import BadInput
from dmapsvc.region import SCALES, Scale
from dmapsvc.train.vnet import DIVISOR

Device = Literal["auto", "cpu", "cuda"]

# How long, how fast and where a training runs: free to differ when it goes on. The rest is what it is.
_FREE = {"location", "out", "steps", "threads", "device", "save_every"}


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """A V-Net training with Adam on patches of one dataset.

    `location`: the dataset, a folder or a URL. `out`: the checkpoint file; if it exists the training goes on
    from it. `patch`: sides (z, y, x) in voxels, multiples of 16. `batch`: patches a step. `steps`: in all,
    those of earlier runs included. `width`: the V-Net's first-stage channels (16 in the paper). `lr`: Adam's
    learning rate (1e-4 in Calivá et al.). `foreground`: share of patches centred on a labelled voxel.
    `rotation`: patches are turned in-plane by up to so many degrees either way. `threads`: that read patches.
    `device`: `auto` is CUDA where there is some. `save_every`: steps between checkpoints.

    `scale`: how Φ weighs. `region` (Φ / M, in [0, 1)) doubles the weight towards boundaries. `balanced` gives
    every region a mean weight of 1. `none` is the paper's letter, Φ as it is; on knees in voxels it gives the
    background 95 % of the weight and little is learnt from the rest: it acts as an inverse class weight, not
    on boundaries.

    Raises BadInput for a value that cannot be.
    """

    location: str | Path
    out: Path
    patch: tuple[int, int, int] = (64, 64, 64)
    batch: int = 2
    steps: int = 1000
    width: int = 16
    scale: Scale = "region"
    lr: float = 1e-4
    foreground: float = 0.5
    rotation: float = 15.0
    seed: int = 0
    threads: int = 2
    device: Device = "auto"
    save_every: int = 100

    def __post_init__(self) -> None:
        if len(self.patch) != 3 or any(side < 1 or side % DIVISOR for side in self.patch):
            raise BadInput(
                f"patch {self.patch}", f"V-Net wants three sides, multiples of {DIVISOR}", "Try (64, 64, 64)"
            )
        for name in ("batch", "steps", "width", "threads", "save_every"):
            self._check(name, getattr(self, name) >= 1, "at least 1")
        self._check("seed", self.seed >= 0, "at least 0")
        self._check("rotation", 0 <= self.rotation <= 180, "0 to 180 degrees")
        self._check("lr", 0 < self.lr < float("inf"), "a positive number")
        self._check("foreground", 0 <= self.foreground <= 1, "0 to 1")
        self._check("scale", self.scale in SCALES, f"one of {', '.join(SCALES)}")
        self._check("device", self.device in get_args(Device), f"one of {', '.join(get_args(Device))}")

    def _check(self, name: str, holds: bool, wanted: str) -> None:
        if not holds:
            raise BadInput(f"{name} is {getattr(self, name)!r}", f"wanted {wanted}")

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that have to stay when a training goes on, as plain values."""
        settings = {name: value for name, value in dataclasses.asdict(self).items() if name not in _FREE}
        return {**settings, "patch": list(self.patch)}
