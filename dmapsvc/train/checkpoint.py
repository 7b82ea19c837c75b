"""The file a training leaves: weights, optimiser, and what is needed to use or continue them.

Written by `torch.save` as plain containers and tensors, so that `torch.load(path, weights_only=True)` opens
it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dmapsvc.errors import BadFile, DmapsvcError
from dmapsvc.spec import MapSpec
from dmapsvc.train.networks import make_network
from dmapsvc.whole import whole

FORMAT = "dmapsvc-checkpoint-3"
FAILED = "Make room, or name another folder with -o (`out` in Python)"
"""What to do where a file of a run could not be written, though its folder could."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A training after `step` steps.

    `classes`: the label of each class index, 0 first; `names`: of labels, as far as they have any; `spec`: of
    the dataset's maps; `channels`: of its images; `settings`: the training's, `TrainSettings.identity`;
    `processes`: that learn together; `model`: the network's state dict.

    To go on with, and empty in one that is kept to be used: `patches`, where in the stream of patches it is,
    `PatchLoader.state_dict`; `optimizer`; `scaler`, of float16's gradients; `history`, `History.state_dict`.
    """

    step: int
    classes: tuple[int, ...]
    names: dict[int, str]
    spec: MapSpec
    channels: int
    settings: dict[str, Any]
    processes: int
    model: dict[str, Any]
    patches: dict[str, Any]
    optimizer: dict[str, Any]
    scaler: dict[str, Any]
    history: dict[str, Any]

    def network(self) -> nn.Module:
        """The trained network, on the CPU."""
        with torch.random.fork_rng(devices=[]):  # its first weights are of no use, and no one's numbers
            net = make_network(
                self.settings["net"],
                channels=self.channels,
                classes=len(self.classes),
                width=self.settings["width"],
            )
        net.load_state_dict(self.model)
        return net

    def to_use(self) -> Checkpoint:
        """The same without what only going on needs: a third of the size."""
        return dataclasses.replace(self, patches={}, optimizer={}, scaler={}, history={})

    def save(self, path: Path) -> None:
        """Write to `path`, whole or not at all; raises DmapsvcError where that fails."""
        content = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        content |= {"format": FORMAT, "classes": list(self.classes), "spec": self.spec.to_json()}
        try:
            with whole(path) as file:
                torch.save(content, file)
        except (OSError, RuntimeError) as error:  # torch's writer tells a full disk by a RuntimeError
            raise DmapsvcError(f"{path}: {error}", remedy=FAILED) from None

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """The checkpoint in `path`, on the CPU; raises BadFile if it is none."""
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            raise BadFile(f"{path}: there is no such file", *_WANTED) from None
        except Exception as error:  # torch raises what its unpickler or the archive happens to
            raise BadFile(f"{path}: {type(error).__name__} on reading", *_WANTED) from None
        if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
            raise BadFile(f"{path}: not a checkpoint of this version of dmapsvc", *_WANTED)
        content |= {"classes": tuple(content["classes"]), "spec": MapSpec.from_json(content["spec"])}
        return cls(**content)


_WANTED = ("wanted a checkpoint that `dmapsvc train` wrote", "Name another run, or remove this file")
