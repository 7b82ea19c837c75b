"""A run whose device is lost goes on without it, and says so."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dmapsvc.errors import DeviceLost
from dmapsvc.maps import choose_backend, quantised_map
from dmapsvc.maps.backends import load_backend
from dmapsvc.pipeline import Event, precompute
from dmapsvc.quantised import QuantisedMap
from dmapsvc.spec import MapSpec
from dmapsvc.store import Dataset, check

PATIENCE = 120.0


class Card:
    """A card that maps two volumes at once, and breaks for good under the third and fourth."""

    def __init__(self) -> None:
        self.mapped = 0
        self._lock, self._breaking = threading.Lock(), threading.Barrier(2)

    def map(self, *given: object, backend: str, **options: object) -> QuantisedMap:
        if backend not in ("cuda", "auto"):
            return quantised_map(*given, backend=backend, **options)  # type: ignore[arg-type]  # handed on
        with self._lock:
            self.mapped += 1
            number = self.mapped
        if number in (3, 4):
            self._breaking.wait(PATIENCE)
        if number > 2:
            raise DeviceLost("the GPU's context broke: illegal address")
        return quantised_map(*given, backend="scipy", **options)  # type: ignore[arg-type]


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    card = Card()
    monkeypatch.setattr(
        "dmapsvc.pipeline.device.choose_backend",
        lambda name: "cuda" if name in ("cuda", "auto") else choose_backend(name),
    )
    monkeypatch.setattr(
        "dmapsvc.pipeline.device.load_backend",
        lambda name: SimpleNamespace(side_by_side=2) if name == "cuda" else load_backend(name),
    )
    monkeypatch.setattr("dmapsvc.pipeline.case.quantised_map", card.map)
    return card


@pytest.mark.parametrize("backend", ["auto", "cuda"])
def test_every_case_is_made_and_those_that_lost_the_card_say_so(
    tmp_path: Path, card: Card, backend: str
) -> None:
    (tmp_path / "labels").mkdir()
    for number in range(8):
        labels = np.zeros((6, 7, 8), np.uint8)
        labels[2:4, 2:5, : 2 + number % 4] = 1 + number
        np.save(tmp_path / f"labels/case{number}.npy", labels)
    events: list[Event] = []
    summary = precompute(
        tmp_path / "labels",
        tmp_path / "out.zarr",
        spec=MapSpec(),
        backend=backend,
        jobs=3,
        on_event=events.append,
    )
    assert (len(summary.done), summary.failed) == (8, ())
    assert list(check(Dataset.open(tmp_path / "out.zarr"))) == []
    notes = [note for event in events for note in event.notes if "was lost" in note]
    assert set(notes) == {
        "The device was lost and numba went on in its place (the GPU's context broke: illegal address)."
    }
    assert len(notes) == card.mapped - 2  # who lost it, or was waiting for it; nobody asks for it after that
    assert card.mapped in (4, 5)
