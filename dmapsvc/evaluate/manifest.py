"""What a folder of predictions says of itself: which cases it is to hold, and what made them.

`dmapsvc predict` writes it beside its label files, so that a second run goes on with the same, and so that an
evaluation knows of a prediction that is missing. Other tools' folders have none.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmapsvc.errors import BadFile, Conflict
from dmapsvc.whole import write_json

FILE = "predictions.json"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """`cases`: names, sorted. `made`: by what, plain values by name; another one gives other labels."""

    cases: tuple[str, ...]
    made: dict[str, Any]

    def write(self, folder: Path) -> None:
        """Write it into `folder`, whole or not at all; raises OSError."""
        write_json(folder / FILE, {"made": self.made, "cases": list(self.cases)})

    def joined(self, earlier: Manifest, folder: Path) -> Manifest:
        """This and the cases of `earlier`; raises Conflict, naming it, if that was made by something else."""
        for name, value in self.made.items():
            if earlier.made.get(name) != value:
                raise Conflict(
                    f"{folder}: holds predictions made with {name} {earlier.made.get(name)}",
                    f"these are to be made with {value}",
                    "Name another folder, or replace them with --replace (`replace` in Python)",
                )
        return Manifest(cases=tuple(sorted({*self.cases, *earlier.cases})), made=self.made)


def read_manifest(folder: Path) -> Manifest | None:
    """That of `folder`; None if it has none. Raises BadFile for one that cannot be read."""
    path = folder / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        cases, made = content["cases"], content["made"]
        if not all(isinstance(case, str) for case in cases) or not isinstance(made, dict):
            raise TypeError
        return Manifest(cases=tuple(cases), made=made)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise BadFile(
            f"{path}: cannot be read", "wanted what `dmapsvc predict` wrote", "Predict again, or remove it"
        ) from None
