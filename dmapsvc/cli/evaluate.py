"""`dmapsvc evaluate`: predictions beside the truth, label by label, into a file of scores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmapsvc.cli.options import Names, parse_names
from dmapsvc.cli.output import Meter, plural, print_table, unit_word
from dmapsvc.cli.served import asked_dataset
from dmapsvc.errors import BadInput
from dmapsvc.listing import first_few
from dmapsvc.spec import MapSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dmapsvc.evaluate.averages import Average
    from dmapsvc.evaluate.evaluation import Evaluation
    from dmapsvc.evaluate.scores import Score

_COLUMNS = ("g_dsc", "b_dsc", "nsd", "hd95", "asd")  # of the table; what fits a terminal


def command(
    truth: Annotated[
        str,
        typer.Argument(metavar="TRUTH", help="A folder of label files, a store, or its URL."),
    ],
    predictions: Annotated[
        str,
        typer.Argument(metavar="PREDICTIONS", help="The same, by any tool; cases pair by name."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The file for the scores, CSV; written anew.")],
    labels: Annotated[
        str | None,
        typer.Option("--labels", help="Values to score, like 5,6,7; left out: those of the truth."),
    ] = None,
    names: Names = None,
    cases: Annotated[
        str | None,
        typer.Option(
            "--cases",
            help="Names like a,b,c, or train, valid or test of --split; left out: those that were to be "
            "predicted, or all of the truth.",
        ),
    ] = None,
    split: Annotated[
        Path | None, typer.Option("--split", help="File that says which cases those are, as a run's.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option("--tolerance", min=0, help="Of the NSD, in the unit of the distances.")
    ] = 1.0,
    units: Annotated[
        str, typer.Option("--units", help="Of distances: mm, where the truth has a spacing, or voxel.")
    ] = "mm",
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", min=1, help="Cases scored at once; left out: as many as cores and memory allow."
        ),
    ] = None,
) -> None:
    """Score predicted label maps against the truth.

    For each case and label: G-DSC, B-DSC (also relaxed by 1 to 4 voxels), NSD, the 95 % Hausdorff distance,
    and the mean distance of the predicted boundary from the true one (ASD). The table shows mean ± SD over
    cases, and of each case's mean over labels. Cases that cannot be scored, their prediction missing, say,
    are listed at the end; exit code 1 if there are any.

    For example:

    \b
        dmapsvc evaluate knees.zarr predictions/ -o scores.csv
        dmapsvc evaluate labelsTs/ nnunet-out/ -o scores.csv --labels 1,2,3 --names 1=femur,2=tibia,3=patella
        dmapsvc evaluate knees.zarr nnunet-out/ -o scores.csv --cases test --split run/split.json
    """
    from dmapsvc.evaluate.evaluation import evaluate
    from dmapsvc.evaluate.scores import remove_scores, write_scores

    spec, asked = MapSpec.parse(labels, units), _cases(cases, split)
    _check_served(truth, predictions)
    if split is None and cases is not None:
        _check_no_side(truth, cases)
    with Meter("evaluate", None, "cases") as meter:

        def show(done: int, total: int, case: str) -> None:
            meter.show(done, case, total=total)

        found = evaluate(
            truth,
            predictions,
            cases=asked,
            labels=spec.labels,
            names=parse_names(names),
            units=spec.units,
            tolerance=tolerance,
            jobs=jobs,
            on_case=show,
        )
    if found.scores:
        write_scores(out, found.scores)
        _print_averages(found.scores)
    _print_notes(found)
    scored = len({score.case for score in found.scores})
    kept = (
        ""
        if scored
        else "; the scores that were there are removed"
        if remove_scores(out)
        else "; not written"
    )
    typer.echo(f"{out}: {plural(scored, 'case')} scored, {len(found.failed)} failed{kept}")
    raise typer.Exit(1 if found.failed else 0)


def _check_served(*sides: str) -> None:
    """Raises NotFound for a dataset that its service has not, in the command line's words."""
    from dmapsvc.evaluate.labelmaps import open_label_maps
    from dmapsvc.loader.source import is_url

    for side in sides:
        if is_url(side):
            with asked_dataset(side):
                open_label_maps(side).cases()


def _cases(cases: str | None, split: Path | None) -> Sequence[str] | None:
    from dmapsvc.train.split import SIDES, Split

    if split is not None:
        if cases not in SIDES:
            raise BadInput(f"--cases {cases}", f"--split wants one of {', '.join(SIDES)}", "Add --cases test")
        return tuple(getattr(Split.read(split), cases))
    return None if cases is None else [case.strip() for case in cases.split(",")]


def _check_no_side(truth: str, cases: str) -> None:
    """Raises BadInput for the side of a split without a split, unless a case is called so."""
    from dmapsvc.evaluate.labelmaps import open_label_maps
    from dmapsvc.train.split import SIDES

    if cases in SIDES and cases not in open_label_maps(truth):
        raise BadInput(
            f"--cases {cases}",
            "the truth has no case of that name",
            f"For the {cases} cases of a split, add --split RUN/split.json",
        )


def _print_averages(scores: Sequence[Score]) -> None:
    from dmapsvc.evaluate.averages import IN_UNITS, averages
    from dmapsvc.report.metrics import METRICS

    unit, *others = sorted({unit_word(score.unit) for score in scores})
    columns = [key for key in _COLUMNS if not (others and key in IN_UNITS)]
    shown = [metric for metric in METRICS if metric.key in columns]
    titles = [f"{metric.title} ({unit if metric.distance else '%'})" for metric in shown]
    print_table(
        ("label", "cases", *titles),
        [
            (row.name, row.cases, *(_cell(row, metric.key, metric.factor) for metric in shown))
            for row in averages(scores, columns)
        ],
    )
    if others:
        typer.echo(
            "warning: cases in mm, and in voxels where the truth has no spacing: the table leaves out what "
            "depends on the unit. --units voxel measures all in voxels.",
            err=True,
        )


def _cell(row: Average, key: str, factor: float) -> str:
    return f"{row.mean[key] * factor:.2f} ± {row.deviation[key] * factor:.2f}"


def _print_notes(found: Evaluation) -> None:
    """What is out of order, on stderr."""
    if found.without_truth:
        named = first_few(found.without_truth)
        typer.echo(f"{plural(len(found.without_truth), 'prediction')} without a truth: {named}", err=True)
    if found.truth_labels and not set(found.truth_labels) & set(found.predicted_labels):
        predicted = first_few(found.predicted_labels) or "none at all"
        typer.echo(
            "warning: no label of the truth is in any prediction: the truth has "
            f"{first_few(found.truth_labels)}, the predictions have {predicted}. Give the predictions the "
            "values of the truth.",
            err=True,
        )
    elif found.unscored:
        typer.echo(
            f"predicted, but in no truth, and not scored: label {first_few(found.unscored)} (--labels scores "
            "them too)",
            err=True,
        )
    if found.absent and found.scores:
        typer.echo(
            f"label {first_few(found.absent)}: in none of the cases that were scored, which count as "
            "predicted rightly; those that failed may have it",
            err=True,
        )
    for failure in found.failed:
        typer.echo(f"error: {failure.problem.detail}", err=True)
