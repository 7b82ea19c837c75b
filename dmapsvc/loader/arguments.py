"""What a `PatchLoader` is given, checked before anything is read; and whether the cases suit it."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dmapsvc.errors import BadInput, DeviceMissing
from dmapsvc.loader.classes import Classes, check_classes
from dmapsvc.loader.derived import Normalise, check_image
from dmapsvc.loader.turns import Box
from dmapsvc.region import SCALES, Scale
from dmapsvc.store import CaseRecord


def check_sampling(patch: Box, scale: Scale, foreground: float, normalise: Normalise) -> None:
    """Raises BadInput for what cannot be drawn."""
    if len(patch) != 3 or min(patch) < 1:
        raise BadInput(f"a patch of {patch}", "wanted three sides (z, y, x) of at least 1 voxel")
    if scale not in SCALES:
        raise BadInput(f"scale {scale!r}", f"wanted one of {', '.join(SCALES)}")
    if not 0 <= foreground <= 1:
        raise BadInput(f"a foreground share of {foreground}", "wanted 0 to 1")
    if isinstance(normalise, tuple) and len(normalise) == 2 and normalise[1] > 0:
        return
    if normalise not in ("case", None):
        raise BadInput(f"normalise {normalise!r}", "wanted 'case', (mean, deviation above 0) or None")


def check_counts(**counts: int | None) -> None:
    """Raises BadInput for one below 1."""
    for name, number in counts.items():
        if number is not None and number < 1:
            raise BadInput(f"{name} {number}", "wanted at least 1")


def check_rank(rank: int | None, world: int | None) -> None:
    """Raises BadInput for half of the two, or a rank outside the world."""
    if (rank is None) != (world is None):
        raise BadInput(f"rank {rank} and world {world}", "wanted both or neither")
    if rank is not None and world is not None and not 0 <= rank < world:
        raise BadInput(f"rank {rank} of a world of {world}", "wanted 0 to world - 1")


def check_device(device: str | torch.device | None) -> torch.device | None:
    """The device, if one is given; raises DeviceMissing for CUDA where there is none."""
    if device is None:
        return None
    wanted = torch.device(device)
    if wanted.type == "cuda" and not torch.cuda.is_available():
        raise DeviceMissing("PyTorch sees no CUDA device", "wanted one", "Take device 'cpu', or leave it out")
    return wanted


def check_cases(records: Mapping[str, CaseRecord], classes: Classes) -> int:
    """How many channels the images have; raises where they differ, one lacks, or a label is no class."""
    if len(set(classes)) != len(classes) or classes[:1] != (0,):
        raise BadInput(f"classes {classes}", "wanted each label once, first 0, the background")
    channels: dict[int, str] = {}
    for case, record in records.items():
        check_classes(case, record, classes)
        channels.setdefault(check_image(case, record).channels, case)
    if len(channels) > 1:
        raise BadInput(
            "; ".join(f"the image of case {case!r} has {count} channels" for count, case in channels.items()),
            "all images of a dataset have as many",
        )
    return next(iter(channels))
