"""`dmapsvc train`: a V-Net learns from patches of a dataset, the Φ of which weighs its loss."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmapsvc.cli.options import parse_sides
from dmapsvc.cli.output import Meter
from dmapsvc.errors import DmapsvcError

if TYPE_CHECKING:
    from dmapsvc.train.loop import Step


def command(
    store: Annotated[str, typer.Argument(metavar="STORE|URL", help="A local dataset, or its URL.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The checkpoint; gone on from if it is there.")],
    steps: Annotated[
        int, typer.Option("--steps", help="Steps in all, those of earlier runs included.")
    ] = 1000,
    patch: Annotated[
        str, typer.Option("--patch", help="Sides z,y,x of a patch in voxels, multiples of 16.")
    ] = "64,64,64",
    batch: Annotated[int, typer.Option("--batch", help="Patches a step.")] = 2,
    width: Annotated[int, typer.Option("--width", help="Channels of the V-Net's first stage.")] = 16,
    scale: Annotated[
        str,
        typer.Option("--scale", help="How Φ weighs: region (Φ / M), balanced, or none (the paper's letter)."),
    ] = "region",
    lr: Annotated[float, typer.Option("--lr", help="Adam's learning rate.")] = 1e-4,
    seed: Annotated[int, typer.Option("--seed", help="Decides weights and patches.")] = 0,
    workers: Annotated[int, typer.Option("--workers", help="Processes that read patches.")] = 2,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Train a V-Net on patches of image, label and Φ.

    The loss is penalised cross-entropy. Every case needs an image. Ctrl-C saves the checkpoint; the same
    command goes on from it.

    For example:

    \b
        dmapsvc train knees.zarr -o knees.pt --steps 5000 --patch 64,64,64
        dmapsvc train http://127.0.0.1:8000/v1/datasets/knees -o knees.pt
    """
    sides = parse_sides(patch)
    try:
        from dmapsvc.train.loop import train
        from dmapsvc.train.settings import TrainSettings
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise DmapsvcError(
            "PyTorch is not installed", "training needs it", "Install it: pip install 'dmapsvc[train]'"
        ) from None
    settings = TrainSettings(
        location=store,
        out=out,
        steps=steps,
        patch=sides,
        batch=batch,
        width=width,
        scale=scale,  # type: ignore[arg-type]  # checked there
        lr=lr,
        seed=seed,
        workers=workers,
        device=device,  # type: ignore[arg-type]  # checked there
    )
    with Meter("train", steps, "steps") as meter:
        shown = _Shown(meter)
        train(settings, shown)
    typer.echo(f"{out}: {shown.last or f'it has its {steps} steps already'}")


class _Shown:
    """Shows each step, and keeps what the last was like."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.last = ""

    def __call__(self, step: Step) -> None:
        now = f"loss {step.loss:.4f}, {step.patches_per_second:.1f} patches/s"
        self.last = f"step {step.step} of {step.steps}, {now}"
        self._meter.show(step.step, now)
