"""`dmapsvc train`: a V-Net learns from patches of a dataset, the Φ of which weighs its loss."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmapsvc.cli.options import parse_sides
from dmapsvc.cli.output import Meter
from dmapsvc.cli.served import asked_dataset
from dmapsvc.errors import BadInput, DmapsvcError

if TYPE_CHECKING:
    from dmapsvc.train.loop import Step
    from dmapsvc.train.settings import TrainSettings

_UNSCALED = (
    "scale none: Φ weighs as the paper writes it; on a large background that gives the background nearly "
    "all of the weight"
)


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
    rotation: Annotated[
        float, typer.Option("--rotation", help="Patches turn in-plane by up to so many degrees.")
    ] = 15.0,
    threads: Annotated[int, typer.Option("--threads", help="Threads that read patches.")] = 2,
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
        rotation=rotation,
        threads=threads,
        device=device,  # type: ignore[arg-type]  # checked there
    )
    where = [f"training on {_device(settings)}, checkpoint {out}", *([_UNSCALED] if scale == "none" else [])]
    with Meter("train", steps, "steps") as meter:
        shown = _Shown(meter, where)
        try:
            with asked_dataset(store):
                train(settings, shown)
        except KeyboardInterrupt:
            meter.say(_saved(out))
            raise
    typer.echo(f"{out}: {shown.last or f'it has its {steps} steps already'}")


def _device(settings: TrainSettings) -> str:
    """'cpu' or 'cuda', whichever the training takes; raises BadInput for CUDA where there is none."""
    import torch

    there = torch.cuda.is_available()
    if settings.device == "cuda" and not there:
        raise BadInput("--device cuda", "PyTorch sees no CUDA device here", "Take --device auto or cpu")
    return "cuda" if there and settings.device != "cpu" else "cpu"


def _saved(out: Path) -> str:
    """At which step a training that was stopped is kept."""
    from dmapsvc.train.checkpoint import Checkpoint

    return f"saved at step {Checkpoint.load(out).step} in {out}" if out.exists() else "no step to save yet"


class _Shown:
    """Says once that it goes, and the lines of `where`; shows each step, and keeps what the last was like."""

    def __init__(self, meter: Meter, where: list[str]) -> None:
        self._meter, self._where = meter, where
        self.last = ""

    def __call__(self, step: Step) -> None:
        if not self.last:
            for line in self._where:
                self._meter.say(line)
        now = f"loss {step.loss:.4f}, {step.patches_per_second:.1f} patches/s"
        self.last = f"step {step.step} of {step.steps}, {now}"
        self._meter.show(step.step, now)
