"""How a run over a folder ended, in figures and in names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dmapsvc.pipeline.events import Failure

_PHI_BYTES = 2  # a voxel of Φ as it is stored, uint16, before it is compressed


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How a run over a folder ended: names of cases by how they ended, by name, and what it took.

    A case whose map is there and whose image could not be published is in `done` or `skipped`, and in
    `failed`. `without_image` lists the cases for which the folder of images had none, `unused_images` the
    files of it that go with no case; both empty if there was no such folder.

    `seconds`: what each stage took, added up over all cases; as cases are made side by side, together more
    than `wall`, the seconds of the whole run. `voxels`: of all label maps mapped. `lanes`: how many cases
    were under way at once at most.
    """

    done: tuple[str, ...]
    skipped: tuple[str, ...]
    failed: tuple[Failure, ...]
    without_image: tuple[str, ...]
    unused_images: tuple[Path, ...]
    seconds: dict[str, float]
    wall: float
    voxels: int
    lanes: int

    @property
    def cases_per_second(self) -> float:
        """Cases published by this run over its seconds."""
        return len(self.done) / self.wall

    @property
    def bytes_per_second(self) -> float:
        """Bytes of Φ, 16 bits a voxel and not yet compressed, over the seconds of the run."""
        return _PHI_BYTES * self.voxels / self.wall
