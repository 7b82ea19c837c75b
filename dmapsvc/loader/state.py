"""What is saved of a stream: where it is, and what decides its patches, so that it goes on as the same one.

Plain values only, for `torch.save`, `torch.load(weights_only=True)` and JSON.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from dmapsvc.errors import BadInput, Conflict
from dmapsvc.loader.classes import Classes
from dmapsvc.loader.turns import Augment, Box

State = dict[str, Any]

_REMEDY = "Go on with what the state was saved with, or begin a new stream without it"


def describe_stream(
    *,
    seed: int | Sequence[int],
    batch: int,
    patch: Box,
    foreground: float,
    augment: Augment | None,
    classes: Classes,
    cases: Sequence[str],
) -> State:
    """All that decides which patches a stream has, the names of the cases as their number and SHA-256."""
    names = hashlib.sha256(json.dumps(list(cases)).encode()).hexdigest()
    described = {
        "seed": seed,
        "batch": batch,
        "patch": patch,
        "foreground": float(foreground),
        "augment": None if augment is None else dataclasses.asdict(augment),
        "classes": classes,
        "cases": len(cases),
        "cases_sha256": names,
    }
    return {name: _plain(value) for name, value in described.items()}


def read_state(state: Mapping[str, Any], stream: State, dataset: str) -> int:
    """How many batches were handed out, of a saved `state` that belongs to `stream`.

    Raises BadInput if it is no state of a PatchLoader, Conflict, naming the first difference, if it is one of
    another stream.
    """
    batches = state.get("batches")
    if not isinstance(batches, int) or batches < 0 or not stream.keys() <= state.keys():
        raise BadInput(
            f"a state of {', '.join(map(str, state)) or 'nothing'}", "wanted what state_dict() gave", _REMEDY
        )
    if state["cases"] != stream["cases"]:
        raise Conflict(
            f"the state is of a stream of {state['cases']} cases",
            f"{dataset} has {stream['cases']} now, and each changes which patches come",
            _REMEDY,
        )
    if state["cases_sha256"] != stream["cases_sha256"]:
        raise Conflict("the state is of a stream of other cases", f"{dataset} has as many now", _REMEDY)
    for name, here in stream.items():
        there = _plain(state[name])
        if there != here:
            raise Conflict(
                f"the state is of a stream with {name} {there}", f"this loader has {here}", _REMEDY
            )
    return batches


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(one) for one in value]
    return value.item() if hasattr(value, "item") else value
