"""The keys of a service: who may read, write or delete, in one file that holds only their hashes.

How a key comes with a request, and what each request wants, is `api.access`'s.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from dmapsvc.errors import Conflict, Damaged, NotFound
from dmapsvc.spec import check_name
from dmapsvc.superuser import hand_over, open_owned
from dmapsvc.whole import whole

PREFIX = "dmapsvc_"  # so that people and scanners of secrets see what was left lying about
_BYTES = 32  # of chance: beyond guessing, so that a plain hash keeps a key as well as a slow one would


class Scope(StrEnum):
    """What a key is good for; each covers those before it."""

    READ = "read"  # see datasets, cases and jobs; download
    WRITE = "write"  # upload, replace, submit batches, cancel, run again
    ADMIN = "admin"  # delete cases and datasets

    def covers(self, wanted: Scope) -> bool:
        """Whether a key of this scope may do what wants `wanted`."""
        order = list(Scope)
        return order.index(self) >= order.index(wanted)


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key as it is kept: `sha256` of its text in hexadecimal digits, never the text; times in UTC."""

    name: str
    scope: Scope
    sha256: str
    created: datetime
    expires: datetime | None = None

    def is_good(self, now: datetime) -> bool:
        """Whether it has not expired at `now`."""
        return self.expires is None or now < self.expires


_content = TypeAdapter(tuple[Key, ...])


class KeyFile:
    """The keys in the file `path`, of mode 0600; a change takes its place whole, and is seen at once.

    One that root makes belongs to the owner of the old file, or of the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._state: tuple[int, int, int] | None = None  # of the file, when it was read
        self._keys: tuple[Key, ...] = ()

    def keys(self) -> tuple[Key, ...] | None:
        """All keys, in the order they were made; None if there is no file. Raises Damaged."""
        try:
            facts = self.path.stat()
            state = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
            if state != self._state:
                self._keys, self._state = _content.validate_json(self.path.read_bytes()), state
        except FileNotFoundError:
            self._state = None
            return None
        except OSError as error:
            raise Damaged(
                f"{self.path}: {error.strerror}", "the keys cannot be read", "Let the service's user read it"
            ) from None
        except ValidationError:
            raise Damaged(
                f"{self.path}: no list of keys", remedy="Restore it, or remove it and make new keys"
            ) from None
        return self._keys

    def find(self, text: str) -> Key | None:
        """The key whose text is `text`, if it has not expired. Raises Damaged."""
        digest, found = _digest(text), None
        for key in self.keys() or ():
            if hmac.compare_digest(digest, key.sha256):
                found = key
        return found if found is not None and found.is_good(datetime.now(UTC)) else None

    def new(self, name: str, scope: Scope, *, days: int | None = None) -> str:
        """Make a key, good for `days` days or for ever; its text, which is kept nowhere.

        Raises BadName, Conflict if there is a key of that name, Damaged, OSError.
        """
        text = PREFIX + secrets.token_urlsafe(_BYTES)
        now = datetime.now(UTC).replace(microsecond=0)
        key = Key(
            name=check_name(name, "key"),
            scope=scope,
            sha256=_digest(text),
            created=now,
            expires=None if days is None else now + timedelta(days=days),
        )
        with self._changing() as keys:
            if any(other.name == name for other in keys):
                raise Conflict(f"there is a key {name!r}", remedy="Choose another name, or revoke it first")
            self._write([*keys, key])
        return text

    def revoke(self, name: str) -> None:
        """Remove the key `name`; raises NotFound, Damaged, OSError."""
        with self._changing() as keys:
            kept = [key for key in keys if key.name != name]
            if len(kept) == len(keys):
                raise NotFound(f"key {name!r}", "there is none of that name", "`dmapsvc keys list` has them")
            self._write(kept)

    @contextmanager
    def _changing(self) -> Iterator[tuple[Key, ...]]:
        """The keys, which no other process changes inside the block."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = self.path.with_name(f"{self.path.name}.lock")
        with os.fdopen(open_owned(lock, os.O_RDWR), "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield self.keys() or ()

    def _write(self, keys: Sequence[Key]) -> None:
        with whole(self.path) as file:
            os.fchmod(file.fileno(), 0o600)
            hand_over(file.fileno(), self.path if self.path.exists() else self.path.parent)
            file.write(_content.dump_json(tuple(keys), indent=1) + b"\n")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
