from __future__ import annotations

import math
import pickle
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from dmapsvc.loader.sampling import Positions, Sampler
from dmapsvc.loader.turns import Augment, Turn

SHAPE = (40, 30, 50)


def _sampler(
    cases: int = 5,
    *,
    foreground: float = 0.0,
    seed: int | Sequence[int] = 0,
    patch: tuple[int, int, int] = (8, 10, 12),
    augment: Augment | None = None,
) -> Sampler:
    return Sampler(cases, patch=patch, foreground=foreground, seed=seed, augment=augment)


def _first(sampler: Sampler, numbers: range) -> list[int]:
    return [next(sampler.cases(n)) for n in numbers]


def test_every_round_has_each_case_once_in_an_order_of_its_own() -> None:
    rounds = [_first(_sampler(), range(start, start + 5)) for start in range(0, 50, 5)]
    assert all(sorted(drawn) == [0, 1, 2, 3, 4] for drawn in rounds)
    assert len({tuple(drawn) for drawn in rounds}) > 5


def test_the_others_of_the_round_follow_for_when_a_case_is_gone() -> None:
    order = _first(_sampler(), range(5))
    assert list(_sampler().cases(3)) == [order[3], order[4], *order[:3]]


def test_a_patch_is_a_function_of_seed_and_number_alone() -> None:
    augment = Augment(rotation=180, zoom=(0.5, 2.0))
    sampler = _sampler(foreground=0.5, augment=augment)
    positions = [np.array([[3, 4, 5], [20, 20, 20]], np.uint16)]

    def drawn(sampler: Sampler, n: int) -> object:
        return list(sampler.cases(n)), sampler.corner(n, SHAPE, positions), sampler.turn(n)

    forwards = [drawn(sampler, n) for n in range(20)]
    again = pickle.loads(pickle.dumps(sampler))
    assert [drawn(again, n) for n in reversed(range(20))] == forwards[::-1]
    other = _sampler(foreground=0.5, augment=augment, seed=(0, 1))
    assert not any(drawn(other, n) == forwards[n] for n in range(20))


def test_augmenting_leaves_the_corners_as_they_are() -> None:
    plain, turned = _sampler(), _sampler(augment=Augment(rotation=90))
    assert all(plain.corner(n, SHAPE, []) == turned.corner(n, SHAPE, []) for n in range(20))
    assert plain.turn(3) == Turn() != turned.turn(3)


def test_corners_lie_anywhere_that_the_patch_fits() -> None:
    corners = np.array([_sampler().corner(n, SHAPE, []) for n in range(2000)])
    room = np.subtract(SHAPE, (8, 10, 12))
    assert corners.min(axis=0).tolist() == [0, 0, 0]
    assert corners.max(axis=0).tolist() == room.tolist()
    standard_errors = np.abs(corners.mean(axis=0) - room / 2) / (room / math.sqrt(12 * 2000))
    assert (standard_errors < 4).all()


def test_a_volume_smaller_than_the_patch_lies_in_its_middle() -> None:
    corners = {_sampler().corner(n, (4, 10, 50), [])[:2] for n in range(10)}
    assert corners == {(-2, 0)}


@pytest.mark.parametrize(
    ("position", "corner"),
    [((20, 15, 25), (16, 10, 19)), ((1, 29, 0), (0, 20, 0)), ((39, 2, 48), (32, 0, 38))],
)
def test_foreground_is_centred_as_far_as_the_border_lets_it(
    position: tuple[int, int, int], corner: tuple[int, int, int]
) -> None:
    foreground: list[Positions] = [np.array([position], np.uint16)]
    assert _sampler(foreground=1.0).corner(0, SHAPE, foreground) == corner


def test_foreground_has_its_share_and_all_classes_of_the_case_alike() -> None:
    rare, common = np.full((1, 3), 20, np.uint16), np.tile(np.array([[20, 20, 24]], np.uint16), (4000, 1))
    sampler = _sampler(foreground=0.6, patch=(1, 1, 1))
    counts = Counter(sampler.corner(n, (40, 40, 40), [rare, common]) for n in range(3000))
    assert counts[20, 20, 20] == pytest.approx(900, abs=4 * math.sqrt(900 * 0.7))
    assert counts[20, 20, 24] == pytest.approx(900, abs=4 * math.sqrt(900 * 0.7))
    assert len(counts) > 1000


def test_a_case_without_foreground_is_drawn_from_anywhere() -> None:
    assert len({_sampler(foreground=1.0).corner(n, SHAPE, []) for n in range(20)}) == 20
