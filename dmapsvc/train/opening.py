"""A training as it is opened: what was learnt earlier, the cases, and whether both go with the settings.

The folder's files of a run that begins are written here; those of one that goes, in `run.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from dmapsvc.errors import Conflict
from dmapsvc.loader import Augment, PatchLoader
from dmapsvc.loader.source import CaseSource, open_source
from dmapsvc.train.cases import Cases, choose_cases
from dmapsvc.train.checkpoint import Checkpoint
from dmapsvc.train.history import History
from dmapsvc.train.learner import Learner
from dmapsvc.train.losses import make_loss
from dmapsvc.train.names import check_loss, check_network
from dmapsvc.train.networks import make_network
from dmapsvc.train.parallel import Group
from dmapsvc.train.runfolder import RunFolder
from dmapsvc.train.settings import TrainSettings
from dmapsvc.train.validation import Validator


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A training after `step` steps, ready to go on. `validator`: None without cases to validate on."""

    folder: RunFolder
    cases: Cases
    patches: PatchLoader
    learner: Learner
    validator: Validator | None
    history: History
    step: int


def open_training(settings: TrainSettings, group: Group) -> Opened:
    """The training of `settings` in its run folder, from its start or its last checkpoint.

    Raises as `train` does before the first step.
    """
    folder, source = RunFolder(settings.out), open_source(settings.location)
    with group.leader_first():
        if group.leads:
            folder.prepare(settings.split)
        earlier = Checkpoint.load(folder.last) if folder.last.exists() else None
        frozen = None if earlier is None else earlier.classes
        cases = choose_cases(settings, source, kept=folder.split, frozen=frozen)
        patches = _open_patches(settings, group, source, cases)
        if earlier is not None:
            _check_same(folder, earlier, settings, patches, group)
            _find_place(folder, earlier, patches)
        if group.leads:
            folder.write_settings(settings)  # first: by them a folder is known as a run's
            folder.write_split(cases.split)
    step = 0 if earlier is None else earlier.step
    if not group.agrees(step):
        raise Conflict(
            f"{folder.last}: not every process sees it, or the same",
            "a training goes on where all of its processes are",
            "Put the run folder where all machines see it",
        )
    loss = make_loss(check_loss(settings.loss), voxels=cases.voxels)
    learner = Learner(settings, _network(settings, patches, earlier), loss, group)
    history = History(settings.select)
    if earlier is not None:
        learner.load_state_dict(earlier.optimizer, earlier.scaler)
        history.load_state_dict(earlier.history)
    if group.leads:
        _write(folder, history, earlier)
    return Opened(
        folder=folder,
        cases=cases,
        patches=patches,
        learner=learner,
        validator=_make_validator(settings, group, source, cases, learner),
        history=history,
        step=step,
    )


def _write(folder: RunFolder, history: History, earlier: Checkpoint | None) -> None:
    folder.write_history(history)
    if earlier is not None and history.best is not None and history.best.step == earlier.step:
        earlier.to_use().save(folder.best)  # a run that was killed may not have come to it


def _open_patches(settings: TrainSettings, group: Group, source: CaseSource, cases: Cases) -> PatchLoader:
    return PatchLoader(
        source,
        patch=settings.patch,
        batch=settings.batch,
        scale=settings.scale,
        foreground=settings.foreground,
        augment=Augment(rotation=settings.rotation) if settings.rotation else None,
        classes=cases.classes,
        cases=cases.split.train,
        seed=settings.seed,
        threads=settings.threads,
        rank=group.rank,
        world=group.world,
        device=group.device,
    )


def _make_validator(
    settings: TrainSettings, group: Group, source: CaseSource, cases: Cases, learner: Learner
) -> Validator | None:
    if not cases.split.valid:
        return None
    return Validator(
        source,
        cases.split.valid,
        classes=cases.classes,
        patch=settings.patch,
        precision=learner.precision,
        group=group,
    )


def _network(settings: TrainSettings, patches: PatchLoader, earlier: Checkpoint | None) -> nn.Module:
    if earlier is not None:
        return earlier.network()
    torch.manual_seed(settings.seed)
    return make_network(
        check_network(settings.net),
        channels=patches.channels,
        classes=len(patches.classes),
        width=settings.width,
    )


def _check_same(
    folder: RunFolder, earlier: Checkpoint, settings: TrainSettings, patches: PatchLoader, group: Group
) -> None:
    """Raises Conflict, naming the first difference, if `earlier` is a checkpoint of another training."""
    here = settings.identity | {
        "spec": patches.spec,
        "channels": patches.channels,
        "processes": group.world,
    }
    there = earlier.settings | {
        "spec": earlier.spec,
        "channels": earlier.channels,
        "processes": earlier.processes,
    }
    for name, wanted in here.items():
        if name in there and there[name] != wanted:  # a setting that only some schedules have may lack
            raise Conflict(
                f"{folder.last}: a checkpoint with {name} {there.get(name)}",
                f"this training has {wanted}",
                "Go on with the same settings, or name another folder",
            )


def _find_place(folder: RunFolder, earlier: Checkpoint, patches: PatchLoader) -> None:
    """Take up the patches of `earlier`; raises Conflict where they are not those of its cases."""
    try:
        patches.load_state_dict(earlier.patches)
    except Conflict as error:
        raise Conflict(
            f"{folder.last}: {error.found}",
            error.wanted,
            "Go on with the cases that it began with, or name another folder to train anew with all",
        ) from None
