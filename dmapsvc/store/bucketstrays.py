"""What lies in a dataset's bucket and is no published case: found in the listing, and judged, not removed.

It may be what a dead process of ours left, or a case that another tool is copying there this moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from dmapsvc.errors import BadName
from dmapsvc.spec import check_name
from dmapsvc.store import layout
from dmapsvc.store.bucketfiles import holds_claim
from dmapsvc.store.objects import Entry, Objects

_COPYING = timedelta(hours=1)  # chosen: a tool that copies a case puts something into it once an hour
_ARRAYS = (*layout.ARRAYS, layout.POSITIONS)


@dataclass(frozen=True, kw_only=True)
class Stray:
    """What is called `name` in a dataset and is no case: its bytes, and when something was put there last."""

    name: str
    size: int
    newest: datetime
    is_claimed: bool
    is_ours: bool

    def is_left(self, now: datetime) -> bool:
        """Whether nobody is to miss it: our claim lies there, or it looks like a case, and nobody has put
        anything there for an hour.
        """
        return self.is_claimed or (self.is_ours and now - self.newest > _COPYING)


def find_strays(objects: Objects, root: str, name: str | None = None) -> list[Stray]:
    """The strays of the dataset in the folder `root`, sorted; with `name`, what of that one is there."""
    found: dict[str, Stray | None] = {layout.NODE: None}
    for entry in objects.entries(f"{root}/{name}/" if name else f"{root}/"):
        folder, _, rest = entry.key.removeprefix(f"{root}/").partition("/")
        known = found.get(folder, _nothing(folder, entry))
        found[folder] = None if known is None else _with(known, entry, rest)
    return sorted((stray for stray in found.values() if stray), key=lambda stray: stray.name)


def _nothing(name: str, entry: Entry) -> Stray:
    return Stray(name=name, size=0, newest=entry.modified, is_claimed=False, is_ours=_may_be_case(name))


def _with(stray: Stray, entry: Entry, rest: str) -> Stray | None:
    """The stray with one more of its objects; None if that shows that it is a case."""
    if rest == layout.NODE and not holds_claim(entry):
        return None
    is_claim = rest == layout.NODE
    return Stray(
        name=stray.name,
        size=stray.size + entry.size,
        newest=max(stray.newest, entry.modified),
        is_claimed=stray.is_claimed or is_claim,
        is_ours=stray.is_ours and (is_claim or _is_of_array(rest)),
    )


def _is_of_array(name: str) -> bool:
    return any(name.startswith(f"{array}/") for array in _ARRAYS)


def _may_be_case(name: str) -> bool:
    try:
        check_name(name, "case")
    except BadName:
        return False
    return True
