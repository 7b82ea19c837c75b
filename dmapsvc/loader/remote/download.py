"""One file on its way from an origin: what has come stays, and the next attempt goes on from there."""

from __future__ import annotations

from pathlib import Path

from dmapsvc.client import FilePart
from dmapsvc.errors import Damaged, ServerUnreachable
from dmapsvc.loader.remote.origin import Origin
from dmapsvc.loader.remote.patience import Patience


class Download:
    """The file `key` of `origin` on its way into the file `path`, with its tag in the file `tag`."""

    def __init__(self, origin: Origin, key: str, path: Path, tag: Path, patience: Patience) -> None:
        self._origin, self._key, self._path, self._tag, self._patience = origin, key, path, tag, patience
        self.furthest = 0  # bytes of the file that have been here at once

    def go_on(self) -> None:
        """Fetch what is missing. Raises ServerUnreachable if not all of it came, Damaged if there is no such
        file.

        The last byte that is there is asked for again: an answer of one byte says that the file is whole, and
        still what it was.
        """
        begin, tag = self._state()
        with self._origin.part(self._key, begin, tag) as part:
            if part is None:
                case, array = self._key.split("/")[:2]
                raise Damaged(f"case {case!r}: {array}: {self._key} is not there")
            if part.begin and (part.begin, part.tag) != (begin, tag):
                self._path.unlink()
                raise ServerUnreachable(f"{self._key}: another part of the file came than was asked for")
            self._write(part)
        if part.size is not None and self._path.stat().st_size != part.size:
            raise ServerUnreachable(f"{self._key}: the connection broke off")

    def _state(self) -> tuple[int, str | None]:
        try:
            return max(0, self._path.stat().st_size - 1), self._tag.read_text()
        except FileNotFoundError:
            return 0, None

    def _write(self, part: FilePart) -> None:
        with self._path.open("ab" if part.begin else "wb") as file:
            if part.begin:
                file.truncate(part.begin)
            else:
                self._note_tag(part.tag)
            for block in part.blocks:
                file.write(block)
                self._patience.check()
                if file.tell() > self.furthest:
                    self.furthest = file.tell()
                    self._patience.note_success()

    def _note_tag(self, tag: str | None) -> None:
        if tag is None:
            self._tag.unlink(missing_ok=True)
        else:
            self._tag.write_text(tag)
