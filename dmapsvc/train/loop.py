"""`train`: what a training promises to whoever calls it, and how it tells what went wrong.

The loop itself is in `run.py`, what a step is in `learner.py`, what is kept in `runfolder.py` and
`checkpoint.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import distributed

from dmapsvc.errors import DeviceFailed, DmapsvcError, TooLarge
from dmapsvc.train.interrupts import undisturbed
from dmapsvc.train.memory import short_memory
from dmapsvc.train.parallel import Group, process_group
from dmapsvc.train.progress import Start, Step
from dmapsvc.train.run import Run
from dmapsvc.train.runfolder import RunFolder
from dmapsvc.train.settings import TrainSettings

_NO_NEIGHBOUR = ("gloo", "Connection closed by peer", "Connection reset by peer")


def train(
    settings: TrainSettings,
    on_step: Callable[[Step], None] = lambda step: None,
    on_start: Callable[[Start], None] = lambda start: None,
    on_validation: Callable[[float, int], None] = lambda done, total: None,
    on_save: Callable[[int], None] = lambda step: None,
) -> RunFolder:
    """Train until `settings.steps`, call `on_start` once it is open and `on_step` after each step, return the
    run folder, `settings.out`. `on_save` is called when the last checkpoint is written, with its step.

    `on_validation` is called while a validation goes on, with how many cases are through, a part of the one
    under way counted too, and of how many; in each process of several, of its own.

    After every `validate_every` steps (and at the end of a cosine, and of a training that is shorter) the
    cases kept for validation are segmented; a training ends before `steps` after `patience` validations
    without improvement. A dataset of which none are kept for validation is trained on without.

    The last checkpoint is written every `save_every` steps, after a validation that was the best, at the end,
    and when something ends the training early: Ctrl-C (KeyboardInterrupt goes on to the caller once it is
    saved), a server that went away. A run that is there already is gone on with, with the cases and classes
    it has frozen and the patches that come next; if it has ended, nothing is done. Where runs stopped, and
    how many threads read, does not change what is learnt, nor what is found in validation.

    Under `torchrun`, or in a process group of the caller's, each process learns from `batch` patches a step
    and the gradient is their mean: two with a batch of 1 learn what one with a batch of 2 does, as far as no
    patch is padded. Not with the weighted cross-entropy, which each process divides by its own sum of
    weights, nor with `monai-vnet`, whose batch normalisation and dropout are each process's. The first of
    them writes; all call `on_step`, and all have to see the run folder.

    Raises what `PatchLoader` and `choose_cases` raise; BadInput if `out` cannot be written, BadFile if its
    last checkpoint is something else, Conflict if it is one of another training, or if another process
    trains there; Diverged if the loss is no longer finite; BadInput for CUDA where there is none,
    DeviceFailed for too little memory on it, TooLarge without it; DmapsvcError if another process of the
    training ended, or the disk is full.
    """
    with _told(), process_group(settings.device) as group, _own_random_numbers(group.device):
        _run(settings, group, on_step, on_start, on_validation, on_save)
    return RunFolder(settings.out)


def _run(
    settings: TrainSettings,
    group: Group,
    on_step: Callable[[Step], None],
    on_start: Callable[[Start], None],
    on_validation: Callable[[float, int], None],
    on_save: Callable[[int], None],
) -> None:
    """All of it; what it holds of the group is let go of at the end, before the group itself is."""
    with RunFolder(settings.out).alone() if group.leads else nullcontext():
        run = Run(settings, group, on_save)
        try:
            on_start(run.start)
            run.to_the_end(on_step, on_validation)
        finally:
            with undisturbed():  # a second Ctrl-C is not to cost what the first one saves
                run.save()


@contextmanager
def _told() -> Iterator[None]:
    """What PyTorch says of too little memory, and of processes that ended, becomes errors of ours."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        short = short_memory(error)
        if short == "gpu":
            raise DeviceFailed(
                "the GPU's memory is too small for this training",
                remedy="Make patch, batch or width smaller, or take device cpu",
            ) from None
        if short == "machine":
            raise TooLarge(
                "this machine's memory is too small for this training",
                remedy="Make patch, batch or width smaller",
            ) from None
        if isinstance(error, distributed.DistError) or any(words in str(error) for words in _NO_NEIGHBOUR):
            raise DmapsvcError(
                "another process of this training ended",
                "all learn together",
                "Look at what it says; the same command goes on from the last checkpoint",
            ) from error
        raise


@contextmanager
def _own_random_numbers(device: torch.device) -> Iterator[None]:
    """What is seeded in the block is forgotten after it."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield
