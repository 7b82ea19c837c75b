"""What the measured loaders say: the tables of `benchmarks.loader`, and the ratios that were promised.

Nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks import loader_lineup as lineup
from benchmarks.loader_checked import PATCHES
from benchmarks.loader_feed import ROTATION
from benchmarks.loader_measured import Standing
from benchmarks.loader_memory import KIND
from benchmarks.loader_remote import Remote
from benchmarks.report import Ratio, print_section
from dmapsvc.cli.output import print_table

TARGETS_ARE_FOR = "Targets are for patches of 96³, batch 2, six knees of 160 x 384 x 384, on two cores."

_AS_FAST = 0.9  # of two rates that are equal: two runs of one loader differ by as much

_COLUMNS = {
    "patches/s": "of the fastest run, in steady state, all files in the page cache",
    "CPU ms": "user and system of all processes, a patch, in the same run",
    "own MiB": "the most memory of all processes at once, mapped files left out",
    "+ files MiB": "pages of mapped files beside that, which the system may drop",
    "ready s": "from the start of the process until all is imported, and kernels are loaded; the soonest run",
    "first s": "from then to the first batch, page cache warm; the soonest run",
    "cold/s": "patches/s of the first ones, from ready on, page cache empty at the start",
    "cold first s": "to the first batch in that run",
    "MB a volume": "on disk, all files",
    "checksums": "what the loader verifies as it reads",
}


def print_agreements(standings: Sequence[Standing]) -> None:
    """How far each contender is from the reference."""
    print_section(
        "The same patches",
        f"Differences to the reference at the places of the first {PATCHES} patches, in a run of their own:",
        "normalised image, voxels with another label, Φ in voxels (dmapsvc rounds it as its store says).",
        "Rotated patches lie at no box; their shapes and types were checked.",
    )
    rows = [
        [standing.way.name, f"{found.image:.1e}", found.label, f"{found.phi:.1e}"]
        for standing in standings
        if (found := standing.agreement) is not None
    ]
    print_table(["loader", "image", "label", "Φ"], rows)


def print_standings(standings: Sequence[Standing]) -> None:
    """A row a contender."""
    print_section(
        "Side by side",
        f"Rotated: every patch, by an angle uniform in ± {ROTATION:g} degrees, in the plane.",
        f"Memory is {KIND}.",
    )
    print_table(["loader", *_COLUMNS], [_row(standing) for standing in standings])
    print(*(f"{column}: {meaning}" for column, meaning in _COLUMNS.items()), sep="\n")
    left = max((standing.resident for standing in standings), default=0.0)
    print(
        f"Of the pages of any loader's files, at most {left:.0%} were in the page cache before its cold run."
    )


def print_remote(remote: Remote) -> None:
    """The remote way beside the local one."""
    print_section(
        "Over HTTP, from a service on this machine, into an empty cache",
        f"The first batch needs {len(remote.fetched)} cases;"
        f" as plain files they come in {remote.fetch_seconds:.3f} s.",
    )
    print_table(
        ["loader", "first s", "patches/s", "CPU ms"],
        [
            ["remote, cache empty", f"{remote.start.first_seconds:.3f}", "", ""],
            *(
                [name, f"{run.first_seconds:.3f}", f"{run.rate:.1f}", f"{run.cpu_ms:.2f}"]
                for name, run in (("remote, later", remote.later), ("local", remote.local))
            ),
        ],
    )


def ratios(standings: Sequence[Standing], remote: Remote | None) -> list[Ratio]:
    """Those that were promised, then others that a reader may ask for."""
    by_name = {standing.way.name: standing for standing in standings}
    found = [
        *_against(by_name, lineup.OURS, lineup.NNUNET, rate=4, cpu=0.6, disk=0.65),
        *_against(by_name, lineup.OURS_ROTATED, lineup.NNUNET_ROTATED, rate=2, cpu=0.6),
        *_remote_ratios(remote),
        *_against(by_name, lineup.UNVERIFIED, lineup.NNUNET),
        *_against(by_name, lineup.UNVERIFIED_ROTATED, lineup.NNUNET_ROTATED),
        *_against(by_name, lineup.OURS_ROTATED, lineup.NNUNET_GRID),
    ]
    for name in (lineup.NPY, lineup.ZARR, lineup.CACHED, lineup.PERSISTENT, lineup.TORCHIO):
        found += _against(by_name, lineup.OURS, name)
        found += _against(by_name, name, lineup.NNUNET)
    return found


def _against(
    by_name: Mapping[str, Standing],
    ours: str,
    other: str,
    *,
    rate: float | None = None,
    cpu: float | None = None,
    disk: float | None = None,
) -> list[Ratio]:
    """Rate and CPU of `ours` over those of `other`, and bytes where they are promised; targets if given."""
    if not {ours, other} <= by_name.keys():
        return []
    left, right = by_name[ours], by_name[other]
    pair = f"{ours} / {other}"
    found = [
        Ratio(name=f"patches/s, {pair}", value=left.best.rate / right.best.rate, target=rate),
        Ratio(
            name=f"CPU ms a patch, {pair}",
            value=left.best.cpu_ms / right.best.cpu_ms,
            target=cpu,
            at_least=False,
        ),
    ]
    if disk is not None:
        share = left.disk_bytes / right.disk_bytes
        found.append(Ratio(name=f"bytes a volume, {pair}", value=share, target=disk, at_least=False))
    return found


def _remote_ratios(remote: Remote | None) -> list[Ratio]:
    if remote is None:
        return []
    return [
        Ratio(
            name="first batch, remote with an empty cache / plain fetching of its cases",
            value=remote.start.first_seconds / remote.fetch_seconds,
            target=2,
            at_least=False,
        ),
        Ratio(
            name="patches/s after the first epoch, remote / local",
            value=remote.later.rate / remote.local.rate,
            target=_AS_FAST,
        ),
    ]


def _row(standing: Standing) -> list[object]:
    best = standing.best
    return [
        standing.way.name,
        f"{best.rate:.1f}",
        f"{best.cpu_ms:.2f}",
        f"{max(run.peak for run in standing.warm).own / 2**20:.0f}",
        f"{max(run.peak for run in standing.warm).files / 2**20:.0f}",
        f"{min(run.ready_seconds for run in standing.warm):.1f}",
        f"{min(run.first_seconds for run in standing.warm):.2f}",
        f"{standing.cold.rate:.1f}",
        f"{standing.cold.first_seconds:.2f}",
        f"{standing.disk_bytes / 1e6:.1f}",
        standing.way.checksums,
    ]
