"""A folder of predictions: label files that a run's network makes of images, one a case.

What happens to one image is in `predict.py`, where images come from in `images.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dmapsvc.errors import BadInput, Conflict, DmapsvcError, GridMismatch, Problem, TooLarge
from dmapsvc.evaluate.cleaning import check_cleaning, clean
from dmapsvc.evaluate.manifest import Manifest, read_manifest
from dmapsvc.train.checkpoint import Checkpoint
from dmapsvc.train.images import DatasetImages, Images, open_images
from dmapsvc.train.parallel import process_group
from dmapsvc.train.precision import MixedPrecision
from dmapsvc.train.predict import OVERLAP, check_overlap, segment
from dmapsvc.train.runfolder import RunFolder, Which
from dmapsvc.train.settings import Device
from dmapsvc.train.split import SIDES, Split
from dmapsvc.volumes.writing import write_labels

SUFFIX = ".nii.gz"


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """How a prediction ended: the names of cases that were predicted now, or had been before, and why others
    could not be.
    """

    done: tuple[str, ...]
    skipped: tuple[str, ...]
    failed: tuple[tuple[str, Problem], ...]


def predict(
    run: Path,
    location: str | Path,
    out: Path,
    *,
    cases: str | Sequence[str] | None = None,
    checkpoint: Which = "best",
    overlap: float = OVERLAP,
    closing: int = 0,
    components: int = 0,
    device: Device = "auto",
    replace: bool = False,
    on_case: Callable[[int, int, str], None] = lambda done, total, case: None,
) -> Predicted:
    """Predict label maps of the images at `location` with the network of the run folder `run`.

    `location`: a dataset, its URL, or a folder of image files. `cases`: names; or a side of the run's split,
    `train`, `valid` or `test`; or `all`. Left out, `test` of a dataset, and `all` of image files.
    `checkpoint`: the `best` or the `last` one. Windows are the patches that it was trained with; they
    `overlap` by so much. `closing`, `components`: what is mended afterwards (`cleaning.clean`).

    `out/<case>.nii.gz` has the labels of the training's dataset, on the grid of the case's mask (of the image
    where there is only that). Files that are there already are kept, unless `replace`: what was interrupted
    goes on. `out/predictions.json` says which cases the folder is to hold and what made them. `on_case` is
    called with how many are through, of how many, and which was the last. A case that cannot be predicted is
    in `failed`, and the others are.

    Raises BadInput and BadFile for what is no run; what `open_images` raises; BadInput for cases that cannot
    be told, and where nothing can be written; Conflict if `out` has predictions that were made otherwise;
    DeviceFailed for CUDA where there is none.
    """
    check_cleaning(closing=closing, components=components)
    check_overlap(overlap)
    if device not in get_args(Device):
        raise BadInput(f"device {device!r}", f"wanted one of {', '.join(get_args(Device))}")
    images = open_images(location)
    trained = RunFolder(run).checkpoint(checkpoint)
    wanted = _cases(cases, RunFolder(run), images)
    with process_group(device) as group:
        predictor = _Predictor(trained, group.device, overlap=overlap, closing=closing, components=components)
        _begin(out, Manifest(cases=tuple(wanted), made=predictor.identity), replace=replace)
        missing = [case for case in wanted if replace or not _file(out, case).exists()]
        skipped = tuple(case for case in wanted if case not in set(missing))
        images.prefetch(missing)
        failed: list[tuple[str, Problem]] = []
        for number, case in enumerate(missing, len(skipped) + 1):
            try:
                predictor.predict(images, case, _file(out, case))
            except DmapsvcError as error:
                failed.append((case, error.problem))
            on_case(number, len(wanted), case)
    lost = {case for case, _ in failed}
    done = tuple(case for case in missing if case not in lost)
    return Predicted(done=done, skipped=skipped, failed=tuple(failed))


class _Predictor:
    """The network of a checkpoint on its device, and what is done with what it says."""

    def __init__(
        self, trained: Checkpoint, device: torch.device, *, overlap: float, closing: int, components: int
    ) -> None:
        self._trained = trained
        self._patch = tuple(trained.settings["patch"])
        self._overlap, self._closing, self._components = overlap, closing, components
        self._precision = MixedPrecision.of(trained.settings["precision"], device)
        self._net: nn.Module = trained.network().to(device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        values = np.array(trained.classes, np.uint32)
        self._values = values.astype(np.min_scalar_type(int(values.max())))

    @property
    def identity(self) -> dict[str, Any]:
        """All that decides the labels, in plain values."""
        return {
            "step": self._trained.step,
            "weights": _digest(self._trained.model),
            "overlap": self._overlap,
            "closing": self._closing,
            "components": self._components,
        }

    def predict(self, images: Images, case: str, file: Path) -> None:
        """Write the label map of `case` to `file`."""
        whole = images.read(case)
        if len(whole.image) != self._trained.channels:
            raise GridMismatch(
                f"the image of case {case!r} has {len(whole.image)} channels",
                f"the network was trained with {self._trained.channels}",
                "Take images like those that it was trained with",
            )
        labels = self._values[self._segment(whole.image, case)]
        try:
            write_labels(file, labels, spacing=whole.spacing, affine=whole.affine)
        except OSError as error:
            raise DmapsvcError(
                f"{file}: {error.strerror}", remedy="Make room, or name another folder"
            ) from None

    def _segment(self, image: torch.Tensor, case: str) -> NDArray[np.int16]:
        try:
            found = segment(
                self._net,
                image,
                patch=self._patch,
                overlap=self._overlap,
                autocast=self._precision.narrow,
            )
            return clean(found, closing=self._closing, components=self._components)
        except (MemoryError, RuntimeError) as error:  # PyTorch's, where memory is short
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise TooLarge(
                f"case {case!r}: {reason}", remedy="Take a device or a machine with more memory"
            ) from error


def _cases(cases: str | Sequence[str] | None, run: RunFolder, images: Images) -> list[str]:
    if cases is None:
        cases = "test" if isinstance(images, DatasetImages) else "all"
    if cases == "all":
        return images.cases()
    if not isinstance(cases, str):
        return sorted(set(cases))
    if cases not in SIDES:
        raise BadInput(f"cases {cases!r}", f"wanted names of cases, all, or one of {', '.join(SIDES)}")
    side: tuple[str, ...] = getattr(Split.read(run.split), cases)
    if not side:
        raise BadInput(f"{run.split}: no case is in {cases}", remedy="Name the cases, or take all")
    return sorted(side)


def _begin(out: Path, manifest: Manifest, *, replace: bool) -> None:
    """Make the folder, with what it is to hold."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        earlier = read_manifest(out)
        if earlier is not None and not replace:
            manifest = manifest.joined(earlier, out)
        elif not replace:
            _check_vacant(out, manifest.cases)
        manifest.write(out)
    except OSError as error:
        raise BadInput(f"{out}: {error.strerror}", "wanted a folder", "Name another") from None


def _check_vacant(out: Path, cases: Sequence[str]) -> None:
    """Raises Conflict if files are there that no prediction made."""
    there = [file for case in cases if (file := _file(out, case)).exists()]
    if there:
        raise Conflict(
            f"{there[0]}: is there already",
            "no `dmapsvc predict` made it",
            "Name another folder, or replace it",
        )


def _file(out: Path, case: str) -> Path:
    return out / f"{case}{SUFFIX}"


def _digest(model: dict[str, Any]) -> str:
    """sha256 of a network's weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.items()):
        digest.update(name.encode())
        digest.update(tensor.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()
