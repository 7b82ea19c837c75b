"""What the commands say of masks and images that found no partner."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dmapsvc.cli.output import plural
from dmapsvc.listing import first_few

_SHOWN = 8  # cases that are listed by name


def pairing(without_image: Sequence[str], unused_images: Sequence[Path]) -> list[str]:
    """Lines about the cases that have no image, the names that were looked for, and the images left over."""
    from dmapsvc.pipeline import image_names

    lines = []
    if without_image:
        named = first_few(without_image, _SHOWN)
        looked = " or ".join(image_names(without_image[0]))
        lines.append(
            f"no image for {plural(len(without_image), 'case')}: {named}; looked for files called {looked}"
        )
    if unused_images:
        count = plural(len(unused_images), "image file")
        lines.append(f"{count} left unused, the first {unused_images[0]}: no mask is called so")
    return lines
