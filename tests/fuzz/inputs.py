"""One damaged or invented file for a number: what readers and service are fed with.

An input is made again from its number alone, so that a failure says all that is needed to see it twice.
"""

from __future__ import annotations

import gzip
import tempfile
import warnings
import zlib
from functools import cache
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.fuzz import damage, fields, made
from tests.volumes.samples import make_sample, write_all

_MADE, _BOMB = 0.3, 0.005  # shares of all inputs; the rest are damaged samples


class Input(NamedTuple):
    """A file: what was done to make it, and its content."""

    how: str
    content: bytes


@cache
def samples() -> dict[str, bytes]:
    """Good files of every format, by name; the damaged ones come from them."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a writer's remarks
        return {name: path.read_bytes() for name, path in write_all(Path(folder), make_sample()).items()}


def numbered(number: int) -> Input:
    """The input of a number."""
    random = Random(number)
    kind = random.random()
    if kind < _BOMB:
        maker = random.choice(made.BOMBS)
        return Input(maker.__name__, maker(random))
    if kind < _BOMB + _MADE:
        maker = random.choice(made.MAKERS)
        return Input(maker.__name__, maker(random))
    return damaged(random, random.choice(list(samples())))


def damaged(random: Random, name: str) -> Input:
    """The sample `name`, damaged once or twice; where it is gzipped, as often inside as outside."""
    content = samples()[name]
    inside = content.startswith(b"\x1f\x8b") and random.random() < 0.5
    if inside:
        content = gzip.decompress(content)
    ways = _ways(name, content)
    done = [name]
    for _ in range(random.choice((1, 1, 2))):
        if content:
            way = random.choice(ways)
            done.append(way.__name__)
            content = way(random, content)
    if inside:
        content = gzip.compress(content, 1, mtime=0)
    elif name == "packed.mha" and random.random() < 0.3:
        head, _, _ = content.partition(b"LOCAL\n")
        content = head + b"LOCAL\n" + zlib.compress(random.randbytes(120))
    return Input(" ".join(done), content)


def _ways(name: str, content: bytes) -> tuple[damage.Damage, ...]:
    suffixes = Path(name).suffixes
    if ".nii" in suffixes and not content.startswith(b"\x1f\x8b") and name != "big.nii":
        return (*damage.ANY, *[fields.nifti] * 5)
    if suffixes[0] in (".mgh", ".mgz") and not content.startswith(b"\x1f\x8b"):
        return (*damage.ANY, *[fields.mgh] * 5)
    if suffixes[0] == ".dcm":
        return (*damage.ANY, *[_dicom_of_whole] * 5)
    if suffixes[0] in (".nrrd", ".mha", ".npy"):
        return (*damage.ANY, *damage.TEXT)
    return damage.ANY


def _dicom_of_whole(random: Random, content: bytes) -> bytes:
    """Only a file that nothing was done to yet is parsed: what pydicom does with others is another matter."""
    return fields.dicom(random, content) if content in samples().values() else damage.octets(random, content)
