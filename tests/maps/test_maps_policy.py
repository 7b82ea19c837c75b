"""Which backend maps a volume: by what works here, by what fits now, and what becomes of one that fails."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from dmapsvc.errors import DeviceFailed, DeviceFull, DeviceLost, DeviceMissing
from dmapsvc.maps import backends, choose_backend, penalty_map, quantised_map, scipy_backend
from dmapsvc.maps.regions import RegionMap
from dmapsvc.maps.scipy_backend import HostDistances
from dmapsvc.spec import Quantisation, Spacing
from tests.maps.reference import ellipsoids

LABELS = ellipsoids((12, 14, 16), 2)
FULL = DeviceFull("the GPU's memory ran out: 3 GiB")
LOST = DeviceLost("the GPU's context broke: error 700")


class Unquantisable(HostDistances):
    """Distances whose memory runs out when they are taken."""

    def phi(self) -> NDArray[np.float32]:
        raise FULL

    def quantised(self, step: Quantisation) -> NDArray[np.uint16]:
        raise FULL


@dataclass
class Fake:
    """A backend that measures by SciPy, unless its volume has more than `most` voxels: then as it is told."""

    error: Exception | None = None
    words: str | None = None
    most: int = 10
    late: bool = False
    side_by_side: int = 1
    measured: list[tuple[int, ...]] = field(default_factory=list)
    mended: int = 0

    def measure(self, regions: RegionMap, sampling: Spacing, threads: int) -> HostDistances:
        large = regions.labels.size > self.most
        self.measured.append(regions.labels.shape)
        if large and self.error is not None:
            raise self.error
        found = scipy_backend.measure(regions, sampling, threads)
        return Unquantisable(**vars(found)) if large and self.late else found

    def refusal(self, regions: RegionMap) -> str | None:
        return self.words if regions.labels.size > self.most else None

    def mend(self) -> None:
        self.mended += 1


Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put fakes in the place of backends; with `card=False` no GPU is here."""

    def install(card: bool = True, **fakes: Fake) -> None:
        def require_card() -> None:
            if not card:
                raise DeviceMissing("CuPy is not installed", remedy="Install it")

        monkeypatch.setattr(backends, "require_card", require_card)
        for name, fake in fakes.items():
            monkeypatch.setitem(sys.modules, f"fakes.{name}", fake)
            monkeypatch.setitem(backends._MODULES, name, f"fakes.{name}")

    backends._fault.cache_clear()
    yield install
    backends._fault.cache_clear()


def test_the_order_is_cuda_cucim_numba_scipy(install: Install) -> None:
    install(cuda=Fake(), cucim=Fake(), numba=Fake())
    assert backends.BACKENDS == ("cuda", "cucim", "numba", "scipy")
    assert choose_backend() == "cuda"
    assert (penalty_map(LABELS).backend, penalty_map(LABELS).notes) == ("cuda", ())


def test_backends_after_the_first_that_works_are_not_even_tried(install: Install) -> None:
    cucim, numba = Fake(), Fake()
    install(cuda=Fake(), cucim=cucim, numba=numba)
    penalty_map(LABELS)
    assert cucim.measured == numba.measured == []


def test_a_machine_without_a_gpu_says_nothing(install: Install, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    cuda = Fake()
    install(card=False, cuda=cuda, cucim=cuda, numba=Fake())
    assert (choose_backend(), penalty_map(LABELS).notes) == ("numba", ())
    assert (cuda.measured, caplog.messages) == ([], [])
    with pytest.raises(DeviceMissing, match=r"'cuda' does not work here: CuPy is not installed. Install it"):
        choose_backend("cuda")


def test_a_gpu_that_is_there_but_fails_is_one_warning(
    install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    cuda = Fake(error=RuntimeError("no kernel image"), most=0)
    install(cuda=cuda, cucim=Fake(error=LOST, most=0), numba=Fake())
    assert choose_backend() == choose_backend() == "numba"
    cuda_failed, cuda_is_out, cucim_is_out = caplog.messages
    assert "cuda failed and is made anew" in cuda_failed
    assert "cuda does not work here: RuntimeError: no kernel image" in cuda_is_out
    assert "cucim does not work here: the GPU's context broke" in cucim_is_out
    assert cuda.mended == 1
    with pytest.raises(DeviceLost, match="'cucim' does not work here: the GPU's context broke"):
        choose_backend("cucim")


def test_a_card_that_is_full_at_the_start_is_asked_again_for_each_volume(install: Install) -> None:
    cuda = Fake(error=FULL, most=0)
    install(cuda=cuda, cucim=Fake(words="no room"), numba=Fake())
    assert (choose_backend(), penalty_map(LABELS).backend) == ("cuda", "numba")
    cuda.error = None
    assert penalty_map(LABELS).backend == "cuda"


def test_a_volume_that_does_not_fit_goes_on_and_says_why(install: Install) -> None:
    cuda = Fake(words="it takes 3 GiB")
    install(cuda=cuda, cucim=Fake(words="an axis is too long"), numba=Fake())
    found = quantised_map(LABELS)
    assert found.backend == "numba"
    assert found.notes == (
        "cuda could not take this volume (it takes 3 GiB): mapped by numba.",
        "cucim could not take this volume (an axis is too long): mapped by numba.",
    )
    assert penalty_map(LABELS[:1, :1, :8]).backend == "cuda"
    assert LABELS.shape not in cuda.measured


@pytest.mark.parametrize(
    "cuda", [Fake(error=FULL), Fake(late=True), Fake(error=DeviceFailed("the GPU's memory ran out: 3 GiB"))]
)
def test_what_fails_in_the_middle_goes_on_and_says_why(install: Install, cuda: Fake) -> None:
    install(cuda=cuda, cucim=Fake())
    expected = "cuda could not take this volume (the GPU's memory ran out: 3 GiB): mapped by cucim."
    for found in (penalty_map(LABELS), quantised_map(LABELS)):
        assert (found.backend, found.notes) == ("cucim", (expected,))
    np.testing.assert_array_equal(penalty_map(LABELS).values, penalty_map(LABELS, backend="scipy").values)


def test_a_backend_that_is_named_is_that_one_or_an_error(install: Install) -> None:
    install(cuda=Fake(words="it takes 3 GiB"), cucim=Fake(error=FULL), numba=Fake())
    with pytest.raises(DeviceFailed, match=r"cuda could not take this volume \(it takes 3 GiB\)\. .*'auto'"):
        penalty_map(LABELS, backend="cuda")
    with pytest.raises(DeviceFull, match="ran out"):
        penalty_map(LABELS, backend="cucim")
    assert penalty_map(LABELS, backend="numba").backend == "numba"


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_a_device_that_is_lost_ends_it_at_once(install: Install, name: str) -> None:
    numba = Fake()
    install(cuda=Fake(error=LOST), cucim=numba, numba=numba)
    with pytest.raises(DeviceLost, match="error 700"):
        quantised_map(LABELS, backend=name)
    assert numba.measured == []


def test_a_volume_without_boundary_needs_no_room(install: Install) -> None:
    install(cuda=Fake(words="it takes 3 GiB"))
    found = quantised_map(np.ones_like(LABELS))
    assert (found.backend, found.notes) == ("cuda", ())
    assert not found.values.any()
