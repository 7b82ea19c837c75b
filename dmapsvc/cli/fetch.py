"""`dmapsvc fetch`: Φ of published cases, as NIfTI files on the masks' own grids."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dmapsvc.cli.output import Meter
from dmapsvc.cli.served import asked_dataset
from dmapsvc.errors import BadInput

WHAT = "phi.nii.gz"


def command(
    url: Annotated[str, typer.Argument(metavar="URL", help="A dataset, like http://…/v1/datasets/knees.")],
    cases: Annotated[
        list[str] | None, typer.Argument(metavar="CASE", help="These cases; left out: every one.")
    ] = None,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder for CASE_phi.nii.gz, or a .nii.gz file for one case.")
    ] = Path(),
    replace: Annotated[bool, typer.Option("--replace", help="Download again what is there.")] = False,
) -> None:
    """Download Φ as NIfTI, on the mask's grid.

    A file that is there already is whole, and is not downloaded again.

    For example:

    \b
        dmapsvc fetch http://127.0.0.1:8000/v1/datasets/knees -o maps/
        dmapsvc fetch http://127.0.0.1:8000/v1/datasets/knees case_01 -o phi.nii.gz
    """
    from dmapsvc.client import Client, split_dataset_url

    server, dataset, case = split_dataset_url(url)
    with Client(server) as client:
        with asked_dataset(url):
            client.dataset(dataset)
        wanted = cases or ([case] if case else list(client.cases(dataset)))
        files = _files(wanted, out)
        missing = {case: file for case, file in files.items() if replace or not file.exists()}
        with Meter("fetch", len(missing), "cases") as meter:
            for number, (name, file) in enumerate(missing.items()):
                client.download(dataset, name, WHAT, file, progress=_Shown(meter, number, name))
                meter.show(number + 1)
                meter.log(str(file))
    there = len(files) - len(missing)
    typer.echo(f"{len(missing)} fetched" + (f", {there} were there already" if there else ""))


class _Shown:
    """Shows the bytes of one download as a part of all."""

    def __init__(self, meter: Meter, number: int, case: str) -> None:
        self._meter, self._number, self._case = meter, number, case

    def __call__(self, done: int, total: int | None) -> None:
        part = done / total if total else 0.0
        self._meter.show(self._number + part, f"{self._case} {done / 1e6:.1f} MB")


def _files(cases: list[str], out: Path) -> dict[str, Path]:
    """The file of each case; the folder is made."""
    if out.name.endswith(".nii.gz"):
        if len(cases) != 1:
            raise BadInput(f"-o {out}: one file", f"there are {len(cases)} cases", "Name a folder")
        return {cases[0]: out}
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"-o {out}: {error.strerror}", "wanted a folder", "Name another") from None
    return {case: out / f"{case}_{WHAT}" for case in cases}
