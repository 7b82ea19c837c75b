"""What a command says where the parts of dmapsvc that it stands on are not installed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from dmapsvc.errors import DmapsvcError

TRAIN = {"torch": "PyTorch", "monai": "MONAI"}
"""What of `dmapsvc[train]` is imported where it is first needed, by module."""

_SERVICE = {"sqlalchemy": "SQLAlchemy", "alembic": "Alembic", "dbos": "DBOS"}


def train_extra() -> AbstractContextManager[None]:
    """Inside, an import of one of `TRAIN` that fails ends in `lacking` it."""
    return _extra("train", TRAIN, "networks need it")


def service_extra() -> AbstractContextManager[None]:
    """Inside, an import of what the service's queue stands on that fails says how to install it."""
    return _extra("service", _SERVICE, "the queue of a service needs it")


def lacking(module: str) -> DmapsvcError:
    """The error that one of `TRAIN` is not installed."""
    return _lacking("train", TRAIN[module], "networks need it")


@contextmanager
def _extra(extra: str, names: Mapping[str, str], why: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module not in names:
            raise
        raise _lacking(extra, names[module], why) from None


def _lacking(extra: str, name: str, why: str) -> DmapsvcError:
    return DmapsvcError(f"{name} is not installed", why, f"Install it: pip install 'dmapsvc[{extra}]'")
