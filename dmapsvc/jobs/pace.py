"""How often workers ask the engine for work: seldom while little waits, often while there is a line.

Asking costs the same whether there is work or not. All workers share one pace, which lies with the engine's
queue; each sets it as it sees the line, so they agree, and one that starts may set it back for a moment.
"""

from __future__ import annotations

import math

import sqlalchemy as sa
from dbos import Queue

from dmapsvc.jobs.table import in_line

_LINE = 16  # runs; chosen: more than wait for a moment when some people upload at once
_HASTE = 8  # times; chosen: a worker that runs two tiny jobs at once then starts some hundred a second


class Pace:
    """Keeps `queue` polled every `seconds`, or more often while many runs wait."""

    def __init__(self, engine: sa.Engine, queue: Queue, seconds: float) -> None:
        self._engine, self._queue, self._seconds = engine, queue, seconds

    def keep(self) -> None:
        """Look at the line and set the pace, if it is another."""
        with self._engine.connect() as connection:
            long = connection.execute(in_line().offset(_LINE).limit(1)).first() is not None
        wanted = self._seconds / _HASTE if long else self._seconds
        if not math.isclose(self._queue.polling_interval_sec, wanted):  # which asks the database
            self._queue.set_polling_interval_sec(wanted)
