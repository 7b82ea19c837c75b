"""Random patches of a dataset as a PyTorch dataset: which case, and where in it.

Reading and scaling a patch is in `prepared.py`, collating patches in `batches.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from dmapsvc.errors import BadInput, NotFound, Superseded
from dmapsvc.loader.classes import Classes, dataset_classes
from dmapsvc.loader.prepared import Box, Patch, PreparedCase, check_image
from dmapsvc.loader.source import open_dataset
from dmapsvc.region import SCALES, Scale
from dmapsvc.store import CaseRecord


class PatchDataset(IterableDataset[Patch]):
    """An endless stream of random patches, for `torch.utils.data.DataLoader` with any number of workers.

    `location`: a dataset folder or its URL, as `open_dataset` takes it. `patch`: sides (z, y, x) in voxels.
    `scale`: how Φ is scaled, by `Region.scaling`. `foreground`: the share of patches centred on a voxel that
    is of a class, as far as the volume's border lets them (the others lie anywhere in the volume; all are of
    cases drawn alike). Only where the volume is smaller than the patch is it padded. `seed` (a number or
    several) and a worker's id decide every patch: one seed gives one stream each time it is iterated, each
    worker its own. `classes`: a frozen list; the dataset's own if left out.

    Every process keeps one reader, and for a URL up to `cache.CACHE_BYTES` of compressed arrays. Cases
    published after this is made are not drawn.

    Raises what `open_dataset` raises, BadInput for unusable arguments, NotFound for a dataset without cases
    or a case without an image, BadLabels (when it is drawn) for a case with a label outside `classes`.
    """

    def __init__(
        self,
        location: str | Path,
        *,
        patch: Box,
        scale: Scale = "region",
        foreground: float = 0.5,
        seed: int | Sequence[int] = 0,
        classes: Classes | None = None,
    ) -> None:
        super().__init__()
        _check(patch, scale, foreground)
        self.location, self.patch, self.scale = location, patch, scale
        self.foreground, self.seed = foreground, seed
        dataset = open_dataset(location)
        records = {case: dataset.case(case).record for case in dataset.cases()}
        if not records:
            raise NotFound(f"{location}: no case is published", remedy="Publish a mask and its image first")
        self.spec, self.names, self.cases = dataset.spec, dataset.names, tuple(records)
        self.classes = dataset_classes(dataset.spec, records.values()) if classes is None else classes
        self.channels = _channels(records)

    def __iter__(self) -> Iterator[Patch]:
        worker = get_worker_info()
        stream = np.random.SeedSequence(self.seed, spawn_key=(0 if worker is None else worker.id,))
        random = np.random.default_rng(stream)
        dataset = open_dataset(self.location)
        ready: dict[str, PreparedCase] = {}
        while True:
            name = self.cases[random.integers(len(self.cases))]
            try:
                if name not in ready:
                    ready[name] = PreparedCase(dataset.case(name), classes=self.classes, scale=self.scale)
                patch = ready[name].cut(self._corner(ready[name], random), self.patch)
            except Superseded:
                ready.pop(name, None)  # replaced while it was read: the next draw opens what is there now
            else:
                yield patch

    def _corner(self, case: PreparedCase, random: np.random.Generator) -> Box:
        """A random corner; along an axis on which the volume is smaller, it lies in the middle."""
        room = np.subtract(case.shape, self.patch)
        if random.random() < self.foreground and len(case.foreground):
            centre = case.foreground[random.integers(len(case.foreground))]
            corner = np.clip(centre - np.asarray(self.patch) // 2, 0, np.maximum(room, 0))
        else:
            corner = random.integers(0, np.maximum(room, 0) + 1)
        z, y, x = np.where(room < 0, room // 2, corner).tolist()
        return z, y, x


def _channels(records: Mapping[str, CaseRecord]) -> int:
    """How many channels the images have, all alike."""
    cases = {check_image(case, record).channels: case for case, record in records.items()}
    if len(cases) > 1:
        raise BadInput(
            "; ".join(f"the image of case {case!r} has {count} channels" for count, case in cases.items()),
            "all images of a dataset have as many",
        )
    return next(iter(cases))


def _check(patch: Box, scale: Scale, foreground: float) -> None:
    if len(patch) != 3 or min(patch) < 1:
        raise BadInput(f"a patch of {patch}", "wanted three sides (z, y, x) of at least 1 voxel")
    if scale not in SCALES:
        raise BadInput(f"scale {scale!r}", f"wanted one of {', '.join(SCALES)}")
    if not 0 <= foreground <= 1:
        raise BadInput(f"a foreground share of {foreground}", "wanted 0 to 1")
