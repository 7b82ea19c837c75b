"""The staging folder of a dataset: where cases are written, images wait, and locks lie. Never served or
listed.

    work/<case>~<random>/   an entry: what one process is doing
    alive/<case>~<random>   its lock, held as long as that process lives; a file, as NFS locks no folders
    held/<case>/            an image that came before its mask
    locks/<case>            locked while a case is swapped; dataset.lock while the dataset is made or removed

Locks are flock's, so the kernel frees them when their holder dies, however it dies. Whatever a dead process
left is undone by the next that takes the same lock: an entry holds `old` and `new` only between the two
renames of a swap.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dmapsvc.errors import BadInput, Conflict
from dmapsvc.store.files import flush_folder

OLD, NEW, GONE = "old", "new", "gone"
_MARK = "~"  # no name of a case holds it


class Staging:
    """The staging folder `root` of the dataset in `published`; made when first needed."""

    def __init__(self, root: Path, published: Path) -> None:
        self._root, self._published = root, published
        self._work, self._alive = root / "work", root / "alive"

    def held(self, case: str) -> Path:
        """Where the image of `case` waits for its mask."""
        return self._root / "held" / case

    @contextmanager
    def entry(self, case: str = "") -> Iterator[Path]:
        """A new folder to work in, for `case` or for the dataset itself; removed at the end with all that is
        in it.
        """
        path, descriptor = self._make_entry(case)
        try:
            yield path
        finally:
            self._clear(path, case)
            os.close(descriptor)

    @contextmanager
    def lock_case(self, case: str) -> Iterator[None]:
        """Be the only one to change `case`; what dead processes left of it is undone first."""
        with (
            _locked(self._root / "dataset.lock", fcntl.LOCK_SH),
            _locked(self._root / "locks" / case, fcntl.LOCK_EX),
        ):
            self._recover(case)
            yield

    @contextmanager
    def lock_dataset(self) -> Iterator[None]:
        """Be the only one to change the dataset or any of its cases."""
        self._check_file_system()
        with _locked(self._root / "dataset.lock", fcntl.LOCK_EX):
            yield

    def published(self, case: str) -> Path | None:
        """The folder that lies where `case` is published, if one does; raises Conflict if it is no folder."""
        target = self._published / case
        if not os.path.lexists(target):
            return None
        if not target.is_dir():
            raise Conflict(
                f"case {case!r}: {case} in the dataset's folder is a file, not a case",
                "a case is a folder",
                "Remove the file if it does not belong there, or choose another case name",
            )
        return target

    def swap_in(self, entry: Path, case: str) -> None:
        """Publish `entry/new` as `case`, in place of what is published now. Within `lock_case`.

        A process that ends between the two renames leaves both `old` and `new`, so the old one is put back.
        Raises Conflict if what is there now is no folder.
        """
        target = self._published / case
        if old := self.published(case):
            old.rename(entry / OLD)
        try:
            (entry / NEW).rename(target)
        except BaseException:
            self._put_back(entry, case)
            raise
        flush_folder(self._published)

    def sweep(self) -> None:
        """Undo and remove what dead processes left; what a living one works on stays."""
        left = {path.name for folder in (self._work, self._alive) for path in folder.glob(f"*{_MARK}*")}
        for case in sorted({name.partition(_MARK)[0] for name in left}):
            if case:
                with self.lock_case(case):
                    pass
            else:
                self._recover(case)

    def dead(self) -> list[Path]:
        """The entries that dead processes left; one that is made this moment may be among them."""
        entries = sorted(self._work.iterdir()) if self._work.is_dir() else []
        return [entry for entry in entries if not _is_locked(self._alive / entry.name)]

    def is_used(self) -> bool:
        """Whether a process works in it, or an image waits in it."""
        held, alive = ([*folder.glob("*")] for folder in (self._root / "held", self._alive))
        return bool(held) or any(map(_is_locked, alive))

    def drop_all_held(self, entry: Path) -> None:
        """Take every held image into `entry`, to be removed with it. Within `lock_dataset`."""
        if (self._root / "held").exists():
            (self._root / "held").rename(entry / "held")

    def remove(self) -> None:
        """Remove the folder, unless a process still works in it. Within `lock_dataset`."""
        try:
            self._work.rmdir()
            shutil.rmtree(self._root)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.ENOENT):
                raise

    def remove_if_gone(self) -> None:
        """Remove the folder if the dataset is not there any more and nobody is at work in it."""
        if self._published.exists():
            return
        with self.lock_dataset():
            if not (self._published.exists() or self.is_used()):
                self.remove()

    def _make_entry(self, case: str) -> tuple[Path, int]:
        while True:
            path = self._work / f"{case}{_MARK}{uuid.uuid4().hex}"
            path.mkdir(parents=True)
            descriptor = self._lock_entry(path.name, fcntl.LOCK_EX)
            if descriptor is not None:
                if path.exists():
                    return path, descriptor
                self._clear(path, case)  # it was taken for a dead one's before it was locked
                os.close(descriptor)

    def _recover(self, case: str) -> None:
        folders = (self._work, self._alive)
        for name in {path.name for folder in folders for path in folder.glob(f"{case}{_MARK}*")}:
            descriptor = self._lock_entry(name, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if descriptor is not None:
                self._clear(self._work / name, case)
                os.close(descriptor)

    def _lock_entry(self, name: str, operation: int) -> int | None:
        self._alive.mkdir(parents=True, exist_ok=True)
        return _try_lock(self._alive / name, operation, os.O_RDWR | os.O_CREAT)

    def _clear(self, entry: Path, case: str) -> None:
        """Undo and remove an entry, and then its lock, which is held."""
        self._put_back(entry, case)
        shutil.rmtree(entry, ignore_errors=True)
        (self._alive / entry.name).unlink(missing_ok=True)

    def _put_back(self, entry: Path, case: str) -> None:
        target = self._published / case
        if (entry / OLD).exists() and (entry / NEW).exists() and not target.exists():
            (entry / OLD).rename(target)

    def _check_file_system(self) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        if self._root.stat().st_dev != self._published.parent.stat().st_dev:
            raise BadInput(
                f"staging folder {self._root.name!r} is on another file system than {self._published.name!r}",
                "a case is published by renaming it, which works within one file system",
                "Leave staging out, or choose a folder beside the dataset",
            )


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """For the block, hold the lock file `path`, alone among all processes that share its file system.

    It is made for that, and removed at the end.
    """
    with _locked(path, fcntl.LOCK_EX):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # whoever waits for it makes another


@contextmanager
def _locked(path: Path, operation: int) -> Iterator[None]:
    """Hold the lock file `path`, which is made when first needed."""
    descriptor = None
    while descriptor is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _try_lock(path, operation, os.O_RDWR | os.O_CREAT)
    try:
        yield
    finally:
        os.close(descriptor)


def _is_locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)


def _try_lock(path: Path, operation: int, flags: int) -> int | None:
    """A descriptor that holds the lock on `path`; None if it was removed meanwhile, or another holds it
    (LOCK_NB).
    """
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o666)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, operation)
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None
