"""The images to predict from, wherever they lie: the cases of a dataset, or image files without masks.

Either way they come normalised as in training, with the grid that their label maps are to lie on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from dmapsvc.errors import BadInput, BadName, NotFound
from dmapsvc.loader.derived import normalisation
from dmapsvc.loader.source import CaseSource, is_dataset, open_source
from dmapsvc.pipeline.folder import FIRST_CHANNEL, SECOND_CHANNEL, find_cases
from dmapsvc.spec import Spacing
from dmapsvc.store import ImageRecord
from dmapsvc.store.linear import in_precision
from dmapsvc.store.moments import channel_moments
from dmapsvc.store.record import Affine, affine_rows
from dmapsvc.train.predict import read_image
from dmapsvc.volumes import read_image as read_image_file


@dataclass(frozen=True, kw_only=True)
class WholeImage:
    """`image`: float32 (C, z, y, x), normalised by the image's own mean and deviation. `spacing`, (z, y, x)
    in mm, and `affine`, (i, j, k, 1) to RAS+ mm: of the label map to come; None where there is none.
    """

    image: Tensor
    spacing: Spacing | None
    affine: Affine | None


class Images(Protocol):
    """Images by the name of their case."""

    @property
    def name(self) -> str:
        """What messages call them all."""

    def cases(self) -> list[str]:
        """The names of the cases, sorted."""

    def read(self, case: str) -> WholeImage:
        """The image of `case`; raises NotFound if there is none, and what its files are worth."""

    def prefetch(self, cases: Sequence[str]) -> None:
        """A hint: these will be asked for soon, in this order."""


def open_images(location: str | Path) -> Images:
    """The images at `location`: of a dataset, a folder or a URL, or of a folder of image files.

    Raises what `open_source` and `find_cases` raise.
    """
    if is_dataset(location):
        return DatasetImages(open_source(location))
    return FileImages(Path(location))


class DatasetImages:
    """The images of a dataset's cases; `read` raises as `predict.read_case`."""

    def __init__(self, source: CaseSource) -> None:
        self._source = source
        self.name, self.cases, self.prefetch = source.name, source.cases, source.prefetch

    def read(self, case: str) -> WholeImage:
        """On the grid of the case's mask."""
        image, record = read_image(self._source, case)
        return WholeImage(image=image, spacing=record.spacing, affine=record.affine)


class FileImages:
    """Image files below the folder `path`; cases as `find_cases` calls them, nnU-Net's `_0000` left out.

    Raises what `find_cases` raises, BadName also where two files are one case once that is left out; `read`
    raises BadFile.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        files = {found.case: found.mask for found in find_cases(path)}
        for case in files:
            if case.endswith(SECOND_CHANNEL) and case.removesuffix(SECOND_CHANNEL) + FIRST_CHANNEL in files:
                raise BadInput(
                    f"{files[case]} is a channel of an image",
                    "an image is one file",
                    "Put the channels into one",
                )
        self._files: dict[str, Path] = {}
        for case, file in files.items():
            other = self._files.setdefault(case.removesuffix(FIRST_CHANNEL), file)
            if other != file:
                raise BadName(
                    f"{other} and {file} are images of one case",
                    f"{FIRST_CHANNEL} is no part of its name",
                    "Rename or move one of them",
                )

    def cases(self) -> list[str]:
        """The names of the cases, sorted."""
        return sorted(self._files)

    def read(self, case: str) -> WholeImage:
        """On the image's own grid."""
        if case not in self._files:
            raise NotFound(f"case {case!r}: no image of that name in {self.name}")
        volume = read_image_file(self._files[case], name=str(self._files[case]))
        header, stored = volume.header, volume.array.reshape(-1, *volume.header.shape)
        affine = affine_rows(header.affine)
        record = ImageRecord(
            sha256="",
            shape=header.shape,
            dtype=str(stored.dtype),
            moments=channel_moments(stored),
            channels=header.channels,
        )
        linear, _ = normalisation(record, "case")
        factor, offset = in_precision(stored.dtype, linear.factor, linear.offset)  # as in the store's reader
        image = stored * factor.reshape(-1, 1, 1, 1)
        image += offset.reshape(-1, 1, 1, 1)
        image = np.ascontiguousarray(image, np.float32)
        return WholeImage(image=torch.from_numpy(image), spacing=header.spacing, affine=affine)

    def prefetch(self, cases: Sequence[str]) -> None:
        """Nothing: they are all here."""
