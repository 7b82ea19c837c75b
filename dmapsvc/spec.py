"""Which map is asked for: labels and unit, frozen and hashable; and what follows from it.

Here too: the names a dataset or case may have, the lengths a voxel may have, which axis is the coarsest, the
identity of a map, and the rule by which Φ is quantised.
"""

from __future__ import annotations

import hashlib
import json
import math
import operator
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, get_args

from dmapsvc.errors import BadName, BadSpec, printable

MAP_VERSION = 1  # raised when the same mask and spec would give another Φ; part of every job's id
LARGEST_LABEL = 2**32 - 1
MOST_LABELS = 65_535
SHORTEST_SIDE = 1e-6  # mm: below and above, squared distances leave what float32 holds
LONGEST_SIDE = 1e6

Units = Literal["voxel", "mm"]
Spacing = tuple[float, float, float]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_ZARR_NODE = "zarr.json"  # the dataset's own metadata, beside its cases; v2's all begin with '.'
_WANTED_LABELS = f"labels are whole numbers from 1 to {LARGEST_LABEL}, each once"
_WHOLE = re.compile(r"[+-]?[0-9]+")


@dataclass(frozen=True, kw_only=True)
class MapSpec:
    """The map that is asked for.

    `labels`: the values that are classes, in the order of a network's classes 1, 2, …; all else is
    background. Any sequence of integers, NumPy's too, is made a tuple of int. None: every non-zero value is a
    class. `units`: distances in voxels (the paper's transform
    knows no spacing) or in mm, by the mask's spacing.

    Raises BadSpec for a label that is 0, negative, repeated, not whole or too large, and for an unknown unit.
    """

    labels: tuple[int, ...] | None = None
    units: Units = "voxel"

    def __post_init__(self) -> None:
        if self.units not in get_args(Units):
            raise BadSpec(f"units {_shown(self.units)}", "wanted 'voxel' or 'mm'")
        if self.labels is not None:
            object.__setattr__(self, "labels", _whole_numbers(self.labels))
            _check_labels(self.labels)

    def __str__(self) -> str:
        labels = "all labels" if self.labels is None else f"labels {','.join(map(str, self.labels))}"
        return f"{labels} in {self.units}"

    @classmethod
    def parse(cls, labels: str | None = None, units: str = "voxel") -> MapSpec:
        """A spec from text, as the command line and a URL write it: `labels="5,6,7"`, `units="mm"`."""
        return cls(labels=_parse_labels(labels), units=units)  # type: ignore[arg-type]  # checked in __post_init__

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> MapSpec:
        """The inverse of `to_json`."""
        labels = data.get("labels")
        return cls(labels=None if labels is None else tuple(labels), units=data.get("units", "voxel"))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, for attributes and HTTP."""
        return {"labels": None if self.labels is None else list(self.labels), "units": self.units}

    @property
    def hash(self) -> str:
        """sha256 of the canonical JSON, 64 hexadecimal digits."""
        return _sha256(self.to_json())


@dataclass(frozen=True, kw_only=True)
class Quantisation:
    """How Φ is kept as uint16: Φ = stored · `scale_factor` + `add_offset` (CF conventions).

    `max_error` is the largest error of a voxel that this adds, in the map's unit.
    """

    scale_factor: float
    add_offset: float = 0.0

    @property
    def max_error(self) -> float:
        """Half a step."""
        return self.scale_factor / 2


def quantisation(maximum: float, spacing: Spacing) -> Quantisation:
    """The step for a map whose largest Φ is `maximum`: 1/64 of the smallest spacing.

    1/64 is below 0.02 of a voxel and exact in binary. `spacing` is (1, 1, 1) for a map in voxels. The step
    is doubled until the range fits 16 bits.
    """
    step = min(spacing) / 64
    while maximum / step > 65_535:
        step *= 2
    return Quantisation(scale_factor=step)


def is_side(length: float) -> bool:
    """Whether a voxel may be so long, in mm: `SHORTEST_SIDE` to `LONGEST_SIDE`; NaN is not."""
    return SHORTEST_SIDE <= length <= LONGEST_SIDE


def coarsest_axis(spacing: Spacing | None) -> int:
    """The axis of (z, y, x) that in-plane slices cut: the coarsest; z where there is a tie or no spacing."""
    if spacing is None:
        return 0
    longest = max(spacing)
    coarsest = [axis for axis in range(3) if math.isclose(spacing[axis], longest, rel_tol=1e-3)]
    return coarsest[0] if len(coarsest) == 1 else 0


def map_id(*, dataset: str, case: str, mask_sha256: str, spec: MapSpec) -> str:
    """The identity of a case's map, and of the job that makes it: 64 hexadecimal digits."""
    return _sha256([dataset, case, mask_sha256, spec.hash, MAP_VERSION])


def check_name(name: str, what: str) -> str:
    """`name` itself if a `what` (dataset or case) may be called so; raises BadName."""
    if what == "case" and name.lower() == _ZARR_NODE:
        raise BadName(
            f"case name {name!r}",
            "a dataset keeps its own metadata under that name",
            "Choose another name for the case",
        )
    if _NAME.fullmatch(name):
        return name
    shown = name if len(name) <= 60 else f"{name[:60]}… ({len(name)} characters)"
    raise BadName(
        f"{what} name {shown!r}",
        "a name is 1 to 128 letters, digits, '.', '_' or '-', and starts with a letter or digit",
        f"Choose another name for the {what}",
    )


def _whole_numbers(labels: Iterable[Any]) -> tuple[int, ...]:
    try:
        return tuple(_whole_number(label) for label in labels)
    except TypeError:  # what is given for the labels cannot be gone through
        raise BadSpec(f"labels {_shown(labels)}", _WANTED_LABELS, "Give a list, even of one") from None


def _whole_number(label: Any) -> int:
    with suppress(TypeError):  # a float, a string
        if not isinstance(label, bool):
            return operator.index(label)
    raise _no_label(label)


def _no_label(label: object) -> BadSpec:
    return BadSpec(
        f"label {_shown(label)}", _WANTED_LABELS, "Name the mask's own values; 0 is always background"
    )


def _check_labels(labels: Sequence[int]) -> None:
    if not labels:
        raise BadSpec(
            "an empty list of labels", _WANTED_LABELS, "Leave labels out to take every non-zero value"
        )
    seen = set()
    for label in labels:
        if not 1 <= label <= LARGEST_LABEL:
            raise _no_label(label)
        if label in seen:
            raise BadSpec(f"label {label} is listed twice", _WANTED_LABELS)
        seen.add(label)
    if len(labels) > MOST_LABELS:
        raise BadSpec(f"{len(labels)} labels", f"at most {MOST_LABELS} can be mapped")


def _parse_labels(text: str | None) -> tuple[int, ...] | None:
    if text is None or text.strip() in ("", "all"):
        return None
    return tuple(_parse_label(part.strip()) for part in text.split(","))


def _parse_label(text: str) -> int:
    if _WHOLE.fullmatch(text):
        with suppress(ValueError):  # too long for int()
            return int(text)
    value = "not whole" if _is_number(text) else "no number"
    raise BadSpec(f"label {_shown(text)} is {value}", "labels are whole numbers, like 5,6,7")


def _shown(value: object) -> str:
    return printable(repr(value), 60)


def _is_number(text: str) -> bool:
    if "_" in text or not text.isascii():  # what Python takes for digits, and people do not
        return False
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
