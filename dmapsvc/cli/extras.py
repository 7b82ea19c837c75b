"""What a command says where the parts of dmapsvc that it stands on are not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dmapsvc.errors import DmapsvcError

TRAIN = {"torch": "PyTorch", "monai": "MONAI"}
"""What of `dmapsvc[train]` is imported where it is first needed, by module."""


@contextmanager
def train_extra() -> Iterator[None]:
    """Inside, an import of one of `TRAIN` that fails ends in `lacking` it."""
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module not in TRAIN:
            raise
        raise lacking(module) from None


def lacking(module: str) -> DmapsvcError:
    """The error that one of `TRAIN` is not installed."""
    return DmapsvcError(
        f"{TRAIN[module]} is not installed", "networks need it", "Install it: pip install 'dmapsvc[train]'"
    )
