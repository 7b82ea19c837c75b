"""A program that runs long tasks: `python -m tests.compare.processes_parent FOLDER`; prints when they run."""

from __future__ import annotations

import sys
from pathlib import Path

from dmapsvc.compare.processes import Processes
from tests.compare.processes_work import act


def main(folder: Path) -> None:
    """Two long tasks side by side."""
    tasks = dict.fromkeys("ab", ("long", folder))
    Processes(act, at_once=2, log=lambda task: folder / "log.txt").run(
        tasks, lambda name, news: print(news, flush=True), lambda name, failure: None
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
