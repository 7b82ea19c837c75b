"""The training loop: patches, V-Net, penalised cross-entropy, Adam, and a checkpoint to go on from."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from dmapsvc.errors import BadInput, Conflict, DeviceFailed, TooLarge
from dmapsvc.loader import Augment, Batch, PatchLoader
from dmapsvc.train.checkpoint import Checkpoint, check_place
from dmapsvc.train.losses import PenalizedCrossEntropy
from dmapsvc.train.settings import Device, TrainSettings
from dmapsvc.train.vnet import VNet

_NO_MEMORY = ("DefaultCPUAllocator", "Storage size calculation overflowed")


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step that is done: number `step` (from 1) of `steps`, its loss, and the patches/s it went at.

    The rate counts everything since the step before: waiting for patches, and the callback.
    """

    step: int
    steps: int
    loss: float
    patches_per_second: float


def train(settings: TrainSettings, on_step: Callable[[Step], None] = lambda step: None) -> Path:
    """Train until `settings.steps`, call `on_step` after each, return the checkpoint, `settings.out`.

    The checkpoint is written every `save_every` steps, at the end, and when something ends the training
    early: Ctrl-C (KeyboardInterrupt goes on to the caller once it is saved), a server that went away. A
    checkpoint that is there already is gone on from, with the classes it has frozen and the patches that come
    next; if it has all its steps, nothing is done. Where runs stopped, and how many threads read, does not
    change what is learnt.

    Raises what `PatchLoader` raises; BadInput if `out` cannot be written, BadFile if `out` is something else
    than a checkpoint, Conflict if it is one of another training; BadInput if the loss is no longer finite;
    DeviceFailed for CUDA where there is none, or too little memory on it; TooLarge for too little memory
    without it.
    """
    with _memory_told():
        run = _Run(settings)
        try:
            run.to_the_end(on_step)
        finally:
            run.save()
    return settings.out


@contextmanager
def _memory_told() -> Iterator[None]:
    """PyTorch's ways of saying that memory is too small become errors of ours."""
    try:
        yield
    except torch.cuda.OutOfMemoryError:
        raise DeviceFailed(
            "the GPU's memory is too small for this training",
            remedy="Make patch, batch or width smaller, or take device cpu",
        ) from None
    except RuntimeError as error:  # on the CPU PyTorch has no class for it
        if not any(words in str(error) for words in _NO_MEMORY):
            raise
        raise TooLarge(
            "this machine's memory is too small for this training",
            remedy="Make patch, batch or width smaller",
        ) from None


class _Run:
    """One run of a training, from its start or from where the checkpoint is."""

    def __init__(self, settings: TrainSettings) -> None:
        self._settings = settings
        self._device = _device(settings.device)
        check_place(settings.out)
        earlier = Checkpoint.load(settings.out) if settings.out.exists() else None
        self._step = self._saved = 0 if earlier is None else earlier.step
        self._patches = PatchLoader(
            settings.location,
            patch=settings.patch,
            batch=settings.batch,
            scale=settings.scale,
            foreground=settings.foreground,
            augment=Augment(rotation=settings.rotation) if settings.rotation else None,
            classes=None if earlier is None else earlier.classes,
            seed=settings.seed,
            threads=settings.threads,
            device=self._device,
        )
        if earlier is not None:
            self._check_same(earlier)
            self._go_on(earlier)
        self._learnt = self._patches.state_dict()
        self._net = self._network(earlier)
        self._optimizer = torch.optim.Adam(self._net.parameters(), lr=settings.lr)
        if earlier is not None:
            self._optimizer.load_state_dict(earlier.optimizer)
        self._loss = PenalizedCrossEntropy()

    def _go_on(self, earlier: Checkpoint) -> None:
        """Take up the patches of `earlier`; raises Conflict where the dataset has other cases now."""
        try:
            self._patches.load_state_dict(earlier.patches)
        except Conflict as error:
            raise Conflict(
                f"{self._settings.out}: {error.found}",
                error.wanted,
                "Go on with the cases that it began with, or name another file to train anew with all",
            ) from None

    def to_the_end(self, on_step: Callable[[Step], None]) -> None:
        """All the steps that are left."""
        settings = self._settings
        with self._patches:
            stream = iter(self._patches)
            before = time.perf_counter()
            while self._step < settings.steps:
                loss = self._learn(next(stream))
                now = time.perf_counter()
                rate, before = settings.batch / (now - before), now
                on_step(Step(step=self._step, steps=settings.steps, loss=loss, patches_per_second=rate))
                if self._step % settings.save_every == 0:
                    self.save()

    def save(self) -> None:
        """Write the checkpoint, unless the file has this step already."""
        if self._step == self._saved:
            return
        Checkpoint(
            step=self._step,
            classes=self._patches.classes,
            names=dict(self._patches.names),
            spec=self._patches.spec,
            channels=self._patches.channels,
            settings=self._settings.identity,
            patches=self._learnt,
            model=self._net.state_dict(),
            optimizer=self._optimizer.state_dict(),
        ).save(self._settings.out)
        self._saved = self._step

    def _learn(self, batch: Batch) -> float:
        """One step of Adam; the loss before it."""
        self._optimizer.zero_grad(set_to_none=True)
        loss = self._loss(self._net(batch["image"]), batch["label"], batch["phi"])
        loss.backward()
        value = float(loss.item())
        if not math.isfinite(value):
            self._saved = self._step  # the weights that led here are not kept
            raise BadInput(
                f"the loss is {value} at step {self._step + 1}",
                "a finite loss is needed to go on",
                f"Take another seed, a smaller lr than {self._settings.lr:g}, or scale region",
            )
        with _undisturbed():
            self._optimizer.step()
            self._step += 1
            self._learnt = self._patches.state_dict()  # not before: a batch without its step comes again
        return value

    def _network(self, earlier: Checkpoint | None) -> VNet:
        if earlier is not None:
            return earlier.network().to(self._device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._settings.seed)
            net = VNet(
                in_channels=self._patches.channels,
                classes=len(self._patches.classes),
                width=self._settings.width,
            )
        return net.to(self._device)

    def _check_same(self, earlier: Checkpoint) -> None:
        """Raises Conflict, naming the first difference, if `earlier` is a checkpoint of another training."""
        there = {**earlier.settings, "spec": earlier.spec, "channels": earlier.channels}
        here = {**self._settings.identity, "spec": self._patches.spec, "channels": self._patches.channels}
        for name, wanted in here.items():
            if there.get(name) != wanted:
                raise Conflict(
                    f"{self._settings.out}: a checkpoint with {name} {there.get(name)}",
                    f"this training has {wanted}",
                    "Go on with the same settings, or name another file",
                )


def _device(wanted: Device) -> torch.device:
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise DeviceFailed("PyTorch sees no CUDA device", "wanted one", "Take device auto or cpu")
    return torch.device("cuda" if there and wanted != "cpu" else "cpu")


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C waits until the block is through: half a step of Adam is no state to save."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: asked.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if asked:
        signal.raise_signal(signal.SIGINT)
