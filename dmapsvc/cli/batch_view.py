"""What `dmapsvc view --batch` draws: a batch as the loader makes it, and the same patches rotated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dmapsvc.errors import DmapsvcError
from dmapsvc.region import Scale
from dmapsvc.spec import coarsest_axis

if TYPE_CHECKING:
    from dmapsvc.figures import PatchArrays, TurnedPatch
    from dmapsvc.loader.batch import Batch
    from dmapsvc.loader.source import CaseSource

_PHI = {"none": "Φ, unscaled", "region": "Φ over its region's maximum", "balanced": "Φ, balanced"}


@dataclass(frozen=True, kw_only=True)
class BatchView:
    """Which batch: how many patches of which sides (z, y, x), how Φ is scaled, the seed, and ± how many
    degrees they are rotated.
    """

    patches: int
    sides: tuple[int, int, int]
    scale: Scale
    seed: int
    rotation: float


def batch_png(store: str, view: BatchView) -> bytes:
    """The first batch of a `PatchLoader` of `store`, a folder or URL, plain and rotated, as a PNG file.

    Raises what `PatchLoader` raises, and DmapsvcError where there is no torch.
    """
    try:
        from dmapsvc.loader.patchloader import PatchLoader
        from dmapsvc.loader.sampling import Sampler
        from dmapsvc.loader.source import open_source
        from dmapsvc.loader.turns import Augment
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise DmapsvcError(
            "PyTorch is not installed", "batches need it", "Install it: pip install 'dmapsvc[train]'"
        ) from None
    from dmapsvc.figures import batch_figure, figure_png

    source, augment = open_source(store, patience=0), Augment(rotation=view.rotation)

    def first(augment: Augment | None) -> Batch:
        loader = PatchLoader(
            source,
            patch=view.sides,
            batch=view.patches,
            scale=view.scale,
            seed=view.seed,
            augment=augment,
            device="cpu",
        )
        with loader:
            return next(iter(loader))

    # where a patch is drawn and how it is turned are decided apart, so both batches show the same places
    sampler = Sampler(1, patch=view.sides, foreground=0, seed=view.seed, augment=augment)
    angles = [math.degrees(sampler.turn(number).angle) for number in range(view.patches)]
    figure = batch_figure(
        _pairs(source, first(None), first(augment), angles),
        title=f"A batch of {source.name}: as it lies (left), and with augmentation (right)",
        phi=_PHI[view.scale],
    )
    return figure_png(figure)


def _pairs(source: CaseSource, plain: Batch, turned: Batch, angles: list[float]) -> list[TurnedPatch]:
    from dmapsvc.figures import TurnedPatch

    pairs = []
    for number, (case, angle) in enumerate(zip(plain["case"], angles, strict=True)):
        spacing = source.record(case).spacing
        z, y, x = plain["corner"][number].tolist()
        pairs.append(
            TurnedPatch(
                title=f"{case}, corner (z, y, x) = ({z}, {y}, {x})",
                turn=f"rotated by {angle:+z.1f}°",
                plain=_arrays(plain, number),
                turned=_arrays(turned, number),
                axis=coarsest_axis(spacing),
                spacing=spacing or (1.0, 1.0, 1.0),
            )
        )
    return pairs


def _arrays(batch: Batch, number: int) -> PatchArrays:
    """One patch of a batch, its first channel."""
    from dmapsvc.figures import PatchArrays

    return PatchArrays(
        image=batch["image"][number, 0].numpy(),
        label=batch["label"][number].numpy(),
        phi=batch["phi"][number].numpy(),
    )
