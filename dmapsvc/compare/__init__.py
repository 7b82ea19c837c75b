"""Losses compared on one dataset with one command: each trained, scored and reported alike.

What a comparison is asked to do is a `Config`; the plan that it makes is pure functions (`plan.py`,
`choice.py`), and each run is a process of its own (`processes.py`, `task.py`). Training, scoring and the
report are other rooms'.
"""

from dmapsvc.compare.comparison import Listener, Result, compare
from dmapsvc.compare.config import Config
from dmapsvc.compare.contenders import CONTENDERS, Contender
from dmapsvc.compare.progress import Progress

__all__ = ["CONTENDERS", "Config", "Contender", "Listener", "Progress", "Result", "compare"]
