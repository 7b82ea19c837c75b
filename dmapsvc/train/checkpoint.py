"""The file a training leaves: weights, optimiser, and what is needed to use or continue them.

Written by `torch.save` as plain containers and tensors, so that `torch.load(path, weights_only=True)` opens
it.
"""

from __future__ import annotations

import dataclasses
import os
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dmapsvc.errors import BadFile, BadInput
from dmapsvc.spec import MapSpec
from dmapsvc.train.vnet import VNet

FORMAT = "dmapsvc-checkpoint-2"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A training after `step` steps.

    `classes`: the label of each class index, 0 first; `names`: of labels, as far as they have any; `spec`: of
    the dataset's maps; `channels`: of its images; `settings`: the training's, `TrainSettings.identity`;
    `patches`: where in the stream of patches it is, `PatchLoader.state_dict`; `model` and `optimizer`: state
    dicts.
    """

    step: int
    classes: tuple[int, ...]
    names: dict[int, str]
    spec: MapSpec
    channels: int
    settings: dict[str, Any]
    patches: dict[str, Any]
    model: dict[str, Any]
    optimizer: dict[str, Any]

    def network(self) -> VNet:
        """The trained V-Net, on the CPU."""
        net = VNet(in_channels=self.channels, classes=len(self.classes), width=self.settings["width"])
        net.load_state_dict(self.model)
        return net

    def save(self, path: Path) -> None:
        """Write to `path`, whole or not at all; raises BadInput where that cannot be written."""
        content = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        content |= {"format": FORMAT, "classes": list(self.classes), "spec": self.spec.to_json()}
        try:
            with path.with_name(f".{path.name}.{secrets.token_hex(4)}.part").open("xb") as file:
                _write(content, file, path)
        except (OSError, RuntimeError) as error:  # torch's writer tells a full disk by a RuntimeError
            raise BadInput(f"{path}: {error}", *_PLACE) from None

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """The checkpoint in `path`, on the CPU; raises BadFile if it is none."""
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises what its unpickler or the archive happens to
            raise BadFile(f"{path}: {type(error).__name__} on reading", *_WANTED) from None
        if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
            raise BadFile(f"{path}: not a checkpoint of this version of dmapsvc", *_WANTED)
        content |= {"classes": tuple(content["classes"]), "spec": MapSpec.from_json(content["spec"])}
        return cls(**content)


def check_place(path: Path) -> None:
    """Make the folder of a checkpoint to come; raises BadInput where none can be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}", *_PLACE) from None


_PLACE = ("wanted a place where a checkpoint can be written", "Name another file with out")
_WANTED = ("wanted a checkpoint that `dmapsvc train` wrote", "Name another file, or remove this one")


def _write(content: dict[str, Any], file: Any, path: Path) -> None:
    """Fill the temporary `file` and rename it to `path`; it is gone if anything goes wrong."""
    part = Path(file.name)
    try:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
