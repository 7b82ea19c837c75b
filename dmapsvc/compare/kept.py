"""What a comparison's folder keeps from one call to the next: what was asked for, the split, and which cases
these were.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dmapsvc.compare.config import Config, identity
from dmapsvc.compare.plan import Place, Run, combinations
from dmapsvc.errors import BadInput, Conflict, Damaged
from dmapsvc.listing import first_few
from dmapsvc.loader.remote.together import READERS, together
from dmapsvc.loader.source import CaseSource, open_source
from dmapsvc.train.cases import choose_cases
from dmapsvc.train.split import Split
from dmapsvc.whole import write_json

_CONFIG = "comparison.json"
_CASES = "cases.json"
_SPLIT = "Publish more cases, or name a split file in [train]"


def keep_config(config: Config, place: Place) -> None:
    """Note what is asked for."""
    write_json(place.out / _CONFIG, config.to_json())


def check_config(config: Config, place: Place) -> None:
    """Raises Conflict if the folder holds other things, or another comparison: with its first difference."""
    path = place.out / _CONFIG
    if not path.exists():
        _check_vacant(place)
        return
    try:
        there = identity(json.loads(path.read_text()))
    except (ValueError, TypeError, KeyError):
        raise Damaged(f"{path}: not a comparison's configuration", remedy="Name another folder") from None
    here = identity(config.to_json())
    for name in {**here, **there}:
        if there.get(name) != here.get(name):
            raise Conflict(
                f"{path}: a comparison with {name} {_told(there, name)}",
                f"this one has {_told(here, name)}",
                "Go on with the same configuration, or name another folder",
            )


def _check_vacant(place: Place) -> None:
    strange = sorted(path.name for path in place.out.glob("[!.]*") if path != place.split)
    if strange:
        raise Conflict(
            f"{place.out}: a folder with {strange[0]}",
            "a comparison wants a folder of its own",
            "Name another",
        )


def _told(values: Mapping[str, Any], name: str) -> str:
    return str(values[name]) if name in values else "as it is by default"


def keep_split(config: Config, place: Place, run: Run) -> Split:
    """The split of every run, of which `run` is one, made once and kept in the folder.

    Raises what `choose_cases` raises of cases that will not do; BadInput if there is no test case, or none
    for validation where there is something to choose; Conflict if a case is another than in earlier calls.
    """
    settings = replace(run.settings, split=config.train.get("split"))
    source = open_source(place.location)
    split = choose_cases(settings, source, kept=place.split, frozen=None).split
    if not split.test:
        raise BadInput(_sides(split), "what is compared is the scores of test cases", _SPLIT)
    if not split.valid and len(combinations(config.search)) > 1:
        raise BadInput(_sides(split), "values are chosen by the validation cases", _SPLIT)
    if not place.split.exists():
        split.write(place.split)
    _check_cases(source, split, place.out / _CASES)
    return split


def _check_cases(source: CaseSource, split: Split, path: Path) -> None:
    """Keep which map and image every case of `split` has; raises Conflict if one has others by now."""
    names = [*split.train, *split.valid, *split.test]
    here = {
        name: [record.id, None if record.image is None else record.image.sha256]
        for name, record in zip(names, together(source.record, names, READERS), strict=True)
    }
    if not path.exists():
        write_json(path, here)
        return
    there = json.loads(path.read_text())
    if changed := [name for name in names if there.get(name) != here[name]]:
        raise Conflict(
            f"{source.name}: not as when the comparison began: {first_few(changed)}",
            f"all runs of {path.parent} have to learn from the same masks, maps and images",
            "Name another folder",
        )


def _sides(split: Split) -> str:
    return f"{len(split.train)} training, {len(split.valid)} validation and {len(split.test)} test cases"
