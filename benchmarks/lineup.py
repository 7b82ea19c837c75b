"""Who runs against whom on a label map, by name.

What each does is in `contenders.py`; how they are timed in `timing.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec

from benchmarks import contenders
from benchmarks.contenders import Task, Way
from benchmarks.timing import Contender
from dmapsvc.errors import BadInput, DeviceFailed
from dmapsvc.maps import BACKENDS, choose_backend

SCIPY = "SciPy, K + 1 volumes"
MONAI = "MONAI, K + 1 channels"
CROPS = "SciPy, crops (dmapsvc scipy)"
ON_CARDS = ("cuda", "cucim")


def maurer(threads: int) -> str:
    """The name of SimpleITK's row."""
    return f"SimpleITK Maurer, K + 1 volumes, {_threads(threads)}"


def edt(threads: int) -> str:
    """The name of edt's row."""
    return f"edt, {_threads(threads)}"


def edt_alone(threads: int) -> str:
    """The name of the row of edt's transform with no Φ made of it."""
    return f"edt, {_threads(threads)}, D alone"


def numba(threads: int) -> str:
    """The name of the row of dmapsvc's own pass on the CPU."""
    return f"dmapsvc numba, {_threads(threads)}"


def stored(name: str) -> str:
    """The name of a row of dmapsvc's, where Φ is made as it is stored."""
    return f"{name}, uint16"


def all_ways(threads: int) -> dict[str, Way]:
    """Every way to Φ that runs here, the slowest first: on the CPU, and on a card where there is one."""
    counts = sorted({1, threads})
    ways: dict[str, Way] = {
        SCIPY: contenders.scipy_volumes,
        MONAI: contenders.monai_transform,
        maurer(threads): partial(contenders.maurer, threads=threads),
        CROPS: partial(contenders.dmapsvc_phi, backend="scipy", threads=1),
        **{edt(count): partial(contenders.edt_phi, threads=count) for count in counts},
        edt_alone(threads): partial(contenders.edt_distances, threads=threads),
    }
    for count in counts:
        ways |= _by_backend(numba(count), "numba", count)
    for backend in filter(_works, ON_CARDS):
        ways |= _by_backend(f"dmapsvc {backend}", backend, threads)
    return ways


def check_installed() -> None:
    """Raise BadInput if a library that is measured is not there."""
    missing = [name for name in ("edt", "monai", "SimpleITK") if find_spec(name) is None]
    if missing:
        raise BadInput(
            f"{', '.join(missing)} cannot be imported", "", "Install the extra: pip install -e '.[bench]'"
        )


def entered(ways: Mapping[str, Way], task: Task, subject: str) -> list[Contender]:
    """Each of `ways` on the task of `subject` as a contender; a way's contenders share a process."""
    return [
        Contender(
            name=f"{name}: {subject}",
            prepare=contenders.prepare,
            arguments=(task, way, name.startswith("dmapsvc")),  # these compile when they first run
            process=name,
        )
        for name, way in ways.items()
    ]


def _by_backend(name: str, backend: str, threads: int) -> dict[str, Way]:
    return {
        name: partial(contenders.dmapsvc_phi, backend=backend, threads=threads),
        stored(name): partial(contenders.dmapsvc_stored, backend=backend, threads=threads),
    }


def _works(backend: str) -> bool:
    try:
        return backend in BACKENDS and choose_backend(backend) == backend
    except DeviceFailed:
        return False


def _threads(count: int) -> str:
    return f"{count} thread" if count == 1 else f"{count} threads"
