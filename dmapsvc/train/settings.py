"""What a training is asked to do: one frozen record, checked when it is made.

Its fields are the keys of a configuration file (`config.py`) and the flags of `dmapsvc train`. How it is done
is not decided here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args

from dmapsvc.errors import BadInput
from dmapsvc.region import SCALES, Scale
from dmapsvc.train.names import LossName, NetworkName, check_loss, check_network, check_patch

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]
Schedule = Literal["constant", "cosine"]
Select = Literal["g_dsc", "b_dsc"]

# How long and where a training runs: free to differ when it goes on. The rest is what it is.
_FREE = {"location", "out", "steps", "patience", "split", "threads", "device", "save_every"}


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """A training with Adam on patches of one dataset.

    `location`: the dataset, a folder or a URL. `out`: the run folder; a training that is there already goes
    on.

    The network and what it minimises. `net`: by name. `width`: channels of its first stage (16 in the V-Net
    paper). `loss`: by name. `scale`: how Φ weighs. `region` (Φ / M, in [0, 1)) doubles the weight towards
    boundaries. `balanced` gives every region a mean weight of 1. `none` is the paper's letter, Φ as it is; on
    knees in voxels it gives the background 95 % of the weight and little is learnt from the rest: it acts as
    an inverse class weight, not on boundaries.

    The patches. `patch`: sides (z, y, x) in voxels, multiples of what the network halves. `batch`: patches a
    step, of each process. `foreground`: share of patches centred on a labelled voxel. `rotation`: patches are
    turned in-plane by up to so many degrees either way. `split`: a file that says which cases are for
    training, validation and test; None: by `split_seed`, 25/5/10.

    The course. `steps`: in all, those of earlier runs included. `lr`: Adam's learning rate (1e-4 in Calivá et
    al.). `schedule`: `constant`, or `cosine` from `lr` to 0 at `steps`. `validate_every`: steps between
    validations. `select`: the measure that the best checkpoint is chosen by. `patience`: validations without
    improvement that end it; 0: none do. `seed`: decides weights and patches.

    The machine. `precision`: `auto` is float32 on the CPU, and 16 bits where CUDA has them. `threads`: that
    read patches. `device`: `auto` is CUDA where there is some. `save_every`: steps between checkpoints.

    Raises BadInput for a value that cannot be.
    """

    location: str | Path
    out: Path
    net: NetworkName = "vnet"
    width: int = 16
    loss: LossName = "penalty"
    scale: Scale = "region"
    patch: tuple[int, int, int] = (64, 64, 64)
    batch: int = 2
    steps: int = 5000
    validate_every: int = 250
    patience: int = 0
    select: Select = "g_dsc"
    lr: float = 1e-4
    schedule: Schedule = "constant"
    foreground: float = 0.5
    rotation: float = 15.0
    precision: Precision = "auto"
    seed: int = 0
    split: Path | None = None
    split_seed: int = 0
    threads: int = 2
    device: Device = "auto"
    save_every: int = 250

    def __post_init__(self) -> None:
        for name in ("out", "split"):
            if (path := getattr(self, name)) is not None:
                object.__setattr__(self, name, Path(path))  # a str will do
        check_loss(self.loss)
        check_network(self.net)
        check_patch(self.net, self.patch, self.batch)
        for name in ("batch", "steps", "width", "threads", "save_every", "validate_every"):
            self._check(name, getattr(self, name) >= 1, "at least 1")
        for name in ("split_seed", "patience"):
            self._check(name, getattr(self, name) >= 0, "at least 0")
        self._check("seed", 0 <= self.seed < 2**63, "0 to 2**63 - 1")
        self._check("rotation", 0 <= self.rotation <= 180, "0 to 180 degrees")
        self._check("lr", 0 < self.lr < float("inf"), "a positive number")
        self._check("foreground", 0 <= self.foreground <= 1, "0 to 1")
        for name, words in _WORDS.items():
            self._check(name, getattr(self, name) in words, f"one of {', '.join(words)}")

    def _check(self, name: str, holds: bool, wanted: str) -> None:
        if not holds:
            raise BadInput(f"{name} is {getattr(self, name)!r}", f"wanted {wanted}")

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that have to stay when a training goes on, as plain values.

        `steps` is among them where the learning rate depends on it.
        """
        free = _FREE - {"steps"} if self.schedule == "cosine" else _FREE
        return {name: value for name, value in self.to_json().items() if name not in free}

    def to_json(self) -> dict[str, Any]:
        """All settings as plain values; `from_json` reads them again."""
        plain = {name: str(value) if isinstance(value, Path) else value for name, value in vars(self).items()}
        return {**plain, "patch": list(self.patch)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], where: str = "settings") -> TrainSettings:
        """The settings that `to_json` wrote or a person did; raises BadInput as `checked_fields`."""
        values = checked_fields(content, where)
        for name in ("location", "out"):
            if name not in values:
                raise BadInput(
                    f"{where}: no {name}", "a training wants a dataset and a run folder", f"Give {name}"
                )
        return cls(**values)


FIELDS: tuple[str, ...] = tuple(field.name for field in dataclasses.fields(TrainSettings))
_DEFAULTS = {field.name: field.default for field in dataclasses.fields(TrainSettings)}
_WORDS: dict[str, tuple[str, ...]] = {
    "scale": SCALES,
    "select": get_args(Select),
    "schedule": get_args(Schedule),
    "precision": get_args(Precision),
    "device": get_args(Device),
}


def checked_fields(content: Mapping[str, Any], where: str, names: Sequence[str] = FIELDS) -> dict[str, Any]:
    """Plain `content`, numbers, words and lists by name, as arguments of `TrainSettings`; `names` of its
    fields may stand there.

    Raises BadInput, about `where` they stand, for a name that is none of them (the nearest is offered) and
    for a value of another kind. Which numbers and words can be, `TrainSettings` checks.
    """
    for name in content:
        if name not in names:
            near = _nearest(name, names)
            raise BadInput(
                f"{where}: there is no setting {name!r}",
                "" if near else f"wanted one of {', '.join(names)}",
                f"Did you mean {near!r}?" if near else "",
            )
    return {name: _checked(name, value, where) for name, value in content.items()}


def _nearest(name: str, names: Sequence[str]) -> str | None:
    """The one that `name` is the long form of, as `learning_rate` is of `lr`, or that is spelt most alike."""
    initials = "".join(word[:1] for word in name.replace("-", "_").split("_"))
    if initials in names:
        return initials
    return next(iter(get_close_matches(name, names, n=1, cutoff=0.5)), None)


def _checked(name: str, value: Any, where: str) -> Any:
    if name in ("location", "out", "split"):
        if isinstance(value, str | Path) or (name == "split" and value is None):
            return Path(value) if value is not None and name != "location" else value
        raise BadInput(f"{where}: {name} is {value!r}", "wanted a path")
    if name == "patch":
        if isinstance(value, list | tuple) and len(value) == 3 and all(map(_whole, value)):
            return tuple(value)
        raise BadInput(f"{where}: patch is {value!r}", "wanted three whole numbers of voxels, [z, y, x]")
    kind = type(_DEFAULTS[name])
    if kind is int and not _whole(value):
        raise BadInput(f"{where}: {name} is {value!r}", "wanted a whole number")
    if kind is float:
        if not (_whole(value) or isinstance(value, float)):
            raise BadInput(f"{where}: {name} is {value!r}", "wanted a number")
        return float(value)
    if kind is str and not isinstance(value, str):
        raise BadInput(f"{where}: {name} is {value!r}", "wanted a word")
    return value


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
