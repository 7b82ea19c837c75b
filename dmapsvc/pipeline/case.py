"""One case: a mask file becomes a published case, or an image file the image beside it.

Three stages, each timed: read, map, publish. What is odd about a mask but accepted is told in `notes.py`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from dmapsvc.errors import BadFile, BadSpec, TooLarge
from dmapsvc.maps import quantised_map
from dmapsvc.pipeline.notes import image_notes, mask_notes
from dmapsvc.spec import MapSpec, Spacing
from dmapsvc.store import CaseRecord, WritableDataset
from dmapsvc.telemetry.tracing import span
from dmapsvc.volumes import Header, check_unsheared, read_image, read_labels
from dmapsvc.volumes.volume import Kind

STAGES = ("read", "map", "publish")

# Measured: highest resident memory of `run_case` above that of the idle process, sampled each ms, over the
# number of voxels. numba: 7.3 on a 384×384×160 knee (three bones, mm), 7.1 on a uint8 400×400×300 volume, 8.3
# on a uint16 one of 400 labels, 9.0 on an int64 .npy and 11.8 on a float64 .nii.gz of 300×300×100, where the
# file's own voxels are most of it. scipy: 52, its float64 transform and indices. A margin is added.
_BYTES_PER_VOXEL = 14
_BYTES_PER_VOXEL_SCIPY = 60

# Measured likewise for `run_image`, over `Header.bytes`: 1.8 to 2.0 on float32, of 1 and 10 channels, NIfTI
# and NumPy; 1.5 on float64; 1.8 on a uint8 NIfTI with a slope; 0.5 on a uint8 NRRD of 40 channels. A margin
# is added.
_IMAGE_FACTOR = 3

# Where each stage begins and ends on the way of a whole run, by its usual share of the time.
_SPANS = {"read": (0.0, 0.15), "map": (0.15, 0.4), "publish": (0.4, 1.0)}

Progress = Callable[[str, float], None]
"""Called with the stage and the part of the *whole run* that is done, 0 to 1, never falling."""


def bytes_per_voxel(backend: str) -> int:
    """Memory of the host that a run needs for each voxel, with a backend of `maps`.

    `auto`, cuda and cucim are taken for numba, which takes over what their card cannot. They need less
    themselves: D stays on the card, and little is staged in pinned memory at once.
    """
    return _BYTES_PER_VOXEL_SCIPY if backend == "scipy" else _BYTES_PER_VOXEL


def memory_needed(kind: Kind, *, voxels: int, bytes: int, backend: str) -> int:
    """Memory that `run_case` ("labels") or `run_image` ("image") needs, in bytes.

    `voxels` and `bytes` are the Header's; `backend` as for `bytes_per_voxel`.
    """
    return voxels * bytes_per_voxel(backend) if kind == "labels" else _IMAGE_FACTOR * bytes


def check_voxels(header: Header, *, most: int, name: str) -> None:
    """Raise TooLarge if the file called `name` has more than `most` voxels."""
    if header.voxels > most:
        raise TooLarge(
            f"{name}: {header.voxels:,} voxels",
            f"this service takes at most {most:,}",
            "Crop it, or allow more with DMAPSVC_MAX_VOXELS",
        )


def check_memory(header: Header, kind: Kind, *, budget: int, backend: str, name: str) -> None:
    """Raise TooLarge if the file called `name` needs more than `budget` bytes of memory (`memory_needed`)."""
    needed = memory_needed(kind, voxels=header.voxels, bytes=header.bytes, backend=backend)
    if needed > budget:
        channels = f" of {header.channels:,} channels" if header.channels > 1 else ""
        raise TooLarge(
            f"{name}: {header.voxels:,} voxels{channels} need about {_memory(needed)}",
            f"the memory budget is {_memory(budget)}",
            "Crop it, or allow more with DMAPSVC_MEMORY_BUDGET, in bytes",
        )


@dataclass(frozen=True, kw_only=True)
class CaseOutcome:
    """A published case: its record, words about accepted oddities, seconds by stage, the backend."""

    record: CaseRecord
    notes: tuple[str, ...]
    seconds: dict[str, float]
    backend: str


@dataclass(frozen=True, kw_only=True)
class ImageOutcome:
    """A stored image: `published` with its case, or held until the case's mask is published."""

    published: bool
    notes: tuple[str, ...]
    seconds: dict[str, float]


def run_case(
    mask: Path,
    dataset: WritableDataset,
    case: str,
    *,
    filename: str | None = None,
    sha256: str | None = None,
    spacing: Spacing | None = None,
    backend: str = "auto",
    threads: int | None = None,
    revision: int = 1,
    replace: bool = False,
    wanted: Callable[[], bool] | None = None,
    device_lock: AbstractContextManager[object] | None = None,
    progress: Progress | None = None,
) -> CaseOutcome:
    """Read the mask at `mask`, map it by `dataset.spec`, publish it as `case`.

    `filename` is what messages call the file (default: its name), `sha256` the file's hash (computed if not
    given), `spacing` the (z, y, x) mm of a NumPy file. `device_lock` is held while distances are computed.
    `wanted` is asked inside the case's lock: when it says False nothing is published.

    Raises BadFile, BadLabels and BadSpec for a mask that cannot be mapped, Conflict when another mask is
    published and not `replace`, Superseded when this run is no longer wanted, GridMismatch when an image is
    held that does not fit, DeviceFailed when the backend cannot run.
    """
    stages = _Stages(progress, wanted)
    with stages.stage("read"):
        name = filename or mask.name
        sha256 = sha256 or file_sha256(mask, name)
        volume = read_labels(mask, name=name, spacing=spacing)
        check_units(volume.header, dataset.spec, name)
    with device_lock or nullcontext(), stages.stage("map"):
        phi = quantised_map(
            volume.array, volume.header.spacing, dataset.spec, backend=backend, threads=threads
        )
    with stages.stage("publish"):
        record = dataset.publish(
            case,
            label=volume.array,
            phi=phi,
            spacing=volume.header.spacing,
            affine=volume.header.affine,
            mask_sha256=sha256,
            revision=revision,
            replace=replace,
            wanted=stages.wanted,
            progress=stages.within("publish"),
            seconds=stages.seconds,
        )
    return CaseOutcome(
        record=record,
        notes=mask_notes(volume.header, volume.array, phi),
        seconds=stages.seconds,
        backend=phi.backend,
    )


def run_image(
    image: Path,
    dataset: WritableDataset,
    case: str,
    *,
    filename: str | None = None,
    sha256: str | None = None,
    spacing: Spacing | None = None,
    wanted: Callable[[], bool] | None = None,
    progress: Progress | None = None,
) -> ImageOutcome:
    """Read the image at `image` and put it beside the mask of `case`, or hold it until that mask is
    published.

    Parameters as for `run_case`. Raises BadFile, GridMismatch, Superseded.
    """
    stages = _Stages(progress, wanted)
    with stages.stage("read"):
        name = filename or image.name
        sha256 = sha256 or file_sha256(image, name)
        volume = read_image(image, name=name, spacing=spacing)
    with stages.stage("publish"):
        published = dataset.publish_image(
            case,
            volume.array,
            spacing=volume.header.spacing,
            affine=volume.header.affine,
            sha256=sha256,
            wanted=stages.wanted,
        )
    return ImageOutcome(published=published, notes=image_notes(published), seconds=stages.seconds)


def check_units(header: Header, spec: MapSpec, name: str) -> None:
    """Raise BadSpec if distances in mm are asked for on a grid that cannot give them."""
    if spec.units != "mm":
        return
    if header.spacing is None:
        raise BadSpec(
            f"{name}: the file has no spacing",
            "a map in mm needs the size of a voxel",
            "Give it as spacing=z,y,x in mm, or ask for units=voxel",
        )
    check_unsheared(header, name=name)


def file_sha256(path: Path, name: str | None = None) -> str:
    """sha256 of a file's bytes, 64 hexadecimal digits; streamed. Raises BadFile if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadFile(f"{name or path}: cannot be read ({error.strerror})", remedy="Check the file") from None


def _memory(bytes: int) -> str:
    return f"{bytes / 2**30:.2f} GiB" if bytes >= 2**28 else f"{bytes / 2**20:.3g} MiB"


class _Stages:
    """The clock of a run: times each stage, tells progress, and stops a run that is no longer wanted."""

    def __init__(self, progress: Progress | None, wanted: Callable[[], bool] | None) -> None:
        self.seconds: dict[str, float] = {}
        self.wanted = wanted or _always
        self._progress = progress or _silent

    @contextmanager
    def stage(self, stage: str) -> Iterator[None]:
        tell = self.within(stage)
        tell(0.0)
        start = time.perf_counter()
        with span(stage):
            yield
        self.seconds[stage] = round(time.perf_counter() - start, 4)
        tell(1.0)

    def within(self, stage: str) -> Callable[[float], None]:
        """Progress inside a stage, 0 to 1, told as progress of the whole run."""
        begin, end = _SPANS[stage]
        return lambda fraction: self._progress(stage, begin + (end - begin) * fraction)


def _always() -> bool:
    return True


def _silent(stage: str, fraction: float) -> None:
    pass
