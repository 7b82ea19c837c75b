"""The surface within a cell, by hand, by symmetry, and against DeepMind's table."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from surface_distance import lookup_tables

from dmapsvc.evaluate.cells import areas, codes
from dmapsvc.spec import Spacing
from tests.evaluate.metric_masks import spacings

UNIT: Spacing = (1.0, 1.0, 1.0)
CORNER = math.sqrt(3) / 8  # a triangle with legs of a half along each axis
EDGE = math.sqrt(1 / 2)  # a rectangle, half-way round an edge
COLUMN = 0b00010001  # corners (0, 0, 0) and (1, 0, 0), one above the other in z


def surface(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], spacing: Spacing = UNIT) -> float:
    return float(areas(spacing)[codes(mask)].sum())


def test_one_voxel_is_an_octahedron() -> None:
    assert surface(np.ones((1, 1, 1), bool)) == pytest.approx(8 * CORNER)


def test_a_cube_has_rounded_edges_and_corners() -> None:
    size = 5
    faces, edges = 6 * (size - 1) ** 2, 12 * (size - 1) * EDGE
    assert surface(np.ones((size,) * 3, bool)) == pytest.approx(faces + edges + 8 * CORNER)


def test_a_column_along_z_with_spacing() -> None:
    legs = math.hypot(2.0 / 2, 3.0 / 2)  # across the edge, in y and x
    assert areas((7.0, 2.0, 3.0))[COLUMN] == pytest.approx(7.0 * legs)


@pytest.mark.parametrize(
    ("corners", "area"),
    [
        (0b00000000, 0),
        (0b00000001, CORNER),
        (0b00000011, EDGE),
        (0b00000110, 2 * CORNER),  # across a face: apart
        (0b10000001, 2 * CORNER),  # across the cell: apart
        (0b00000111, 1 / 2 + 3 * CORNER),  # three of a face: half the face, and a slope
        (0b00001111, 1),
        (0b00010111, 6 * CORNER),  # a corner and its three neighbours: a regular hexagon
        (0b10001011, 4 * CORNER + EDGE),  # four in a row: most of that hexagon, and two flaps
        (0b10010110, 4 * CORNER),  # no two are neighbours
        (0b11111110, CORNER),
        (0b11111111, 0),
    ],
)
def test_cells_by_hand(corners: int, area: float) -> None:
    assert areas(UNIT)[corners] == pytest.approx(area)


@given(spacings)
def test_areas_are_those_of_surface_distance(spacing: Spacing) -> None:
    table = lookup_tables.create_table_neighbour_code_to_surface_area(spacing)
    kernel = lookup_tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL.ravel()
    theirs = [sum(int(kernel[bit]) for bit in range(8) if code >> bit & 1) for code in range(256)]
    np.testing.assert_allclose(areas(spacing), table[theirs], rtol=1e-12)


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
def test_turning_and_mirroring_a_cell_with_its_spacing_changes_nothing(axes: tuple[int, int, int]) -> None:
    corners = (np.arange(256)[:, None] >> np.arange(8) & 1).astype(bool).reshape(-1, 2, 2, 2)
    turned = corners.transpose(0, *(axis + 1 for axis in axes))[:, ::-1]
    found = [int(codes(cell)[1, 1, 1]) for cell in turned]
    sides = (0.7, 0.36, 1.9)
    np.testing.assert_allclose(areas((sides[axes[0]], sides[axes[1]], sides[axes[2]]))[found], areas(sides))
