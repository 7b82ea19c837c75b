"""A folder of masks becomes a dataset, several cases at once, going on where an earlier run stopped.

A bad file costs its own case only: it is listed at the end. Nothing is printed here; whoever shows progress
listens to the events.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from dmapsvc.errors import BadInput, NotFound
from dmapsvc.pipeline.bookkeeper import Bookkeeper
from dmapsvc.pipeline.device import Device
from dmapsvc.pipeline.events import Event
from dmapsvc.pipeline.folder import find_cases, shard_of, unused_images
from dmapsvc.pipeline.lanes import Lanes, default_lanes
from dmapsvc.pipeline.maker import Maker
from dmapsvc.pipeline.summary import Summary
from dmapsvc.settings import load_settings
from dmapsvc.spec import MapSpec, Spacing
from dmapsvc.store import WritableDataset
from dmapsvc.store.s3 import is_bucket
from dmapsvc.store.stores import create_dataset_at, open_dataset_at
from dmapsvc.volumes.checks import check_spacing


def precompute(
    labels: Path | Sequence[Path],
    out: Path | str,
    *,
    spec: MapSpec,
    names: dict[int, str] | None = None,
    images: Path | None = None,
    spacing: Spacing | None = None,
    backend: str = "auto",
    threads: int | None = None,
    replace: bool = False,
    memory_budget: int | None = None,
    jobs: int | None = None,
    shard: tuple[int, int] | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Summary:
    """Make the dataset `out`, a folder or 's3://bucket/prefix/knees.zarr', from every mask in `labels`
    (`find_cases` says which), with the images in `images`.

    `jobs` cases are under way at once (default: `default_lanes`), so that one is read, compressed or written
    while another is mapped; those that would together take more than `memory_budget` bytes of memory wait
    (default: the setting's). A file that alone needs more is a failure by its header. `shard`, (I, N), takes
    every N-th case from the I-th on, for N processes that may run at once, on machines that share the disk.
    `spacing` (z, y, x) in mm is for files that have none, such as NumPy's. The rest as for `run_case`.
    A case that is published with the same mask and spec is skipped, so a run that was stopped goes on when it
    is called again. A case published from another mask is a failure unless `replace`.
    If the device is lost on the way, the run goes on with the CPU and says so in the notes.

    `on_event` is called in this thread, for several cases in turn (`Event` says in what order).

    Raises what `find_cases` and `shard_of` raise, DeviceFailed for a backend that does not work here, BadSpec
    for a spacing that is none, BadInput if `out` cannot be written or for less than one job, and Conflict for
    a dataset with another spec, before anything runs. Errors of one case end up in the summary. Stopping it
    (KeyboardInterrupt) leaves the cases published so far, and nothing else. A dataset that was made here and
    got no case is removed, unless another run is at it or it is a shard's.
    """
    found = find_cases(labels, images)
    cases = found if shard is None else shard_of(found, shard)
    count = _checked_jobs(jobs)
    bookkeeper = Bookkeeper(len(cases), on_event or _silent)
    device = Device(backend)
    spacing = None if spacing is None else check_spacing(spacing)
    is_new = not _is_there(out)
    dataset = _create(out, spec, names)
    budget = load_settings().memory_budget_bytes if memory_budget is None else memory_budget
    maker = Maker(dataset, device, budget=budget, spacing=spacing, threads=threads, replace=replace)
    dataset.sweep()
    with dataset.at_work():
        _create(out, spec, names)  # again, in case that another run removed it, still empty, a moment ago
        with Lanes(cases, count, maker.make) as lanes:
            for report in lanes:
                bookkeeper.hear(report)
    if is_new and shard is None:  # another shard may be about to begin
        dataset.destroy_unused()
    return bookkeeper.summary(
        lanes=min(count, len(cases)),
        without_image=[case.case for case in cases if case.image is None] if images is not None else [],
        unused_images=unused_images(found, images) if images is not None else [],
    )


def _checked_jobs(jobs: int | None) -> int:
    if jobs is not None and jobs < 1:
        raise BadInput(f"{jobs} jobs", "wanted at least 1 case at once")
    return jobs or default_lanes()


def _is_there(out: Path | str) -> bool:
    if not is_bucket(out):
        return Path(out).exists()
    try:
        open_dataset_at(out)
    except NotFound:
        return False
    return True


def _create(out: Path | str, spec: MapSpec, names: dict[int, str] | None) -> WritableDataset:
    try:
        return create_dataset_at(out, spec, names)
    except OSError as error:
        raise BadInput(
            f"{out}: the dataset cannot be made there ({error.strerror})",
            "wanted a place that can be written",
            "Name another",
        ) from None


def _silent(event: Event) -> None:
    pass
