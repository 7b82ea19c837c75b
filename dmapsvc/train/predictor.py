"""A checkpoint's network at work: from one image to a cleaned label file.

Which images, and into which folder, is decided in `predictions.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dmapsvc.errors import DmapsvcError, GridMismatch, TooLarge
from dmapsvc.evaluate.cleaning import clean
from dmapsvc.train.checkpoint import Checkpoint
from dmapsvc.train.images import Images
from dmapsvc.train.memory import short_memory
from dmapsvc.train.networks import placed
from dmapsvc.train.precision import MixedPrecision
from dmapsvc.train.predict import segment
from dmapsvc.volumes.writing import write_labels


class Predictor:
    """The network of `trained` on `device`; its windows `overlap`, and what it says is cleaned as `clean` has
    it.
    """

    def __init__(
        self, trained: Checkpoint, device: torch.device, *, overlap: float, closing: int, components: int
    ) -> None:
        self._trained = trained
        self._patch = tuple(trained.settings["patch"])
        self._overlap, self._closing, self._components = overlap, closing, components
        self._precision = MixedPrecision.of(trained.settings["precision"], device)
        self._net = placed(trained.network(), device)
        values = np.array(trained.classes, np.uint32)
        self._values = values.astype(np.min_scalar_type(int(values.max())))

    @property
    def identity(self) -> dict[str, Any]:
        """All that decides the labels of an image, in plain values."""
        return {
            "step": self._trained.step,
            "weights": _digest(self._trained.model),
            "overlap": self._overlap,
            "closing": self._closing,
            "components": self._components,
        }

    def predict(self, images: Images, case: str, file: Path, on_progress: Callable[[float], None]) -> None:
        """Write the label map of `case`, with the labels of the training's dataset, to `file`.

        `on_progress` is called with the share of the network's work that is done. Raises what `images.read`
        raises; GridMismatch for another number of channels, TooLarge where memory is short, DmapsvcError
        where a file cannot be read or written.
        """
        try:
            self._predict(images, case, file, on_progress)
        except OSError as error:
            raise DmapsvcError(
                f"case {case!r}: {error.strerror or error}", remedy="Look at its disk"
            ) from error
        except (MemoryError, RuntimeError) as error:
            if short_memory(error) is None:
                raise
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise TooLarge(
                f"case {case!r}: {reason}", remedy="Take a device or a machine with more memory"
            ) from error

    def _predict(self, images: Images, case: str, file: Path, on_progress: Callable[[float], None]) -> None:
        whole = images.read(case)
        if len(whole.image) != self._trained.channels:
            raise GridMismatch(
                f"the image of case {case!r} has {len(whole.image)} channels",
                f"the network was trained with {self._trained.channels}",
                "Take images like those that it was trained with",
            )
        labels = self._values[self._segment(whole.image, on_progress)]
        try:
            write_labels(file, labels, spacing=whole.spacing, affine=whole.affine)
        except OSError as error:
            raise DmapsvcError(
                f"{file}: {error.strerror}", remedy="Make room, or name another folder"
            ) from None

    def _segment(self, image: torch.Tensor, on_progress: Callable[[float], None]) -> NDArray[np.int16]:
        found = segment(
            self._net,
            image,
            patch=self._patch,
            overlap=self._overlap,
            autocast=self._precision.narrow,
            on_progress=on_progress,
        )
        return clean(found, closing=self._closing, components=self._components)


def _digest(model: dict[str, Any]) -> str:
    """sha256 of a network's weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.items()):
        digest.update(name.encode())
        digest.update(tensor.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()
