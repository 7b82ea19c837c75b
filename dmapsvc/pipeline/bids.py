"""Which image goes with which mask by BIDS' file names: `sub-01_ses-1_desc-bones_dseg`, `sub-01_ses-1_T1w`.

A name is entities, `key-value` each, and a suffix (https://bids-specification.readthedocs.io). Only names are
looked at; folders are not, since BIDS says in the name again what they say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dmapsvc.errors import BadInput

_MASKS = ("dseg", "mask", "probseg")  # suffixes
_FIRST = "T1w"  # the suffix of the image that is taken where a subject has several
_DRAWN = ("desc", "seg", "atlas", "label", "hemi")  # entities that say what was drawn or done, not scanned
_NATIVE = ("orig", "T1w")  # values of `space` that are the image's own grid


@dataclass(frozen=True, kw_only=True)
class BidsName:
    """The name of a file without its ending, taken apart."""

    entities: Mapping[str, str]
    suffix: str

    @classmethod
    def parse(cls, name: str) -> BidsName | None:
        """'sub-01_T1w' taken apart; None for what is no subject's file."""
        *pairs, suffix = name.split("_")
        split = [pair.partition("-") for pair in pairs]
        if not split or not suffix.isalnum() or not all(key and value for key, _, value in split):
            return None
        entities = {key: value for key, _, value in split}
        return cls(entities=entities, suffix=suffix) if "sub" in entities else None

    @property
    def session(self) -> tuple[str, str | None]:
        """The subject and its session, if it has any."""
        return self.entities["sub"], self.entities.get("ses")

    @property
    def scan(self) -> dict[str, str]:
        """The entities that say how it was scanned and on which grid it lies."""
        scan = {key: value for key, value in self.entities.items() if key not in _DRAWN}
        if scan.get("space") in _NATIVE:
            del scan["space"]
        return scan


class BidsImages:
    """The images of a folder by subject and session; `files` are their names, without ending, and paths."""

    def __init__(self, files: Iterable[tuple[str, Path]]) -> None:
        self._sessions: dict[tuple[str, str | None], list[tuple[BidsName, Path]]] = {}
        for text, path in files:
            name = BidsName.parse(text)
            if name is not None and name.suffix not in _MASKS:
                self._sessions.setdefault(name.session, []).append((name, path))

    def image_of(self, mask: str) -> Path | None:
        """The image that the mask of this name, without its ending, was drawn on; None if none is here.

        It is of the mask's subject and session, on the grid that the mask's name says, and all that its own
        name says of the scan stands in the mask's. Of several, the T1w that says most is it; then the one
        that was processed least. Raises BadInput if that leaves two.
        """
        name = BidsName.parse(mask)
        if name is None or name.suffix not in _MASKS:
            return None
        fits = [(image, path) for image, path in self._sessions.get(name.session, ()) if _fits(image, name)]
        fits.sort(key=lambda fit: _rank(fit[0]))
        if len(fits) > 1 and _rank(fits[0][0]) == _rank(fits[1][0]):
            raise BadInput(
                f"{fits[0][1]} and {fits[1][1]} both go with {mask}",
                "a case has one image",
                "Leave one of them in the folder",
            )
        return fits[0][1] if fits else None


def _fits(image: BidsName, mask: BidsName) -> bool:
    of_image, of_mask = image.scan, mask.scan
    same_grid = all(of_image.get(key) == of_mask.get(key) for key in ("space", "res", "den"))
    return same_grid and of_image.items() <= of_mask.items()


def _rank(image: BidsName) -> tuple[bool, int, int]:
    return image.suffix != _FIRST, -len(image.scan), len(image.entities)
