"""The cases that are open, no more of them than files may be.

What is derived of a case when it is opened is in `derived.py`; where its files lie, its source's affair.
"""

from __future__ import annotations

import logging
import resource
import threading
import time
from collections import OrderedDict

from dmapsvc.errors import Damaged, DatasetAway, NotFound, Superseded
from dmapsvc.loader.classes import Classes
from dmapsvc.loader.derived import DrawnCase, Normalise, derive
from dmapsvc.loader.source import CaseSource
from dmapsvc.region import Scale
from dmapsvc.store.layout import NODE
from dmapsvc.store.mapped import MappedCase

_SHARE_OF_FILES = 8  # cases with three files each leave more than half of the files a process may open
_MOST = 512
_SWAP = 2.0  # seconds; a case that is being replaced is away for less
_AGAIN = 0.02  # seconds between two looks

_Edition = tuple[int, int, int]

_log = logging.getLogger(__name__)


class OpenedCases:
    """The cases of `source` that were drawn last, open: up to an eighth as many as the process may open files
    (`RLIMIT_NOFILE`), and 512. For several threads.

    A case that was replaced is opened anew when it is asked for again. Whoever still reads the one before
    reads it to the end, unmixed: its files are mapped.
    """

    def __init__(
        self, source: CaseSource, classes: Classes, *, scale: Scale, normalise: Normalise, verify: bool
    ) -> None:
        self._source, self._classes = source, classes
        self._scale, self._normalise, self._verify = scale, normalise, verify
        self._open: OrderedDict[str, tuple[_Edition, DrawnCase]] = OrderedDict()
        self._deleted: set[str] = set()
        self._lock = threading.Lock()
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._most = _MOST if files == resource.RLIM_INFINITY else min(_MOST, files // _SHARE_OF_FILES)

    def get(self, name: str, *, in_turn: bool = True) -> DrawnCase | None:
        """A case as it is published now; None if it was deleted, which is logged once.

        One that was deleted is looked for again when it is drawn `in_turn`, not in place of another one.

        Raises NotFound if it has no image any more, BadLabels if it has a label outside the classes, Damaged,
        also where its files cannot be read; DatasetAway, and what else its source raises.
        """
        try:
            return self._get(name, in_turn)
        except OSError as error:
            raise Damaged(
                f"case {name!r}: {error.strerror or error}",
                "its files cannot be read",
                "Look at the disk or share that it lies on",
            ) from error

    def _get(self, name: str, in_turn: bool) -> DrawnCase | None:
        with self._lock:
            deleted = name in self._deleted
            edition, case = self._open.get(name, (None, None))
            if case is not None:
                self._open.move_to_end(name)
        if deleted and not (in_turn and self._edition(name)):
            return None
        if case is not None and self._edition(name) == edition:
            return case
        try:
            edition, voxels = self._map(name)
        except Superseded:
            self._tell_deleted(name)
            return None
        if deleted and voxels.record.image is None:  # published again, and its image still to come
            return None
        case = derive(voxels, classes=self._classes, scale=self._scale, normalise=self._normalise)
        self._keep(name, edition, case)
        return case

    def _keep(self, name: str, edition: _Edition, case: DrawnCase) -> None:
        with self._lock:
            self._deleted.discard(name)
            self._open[name] = edition, case
            self._open.move_to_end(name)
            while len(self._open) > self._most:
                self._open.popitem(last=False)

    def _map(self, name: str) -> tuple[_Edition, MappedCase]:
        """The case and which edition it is; Superseded if it stays away."""
        patience = time.monotonic() + _SWAP
        while True:
            edition = self._edition(name)  # first: if another takes its place now, the next `get` sees it
            if edition is not None:
                try:
                    return edition, MappedCase(self._source.folder(name), name, verify=self._verify)
                except DatasetAway:
                    raise
                except (NotFound, Superseded):
                    pass
            if time.monotonic() > patience:
                raise Superseded(f"case {name!r} was deleted")
            time.sleep(_AGAIN)

    def _edition(self, name: str) -> _Edition | None:
        """What tells a published case from the one before it: its metadata are never edited in place."""
        try:
            found = (self._source.folder(name) / NODE).stat()
        except DatasetAway:
            raise
        except (NotFound, Superseded, FileNotFoundError):
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _tell_deleted(self, name: str) -> None:
        with self._lock:
            known = name in self._deleted
            self._deleted.add(name)
            self._open.pop(name, None)
        if not known:
            _log.warning("case %r of %s was deleted; other cases are drawn instead", name, self._source.name)
