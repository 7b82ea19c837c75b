"""`dmapsvc check`: whether a dataset holds what it promises, shard by shard."""

from __future__ import annotations

from itertools import count
from typing import Annotated

import typer

from dmapsvc.cli.output import Meter, plural
from dmapsvc.errors import BadInput


def command(
    store: Annotated[
        str, typer.Argument(metavar="STORE", help="A dataset, like knees.zarr or s3://bucket/knees.zarr.")
    ],
    case: Annotated[str | None, typer.Argument(metavar="CASE", help="Check this case only.")] = None,
) -> None:
    """Check that a dataset holds what it promises.

    Every shard of every case is decoded and compared with what the case says of itself. Exit code 1 if
    anything is found.

    For example:

    \b
        dmapsvc check knees.zarr
    """
    from dmapsvc.loader.source import is_url
    from dmapsvc.store import check
    from dmapsvc.store.s3 import is_bucket
    from dmapsvc.store.stores import open_dataset_at

    if is_url(store) and not is_bucket(store):
        raise BadInput(
            store,
            "check reads a dataset where it lies, no service's",
            "Where the dataset lies, run `dmapsvc check FOLDER.zarr`",
        )
    dataset = open_dataset_at(store)
    cases = [case] if case else dataset.cases()
    turns = count()
    findings = 0
    damaged: set[str] = set()
    with Meter("check", len(cases), "cases") as meter:
        for finding in check(dataset, case, on_case=lambda name: meter.show(next(turns), name)):
            findings += 1
            if finding.case is not None:
                damaged.add(finding.case)
            meter.say(f"{finding.case or dataset.name}: {finding.found}. {finding.remedy}.")
    sound = len(cases) - len(damaged)
    typer.echo(f"{plural(sound, 'case')} sound" + (f", {len(damaged)} damaged" if damaged else ""))
    raise typer.Exit(1 if findings else 0)
