"""`dmapsvc precompute`: a folder of masks becomes a dataset of maps, without a service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmapsvc.cli.options import Images, Labels, Names, SpacingText, Units, parse_names, parse_spacing
from dmapsvc.cli.output import (
    Meter,
    Notes,
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
    from dmapsvc.store import CaseRecord

_SKIPPED = "there already"


def _check_out(out: Path) -> Path:
    if out.suffix != ".zarr":
        raise BadInput(
            "Missing argument 'OUT.zarr'",
            f"the last path, {out}, does not end in .zarr, as a dataset does",
            "Name the dataset OUT.zarr",
        )
    return out


def command(
    masks: Annotated[list[Path], typer.Argument(metavar="LABELS", help="Folder of masks, or mask files.")],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT.zarr",
            help="The dataset; made if it is not there.",
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
        str, typer.Option("--backend", help="Distance backend: auto, numba or scipy.")
    ] = "auto",
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Threads of a transform; left out: all cores.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Supersede cases published from other masks.")
    ] = False,
) -> None:
    """Map every mask of a folder into a Zarr dataset.

    A case is called by its file's path below the folder without the ending, / written __. What is published
    already is skipped: the same command goes on where it stopped. Files that cannot be mapped are listed at
    the end; exit code 1 if there are any.

    For example:

    \b
        dmapsvc precompute labels/ knees.zarr --images images/ --labels 5,6,7
    """
    from dmapsvc.pipeline import precompute
    from dmapsvc.settings import load_settings

    spec = MapSpec.parse(labels, units)
    notes = Notes()
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
                on_event=lambda event: _show(meter, event, notes),
            )
    except DeviceFailed as error:  # the one that was asked for: nothing ran yet
        raise BadInput(error.found, error.wanted, error.remedy) from None
    _report(out, summary, notes)
    raise typer.Exit(_exit_code(summary))


def _show(meter: Meter, event: Event, notes: Notes) -> None:
    now = _SKIPPED if event.happening == "skipped" else event.stage or event.happening
    ended = event.happening in ("done", "skipped")
    meter.show(event.ended + (0.0 if ended else event.fraction), f"{now} {event.case}", total=event.total)
    if ended:
        meter.log(f"{event.case}: {now}")
    notes.add(event.case, event.notes)


def _report(out: Path, summary: Summary, notes: Notes) -> None:
    """The table of cases on stdout, then what could not be done on stderr."""
    from dmapsvc.store import Dataset

    there = sorted(summary.done + summary.skipped)
    records: dict[str, CaseRecord] = {}
    if there:
        dataset = Dataset.open(out)
        records = {case: dataset.case(case).record for case in there}
        distances = f"largest distances ({unit_word(dataset.spec.units)})"
        print_table(
            ("case", "state", "shape z,y,x", distances, "seconds", "backend"),
            [_row(record, case, case in summary.done, dataset.names) for case, record in records.items()],
        )
    for line in (*notes.lines(), *pairing(summary.without_image, summary.unused_images)):
        typer.echo(line, err=True)
    for failure in summary.failed:
        typer.echo(f"error: {failure.problem.detail}", err=True)
    if there:
        counts = f"{len(summary.done)} done, {len(summary.skipped)} {_SKIPPED}, {len(summary.failed)} failed"
        bare = without_labels([region.value for region in record.regions] for record in records.values())
        typer.echo(f"{out}: {counts}{bare}")


def _row(record: CaseRecord, case: str, done: bool, names: dict[int, str]) -> tuple[object, ...]:
    maxima = region_maxima(record.to_json()["regions"], names)
    state = "done" if done else _SKIPPED
    return case, state, record.shape, maxima, seconds_by_stage(record.seconds), record.backend


def _exit_code(summary: Summary) -> int:
    """2 for a single mask that cannot be used, as for any bad input; 1 for failures among others."""
    if not summary.failed:
        return 0
    alone = len(summary.failed) == 1 and not (summary.done or summary.skipped)
    return 2 if alone and summary.failed[0].problem.status < 500 else 1
