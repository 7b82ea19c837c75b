"""The process that reads numbered inputs until it is told to stop, and what it tells its watchdog.

`python -m tests.fuzz.reading FIRST` writes a line before and after each input, so that the other end of the
pipe knows which one it died of or hangs in.
"""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from pathlib import Path

import psutil

from tests.fuzz.inputs import numbered, samples
from tests.fuzz.judging import judge


def main(first: int) -> None:
    """Read inputs from number `first` on, for as long as standard output is read."""
    samples()
    process = psutil.Process()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "input"
        number = first
        while True:
            path.write_bytes(numbered(number).content)
            _say("reads", number)
            try:
                verdict = "taken" if judge(path) else "refused"
            except Exception as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                words = " ".join(f"{error!r} {where.filename}:{where.lineno}".split())
                verdict = f"fault {words[:500]}"
            _say(verdict, number, process.memory_info().rss)
            number += 1


def _say(what: str, *numbers: int) -> None:
    try:
        print(*numbers, what, flush=True)
    except BrokenPipeError:
        os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
