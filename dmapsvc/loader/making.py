"""Making one batch: its patches drawn, read into memory that is used again, augmented, brought to the device.

Which patches they are is said in `sampling.py`; that threads make several batches ahead, in `ahead.py`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dmapsvc.errors import BadInput, NotFound, Superseded
from dmapsvc.loader.augment import Target, turn_patch
from dmapsvc.loader.batch import Batch
from dmapsvc.loader.derived import DrawnCase
from dmapsvc.loader.opened import OpenedCases
from dmapsvc.loader.reading import read_patch, read_raw
from dmapsvc.loader.ring import Ring, Scratch
from dmapsvc.loader.sampling import Sampler
from dmapsvc.loader.source import CaseSource
from dmapsvc.loader.turns import Box
from dmapsvc.region import Scale
from dmapsvc.store.classtable import ClassTable

_TOLD = 32  # patches that the source is told of before they are drawn


@dataclass(frozen=True, kw_only=True)
class Form:
    """What a batch holds: `batch` patches of sides `patch` (z, y, x) in `channels`, of `classes` classes."""

    batch: int
    patch: Box
    channels: int
    classes: int

    @property
    def label_dtype(self) -> torch.dtype:
        """int16, or int32 where class indices need it."""
        return torch.int16 if self.classes <= np.iinfo(np.int16).max else torch.int32


class Rings:
    """The memory of batches of a form; `keep` and `pinned` as for `Ring`."""

    def __init__(self, form: Form, *, keep: int, pinned: bool) -> None:
        self.pinned = pinned
        volumes = (form.batch, *form.patch)
        image = (form.batch, form.channels, *form.patch)
        self.image = Ring(image, torch.float32, keep=keep, pinned=pinned)
        self.label = Ring(volumes, form.label_dtype, keep=keep, pinned=pinned)
        self.phi = Ring(volumes, torch.float32, keep=keep, pinned=pinned)


@dataclass(frozen=True)
class Made:
    """Batch `number` of the stream, and on CUDA the event by which its tensors are filled."""

    number: int
    batch: Batch
    filled: torch.cuda.Event | None

    def receive(self) -> Batch:
        """The batch, for the caller's current stream, which waits until it is filled; the host does not."""
        if self.filled is not None:
            stream = torch.cuda.current_stream(self.batch["image"].device)
            stream.wait_event(self.filled)
            for tensor in self.batch.values():
                if isinstance(tensor, Tensor):
                    tensor.record_stream(stream)
        return self.batch


@dataclass(frozen=True, kw_only=True)
class Work:
    """What threads that make batches of one stream share.

    `names`: the cases as `sampler` counts them. `table`: the classes. `stride`: how far this process's
    batches lie apart in the stream. `turns`: whether patches are augmented. `device`: where batches are
    wanted.
    """

    source: CaseSource
    names: Sequence[str]
    table: ClassTable
    opened: OpenedCases
    sampler: Sampler
    stride: int
    form: Form
    scale: Scale
    rings: Rings
    turns: bool
    device: torch.device

    def draws(self, number: int) -> range:
        """The patches of batch `number`."""
        return range(number * self.form.batch, (number + 1) * self.form.batch)

    def tell_source(self, number: int, *, patches: int = 1) -> None:
        """Tell the source which cases are drawn for batch `number`, and on to so many patches."""
        last = number + self.stride * math.ceil(patches / self.form.batch)
        draws = [n for batch in range(number, last, self.stride) for n in self.draws(batch)]
        self.source.prefetch(list(dict.fromkeys(self.names[next(self.sampler.cases(n))] for n in draws)))


class Maker:
    """Makes batches, in one thread: `maker(number)` is batch `number` of the stream."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._stream = _side_stream(work.device)
        self._scratch = Scratch(pinned=self._stream is not None)

    def __call__(self, number: int) -> Made:
        """Raises what reading raises; NotFound if no case is left.

        The source is told of later batches when this one is read: what is needed first is fetched alone.
        """
        with self._on_stream():
            batch = self._empty()
            for place, n in enumerate(self._work.draws(number)):
                self._fill(n, batch, place)
            self._work.tell_source(number + self._work.stride, patches=_TOLD)
            batch = self._moved_batch(batch)
            return Made(number, batch, None if self._stream is None else self._stream.record_event())

    def _fill(self, n: int, batch: Batch, place: int) -> None:
        while True:
            case = self._draw(n)
            try:
                batch["corner"][place] = self._read(n, case, batch, place)
            except Superseded:  # of what is read by zarr, which maps no files: draw what is there now
                continue
            batch["case"].append(case.voxels.name)
            return

    def _read(self, n: int, case: DrawnCase, batch: Batch, place: int) -> Tensor:
        """Read patch `n` of `case` to its place in the batch; returns its corner."""
        corner = self._work.sampler.corner(n, case.record.shape, case.foreground)
        target = Target(
            image=batch["image"][place],
            label=batch["label"][place],
            phi=batch["phi"][place],
            maxima=batch["maxima"][place],
            means=batch["means"][place],
        )
        if self._work.turns:
            self._turn(n, case, corner, target)
        else:
            read_patch(case, corner, target, self._work.table)
        return torch.tensor(corner, device="cpu")

    def _draw(self, n: int) -> DrawnCase:
        for place, at in enumerate(self._work.sampler.cases(n)):
            case = self._work.opened.get(self._work.names[at], in_turn=place == 0)
            if case is not None:
                self._check_channels(case)
                return case
        raise NotFound(f"{self._work.source.name}: every case was deleted", remedy="Publish cases first")

    def _check_channels(self, case: DrawnCase) -> None:
        there, wanted = len(case.padding), self._work.form.channels
        if there != wanted:
            raise BadInput(
                f"the image of case {case.voxels.name!r} has {there} channels now",
                f"the others have {wanted}",
            )

    def _turn(self, n: int, case: DrawnCase, corner: Box, target: Target) -> None:
        form, turn = self._work.form, self._work.sampler.turn(n)
        margin = np.array(turn.margin(form.patch, case.plane))
        z, y, x = (corner - margin).tolist()
        depth, height, width = (form.patch + 2 * margin).tolist()
        sides = depth, height, width
        raw = read_raw(case, (z, y, x), sides, form.label_dtype, self._scratch, self._work.table)
        raw = dataclasses.replace(
            raw,
            image=self._moved(raw.image),
            label=self._moved(raw.label),
            distance=self._moved(raw.distance),
            maxima=self._moved(raw.maxima),
            means=self._moved(raw.means),
        )
        turn_patch(raw, turn, target, scale=self._work.scale)

    def _empty(self) -> Batch:
        """A batch of unset tensors, on the device if its patches are turned there."""
        form, rings = self._work.form, self._work.rings
        device = self._work.device if self._work.turns else torch.device("cpu")

        def take(ring: Ring) -> Tensor:
            if device.type == "cpu":
                return ring.take()
            return torch.empty(ring.shape, dtype=ring.dtype, device=device)

        return Batch(
            image=take(rings.image),
            label=take(rings.label),
            phi=take(rings.phi),
            maxima=torch.empty((form.batch, form.classes), dtype=torch.float32, device=device),
            means=torch.empty((form.batch, form.classes), dtype=torch.float32, device=device),
            corner=torch.empty((form.batch, 3), dtype=torch.int64, device="cpu"),
            case=[],
        )

    def _moved_batch(self, batch: Batch) -> Batch:
        return Batch(
            image=self._moved(batch["image"]),
            label=self._moved(batch["label"]),
            phi=self._moved(batch["phi"]),
            maxima=self._moved(batch["maxima"]),
            means=self._moved(batch["means"]),
            corner=self._moved(batch["corner"]),
            case=batch["case"],
        )

    def _moved(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._work.device, non_blocking=self._work.rings.pinned)

    def _on_stream(self) -> AbstractContextManager[Any]:
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)


def _side_stream(device: torch.device) -> torch.cuda.Stream | None:
    if device.type != "cuda":
        return None
    stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return stream
