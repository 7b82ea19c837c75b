"""What can be compared: losses, each with the scale that Φ has in it. The losses are made in `train`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from dmapsvc.errors import BadInput
from dmapsvc.region import Scale


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A loss by name, and how Φ is scaled for it; baselines ignore Φ."""

    loss: str
    scale: Scale = "region"


CONTENDERS: dict[str, Contender] = {
    "penalty-region": Contender(loss="penalty", scale="region"),
    "penalty-balanced": Contender(loss="penalty", scale="balanced"),
    "penalty-none": Contender(loss="penalty", scale="none"),
    "cross-entropy": Contender(loss="cross-entropy"),
    "dice": Contender(loss="dice"),
    "weighted-cross-entropy": Contender(loss="weighted-cross-entropy"),
    "focal": Contender(loss="focal"),
    "confidence-penalty": Contender(loss="confidence-penalty"),
    "penalty-dice": Contender(loss="penalty-dice", scale="region"),
}
"""All contenders by name."""

DEFAULT: tuple[str, ...] = tuple(name for name in CONTENDERS if name != "penalty-dice")
"""Those of a comparison that names none: the penalty in each scale, and the baselines of the paper."""


def check_contenders(names: Sequence[str]) -> tuple[str, ...]:
    """`names` themselves; raises BadInput for none, one twice, or one that is no contender."""
    if not names:
        raise BadInput("no contender", f"wanted some of {', '.join(CONTENDERS)}")
    for name in names:
        if name not in CONTENDERS:
            near = get_close_matches(name, CONTENDERS, n=1)
            raise BadInput(
                f"contender {name!r}",
                f"wanted some of {', '.join(CONTENDERS)}",
                f"Did you mean {near[0]!r}?" if near else "",
            )
    twice = [name for name in dict.fromkeys(names) if list(names).count(name) > 1]
    if twice:
        raise BadInput(f"contender {twice[0]!r} twice", "wanted each once")
    return tuple(names)
