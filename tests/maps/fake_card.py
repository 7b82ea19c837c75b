"""A fake of a GPU in the place of CuPy and cuCIM, for as long as a test wants it."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from dmapsvc.maps import backends

FAKES = Path(__file__).resolve().parents[1] / "fakes"
"""To be put first on PYTHONPATH for a process that shall have a fake card."""

_FAKED = ("cupy", "cupyx", "cucim", "dmapsvc.maps.cuda_", "dmapsvc.maps.cucim_")


@contextmanager
def fake_card(**environment: str) -> Iterator[None]:
    """Within the block there is a card, new, and the backends for it are imported anew.

    `environment`: what `tests/fakes/cupy/_card.py` explains, such as `FAKE_GPU_MEMORY`.
    """
    kept_modules, kept_environment = _take_out(), {name: os.environ.get(name) for name in environment}
    sys.path.insert(0, str(FAKES))
    importlib.invalidate_caches()
    os.environ.update(environment)
    backends._fault.cache_clear()
    try:
        yield
    finally:
        _take_out()
        sys.modules.update(kept_modules)
        sys.path.remove(str(FAKES))
        for name, value in kept_environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        backends._fault.cache_clear()


def _take_out() -> dict[str, ModuleType]:
    names = [name for name in sys.modules if name.startswith(_FAKED)]
    return {name: sys.modules.pop(name) for name in names}
