"""The same volumes in the formats that the loaders read, each written by the library that reads it.

What is stored is what a careful user of that library stores: as little as it can, and nothing that its loader
would have to compute for every patch. Reading is not done here.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.loader_volumes import Box, Volume
from benchmarks.timing import Progress
from dmapsvc.pipeline import run_case, run_image
from dmapsvc.store import Dataset

DATASET = "knees"
# A folder each, side by side. A service keeps its datasets in `store`.
STORE, VOLUMES, NNUNET_FORMAT = f"store/{DATASET}.zarr", "volumes", "nnunet"
PREPARED, PERSISTENT_FORMAT = "prepared", "persistent"


def write_formats(
    formats: Iterable[str], volumes: Sequence[Volume], patch: Box, folder: Path, tell: Progress
) -> dict[str, float]:
    """Write `volumes` in each of `formats` below `folder`, unless that was done before.

    The VOLUMES themselves must lie there. Returns the bytes on disk a volume, by format.
    """
    wanted = list(dict.fromkeys(formats))
    if PERSISTENT_FORMAT in wanted and PREPARED not in wanted:
        wanted.insert(0, PREPARED)  # it is made of those
    wanted.sort(key=[VOLUMES, STORE, NNUNET_FORMAT, PREPARED, PERSISTENT_FORMAT].index)
    for step, form in enumerate(wanted):
        tell(step, len(wanted), f"writing {form}")
        if form == VOLUMES:
            continue
        done = folder / f"{form.replace('/', '-')}.done"
        if not done.exists():
            shutil.rmtree(folder / form, ignore_errors=True)
            _write(form, volumes, patch, folder / form)
            done.touch()
    return {form: bytes_on_disk(folder / form) / len(volumes) for form in wanted}


def write_store(volumes: Sequence[Volume], folder: Path) -> None:
    """The dataset of dmapsvc, from the files, by its pipeline."""
    dataset = Dataset.create(folder, volumes[0].spec)
    for volume in volumes:
        assert volume.source.image is not None
        run_case(volume.source.mask, dataset, volume.case)
        run_image(volume.source.image, dataset, volume.case)


def write_nnunet(volume: Volume, folder: Path, patch: Box) -> None:
    """nnU-Net's preprocessed format: channels [normalised image, Φ] float32 and labels int16, as .b2nd.

    Chunks and blocks as its preprocessor computes them for `patch`, and the positions of voxels by class that
    it keeps in the .pkl beside them.
    """
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2

    data = np.stack([volume.normalised(volume.open("image")), volume.open("phi")])
    seg = volume.open("label").astype(np.int16)[None]
    classes = [int(value) for value in np.unique(seg) if value]
    locations = DefaultPreprocessor._sample_foreground_locations(seg, classes)
    blocks, chunks = comp_blosc2_params(data.shape, patch, data.itemsize)
    blocks_seg, chunks_seg = comp_blosc2_params(seg.shape, patch, seg.itemsize)
    nnUNetDatasetBlosc2.save_case(
        data,
        seg,
        {"class_locations": locations},
        str(folder / volume.case),
        chunks=chunks,
        blocks=blocks,
        chunks_seg=chunks_seg,
        blocks_seg=blocks_seg,
    )


def write_prepared(volume: Volume, folder: Path) -> None:
    """Whole arrays as a network wants them, for libraries that load whole volumes: nothing is left to do.

    `<folder>/<case>/{image,label,phi}.npy`: float32, int16, float32.
    """
    prepared: dict[str, NDArray[Any]] = {
        "image": volume.normalised(volume.open("image")),
        "label": volume.open("label").astype(np.int16),
        "phi": volume.open("phi"),
    }
    (folder / volume.case).mkdir(parents=True)
    for part, array in prepared.items():
        np.save(folder / volume.case / f"{part}.npy", array)


def write_persistent(prepared: Path, folder: Path, cases: Sequence[str]) -> None:
    """MONAI's `PersistentDataset` fills its cache `folder` with what it loads from `prepared`."""
    from benchmarks.loader_others import persistent_dataset

    dataset: Any = persistent_dataset(prepared, folder, cases)
    for index in range(len(cases)):
        dataset[index]


def _write(form: str, volumes: Sequence[Volume], patch: Box, folder: Path) -> None:
    if form == STORE:
        write_store(volumes, folder)
    elif form == PERSISTENT_FORMAT:
        write_persistent(folder.with_name(PREPARED), folder, [volume.case for volume in volumes])
    elif form == NNUNET_FORMAT:
        folder.mkdir()
        for volume in volumes:
            write_nnunet(volume, folder, patch)
    elif form == PREPARED:
        for volume in volumes:
            write_prepared(volume, folder)


def bytes_on_disk(folder: Path) -> int:
    """All files below `folder`."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
