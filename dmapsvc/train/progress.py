"""What is told of a training while it goes: once what begins, then each step."""

from __future__ import annotations

from dataclasses import dataclass

from dmapsvc.train.history import Validation
from dmapsvc.train.split import Split


@dataclass(frozen=True, kw_only=True)
class Start:
    """What begins, or goes on after `step` steps.

    `split`: the cases on each side. `parameters`: how many numbers the network learns. `device`: 'cpu' or
    'cuda:0'; `precision`: 'float32', 'bfloat16' or 'float16'; `processes`: how many learn together.
    """

    step: int
    split: Split
    parameters: int
    device: str
    precision: str
    processes: int


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step that is done: number `step` (from 1) of `steps`, its loss and learning rate, and the patches/s
    it went at, those of all processes together.

    The rate counts everything since the step before except validations: waiting for patches, the callback.
    `validation` is the latest, `best` that of the best checkpoint; None before the first.
    """

    step: int
    steps: int
    loss: float
    lr: float
    patches_per_second: float
    validation: Validation | None
    best: Validation | None
