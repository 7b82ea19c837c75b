"""One run of a training, from its start or from where its last checkpoint is: steps, validations, files."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

from dmapsvc.errors import BadInput
from dmapsvc.loader import Batch
from dmapsvc.train.board import Board
from dmapsvc.train.checkpoint import Checkpoint
from dmapsvc.train.interrupts import undisturbed
from dmapsvc.train.opening import open_training
from dmapsvc.train.parallel import Group
from dmapsvc.train.progress import Start, Step
from dmapsvc.train.settings import TrainSettings

_DRAWN_EVERY = 10  # steps between two points of TensorBoard's curves


class Run:
    """A training of `settings` by the processes of `group`: `to_the_end`, and `save` whatever happened."""

    def __init__(self, settings: TrainSettings, group: Group, on_save: Callable[[int], None]) -> None:
        self._settings, self._group, self._on_save = settings, group, on_save
        opened = open_training(settings, group)
        self._folder, self._cases = opened.folder, opened.cases
        self._patches, self._learner = opened.patches, opened.learner
        self._validator, self._history = opened.validator, opened.history
        self._step = opened.step
        self._learnt = self._patches.state_dict()
        self._saved = self._state

    @property
    def start(self) -> Start:
        """What begins."""
        return Start(
            step=self._step,
            split=self._cases.split,
            parameters=sum(parameter.numel() for parameter in self._learner.net.parameters()),
            device=str(self._group.device),
            precision=self._learner.precision.name,
            processes=self._group.world,
        )

    def to_the_end(
        self, on_step: Callable[[Step], None], on_validation: Callable[[float, int], None]
    ) -> None:
        """All the steps that are left."""
        if self._ended and not self._is_due:
            return
        with self._patches, self._open_board() as board:
            self._look(on_validation, board)  # a run that was interrupted in a validation begins with it
            stream = iter(self._patches)
            before = time.perf_counter()
            while not self._ended:
                loss = self._learn(next(stream))
                rate = self._settings.batch * self._group.world / (time.perf_counter() - before)
                self._look(on_validation, board)
                before = time.perf_counter()
                step = self._describe(loss, rate)
                if step.step % _DRAWN_EVERY == 0:
                    _draw(board, step.step, {"loss": loss, "lr": step.lr, "patches/s": rate})
                on_step(step)
                if self._step % self._settings.save_every == 0:
                    self.save()

    def save(self) -> None:
        """Write the last checkpoint, unless the file has this state already."""
        if self._saved == self._state:
            return
        if self._group.leads:
            self._checkpoint().save(self._folder.last)
        self._saved = self._state
        self._on_save(self._step)

    @property
    def _state(self) -> tuple[int, int]:
        """What tells one state from the one before: steps and validations that are done."""
        return self._step, len(self._history.rows)

    @property
    def _ended(self) -> bool:
        settings = self._settings
        bored = self._history.since_best >= settings.patience > 0
        return self._step >= settings.steps or bored

    @property
    def _is_due(self) -> bool:
        """Whether it is time for a validation, and it was not made: at multiples, so that a run which is made
        longer has those of one that was long from the start. A cosine's end is where it always was, and has
        the best weights.
        """
        settings = self._settings
        if self._step == self._history.step:
            return False
        if self._step == settings.steps and settings.schedule == "cosine":
            return True
        every = min(settings.validate_every, settings.steps)
        return self._step <= settings.steps and self._step % every == 0

    def _learn(self, batch: Batch) -> float:
        """One step; the loss before it."""
        number = self._step + 1
        try:
            loss = self._learner.find_gradient(batch, number)
        except BadInput:
            self._saved = self._state  # the weights that led here are not kept
            raise
        with undisturbed():  # half a step of Adam is no state to save
            self._learner.take_step(number)
            self._step = number
            self._history.add_loss(loss)
            self._learnt = self._patches.state_dict()  # not before: a batch without its step comes again
        return loss

    def _look(self, on_validation: Callable[[float, int], None], board: Board | None) -> None:
        """Validate and end a row of the history, where it is time for it."""
        if not self._is_due:
            return
        validation = None
        if self._validator is not None:
            validation = self._validator.score(self._learner.net, self._step, on_validation)
        with undisturbed():
            self._history.add_row(self._step, self._learner.rate(self._step), validation)
        if self._group.leads:
            self._folder.write_history(self._history)
        if validation is None:
            return
        if validation == self._history.best:
            self._save_best()
        _draw(board, self._step, {"g_dsc": validation.g_dsc, "b_dsc": validation.b_dsc})

    def _save_best(self) -> None:
        """The last checkpoint first: it says which is the best, and is the same until that is written."""
        self.save()
        if self._group.leads:
            self._checkpoint().to_use().save(self._folder.best)

    def _checkpoint(self) -> Checkpoint:
        return Checkpoint(
            step=self._step,
            classes=self._patches.classes,
            names=dict(self._patches.names),
            spec=self._patches.spec,
            channels=self._patches.channels,
            settings=self._settings.identity,
            processes=self._group.world,
            patches=self._learnt,
            history=self._history.state_dict(),
            **self._learner.state_dict(),
        )

    def _describe(self, loss: float, rate: float) -> Step:
        return Step(
            step=self._step,
            steps=self._settings.steps,
            loss=loss,
            lr=self._learner.rate(self._step),
            patches_per_second=rate,
            validation=self._history.latest,
            best=self._history.best,
        )

    def _open_board(self) -> AbstractContextManager[Board | None]:
        return Board(self._folder.tensorboard, step=self._step) if self._group.leads else nullcontext()


def _draw(board: Board | None, step: int, values: Mapping[str, float]) -> None:
    if board is not None:
        board.write(step, values)
