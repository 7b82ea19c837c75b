"""The local folder of copies of remote cases: where each lies, who may change it, what goes when it is full.

    <cache>/<dataset>-<hash of its address>/<case>.<edition>/    a copy, as the store lays out a case
    <cache>/<dataset>-<hash of its address>/.locks/<case>        locked while a copy of the case is changed

Any number of processes share it. Locks are flock's, so that the kernel frees a dead process's. A copy is
taken away by a rename; on Linux and macOS whoever has its files open or mapped keeps them, and the disk has
its room back when the last of them lets go.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dmapsvc.errors import BadInput
from dmapsvc.loader.remote.edition import ID_DIGITS, PARTS, Edition, LocalCopy
from dmapsvc.settings import load_settings
from dmapsvc.store.layout import NODE

DEFAULT_BYTES = 50 * 10**9  # about 1,200 knees with their images
_COPY = re.compile(rf".+\.[0-9a-f]{{{ID_DIGITS}}}")
_GONE = ".gone-"


@dataclass(frozen=True, kw_only=True)
class Held:
    """A copy that lies in the cache: its folder, its bytes on disk, and when it was used last."""

    path: Path
    case: str
    bytes: int
    used: float


class CacheFolder:
    """The cache in the folder `path`, of at most `limit` bytes.

    None: `DEFAULT_BYTES`, but no more than half of what the disk would have free without the cache. What is
    being fetched comes on top, and a single case that is larger is kept all the same.
    """

    def __init__(self, path: Path, limit: int | None = None) -> None:
        self.path, self._limit = path.absolute(), limit
        self._sizes: dict[Path, tuple[int, int]] = {}  # a copy's time of change and its bytes

    @classmethod
    def configured(cls) -> CacheFolder:
        """The cache that the settings `DMAPSVC_CACHE` and `DMAPSVC_CACHE_BYTES` name."""
        settings = load_settings()
        return cls(settings.cache_folder, settings.cache_bytes)

    def copy(self, address: str, edition: Edition) -> LocalCopy:
        """Where the copy of an edition of the dataset at `address` lies, or would."""
        return LocalCopy(self._dataset(address) / f"{edition.case}.{edition.id}", edition)

    @contextlib.contextmanager
    def lock(self, address: str, case: str) -> Iterator[None]:
        """Be the only one to change copies of `case`; whoever comes later waits."""
        with _locked(self._lock_file(self._dataset(address), case), fcntl.LOCK_EX):
            yield

    def drop_other_editions(self, copy: LocalCopy) -> None:
        """Take away the copies of what `copy`'s case was before; its lock is held."""
        for path in _copies(copy.path.parent):
            if path != copy.path and _case(path) == copy.edition.case:
                self._remove(path)

    def make_room(self, keep: Path) -> None:
        """Take away the copies that were used the longest ago, but not `keep`, until the limit is kept."""
        held = sorted(self.held(), key=lambda copy: copy.used)
        total = sum(copy.bytes for copy in held)
        limit = self._limit_of(total)
        for copy in held:
            if total <= limit:
                return
            if copy.path != keep and self._remove_unused(copy):
                total -= copy.bytes

    def limit(self) -> int:
        """The bytes that the cache may have now."""
        return self._limit_of(0 if self._limit is not None else sum(copy.bytes for copy in self.held()))

    def held(self) -> list[Held]:
        """Every copy there is, in no order."""
        found = []
        with contextlib.suppress(FileNotFoundError):
            for dataset in self.path.iterdir():
                for path in _copies(dataset):
                    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                        found.append(self._weigh(path))
        return found

    def unwritable(self, case: str, error: OSError) -> BadInput:
        """The error for a copy of `case` that cannot be written."""
        return BadInput(
            f"{self.path}: {error.strerror or error}, writing the copy of case {case!r}",
            "copies of remote cases are kept there",
            "Make room, set DMAPSVC_CACHE to a folder that has it, or DMAPSVC_CACHE_BYTES to less",
        )

    def _limit_of(self, held: int) -> int:
        if self._limit is not None:
            return self._limit
        self.path.mkdir(parents=True, exist_ok=True)
        return min(DEFAULT_BYTES, (shutil.disk_usage(self.path).free + held) // 2)

    def _weigh(self, path: Path) -> Held:
        changed = path.stat().st_mtime_ns
        size = self._sizes.get(path)
        if size is None or size[0] != changed or (path / PARTS).exists():
            size = self._sizes[path] = changed, _bytes_below(path)
        node = path / NODE
        used = node.stat().st_atime if node.exists() else changed / 1e9  # set by `LocalCopy.touch`
        return Held(path=path, case=_case(path), bytes=size[1], used=used)

    def _remove_unused(self, copy: Held) -> bool:
        """Take a copy away unless somebody is changing it just now."""
        try:
            with _locked(self._lock_file(copy.path.parent, copy.case), fcntl.LOCK_EX | fcntl.LOCK_NB):
                self._remove(copy.path)
        except BlockingIOError:
            return False
        return True

    def _remove(self, path: Path) -> None:
        self._sizes.pop(path, None)
        gone = path.parent / f"{_GONE}{uuid.uuid4().hex}"
        with contextlib.suppress(FileNotFoundError):  # another process took it away
            path.rename(gone)
        for left in path.parent.glob(f"{_GONE}*"):  # also what a process left that died meanwhile
            shutil.rmtree(left, ignore_errors=True)

    def _dataset(self, address: str) -> Path:
        name = address.rpartition("/")[2].removesuffix(".zarr")
        return self.path / f"{name}-{hashlib.sha256(address.encode()).hexdigest()[:12]}"

    def _lock_file(self, dataset: Path, case: str) -> Path:
        return dataset / ".locks" / case


def _copies(dataset: Path) -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        yield from (path for path in dataset.iterdir() if _COPY.fullmatch(path.name))


def _case(path: Path) -> str:
    return path.name[: -ID_DIGITS - 1]


def _bytes_below(path: Path) -> int:
    total = 0
    for folder, _, files in os.walk(path):
        for file in files:
            with contextlib.suppress(FileNotFoundError):
                total += (Path(folder) / file).stat().st_size
    return total


@contextlib.contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, how)
        yield
