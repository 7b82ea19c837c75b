"""How messages list things of which there may be many."""

from __future__ import annotations

from collections.abc import Sequence

FEW = 5


def first_few(things: Sequence[object], most: int = FEW, comma: str = ", ") -> str:
    """'a, b, c': at most so many, and how many more there are."""
    more = f" … and {len(things) - most} more" if len(things) > most else ""
    return comma.join(map(str, things[:most])) + more
