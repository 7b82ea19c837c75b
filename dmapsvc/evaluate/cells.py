"""The surface of a mask finer than a voxel: how much of it lies between eight neighbouring voxel centres.

A cell is the cube between the centres of 2×2×2 neighbours, and its code says which of them are in the mask.
The surface within follows from the code alone; what is made of the surfaces of two masks is in `surfaces`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray

from dmapsvc.evaluate.masks import Mask
from dmapsvc.spec import Spacing

FULL = 255
"""The code of a cell whose eight corners are all in the mask."""

_AXES = (4, 2, 1)  # corner 4z + 2y + x of a cell: an axis is the bit that a step along it flips

_Cut = tuple[int, int]  # a corner in the mask, and the axis along which its neighbour is not
_Point = NDArray[np.float64]


def codes(mask: Mask) -> NDArray[np.uint8]:
    """The code of each cell of a bool mask (z, y, x), one more along each axis than voxels.

    Bit 4z + 2y + x is the voxel at that corner. Outside the array is background.
    """
    voxels = np.pad(mask, 1).view(np.uint8)
    pairs = _joined(voxels[:, :, :-1], voxels[:, :, 1:], 1)
    squares = _joined(pairs[:, :-1], pairs[:, 1:], 2)
    return _joined(squares[:-1], squares[1:], 4)


def areas(spacing: Spacing) -> NDArray[np.float64]:
    """The area of the surface in a cell of each code, in the square of the spacing's unit."""
    sides = np.asarray(spacing, np.float64)
    scaled = _triangles() * (sides.prod() / sides)
    lengths: NDArray[np.float64] = np.sqrt((scaled**2).sum(axis=-1))
    return np.asarray(lengths.sum(axis=-1))


def _joined(low: NDArray[np.uint8], high: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    return np.bitwise_or(low, np.left_shift(high, bits, dtype=np.uint8))


@cache
def _triangles() -> NDArray[np.float64]:
    """(256, 4, 3): the vector areas (z, y, x) of a code's triangles at unit spacing, padded with zeros.

    The surface passes half-way between neighbours of which one is in the mask (marching cubes, Lorensen and
    Cline 1987). Where that leaves a choice, it is made as Nikolov et al. 2018 make it for the surface Dice:
    the fewer corners are the ones enclosed, and corners that meet across a face alone are kept apart.
    """
    table = np.zeros((FULL + 1, 4, 3))
    for code in range(FULL + 1):
        corners = frozenset(corner for corner in range(8) if code >> corner & 1)
        enclosed = corners if len(corners) <= 4 else frozenset(range(8)) - corners
        found = [triangle for loop in _loops(enclosed) for triangle in _triangulated(loop)]
        table[code, : len(found)] = np.reshape(found, (-1, 3))
    return table


def _loops(enclosed: frozenset[int]) -> Iterator[list[_Point]]:
    """The closed lines in which the surface meets the faces of the cell, through the middles of cut edges."""
    left = {(corner, axis) for corner in enclosed for axis in _AXES if corner ^ axis not in enclosed}
    while left:
        cut = min(left)
        across = next(axis for axis in _AXES if axis != cut[1])
        loop = []
        while cut in left:
            left.remove(cut)
            loop.append(_middle(cut))
            cut, across = _next(cut, across, enclosed), 7 ^ cut[1] ^ across
        yield loop


def _next(cut: _Cut, across: int, enclosed: frozenset[int]) -> _Cut:
    """The other end of the line from a cut edge, in the face that the axis `across` spans with it."""
    corner, axis = cut
    if corner ^ across not in enclosed:
        return corner, across
    if corner ^ across ^ axis not in enclosed:
        return corner ^ across, axis
    return corner ^ across ^ axis, across


def _middle(cut: _Cut) -> _Point:
    corner, axis = cut
    ends = corner, corner ^ axis
    return np.array([sum(bool(end & bit) for end in ends) / 2 for bit in _AXES])


def _triangulated(loop: list[_Point]) -> list[_Point]:
    """The vector areas of a loop's triangles, cut as the largest area at unit spacing asks for.

    A loop in one plane may be cut in any way. The two others go around three corners of a face and around
    four in a row; several cuts give them their largest area, and these have one area at any spacing.
    """
    return max(_cuts(loop), key=lambda triangles: sum(float(np.linalg.norm(each)) for each in triangles))


def _cuts(loop: list[_Point]) -> Iterator[list[_Point]]:
    """Every way to cut a polygon into triangles, as their vector areas."""
    if len(loop) < 3:
        yield []
        return
    start, end = loop[0], loop[-1]
    for middle in range(1, len(loop) - 1):
        triangle = np.cross(loop[middle] - start, end - start) / 2
        for before in _cuts(loop[: middle + 1]):
            for behind in _cuts(loop[middle:]):
                yield [*before, triangle, *behind]
