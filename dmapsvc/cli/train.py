"""`dmapsvc train`: a network learns from patches of a dataset, by a loss that Φ weighs.

What the flags mean, and which values can be, `TrainSettings` decides; they are its fields.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dmapsvc.cli.extras import train_extra
from dmapsvc.cli.options import is_given, parse_sides
from dmapsvc.cli.output import Meter
from dmapsvc.cli.served import asked_dataset
from dmapsvc.cli.train_view import TrainView
from dmapsvc.errors import BadInput
from dmapsvc.train.config import read_config
from dmapsvc.train.names import LOSSES, NETWORKS
from dmapsvc.train.settings import FIELDS, TrainSettings

_NET, _PATCHES, _COURSE, _MACHINE = "Network and loss", "Patches", "Course", "Machine"


def command(
    context: typer.Context,
    location: Annotated[
        str | None, typer.Argument(metavar="STORE|URL", help="A local dataset, or its URL.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The run folder; a training that is there goes on.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Settings in TOML, or a run's settings.json; a flag counts more."),
    ] = None,
    net: Annotated[str, typer.Option("--net", help=f"{', '.join(NETWORKS)}.", rich_help_panel=_NET)] = "vnet",
    width: Annotated[
        int, typer.Option("--width", help="Channels of its first stage.", rich_help_panel=_NET)
    ] = 16,
    loss: Annotated[
        str, typer.Option("--loss", help=f"{', '.join(LOSSES)}.", rich_help_panel=_NET)
    ] = "penalty",
    scale: Annotated[
        str,
        typer.Option(
            "--scale",
            help="How Φ weighs: region (Φ / M), balanced, or none (the paper's letter).",
            rich_help_panel=_NET,
        ),
    ] = "region",
    patch: Annotated[
        str,
        typer.Option(
            "--patch",
            help="Sides z,y,x in voxels, multiples of 16 (8 for some networks).",
            rich_help_panel=_PATCHES,
        ),
    ] = "64,64,64",
    batch: Annotated[
        int, typer.Option("--batch", help="Patches a step, of each process.", rich_help_panel=_PATCHES)
    ] = 2,
    foreground: Annotated[
        float,
        typer.Option(
            "--foreground", help="Share of patches centred on a labelled voxel.", rich_help_panel=_PATCHES
        ),
    ] = 0.5,
    rotation: Annotated[
        float,
        typer.Option(
            "--rotation", help="Patches turn in-plane by up to so many degrees.", rich_help_panel=_PATCHES
        ),
    ] = 15.0,
    split: Annotated[
        Path | None,
        typer.Option(
            "--split",
            help="JSON file with the cases of train, valid and test; left out: 25/5/10, by --split-seed.",
            rich_help_panel=_PATCHES,
        ),
    ] = None,
    split_seed: Annotated[
        int, typer.Option("--split-seed", help="Decides that split.", rich_help_panel=_PATCHES)
    ] = 0,
    steps: Annotated[
        int,
        typer.Option(
            "--steps", help="Steps in all, those of earlier runs included.", rich_help_panel=_COURSE
        ),
    ] = 5000,
    lr: Annotated[float, typer.Option("--lr", help="Adam's learning rate.", rich_help_panel=_COURSE)] = 1e-4,
    schedule: Annotated[
        str,
        typer.Option(
            "--schedule", help="Of the rate: constant, or cosine (to 0 at --steps).", rich_help_panel=_COURSE
        ),
    ] = "constant",
    validate_every: Annotated[
        int, typer.Option("--validate-every", help="Steps between validations.", rich_help_panel=_COURSE)
    ] = 250,
    select: Annotated[
        str,
        typer.Option(
            "--select",
            help="What the best checkpoint is best in: g_dsc (Dice) or b_dsc (Dice of the boundaries).",
            rich_help_panel=_COURSE,
        ),
    ] = "g_dsc",
    patience: Annotated[
        int,
        typer.Option(
            "--patience",
            help="Validations without improvement that end it; 0: none do.",
            rich_help_panel=_COURSE,
        ),
    ] = 0,
    seed: Annotated[
        int, typer.Option("--seed", help="Decides weights and patches.", rich_help_panel=_COURSE)
    ] = 0,
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            help="auto, float32, bfloat16 or float16; auto: 16 bits on CUDA.",
            rich_help_panel=_MACHINE,
        ),
    ] = "auto",
    device: Annotated[
        str, typer.Option("--device", help="auto, cpu or cuda.", rich_help_panel=_MACHINE)
    ] = "auto",
    threads: Annotated[
        int, typer.Option("--threads", help="Threads that read patches.", rich_help_panel=_MACHINE)
    ] = 2,
    save_every: Annotated[
        int, typer.Option("--save-every", help="Steps between checkpoints.", rich_help_panel=_MACHINE)
    ] = 250,
) -> None:
    """Train a network on patches of image, label and Φ.

    Every case of the split needs an image. Ctrl-C saves; the same command goes on. The run folder gets
    last.pt and best.pt, settings.json, split.json, history.csv, and tensorboard/.

    For example:

    \b
        dmapsvc train knees.zarr -o run --steps 5000 --patch 64,64,64
        dmapsvc train http://127.0.0.1:8000/v1/datasets/knees -o run
        dmapsvc train --config train.toml --seed 1 -o run-1
        torchrun --nproc-per-node 2 -m dmapsvc train knees.zarr -o run
    """
    settings = _settings(context, config)
    with train_extra():
        from dmapsvc.train.loop import train
        from dmapsvc.train.parallel import leads

        if not leads():
            train(settings)
            return
        with Meter("train", settings.steps, "steps", rate=False, steady=True) as meter:
            shown = TrainView(meter, settings)
            try:
                with asked_dataset(str(settings.location)):
                    train(settings, shown.step, shown.start, shown.validating, shown.save)
            except KeyboardInterrupt:
                meter.say(shown.kept())
                raise
    typer.echo(f"{settings.out}: {shown.ended()}")


def _settings(context: typer.Context, config: Path | None) -> TrainSettings:
    """The settings that the file `config` and the flags ask for; what is given as a flag counts."""
    flags = {name: context.params[name] for name in FIELDS if is_given(context, name)}
    if "patch" in flags:
        flags["patch"] = parse_sides(flags["patch"])
    values: dict[str, Any] = (read_config(config) if config is not None else {}) | flags
    for name, missing, remedy in (
        ("location", "no dataset", "Name a store or a URL, as in dmapsvc train knees.zarr -o run"),
        ("out", "no run folder", "Name one, as in -o run"),
    ):
        if name not in values:
            raise BadInput(missing, "a training wants a dataset and a folder for what it makes", remedy)
    return TrainSettings(**values)
