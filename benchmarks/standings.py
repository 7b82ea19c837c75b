"""What the measured maps say: the tables of `benchmarks.maps`, and the ratios that were promised.

Nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks import lineup
from benchmarks.measured import Measured
from benchmarks.report import Ratio, print_section
from dmapsvc.cli.output import print_table

TARGETS_ARE_FOR = (
    "Targets are for knee_dess_bones_cartilage.nrrd, labels 5,6,7, in mm, two threads on two cores."
)
_FLAT_FROM = 128**3  # voxels: smaller volumes lie in the cache, and starting threads is much of their time
_FEW, _MANY = "3", "300"  # classes


def print_whole(whole: Measured) -> None:
    """The table of all ways on one label map."""
    subject, shape = whole.subject, " x ".join(map(str, whole.subject.labels.shape))
    print_section(
        f"{subject.name}: {shape} voxels, {len(subject.classes)} classes",
        "Labels in, finished Φ out. Seconds and CPU seconds are those of the fastest round.",
        "The peak is the labels, and the most that was taken above all that was there before.",
    )
    print_table(
        ["way", "seconds", "CPU s", "peak MiB", "bytes a voxel", "times faster", "rounds"],
        [
            [
                way,
                f"{timing.seconds:.3f}",
                f"{timing.cpu_seconds:.3f}",
                f"{whole.peak(way) / 2**20:.0f}",
                f"{whole.bytes_per_voxel(way):.1f}",
                f"{whole.seconds(lineup.SCIPY) / timing.seconds:.1f}",
                timing.rounds,
            ]
            for way, timing in whole.timings.items()
        ],
    )


def print_growth(title: str, recipe: str, subject: str, grown: Sequence[Measured]) -> None:
    """Time a voxel, then memory a voxel, of the ways that were asked: a row a volume."""
    ways = list(dict.fromkeys(way for measured in grown for way in measured.timings))
    print_section(title, recipe)
    for unit, cell in (("ns a voxel", Measured.nanoseconds), ("bytes a voxel", Measured.bytes_per_voxel)):
        print_section(f"{unit}, by {subject}")
        print_table(
            [subject, *ways],
            [
                [one.subject.name, *(f"{cell(one, way):.1f}" if way in one else "-" for way in ways)]
                for one in grown
            ],
        )


def ratios(
    whole: Measured, sizes: Sequence[Measured], classes: Sequence[Measured], threads: int
) -> list[Ratio]:
    """Those that were promised, then others that a reader may ask for."""
    numba = lineup.numba(threads)
    return [
        _over(whole, lineup.SCIPY, numba, 75),
        *(_over(whole, lineup.edt(n), lineup.numba(n), 2) for n in sorted({1, threads})),
        *_growing(sizes, classes, numba),
        *(
            Ratio(name=f"bytes a voxel, {way}", value=whole.bytes_per_voxel(way), target=9, at_least=False)
            for way in (numba, lineup.stored(numba))
        ),
        _over(whole, lineup.SCIPY, lineup.stored(numba)),
        _over(whole, lineup.edt_alone(threads), numba),
        *(
            _over(whole, way, numba)
            for way in (lineup.MONAI, lineup.maurer(threads), lineup.CROPS)
            if way in whole
        ),
    ]


def flatness(nanoseconds: Mapping[int, float]) -> float | None:
    """Largest over least time a voxel, by voxels, from 128³ on; None for fewer than two such volumes."""
    times = [time for voxels, time in nanoseconds.items() if voxels >= _FLAT_FROM]
    return max(times) / min(times) if len(times) > 1 else None


def _growing(sizes: Sequence[Measured], classes: Sequence[Measured], way: str) -> list[Ratio]:
    found = []
    by_count = {one.subject.name: one.seconds(way) for one in classes if way in one}
    if {_FEW, _MANY} <= by_count.keys():
        name = f"seconds at {_MANY} classes / at {_FEW}, {way}"
        found.append(Ratio(name=name, value=by_count[_MANY] / by_count[_FEW], target=1.2, at_least=False))
    flat = flatness({one.subject.labels.size: one.nanoseconds(way) for one in sizes if way in one})
    if flat is not None:
        name = f"largest / least ns a voxel from 128³ on, {way}"
        found.append(Ratio(name=name, value=flat, target=1.5, at_least=False))
    return found


def _over(whole: Measured, way: str, ours: str, target: float | None = None) -> Ratio:
    return Ratio(name=f"{way} / {ours}", value=whole.seconds(way) / whole.seconds(ours), target=target)
