"""One case through a network: its image whole, in windows of the patch, and out comes a class for each voxel.

Here too how a published case is read whole, as patches of it are read in training. Prediction of many cases
into files is in `predictions.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dmapsvc.errors import BadInput
from dmapsvc.loader.classes import Classes, check_classes
from dmapsvc.loader.derived import check_image, normalisation
from dmapsvc.loader.source import CaseSource
from dmapsvc.store import CaseRecord
from dmapsvc.store.classtable import class_table
from dmapsvc.store.mapped import MappedCase

OVERLAP = 0.5  # of two windows beside each other; what nnU-Net takes too
WINDOWS = 2  # at a time; one small one alone misses PyTorch's fast convolutions on the CPU: 4 times slower
_CORNER = (0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class WholeCase:
    """A case as a network takes it, whole.

    `image`: float32 (C, z, y, x), normalised, on the CPU. `label`: (z, y, x), class indices, int16 (int32 if
    there are more than 32,767 classes).
    """

    image: Tensor
    label: NDArray[np.signedinteger[Any]]


def read_case(source: CaseSource, case: str, *, classes: Classes) -> WholeCase:
    """A published case, its files fetched first if they are remote; every checksum is verified.

    `classes`: the label of each class, the background's 0 first.

    Raises NotFound if there is no such case or it has no image, BadLabels if it has a label outside
    `classes`, Damaged, DatasetAway, and what else `source` raises.
    """
    voxels = MappedCase(source.folder(case), case)
    check_classes(case, voxels.record, classes)
    table = class_table(classes)
    label = np.empty(voxels.record.shape, table.lookup.dtype)
    voxels.read_label(_CORNER, label, table)
    return WholeCase(image=_image_of(voxels), label=label)


def read_image(source: CaseSource, case: str) -> tuple[Tensor, CaseRecord]:
    """The image of `read_case`, and what the case says of itself, without the labels, which may be any or of
    no use. Raises likewise.
    """
    voxels = MappedCase(source.folder(case), case)
    return _image_of(voxels), voxels.record


def segment(
    net: nn.Module,
    image: Tensor,
    *,
    patch: Sequence[int],
    overlap: float = OVERLAP,
    batch: int = WINDOWS,
    autocast: torch.dtype | None = None,
    on_progress: Callable[[float], None] = lambda done: None,
) -> NDArray[np.int16]:
    """The class index of each voxel, (z, y, x), where the network's logit is largest.

    `image`: float32 (C, z, y, x), normalised, anywhere; `net` gives logits (N, classes, z, y, x), and runs
    where its parameters are, in `eval` mode and without gradients. Windows of the sides `patch`, `batch` at a
    time, overlap by the fraction `overlap`; where they do, logits are averaged under a Gaussian window
    (MONAI's `sliding_window_inference`). A volume that is smaller than the patch is padded as the loader
    pads, by each channel's minimum; one that fits into the patch goes through once. `autocast`: the type to
    calculate in, float32 if left out. `on_progress` is called with the share of windows that are through.

    Memory besides the network's: 4 · (classes + C + 3) bytes a voxel; the machine's where a GPU has not
    enough. Raises BadInput for an image that is not of four axes, an overlap outside [0, 1), or a patch
    without three sides of at least 1.
    """
    _check(image, patch, overlap)
    padded, inside = _padded(image, patch)
    with _evaluated(net) as device, torch.autocast(device.type, autocast, enabled=autocast is not None):
        windows = _Windows(net, count_windows(padded.shape[1:], patch, overlap), on_progress)
        logits = _logits(windows, padded[None], tuple(patch), overlap, batch, device)
        classes = logits[0][:, *inside].argmax(dim=0).to(torch.int16)
    return cast("NDArray[np.int16]", classes.cpu().numpy())


@contextmanager
def _evaluated(net: nn.Module) -> Iterator[torch.device]:
    """`net` in its `eval` mode, without gradients; gives where it is."""
    before = net.training
    net.eval()
    try:
        with torch.no_grad():
            yield next(net.parameters()).device
    finally:
        net.train(before)


def count_windows(shape: Sequence[int], patch: Sequence[int], overlap: float) -> int:
    """How many windows of `patch` MONAI lays over a volume of `shape`, nowhere smaller than it."""
    return math.prod(
        1 + math.ceil((length - side) / max(1, int(side * (1 - overlap))))
        for length, side in zip(shape, patch, strict=True)
    )


class _Windows:
    """Float32 logits of windows, and how many of the `total` have been asked for."""

    def __init__(self, net: nn.Module, total: int, on_progress: Callable[[float], None]) -> None:
        self._net, self._total, self._on_progress = net, total, on_progress
        self._done = 0

    def __call__(self, windows: Tensor) -> Tensor:
        logits: Tensor = self._net(windows)  # a network in channels_last_3d brings them into its own layout
        self._done += len(windows)
        self._on_progress(min(1.0, self._done / self._total))
        return logits.float()


def _logits(
    windows: _Windows,
    image: Tensor,
    patch: tuple[int, ...],
    overlap: float,
    batch: int,
    device: torch.device,
) -> Tensor:
    """Float32 logits (1, classes, z, y, x) of an image (1, C, z, y, x), nowhere smaller than the patch."""
    if image.shape[2:] == patch:
        return windows(image.to(device))
    from monai.inferers import sliding_window_inference  # a second and a half to import

    def stitch(home: torch.device) -> Tensor:
        stitched: Any = sliding_window_inference(
            image.to(home), patch, batch, windows, overlap, "gaussian", sw_device=device, device=home
        )
        return cast(Tensor, stitched)

    try:
        return stitch(device)
    except torch.cuda.OutOfMemoryError:  # windows may fit where the logits of the whole volume do not
        return stitch(torch.device("cpu"))


def _padded(image: Tensor, patch: Sequence[int]) -> tuple[Tensor, tuple[slice, ...]]:
    """The image with no side shorter than the patch's, and where in it the image lies."""
    shape = tuple(image.shape[1:])
    sides = tuple(map(max, shape, patch))
    before = [(side - length + 1) // 2 for side, length in zip(sides, shape, strict=True)]
    inside = tuple(slice(start, start + length) for start, length in zip(before, shape, strict=True))
    if sides == shape:
        return image, inside
    padded = image.amin(dim=(1, 2, 3), keepdim=True).reshape(-1, 1, 1, 1).repeat(1, *sides)
    padded[:, *inside] = image
    return padded, inside


def _image_of(voxels: MappedCase) -> Tensor:
    record = check_image(voxels.name, voxels.record)
    linear, _ = normalisation(record, "case")
    image = np.empty((record.channels, *record.shape), np.float32)
    voxels.read_image(_CORNER, image, linear.factor, linear.offset)
    return torch.from_numpy(image)


def _check(image: Tensor, patch: Sequence[int], overlap: float) -> None:
    if image.ndim != 4:
        raise BadInput(f"an image of shape {tuple(image.shape)}", "wanted (C, z, y, x)")
    if len(patch) != 3 or min(patch) < 1:
        raise BadInput(f"a patch of {tuple(patch)}", "wanted three sides (z, y, x) of at least 1 voxel")
    check_overlap(overlap)


def check_overlap(overlap: float) -> None:
    """Raises BadInput for what is no overlap of windows."""
    if not 0 <= overlap < 1:
        raise BadInput(f"an overlap of {overlap:g}", "wanted 0 to below 1", "Try 0.5")
