"""nnU-Net v2's own dataset class, data loader and background workers, started as its trainer starts them.

What it needs of nnU-Net's folders and plans is given by hand. Its format is written in `loader_formats.py`.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from functools import partial
from operator import itemgetter
from typing import Any, Literal

import numpy as np

from benchmarks.loader_feed import ROTATION, Delivered, Feed, Place

Turning = Literal["no", "2-D", "3-D"]

_RADIANS = (-math.radians(ROTATION), math.radians(ROTATION))
_CACHED, _WAIT = 6, 0.002  # batches and seconds: what nnUNetTrainer passes


def batches(feed: Feed, turning: Turning) -> Generator[Delivered]:
    """Batches out of nnU-Net's `NonDetMultiThreadedAugmenter`.

    `turning`: every patch is rotated in the plane by its `SpatialTransform`, as 2-D slices, which is what
    nnU-Net does with anisotropic patches, or by a 3-D grid. A rotated patch is cut out of the larger one that
    its `get_patch_size` asks for. Image and Φ are linear, as its image channels are; the label is nearest.
    """
    from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter

    loader = _loader(feed, turning)
    noted = _Noted(loader) if feed.placed else None
    augmenter = NonDetMultiThreadedAugmenter(
        loader, noted, feed.workers, num_cached=_CACHED, pin_memory=False, wait_time=_WAIT
    )
    try:
        while True:
            batch = next(augmenter)
            yield Delivered(
                image=batch["data"][:, 0],
                label=batch["target"][:, 0],
                phi=batch["data"][:, 1],
                places=partial(itemgetter("places"), batch),
            )
    finally:
        augmenter._finish()


def _loader(feed: Feed, turning: Turning) -> Any:
    from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size
    from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    drawn = feed.patch if turning == "no" else get_patch_size(feed.patch, _RADIANS, 0.0, 0.0, (1, 1))
    return nnUNetDataLoader(
        nnUNetDatasetBlosc2(str(feed.folder), list(feed.cases)),
        feed.batch,
        drawn,
        feed.patch,
        LabelManager({"background": 0, "bone": 1}, None),  # asked for an ignore label only, if there is one
        transforms=None if turning == "no" else _rotation(feed, turning),
    )


def _rotation(feed: Feed, turning: Turning) -> Any:
    from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
    from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
    from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform, Convert3DTo2DTransform

    flat = turning == "2-D"
    turn = SpatialTransform(
        feed.patch[1:] if flat else feed.patch,
        patch_center_dist_from_border=0,
        random_crop=False,
        p_rotation=1,
        rotation=_RADIANS if flat else _about_z,
        mode_seg="nearest",
        border_mode_seg="constant",
        padding_value_seg=-1,
    )
    return ComposeTransforms([Convert3DTo2DTransform(), turn, Convert2DTo3DTransform()] if flat else [turn])


def _about_z(*, dim: int, **_: object) -> float:
    return (
        float(np.random.uniform(*_RADIANS)) if dim == 0 else 0.0
    )  # its workers seed NumPy's global generator


class _Noted:
    """A transform of whole batches, for the workers, that adds the places drawn since the last one.

    The loader does not tell them, so they are noted as it draws them.
    """

    def __init__(self, loader: Any) -> None:
        self._corners: list[tuple[int, int, int]] = []
        self._draw = loader.get_bbox
        loader.get_bbox = self._get_bbox

    def _get_bbox(self, *arguments: Any, **named: Any) -> Any:
        low, high = self._draw(*arguments, **named)
        self._corners.append((int(low[0]), int(low[1]), int(low[2])))
        return low, high

    def __call__(self, **batch: Any) -> dict[str, Any]:
        places: list[Place] = [
            (str(k), corner) for k, corner in zip(batch["keys"], self._corners, strict=True)
        ]
        self._corners.clear()
        return {**batch, "places": places}
