"""A case goes through a network whole: windows, padding, and what stays as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from dmapsvc.errors import BadInput, BadLabels, NotFound
from dmapsvc.loader import IGNORE_INDEX, PatchLoader
from dmapsvc.loader.source import LocalSource
from dmapsvc.store import Dataset
from dmapsvc.train.predict import count_windows, read_case, segment
from dmapsvc.train.vnet import VNet


class _Thresholds(nn.Module):
    """Voxel by voxel: class 1 above 0.5, class 2 above 1.5; notes what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor([0.0, 1.0, 2.0]))
        self.seen: list[tuple[int, ...]] = []
        self.least: list[float] = []
        self.modes: list[tuple[bool, bool]] = []

    def forward(self, image: Tensor) -> Tensor:
        self.seen.append(tuple(image.shape))
        self.least.append(float(image.min()))
        self.modes.append((self.training, torch.is_grad_enabled()))
        offset = torch.tensor([0.0, -0.5, -2.0])
        return image[:, :1] * self.slope.view(1, 3, 1, 1, 1) + offset.view(1, 3, 1, 1, 1)


def _classes(image: Tensor) -> np.ndarray:
    return (image[0].numpy() > 0.5).astype(np.int16) + (image[0].numpy() > 1.5)


@given(
    shape=st.tuples(*[st.integers(1, 14)] * 3),
    patch=st.tuples(*[st.integers(1, 9)] * 3),
    overlap=st.sampled_from([0.0, 0.3, 0.5, 0.75]),
    batch=st.integers(1, 3),
)
@settings(max_examples=30)
def test_every_voxel_gets_the_class_that_the_network_gives_it(
    shape: tuple[int, int, int], patch: tuple[int, int, int], overlap: float, batch: int
) -> None:
    image = torch.from_numpy(np.random.default_rng(0).uniform(0, 2, (1, *shape)).astype(np.float32))
    net, told = _Thresholds(), list[float]()
    found = segment(net, image, patch=patch, overlap=overlap, batch=batch, on_progress=told.append)
    assert found.dtype == np.int16
    assert found.shape == shape
    assert np.array_equal(found, _classes(image))
    assert {sides[2:] for sides in net.seen} == {patch}
    assert max(sides[0] for sides in net.seen) <= batch
    assert told[-1] == 1
    assert told == sorted(told)
    padded = tuple(map(max, shape, patch))
    assert sum(sides[0] for sides in net.seen) == count_windows(padded, patch, overlap)


def test_what_fits_into_the_patch_goes_through_once_padded_by_the_minimum_of_each_channel() -> None:
    image = torch.rand(2, 7, 8, 5) + torch.tensor([3.0, -4.0]).view(2, 1, 1, 1)
    net = _Thresholds()
    segment(net, image, patch=(8, 8, 16))
    assert net.seen == [(1, 2, 8, 8, 16)]
    assert net.least == [float(image[1].min())]
    seen: list[Tensor] = []
    net.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    segment(net, image, patch=(8, 8, 16))
    assert torch.equal(seen[0][0, :, 1:, :, 6:11], image)  # the odd voxel before, as the loader pads
    for channel in (0, 1):
        assert (seen[0][0, channel, 0] == image[channel].min()).all()


def test_it_is_padded_as_the_loader_pads(dataset: Dataset) -> None:
    case = read_case(LocalSource(dataset.path), "a", classes=(0, 4, 9))
    net = _Thresholds()
    seen: list[Tensor] = []
    net.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    segment(net, case.image, patch=(32, 48, 33))
    with PatchLoader(dataset.path, patch=(32, 48, 33), batch=1, cases=["a"]) as loader:
        batch = next(iter(loader))
    assert torch.allclose(seen[0], batch["image"], atol=1e-6)
    inside = batch["label"][0] != IGNORE_INDEX
    assert torch.equal(batch["label"][0][inside], torch.from_numpy(case.label).flatten())


def test_the_network_is_left_as_it_was_and_learns_nothing() -> None:
    net = _Thresholds()
    for training in (True, False):
        net.train(training)
        segment(net, torch.rand(1, 4, 4, 4), patch=(4, 4, 4))
        assert net.training == training
    assert set(net.modes) == {(False, False)}


def test_logits_are_averaged_under_a_gaussian_window() -> None:
    """A network that says which end of its window a voxel is at: the nearer window's middle decides."""

    class _Ends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, image: Tensor) -> Tensor:
            place = torch.linspace(-1, 1, image.shape[-1]).expand(image.shape[0], 1, *image.shape[2:])
            return torch.cat([place, -place], dim=1)

    found = segment(_Ends(), torch.zeros(1, 1, 1, 12), patch=(1, 1, 8))
    # windows at 0 and 4: the first says 1 up to voxel 3, the second up to 7; between, the nearer counts
    assert found[0, 0].tolist() == [1, 1, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0]


def test_logits_that_a_gpu_cannot_hold_are_put_together_in_the_machines_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import monai.inferers

    homes, stitch = [], monai.inferers.sliding_window_inference

    def short_of_memory(*given: Any, **options: Any) -> Any:
        homes.append(options["device"])
        if len(homes) == 1:
            raise torch.cuda.OutOfMemoryError
        return stitch(*given, **options)

    monkeypatch.setattr(monai.inferers, "sliding_window_inference", short_of_memory)
    image = torch.rand(1, 6, 6, 12) * 2
    assert np.array_equal(segment(_Thresholds(), image, patch=(4, 4, 4)), _classes(image))
    assert homes == [torch.device("cpu")] * 2


def test_bfloat16_and_another_layout_give_what_float32_gives() -> None:
    torch.manual_seed(0)
    net, image = VNet(classes=3, width=2), torch.randn(1, 16, 24, 32)
    wanted = segment(net, image, patch=(16, 16, 16), overlap=0.25)
    narrow = segment(net, image, patch=(16, 16, 16), overlap=0.25, autocast=torch.bfloat16)
    assert 0.95 < (narrow == wanted).mean() < 1
    net.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    assert (segment(net, image, patch=(16, 16, 16), overlap=0.25) == wanted).mean() > 0.999


def test_what_cannot_be_segmented_is_told() -> None:
    net, image = _Thresholds(), torch.rand(1, 4, 4, 4)
    with pytest.raises(BadInput, match="an image of shape"):
        segment(net, image[0], patch=(4, 4, 4))
    with pytest.raises(BadInput, match="an overlap of 1"):
        segment(net, image, patch=(4, 4, 4), overlap=1)
    with pytest.raises(BadInput, match="a patch of"):
        segment(net, image, patch=(4, 0, 4))


def test_a_case_is_read_whole_in_class_indices(dataset: Dataset) -> None:
    source = LocalSource(dataset.path)
    case = read_case(source, "a", classes=(0, 9, 4))
    stored = dataset.case("a")
    labels, image = stored.read("label"), stored.read("image")
    assert np.array_equal(case.label, np.select([labels == 9, labels == 4], [1, 2], 0))
    assert np.allclose(case.image[0], (image - image.mean()) / image.std(), atol=1e-5)
    with pytest.raises(BadLabels, match="case 'a' has label 9"):
        read_case(source, "a", classes=(0, 4))
    with pytest.raises(NotFound, match="case 'x'"):
        read_case(source, "x", classes=(0, 4, 9))


@pytest.mark.gpu
def test_a_gpu_gives_what_the_cpu_gives() -> None:
    torch.manual_seed(0)
    net, image = VNet(classes=3, width=2), torch.randn(1, 16, 24, 32)
    wanted = segment(net, image, patch=(16, 16, 16))
    net.cuda()
    assert (segment(net, image, patch=(16, 16, 16)) == wanted).mean() > 0.999
    assert (segment(net, image.cuda(), patch=(16, 32, 32)) >= 0).all()
    assert (segment(net, image, patch=(16, 16, 16), autocast=torch.float16) == wanted).mean() > 0.95
