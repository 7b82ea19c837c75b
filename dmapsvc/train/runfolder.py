"""The folder of one training, a run: which file in it is what.

    settings.json   what was asked for (`TrainSettings.to_json`)
    split.json      the cases on each side, fixed when the run begins
    history.csv     loss, rate and validation scores, row by row (`history.Row`)
    last.pt         the checkpoint that the run goes on from
    best.pt         the weights that did best in validation; not there without validation cases
    tensorboard/    event files
    .training.lock  held by the process that trains here

What the files hold is decided where they are made.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dmapsvc.errors import BadFile, BadInput, Conflict, DmapsvcError
from dmapsvc.runfiles import HISTORY, SETTINGS
from dmapsvc.train.checkpoint import FAILED, Checkpoint
from dmapsvc.train.config import read_config
from dmapsvc.train.history import History
from dmapsvc.train.lock import alone_in
from dmapsvc.train.settings import TrainSettings
from dmapsvc.train.split import Split
from dmapsvc.whole import write_json

Which = Literal["best", "last"]

_LOCK = ".training.lock"
_BEFORE = {"log.txt"}  # what may be there before a run begins: a comparison's log of it
_PLACE = ("wanted a place where a run folder can be written", "Name another folder with -o (`out` in Python)")


@dataclass(frozen=True)
class RunFolder:
    """The run in the folder `path`."""

    path: Path

    @property
    def settings(self) -> Path:
        """What was asked for, JSON."""
        return self.path / SETTINGS

    @property
    def split(self) -> Path:
        """The cases on each side, JSON."""
        return self.path / "split.json"

    @property
    def history(self) -> Path:
        """The course, CSV."""
        return self.path / HISTORY

    @property
    def last(self) -> Path:
        """The checkpoint after the steps that are done."""
        return self.path / "last.pt"

    @property
    def best(self) -> Path:
        """The checkpoint that did best in validation."""
        return self.path / "best.pt"

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's event files."""
        return self.path / "tensorboard"

    def checkpoint(self, which: Which = "best") -> Checkpoint:
        """The best checkpoint, or the last; without validation cases the last is the best there is.

        Raises BadFile if there is none.
        """
        file = self.best if which == "best" and self.best.exists() else self.last
        if not file.exists():
            raise BadFile(
                f"{self.path}: {'a folder without' if self.path.is_dir() else 'no run folder, so no'} "
                f"{self.last.name}",
                "wanted a run folder that `dmapsvc train` wrote",
                "Name another, or train first",
            )
        return Checkpoint.load(file)

    def read_settings(self) -> TrainSettings:
        """What was asked for; raises BadInput for a folder without."""
        return TrainSettings.from_json(read_config(self.settings), str(self.settings))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Inside, no other process trains here; raises Conflict if one does, BadInput as `prepare`."""
        with alone_in(self.path, what="training", file=_LOCK):
            yield

    def prepare(self, given: Path | None = None) -> None:
        """Forget the beginnings of a run that came to no checkpoint, but not the split file that is `given`,
        and what was half written; the folder is made if need be.

        Raises BadInput where nothing can be written, Conflict for a folder of other things, a split among
        them, and for a best checkpoint without a last one.
        """
        given_here = given is not None and given.resolve() == self.split.resolve()
        begun = self._has_begun()
        if not begun:
            self._check_empty(_BEFORE | ({self.split.name} if given_here else set()))
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for file in (self.settings, self.split, self.history, self.last, self.best):
                for part in self.path.glob(f".{file.name}.*.part"):  # of one that was killed while it wrote
                    part.unlink()
            tempfile.TemporaryFile(dir=self.path).close()
        except OSError as error:
            raise BadInput(f"{self.path}: {error.strerror}", *_PLACE) from None
        if self.last.exists():
            return
        if self.best.exists():
            raise Conflict(
                f"{self.path}: a {self.best.name} without the {self.last.name} of its run",
                "a run goes on from both, and begins without any",
                "Name another folder, or remove it",
            )
        if begun and not given_here:
            self.split.unlink(missing_ok=True)

    def _has_begun(self) -> bool:
        """Whether a training has begun here: its settings are what it writes first."""
        if self.last.exists():
            return True
        try:
            self.read_settings()
        except BadInput:
            return False
        return True

    def _check_empty(self, but: Set[str]) -> None:
        """Raises Conflict if there is anything but what is called so, and what is hidden."""
        strange = sorted({path.name for path in self.path.glob("[!.]*")} - but)
        if strange == [self.split.name]:
            raise Conflict(
                f"{self.split}: a split that no run wrote",
                "a run keeps its own there",
                "Give it with --split (`split` in Python), or remove it",
            )
        if strange:
            raise Conflict(
                f"{self.path}: a folder with {strange[0]}",
                "a run wants a folder of its own",
                "Name another with -o (`out` in Python)",
            )

    def write_settings(self, settings: TrainSettings) -> None:
        """Keep what is asked for now; raises DmapsvcError where that fails, as the next two do."""
        with _told(self.settings):
            write_json(self.settings, settings.to_json())

    def write_split(self, split: Split) -> None:
        """Keep the cases on each side, the first time."""
        if not self.split.exists():
            with _told(self.split):
                split.write(self.split)

    def write_history(self, history: History) -> None:
        """Keep the course so far."""
        with _told(self.history):
            history.write(self.history)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DmapsvcError(f"{path}: {error.strerror}", remedy=FAILED) from None
