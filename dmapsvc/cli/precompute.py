"""`dmapsvc precompute`: a folder of masks becomes a dataset of maps, without a service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmapsvc.cli.options import (
    Images,
    Labels,
    Names,
    SpacingText,
    Units,
    parse_names,
    parse_shard,
    parse_spacing,
)
from dmapsvc.cli.output import (
    Meter,
    Notes,
    label_list,
    plural,
    print_table,
    region_maxima,
    seconds_by_stage,
    unit_word,
    without_labels,
)
from dmapsvc.cli.pairs import pairing
from dmapsvc.errors import BadInput, DeviceFailed
from dmapsvc.spec import MapSpec

if TYPE_CHECKING:
    from dmapsvc.pipeline import Event, Summary
    from dmapsvc.store import CaseRecord, WritableDataset

_SKIPPED = "there already"


def _check_out(out: str) -> str:
    if Path(out).suffix != ".zarr":
        raise BadInput(
            "Missing argument 'OUT.zarr'",
            f"the last path, {out}, does not end in .zarr, as a dataset does",
            "Name the dataset OUT.zarr",
        )
    return out


def command(
    masks: Annotated[list[Path], typer.Argument(metavar="LABELS", help="Folder of masks, or mask files.")],
    out: Annotated[
        str,
        typer.Argument(
            metavar="OUT.zarr",
            help="The dataset, a folder or s3://bucket/OUT.zarr; made if it is not there.",
            is_eager=True,  # before LABELS, which lack nothing if a single path was given
            callback=_check_out,
        ),
    ],
    images: Images = None,
    labels: Labels = None,
    units: Units = "voxel",
    names: Names = None,
    spacing: SpacingText = None,
    backend: Annotated[
        str, typer.Option("--backend", help="Distance backend: auto, cuda, cucim, numba or scipy.")
    ] = "auto",
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Threads of a transform; left out: all cores.")
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            min=1,
            help="Cases under way at once, as far as memory allows; left out: one more than cores.",
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard", metavar="I/N", help="Take every N-th case from the I-th on: one of N such processes."
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Supersede cases published from other masks.")
    ] = False,
) -> None:
    """Map every mask of a folder into a Zarr dataset.

    A case is called by its file's path below the folder without the ending, / written __. What is published
    already is skipped: the same command goes on where it stopped. Files that cannot be mapped are listed at
    the end; exit code 1 if there are any, or if no mask has any of the labels.

    For example:

    \b
        dmapsvc precompute labels/ knees.zarr --images images/ --labels 5,6,7

    As an array job of a cluster, whose nodes share the disk, each task one shard:

    \b
        #SBATCH --array=1-8
        dmapsvc precompute labels/ knees.zarr --shard $SLURM_ARRAY_TASK_ID/8
    """
    from dmapsvc.pipeline import precompute
    from dmapsvc.settings import load_settings

    spec = MapSpec.parse(labels, units)
    notes, under_way = Notes(), UnderWay()
    try:
        with Meter("precompute", None, "cases") as meter:
            summary = precompute(
                masks[0] if len(masks) == 1 else masks,
                out,
                spec=spec,
                names=parse_names(names) or None,
                images=images,
                spacing=parse_spacing(spacing),
                backend=backend,
                threads=threads,
                replace=replace,
                memory_budget=load_settings().memory_budget_bytes,
                jobs=jobs,
                shard=parse_shard(shard),
                on_event=lambda event: _show(meter, event, notes, under_way),
            )
    except DeviceFailed as error:  # the one that was asked for: nothing ran yet
        raise BadInput(error.found, error.wanted, error.remedy) from None
    part = shard is not None
    is_sound = _report(out, summary, notes, part=part)
    raise typer.Exit(_exit_code(summary, part=part) if is_sound else 1)


class UnderWay:
    """The cases that are under way: how far each is, and in what stage."""

    def __init__(self) -> None:
        self._fractions: dict[str, float] = {}
        self._stages: dict[str, str] = {}

    def hear(self, event: Event) -> None:
        """Take note of an event."""
        if event.happening == "stage":
            self._fractions[event.case] = event.fraction
            self._stages[event.case] = event.stage or ""
        elif event.happening != "started":
            self._fractions.pop(event.case, None)
            self._stages.pop(event.case, None)

    @property
    def done(self) -> float:
        """What they come to, in whole cases."""
        return sum(self._fractions.values())

    def __str__(self) -> str:
        return ", ".join(f"{stage} {case}" for case, stage in self._stages.items())


def _show(meter: Meter, event: Event, notes: Notes, under_way: UnderWay) -> None:
    under_way.hear(event)
    meter.show(event.ended + under_way.done, str(under_way), total=event.total)
    if event.happening in ("done", "skipped"):
        meter.log(f"{event.case}: {_SKIPPED if event.happening == 'skipped' else event.happening}")
    notes.add(event.case, event.notes)


def _report(out: str, summary: Summary, notes: Notes, *, part: bool) -> bool:
    """The table of cases on stdout, then what could not be done on stderr; False if no case has any of the
    labels that were asked for, which of a `part` of the cases may be so.
    """
    from dmapsvc.store.stores import open_dataset_at

    there = sorted(summary.done + summary.skipped)
    records: dict[str, CaseRecord] = {}
    problem: BadInput | None = None
    if there:
        dataset = open_dataset_at(out)
        records = {case: record for case in there if (record := dataset.record(case))}
        distances = f"largest distances ({unit_word(dataset.spec.units)})"
        print_table(
            ("case", "state", "shape z,y,x", distances, "seconds", "backend"),
            [_row(record, case, case in summary.done, dataset.names) for case, record in records.items()],
        )
        problem = None if part else _no_such_labels(out, dataset, records)
    for line in (*notes.lines(), *pairing(summary.without_image, summary.unused_images)):
        typer.echo(line, err=True)
    for failure in summary.failed:
        typer.echo(f"error: {failure.problem.detail}", err=True)
    if problem is not None:
        typer.echo(f"error: {problem.detail}", err=True)
    if summary.done:
        typer.echo(_pace(summary))
    if there or not summary.failed:
        counts = f"{len(summary.done)} done, {len(summary.skipped)} {_SKIPPED}, {len(summary.failed)} failed"
        bare = without_labels([region.value for region in record.regions] for record in records.values())
        typer.echo(f"{out}: {counts}{bare}")
    return problem is None


def _no_such_labels(out: str, dataset: WritableDataset, records: dict[str, CaseRecord]) -> BadInput | None:
    """What is wrong if no case has any of the labels that were asked for."""
    import numpy as np

    if dataset.spec.labels is None or not records:
        return None
    if any(region.value for record in records.values() for region in record.regions):
        return None
    case = next(iter(records))
    values = [int(value) for value in np.unique(dataset.case(case).read("label")) if value]
    return BadInput(
        f"no mask has any of the labels {label_list(dataset.spec.labels)}",
        f"{case} has {label_list(values) or 'none at all'}",
        f"Name its labels with --labels, and another dataset than {out}, or remove that folder first",
    )


def _row(record: CaseRecord, case: str, done: bool, names: dict[int, str]) -> tuple[object, ...]:
    maxima = region_maxima(record.to_json()["regions"], names)
    state = "done" if done else _SKIPPED
    return case, state, record.shape, maxima, seconds_by_stage(record.seconds), record.backend


def _pace(summary: Summary) -> str:
    """'24 cases in 9.6 s: 2.5 cases/s, 118 MB/s of Φ (16 bits a voxel); read 0.40, map 8.50, … s in …'."""
    cases, rate = plural(len(summary.done), "case"), f"{summary.cases_per_second:.2g} cases/s"
    size = f"{summary.bytes_per_second / 1e6:.3g} MB/s of Φ (16 bits a voxel)"
    stages = f"{seconds_by_stage(summary.seconds)} s in {plural(summary.lanes, 'lane')}"
    return f"{cases} in {summary.wall:.1f} s: {rate}, {size}; {stages}"


def _exit_code(summary: Summary, *, part: bool) -> int:
    """2 for a single mask that cannot be used, as for any bad input; 1 for failures among others.

    `part`: there are others, in other shards.
    """
    if not summary.failed:
        return 0
    alone = len(summary.failed) == 1 and not (part or summary.done or summary.skipped)
    return 2 if alone and summary.failed[0].problem.status < 500 else 1
