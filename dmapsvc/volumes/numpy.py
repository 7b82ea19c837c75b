"""NumPy's .npy and .npz: (z, y, x) arrays without a frame. Pickles are never loaded."""

from __future__ import annotations

import io
import math
import zipfile
from dataclasses import dataclass
from typing import IO, Any, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from dmapsvc.errors import BadFile, printable
from dmapsvc.listing import first_few
from dmapsvc.volumes.grid import volume_shape
from dmapsvc.volumes.source import Body, Source, check_promise, damaged, ends_early, read_promised
from dmapsvc.volumes.stored import Stored
from dmapsvc.volumes.volume import Header, Kind

_NAMES: dict[Kind, tuple[str, ...]] = {"labels": ("labels", "mask", "arr_0"), "image": ("image", "arr_0")}
"""Which array of an .npz is the volume, if there are several."""
_VERSIONS = {(1, 0): (2, npy.read_array_header_1_0), (2, 0): (4, npy.read_array_header_2_0)}
"""How many bytes the length of the header takes, and what reads both."""
_LONGEST_HEADER = 10_000  # bytes; what NumPy itself parses at most


@dataclass(frozen=True, kw_only=True)
class _Array:
    """What the header of an .npy says; the voxels start at byte `offset`."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    offset: int

    @property
    def size(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def arranged(self, voxels: NDArray[np.uint8], header: Header) -> NDArray[Any]:
        """The bytes as (z, y, x) or (c, z, y, x)."""
        array = voxels.view(self.dtype).reshape(self.shape, order="F" if self.fortran else "C")
        return array.reshape((header.channels, *header.shape) if header.channels > 1 else header.shape)


def open_npy(source: Source) -> Stored:
    """The array of an .npy file: (y, x), (z, y, x), or (c, z, y, x) for an image."""
    source.file.seek(0)
    array = _read_header(source.file, source.name)
    body = Body(compression="none", offset=array.offset, size=array.size)
    body.check(source)
    header = _header(array, source.name)
    return Stored(header=header, load=lambda: array.arranged(body.read(source), header))


def open_npz(source: Source, kind: Kind) -> Stored:
    """The array of an .npz file; of several the one whose name says that it is of this kind, or arr_0."""
    source.file.seek(0)
    archive = zipfile.ZipFile(source.file)
    member = _choose(archive, _NAMES[kind], source.name)
    with archive.open(member) as stream:
        array = _read_header(stream, source.name)
    check_promise(array.size, source.name)
    there = member.file_size - array.offset
    if there < array.size:
        raise ends_early(source.name, max(0, there), array.size)
    header = _header(array, source.name)

    def load() -> NDArray[Any]:
        with archive.open(member) as stream:
            voxels = read_promised(
                cast(io.BufferedIOBase, stream), array.size, source.name, skip=array.offset
            )
            return array.arranged(voxels, header)

    return Stored(header=header, load=load)


def _choose(archive: zipfile.ZipFile, names: tuple[str, ...], name: str) -> zipfile.ZipInfo:
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    if len(members) == 1:
        return next(iter(members.values()))
    for wanted in names:
        if wanted in members:
            return members[wanted]
    listed = printable(first_few(sorted(members), 10)) or "nothing"
    raise BadFile(
        f"{name}: holds {listed}",
        f"wanted one array, or one called {', '.join(names)}",
        "Save that array alone",
    )


def _read_header(stream: IO[bytes], name: str) -> _Array:
    version = npy.read_magic(stream)
    if version not in _VERSIONS:
        raise BadFile(f"{name}: an .npy of version {version}", "wanted a plain array of numbers")
    width, read = _VERSIONS[version]
    prefix = stream.read(width)
    length = int.from_bytes(prefix, "little")
    if length > _LONGEST_HEADER:  # before it is read: of an .npz it may inflate to gigabytes
        raise BadFile(f"{name}: its header has {length} bytes", "wanted a plain array of numbers")
    text = stream.read(length)
    try:
        shape, fortran, dtype = read(io.BytesIO(prefix + text))
    except MemoryError as error:  # what Python's parser says of brackets within brackets
        raise damaged(name, error) from error
    if dtype.hasobject:
        raise BadFile(
            f"{name}: holds pickled Python objects", "pickles are never loaded", "Save it as an integer array"
        )
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise BadFile(
            f"{name}: its voxels are {printable(str(dtype), 40)}",
            "wanted integers or floats",
            "Save it as an integer array",
        )
    return _Array(shape=shape, fortran=fortran, dtype=dtype, offset=npy.MAGIC_LEN + width + len(text))


def _header(array: _Array, name: str) -> Header:
    sizes = array.shape
    shape = volume_shape(sizes[-3:] if len(sizes) > 3 else sizes, name)
    return Header(
        format="NumPy",
        shape=shape,
        dtype=array.dtype.newbyteorder("="),
        spacing=None,
        affine=None,
        channels=math.prod(sizes[:-3]),
    )
