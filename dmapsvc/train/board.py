"""What TensorBoard shows of a training: an event file in a folder of the run, written by tensorboardX.

TensorBoard itself is not needed to write it. What there is to show is not decided here.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

FLUSH_SECONDS = 10.0

_log = logging.getLogger(__name__)


class Board:
    """The event file of one run in `folder`; a context manager.

    `step`: how many steps are done; TensorBoard hides what earlier runs, which went on after their last
    checkpoint, wrote beyond it. Points reach the disk within ten seconds, if there are more to come, and at
    the end.

    Without tensorboardX, or without room on the disk, nothing more is written and the log says so once: a
    training is not to end by its pictures. (Its own `SummaryWriter` waits for ever once the thread it writes
    by has met a full disk.)
    """

    def __init__(self, folder: Path, *, step: int = 0) -> None:
        self._file: Any = None
        try:
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto.event_pb2 import Event, SessionLog
            from tensorboardX.summary import scalar
        except ModuleNotFoundError as error:
            _log.warning("nothing for TensorBoard: %s", error)
            return
        self._event, self._scalar = Event, scalar
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = EventsWriter(str(folder / "events"), f".{secrets.token_hex(4)}")
            self._flushed = time.monotonic()
            self._write(step + 1, session_log=SessionLog(status=SessionLog.START))
        except OSError as error:
            self._give_up(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, step: int, values: Mapping[str, float | None]) -> None:
        """Points of curves at `step`, by the curve's name; None is no point."""
        try:
            for name, value in values.items():
                if value is not None and self._file is not None:
                    self._write(step, summary=self._scalar(name, value))
            if self._file is not None and time.monotonic() - self._flushed > FLUSH_SECONDS:
                self._file.flush()
                self._flushed = time.monotonic()
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        """Write what is still held back."""
        file, self._file = self._file, None
        try:
            if file is not None:
                file.close()
        except OSError as error:
            self._give_up(error)

    def _write(self, step: int, **content: Any) -> None:
        self._file.write_event(self._event(wall_time=time.time(), step=step, **content))

    def _give_up(self, error: OSError) -> None:
        self._file = None
        _log.warning("nothing more for TensorBoard: %s", error)
