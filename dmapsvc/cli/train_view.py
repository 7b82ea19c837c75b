"""What `dmapsvc train` prints while it goes: what begins, and a bar with the loss and the validations."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from dmapsvc.cli.output import Meter, plural

if TYPE_CHECKING:
    from dmapsvc.train.progress import Start, Step
    from dmapsvc.train.settings import TrainSettings

_UNSCALED = (
    "scale none: Φ weighs as the paper writes it; on a large background that gives the background nearly "
    "all of the weight"
)
_UNVALIDATED = (
    "no case to validate on: no best checkpoint is chosen, and patience does not count; the last is kept"
)

_MEASURES = {"g_dsc": "Dice", "b_dsc": "B-DSC"}
RECENT = 20  # steps that the loss and the patches/s are means of: single ones jump about


class TrainView:
    """Says what begins, shows each step, and tells how it ended."""

    def __init__(self, meter: Meter, settings: TrainSettings) -> None:
        self._meter, self._settings = meter, settings
        self._done, self._last = 0, ""
        self._kept: int | None = None  # the step of the last checkpoint; None before the training has begun
        self._recent: deque[Step] = deque(maxlen=RECENT)

    def start(self, start: Start) -> None:
        """Lines that stay: what is trained, on what, where."""
        settings = self._settings
        split = start.split
        self._done = self._kept = start.step
        goes_on = f", goes on at step {start.step}" if start.step else ""
        for line in (
            f"{settings.net} of width {settings.width}, {start.parameters:,} parameters; "
            f"loss {settings.loss}, scale {settings.scale}",
            f"{plural(len(split.train), 'case')} to train on, {len(split.valid)} to validate, "
            f"{len(split.test)} to test",
            f"training on {start.device} in {start.precision}"
            + (f", {start.processes} processes" if start.processes > 1 else "")
            + f"; run folder {settings.out}{goes_on}",
            *([_UNSCALED] if settings.scale == "none" and settings.loss.startswith("penalty") else []),
            *([] if split.valid else [_UNVALIDATED]),
        ):
            self._meter.say(line)

    def step(self, step: Step) -> None:
        """The bar's note, of which a narrow terminal shows the beginning: loss, Dice, patches/s, the best."""
        self._recent.append(step)
        loss, rate = f"loss {self._loss:.4f}", f"{self._patches_per_second:.1f} patches/s"
        parts = [loss, rate]
        if step.validation is not None and step.best is not None:
            measure = self._settings.select
            now, best = getattr(step.validation, measure), getattr(step.best, measure)
            parts = [loss, f"{_MEASURES[measure]} {now:.3f}", rate, f"best {best:.3f} at {step.best.step}"]
        note = ", ".join(parts)
        self._done, self._last = step.step, f"step {step.step} of {step.steps}, {note}"
        self._meter.show(step.step, note)

    def validating(self, done: float, total: int) -> None:
        """That steps wait for a validation, of which `done` of `total` cases are through."""
        number = min(int(done) + 1, total)
        part = done - (number - 1)
        self._meter.show(self._done, f"validating case {number} of {total}, {part:.0%}")

    def save(self, step: int) -> None:
        """That a checkpoint is written; nothing is shown."""
        self._kept = step

    def kept(self) -> str:
        """At which step a training that was stopped is kept."""
        if self._kept is None:
            return "stopped before it began"
        return f"saved at step {self._kept} in {self._settings.out}" if self._kept else "no step to save yet"

    def ended(self) -> str:
        """How far it came and what the last steps were like; to be asked when the training has ended."""
        if self._done >= self._settings.steps:
            return self._last or f"it has its {self._settings.steps} steps already"
        why = f"nothing was better in {plural(self._settings.patience, 'validation')}"
        return f"{self._last}; {why}" if self._last else f"it ended at step {self._done}: {why}"

    @property
    def _loss(self) -> float:
        return sum(step.loss for step in self._recent) / len(self._recent)

    @property
    def _patches_per_second(self) -> float:
        """Patches over seconds of the steps together, which have as many patches each."""
        return len(self._recent) / sum(1 / step.patches_per_second for step in self._recent)
