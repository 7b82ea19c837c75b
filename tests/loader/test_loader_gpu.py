"""Batches on a real GPU: `pytest -m gpu`, on a machine that has one."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
import torch

from dmapsvc.errors import BadInput
from dmapsvc.loader.batch import Batch
from dmapsvc.loader.patchloader import PatchLoader
from dmapsvc.loader.turns import Augment

pytestmark = pytest.mark.gpu

NAMES = ("image", "label", "phi", "maxima", "means", "corner")


def _first(folder: Path, device: str | None, augment: Augment | None = None, count: int = 20) -> list[Batch]:
    loader = PatchLoader(folder, patch=(16, 20, 12), seed=4, device=device, augment=augment)
    return list(islice(loader, count))


@pytest.mark.parametrize("augment", [None, Augment(rotation=0, flip=(0.5, 0.5, 0.5))])
def test_batches_on_the_device_are_those_of_the_cpu(knees: Path, augment: Augment | None) -> None:
    for here, there in zip(_first(knees, "cpu", augment), _first(knees, "cuda", augment), strict=True):
        assert here["case"] == there["case"]
        for name in NAMES:
            tensor = there[name]  # type: ignore[literal-required]
            assert tensor.device.type == "cuda"
            torch.testing.assert_close(here[name], tensor.cpu())  # type: ignore[literal-required]


def test_turned_batches_differ_by_rounding_alone(knees: Path) -> None:
    augment = Augment(rotation=30, zoom=(0.8, 1.25))
    for here, there in zip(_first(knees, "cpu", augment), _first(knees, "cuda", augment), strict=True):
        assert float((here["label"] != there["label"].cpu()).float().mean()) < 1e-3
        close = torch.isclose(here["image"], there["image"].cpu(), atol=1e-2)
        assert float(close.float().mean()) > 0.999


def test_a_batch_may_be_read_on_any_stream_and_kept(knees: Path) -> None:
    expected = _first(knees, "cpu", count=60)
    batches = iter(PatchLoader(knees, patch=(16, 20, 12), seed=4, device="cuda"))
    kept: list[Batch] = []
    for n in range(60):
        with torch.cuda.stream(torch.cuda.Stream()):  # type: ignore[no-untyped-call]
            batch = next(batches)
            torch.cuda._sleep(1_000_000)  # type: ignore[no-untyped-call]
            batch["image"].mul_(2)
        if n % 3 == 0:
            kept.append(batch)
    torch.cuda.synchronize()
    for n, batch in enumerate(kept):
        torch.testing.assert_close(batch["image"].cpu(), 2 * expected[3 * n]["image"])


def test_memory_is_page_locked_unless_it_is_to_be_ordinary(knees: Path) -> None:
    assert _first(knees, None, count=1)[0]["image"].is_pinned()
    assert not _first(knees, "cpu", count=1)[0]["image"].is_pinned()


def test_workers_of_a_dataloader_cannot_use_it(knees: Path) -> None:
    loader = PatchLoader(knees, patch=(16, 20, 12), device="cuda")
    behind = torch.utils.data.DataLoader(loader, batch_size=None, num_workers=1)
    with pytest.raises(BadInput, match="in a worker of a DataLoader"):
        next(iter(behind))
