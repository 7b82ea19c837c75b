"""Files that processes leave which die: bodies that broke off, uploads without a job, locks, probes.

Each function looks at one kind, removes what is left behind unless `dry_run`, and counts what it found.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from dmapsvc.keeping.tally import Found, is_old, size_of
from dmapsvc.settings import Settings

PART = ".part"
"""The suffix of a body in the spool that no job has taken over yet; locked as long as it is received."""


def broken_off(spool: Path, *, dry_run: bool = False) -> Found:
    """Bodies whose sender or whose API process went away; those still received are locked, and stay."""
    return _remove(spool.glob(f"*{PART}"), _if_unlocked, dry_run)


def unclaimed(spool: Path, needed: Callable[[], set[str]], *, dry_run: bool = False) -> Found:
    """Whole uploads that no job needs. `needed` names those that are, and is asked after the folder."""
    old = [path for path in _files(spool) if not path.suffix and path.name[0] != "." and is_old(path)]
    claimed = needed() if old else set()
    orphans = [path for path in old if path.name not in claimed]
    return _remove(orphans, _always, dry_run)


def dead_locks(locks: Path, *, dry_run: bool = False) -> Found:
    """Lock files of workers that died: nobody holds them."""
    old = [path for path in locks.glob("*.lock") if is_old(path)]
    return _remove(old, _if_unlocked, dry_run)


def probes(settings: Settings, *, dry_run: bool = False) -> Found:
    """Hidden or temporary files straight in the service's folders: a readiness probe, a download in the
    making, a file that was to replace another.
    """
    folders = (settings.data, settings.spool, settings.staging, Path(settings.store_location))
    found = [path for folder in folders for path in _files(folder) if _is_temporary(path) and is_old(path)]
    return _remove(found, _always, dry_run)


def _is_temporary(path: Path) -> bool:
    ours = path.name.startswith(".ready-") or (path.name.startswith(".") and path.suffix == PART)
    return ours or (path.parent.name.endswith("staging") and path.name.startswith("tmp"))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else iter(())


def _remove(
    paths: Iterable[Path],
    claim: Callable[[Path], contextlib.AbstractContextManager[bool]],
    dry_run: bool,
) -> Found:
    count = size = 0
    for path in paths:
        with contextlib.suppress(FileNotFoundError), claim(path) as free:
            if free:
                count, size = count + 1, size + size_of(path)
                if not dry_run:
                    path.unlink(missing_ok=True)
    return Found(count, size)


@contextmanager
def _always(path: Path) -> Iterator[bool]:
    yield True


@contextmanager
def _if_unlocked(path: Path) -> Iterator[bool]:
    """Hold the lock of `path` for the block; False while a living process has it, or where nobody can tell.

    NFS wants a file open for writing to be locked.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("r+b"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
