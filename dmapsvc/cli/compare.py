"""`dmapsvc compare`: losses trained, scored and reported alike, on one dataset."""

from __future__ import annotations

import dataclasses
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dmapsvc.cli.extras import TRAIN, lacking
from dmapsvc.cli.options import is_given
from dmapsvc.cli.output import Meter, plural, print_table
from dmapsvc.cli.served import asked_dataset

if TYPE_CHECKING:
    from dmapsvc.compare import Config, Listener, Progress, Result

_SHOWN = ("g_dsc", "b_dsc", "nsd", "hd95", "asd")  # the report has them all


def command(
    context: typer.Context,
    location: Annotated[str, typer.Argument(metavar="STORE|URL", help="A local dataset, or its URL.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The folder for all of it; gone on from if it is there.")
    ],
    config: Annotated[
        Path | None,
        typer.Option("--config", help="TOML: contenders, seeds, jobs, [train], [search], [predict] …"),
    ] = None,
    contenders: Annotated[
        str | None,
        typer.Option("--contenders", help="Like penalty-region,dice; left out: the config's, or eight."),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", help="Runs of each contender.")] = 5,
    jobs: Annotated[int, typer.Option("--jobs", help="Runs at once, which share the cores; or the GPU.")] = 1,
) -> None:
    """Compare losses on a dataset: train, predict, score, report.

    Each contender is trained alike, with each seed in a process of its own; its best checkpoint by validation
    segments the test cases. With a [search] in the config, each contender first takes the values that do best
    in validation. Ctrl-C saves; the same command goes on, and makes again what failed. Exit code 1 if
    something did.

    For example:

    \b
        dmapsvc compare knees.zarr -o comparison --contenders penalty-region,cross-entropy,dice --seeds 3
        dmapsvc compare knees.zarr -o comparison --config compare.toml --jobs 2
    """
    from dmapsvc.compare import compare

    _check_installed()
    asked = _config(context, config)
    with Meter("compare", None, "steps", rate=False, steady=True) as meter, asked_dataset(location):
        result = compare(asked, location, out, listener(meter))
    _print_scores(out, result)
    for name, reason in result.failed.items():
        typer.echo(f"error: {name}: {reason}", err=True)
    told = f"report {result.report}" if result.report else "nothing is scored yet, so no report"
    typer.echo(f"{out}: {plural(len(result.scored), 'run')} scored, {len(result.failed)} failed; {told}")
    raise typer.Exit(1 if result.failed else 0)


def _check_installed() -> None:
    """Raises DmapsvcError where there is no PyTorch or MONAI: here once, and not in every run."""
    for module in TRAIN:
        if find_spec(module) is None:
            raise lacking(module)


def _config(context: typer.Context, path: Path | None) -> Config:
    """What the file at `path` and the flags ask for; what is given as a flag counts."""
    from dmapsvc.compare import Config

    given: dict[str, Any] = {
        name: context.params[name] for name in ("contenders", "seeds", "jobs") if is_given(context, name)
    }
    if "contenders" in given:
        given["contenders"] = tuple(name.strip() for name in given["contenders"].split(","))
    return dataclasses.replace(Config() if path is None else Config.from_toml(path), **given)


def listener(meter: Meter) -> Listener:
    """Shows the progress of a comparison, and a line for each run that ended."""
    from dmapsvc.compare import Listener

    def progress(now: Progress) -> None:
        meter.show(now.steps, str(now), total=now.total)

    def ended(name: str, reason: str | None) -> None:
        if reason is None:
            meter.log(f"{name}: done")
        else:
            meter.say(f"{name}: failed; {reason}")

    def stopping(runs: int) -> None:
        meter.say(f"stopping; {plural(runs, 'run')} under way, saved first. Ctrl-C again ends them unsaved")

    return Listener(progress=progress, ended=ended, stopping=stopping)


def _print_scores(out: Path, result: Result) -> None:
    """Each contender's mean and deviation over the test cases, of the means over labels and runs."""
    if not result.scored:
        return
    from dmapsvc.report.folder import read_comparison
    from dmapsvc.report.metrics import METRICS

    comparison = read_comparison(out / "runs")
    metrics = [metric for metric in METRICS if metric.key in _SHOWN]
    titles = [f"{metric.title} ({comparison.unit_of(metric)})" for metric in metrics]
    rows = []
    for contender in comparison.contenders:
        cells = []
        for metric in metrics:
            means, runs = contender.subject_means(metric), contender.run_means(metric)
            spreads = [
                f"{values.std(ddof=1) * metric.factor:.2f}" for values in (means, runs) if len(values) > 1
            ]
            cells.append(" ± ".join([f"{means.mean() * metric.factor:.2f}", *spreads]))
        rows.append((contender.name, len(contender.runs), *cells))
    print_table(("contender", "runs", *titles), rows)
    cases = "SD over test cases, of each one's mean over runs" if len(comparison.subjects) > 1 else ""
    several = any(len(contender.runs) > 1 for contender in comparison.contenders)
    if told := ", then ".join(filter(None, (cases, "SD over runs" if several else ""))):
        typer.echo(f"± {told}")
