"""What a `PatchLoader` is given, checked before anything is read; and whether the cases suit it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch

from dmapsvc.errors import BadInput, DeviceMissing
from dmapsvc.loader.classes import Classes, check_classes
from dmapsvc.loader.derived import Normalise, check_image
from dmapsvc.loader.turns import Augment, Box
from dmapsvc.region import Scale, check_scale
from dmapsvc.store import CaseRecord
from dmapsvc.store.classtable import class_table


def check_sampling(
    patch: Box, scale: Scale, foreground: float, normalise: Normalise, augment: Augment | None
) -> None:
    """Raises BadInput for what cannot be drawn."""
    if augment is not None and not isinstance(augment, Augment):
        raise BadInput(f"augment {augment!r}", "wanted an Augment or None", "Try Augment(rotation=15)")
    if not isinstance(patch, Sequence) or len(patch) != 3 or not all(map(_is_count, patch)):
        raise BadInput(f"a patch of {patch}", "wanted three sides (z, y, x) of at least 1 voxel")
    check_scale(scale)
    if not isinstance(foreground, Real) or not 0 <= foreground <= 1:
        raise BadInput(f"a foreground share of {foreground}", "wanted 0 to 1")
    numbers = isinstance(normalise, tuple) and all(isinstance(number, Real) for number in normalise)
    if normalise not in ("case", None) and not (numbers and len(normalise) == 2 and normalise[1] > 0):
        raise BadInput(f"normalise {normalise!r}", "wanted 'case', (mean, deviation above 0) or None")


def check_seed(seed: int | Sequence[int]) -> None:
    """Raises BadInput for what is no whole number of at least 0, or several."""
    several = isinstance(seed, Sequence) and not isinstance(seed, str) and len(seed) > 0
    numbers: Sequence[Any] = seed if several and isinstance(seed, Sequence) else [seed]
    if not all(isinstance(number, int | np.integer) and number >= 0 for number in numbers):
        raise BadInput(f"seed {seed!r}", "wanted a whole number of at least 0, or several")


def check_counts(**counts: int | None) -> None:
    """Raises BadInput for one that is no whole number of at least 1."""
    for name, number in counts.items():
        if number is not None and not _is_count(number):
            raise BadInput(f"{name} {number!r}", "wanted at least 1, and a whole number")


def check_rank(rank: int | None, world: int | None) -> None:
    """Raises BadInput for half of the two, or a rank outside the world."""
    if (rank is None) != (world is None):
        raise BadInput(f"rank {rank} and world {world}", "wanted both or neither")
    if rank is None or world is None:
        return
    if not isinstance(rank, int | np.integer) or not _is_count(world) or not 0 <= rank < world:
        raise BadInput(f"rank {rank} of a world of {world}", "wanted 0 to world - 1")


def check_device(device: str | torch.device | None) -> torch.device | None:
    """The device, if one is given; raises BadInput for what is none, DeviceMissing for CUDA without any."""
    if device is None:
        return None
    try:
        wanted = torch.device(device)
    except (RuntimeError, TypeError):
        raise BadInput(
            f"device {device!r}", "wanted one of PyTorch's, as 'cpu', 'cuda' or 'cuda:1'"
        ) from None
    if wanted.type == "cuda" and not torch.cuda.is_available():
        raise DeviceMissing("PyTorch sees no CUDA device", "wanted one", "Take device 'cpu', or leave it out")
    return wanted


def check_cases(records: Mapping[str, CaseRecord], classes: Classes) -> int:
    """How many channels the images have; raises where they differ, one lacks, or a label is no class."""
    if not all(isinstance(label, int | np.integer) for label in classes):
        raise BadInput(f"classes {list(classes)}", "wanted labels, which are whole numbers")
    class_table(classes)  # raises for a list that is none of classes
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


def _is_count(number: Any) -> bool:
    return isinstance(number, int | np.integer) and int(number) >= 1
