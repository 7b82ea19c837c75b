"""Which files of a folder are which cases: names, image pairs, and the collisions that stop everything.

Looks at names only; no file is opened here. How BIDS names pair is in `bids.py`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

from dmapsvc.errors import BadInput, BadName, printable
from dmapsvc.pipeline.bids import BidsImages
from dmapsvc.spec import check_name
from dmapsvc.volumes import SUFFIXES

FIRST_CHANNEL, SECOND_CHANNEL = "_0000", "_0001"  # nnU-Net: <case>_<channel, 4 digits>


@dataclass(frozen=True, kw_only=True)
class CaseFile:
    """A case to be made: its name, its mask's file, and the image that pairs with it, if there is one."""

    case: str
    mask: Path
    image: Path | None = None


def find_cases(
    masks: Path | Sequence[Path], images: Path | None = None, *, pattern: str | None = None
) -> list[CaseFile]:
    """The cases of a folder of masks (with everything below it), of one file, or of a list of either; by
    name.

    A case is called by its path below the folder without the file's ending, `/` written `__`; a file that is
    given itself by its own name. Hidden files and folders are passed over, so is a folder of images inside
    the folder of masks, and so is every file whose ending is not of a volume format. With a `pattern` (`*`,
    `?`, `[…]`; `*` stands for `/` too) only files whose path below the folder fits it are masks, or, if there
    is no `/` in it, whose name does.

    An image belongs to the mask of the same name, or else, as nnU-Net writes it, of the same name with
    `_0000`, or else to that of the same scan by its name in BIDS. A mask without an image has none.

    Raises BadInput when nothing is there and for an image in several files, one a channel or one a contrast;
    BadName for a name that no case may have, and when two files would be one case.
    """
    cases = _files_by_name(masks, inner=images, pattern=pattern)
    for case, mask in cases.items():
        _check_case(case, mask)
    pictures = _Images(images, cases.values())
    return [
        CaseFile(case=case, mask=mask, image=pictures.image_of(case, mask))
        for case, mask in sorted(cases.items())
    ]


def shard_of(cases: Sequence[CaseFile], shard: tuple[int, int]) -> list[CaseFile]:
    """The cases of shard I of N: every N-th from the I-th on; all N together are all of them, each once.

    Raises BadInput unless 1 ≤ I ≤ N.
    """
    number, count = shard
    if not 1 <= number <= count:
        raise BadInput(f"shard {number}/{count}", "wanted I/N, with I from 1 to N", "Like 1/8, 2/8, … 8/8")
    return list(cases[number - 1 :: count])


def unused_images(cases: Sequence[CaseFile], images: Path) -> list[Path]:
    """The image files below `images` that go with none of `cases`."""
    used = {case.image for case in cases}
    pictures = _Images(images, (case.mask for case in cases))
    return [file for file in pictures.by_name.values() if file not in used]


def image_names(case: str) -> tuple[str, str]:
    """What the image of a case may be called, without its ending."""
    return case, case + FIRST_CHANNEL


def case_name(file: Path, folder: Path | None = None) -> str:
    """What the case of a file is called: its path below `folder` without its ending, `/` written `__`."""
    relative = file.relative_to(folder) if folder else Path(file.name)
    return "__".join((*relative.parts[:-1], _without_ending(file.name)))


class _Images:
    """The image files below `folder`, if there is one; `masks`, which may lie there too, are none of them."""

    def __init__(self, folder: Path | None, masks: Iterable[Path]) -> None:
        self.by_name: dict[str, Path] = {}
        if folder is not None:
            others = {mask.absolute() for mask in masks}
            found = _files_by_name(folder).items()
            self.by_name = {name: file for name, file in found if file.absolute() not in others}

    @cached_property
    def _bids(self) -> BidsImages:
        return BidsImages((_without_ending(file.name), file) for file in self.by_name.values())

    def image_of(self, case: str, mask: Path) -> Path | None:
        if case in self.by_name:
            return self.by_name[case]
        first, second = (self.by_name.get(case + channel) for channel in (FIRST_CHANNEL, SECOND_CHANNEL))
        if first and second:
            raise BadInput(
                f"{first} and {second} are channels of one image",
                "an image is one file",
                "Put the channels into one file, or leave one channel in the folder",
            )
        return first or self._bids.image_of(_without_ending(mask.name))


def _files_by_name(
    given: Path | Sequence[Path], inner: Path | None = None, pattern: str | None = None
) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in [given] if isinstance(given, Path) else given:
        for name, file in _named_files(path, inner):
            if pattern is not None and not _fits(file, path, pattern):
                continue
            if name in files:
                raise BadName(
                    f"{files[name]} and {file} are both called {name!r}",
                    "each case has one mask and one image",
                    "Rename or move one of them",
                )
            files[name] = file
    if not files:
        shown = given if isinstance(given, Path) else "the list of files"
        fitting = "" if pattern is None else f" called {pattern}"
        raise BadInput(f"{shown}: no volume files{fitting}", f"wanted files ending in {', '.join(SUFFIXES)}")
    return files


def _named_files(path: Path, inner: Path | None) -> Iterator[tuple[str, Path]]:
    if path.is_file():
        yield case_name(path), path
    elif path.is_dir():
        for file in _volume_files(path, inner):
            yield case_name(file, path), file
    else:
        raise BadInput(f"{path}: no such file or folder", remedy="Check the path")


def _volume_files(folder: Path, inner: Path | None) -> Iterator[Path]:
    passed = _below(folder, inner)
    for parent, folders, files in os.walk(folder, onerror=_unreadable):
        here = Path(parent)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and here / name != passed)
        for name in sorted(files):
            if not name.startswith(".") and name.lower().endswith(SUFFIXES):
                yield here / name


def _fits(file: Path, folder: Path, pattern: str) -> bool:
    whole = file.relative_to(folder).as_posix() if "/" in pattern else file.name
    return fnmatchcase(whole, pattern)


def _unreadable(error: OSError) -> None:
    raise BadInput(
        f"{printable(str(error.filename), 1000)}: the folder cannot be read ({error.strerror})",
        "nothing that lies in the folder is left out silently",
        "Let it be read, or move it elsewhere; what begins with a dot is passed over",
    )


def _below(folder: Path, inner: Path | None) -> Path | None:
    """`inner` as a walk through `folder`, which follows no links, comes by it; None if it does not."""
    if inner is None:
        return None
    real, top = inner.resolve(), folder.resolve()
    return folder / real.relative_to(top) if real.is_relative_to(top) else None


def _without_ending(name: str) -> str:
    ending = max((end for end in SUFFIXES if name.lower().endswith(end)), key=len, default=None)
    return name[: -len(ending)] if ending else Path(name).stem


def _check_case(case: str, mask: Path) -> None:
    try:
        check_name(case, "case")
    except BadName as error:
        raise BadName(f"{mask}: {error.found}", error.wanted, "Rename the file") from None
