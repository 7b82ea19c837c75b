"""What the network scores on the cases that are kept for it, while it learns.

The cases are segmented whole and nothing is cleaned; the metrics are those of `dmapsvc.evaluate`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dmapsvc.evaluate.boundaries import boundary_dice
from dmapsvc.evaluate.overlap import dice
from dmapsvc.loader.classes import Classes
from dmapsvc.loader.source import CaseSource
from dmapsvc.train.history import Validation
from dmapsvc.train.parallel import Group
from dmapsvc.train.precision import MixedPrecision
from dmapsvc.train.predict import WholeCase, read_case, segment

KEPT_BYTES = 2 << 30  # of cases that stay in memory from one validation to the next; others are read again


class Validator:
    """Scores networks on `cases` of `source`, which the processes of `group` share among them.

    `classes`: the label of each class, 0 first. The network sees windows of the sides `patch`.
    """

    def __init__(
        self,
        source: CaseSource,
        cases: Sequence[str],
        *,
        classes: Classes,
        patch: tuple[int, int, int],
        precision: MixedPrecision,
        group: Group,
    ) -> None:
        self._source, self._cases, self._classes = source, tuple(cases), classes
        self._patch, self._precision, self._group = patch, precision, group
        self._kept: dict[str, WholeCase] = {}
        self._room = KEPT_BYTES

    def score(
        self, net: nn.Module, step: int, on_progress: Callable[[float, int], None] = lambda done, total: None
    ) -> Validation:
        """The scores of `net` after `step` steps, the same in all processes.

        `on_progress` is called with how many of this process's cases are through, a part of the one under way
        counted too, and how many it has. Raises what `read_case` raises.
        """
        scores = torch.zeros(len(self._cases), 2, dtype=torch.float64)
        mine = range(self._group.rank, len(self._cases), self._group.world)
        for before, at in enumerate(mine):

            def tell(part: float, before: int = before) -> None:
                on_progress(before + part, len(mine))

            tell(0.0)
            scores[at] = self._score_case(net, self._case(self._cases[at]), tell)
        g_dsc, b_dsc = self._group.total(scores.to(self._group.device)).mean(dim=0).tolist()
        return Validation(step=step, g_dsc=g_dsc, b_dsc=b_dsc)

    def _score_case(self, net: nn.Module, case: WholeCase, tell: Callable[[float], None]) -> Tensor:
        found = segment(net, case.image, patch=self._patch, autocast=self._precision.narrow, on_progress=tell)
        classes = range(1, len(self._classes))
        scores = [_scores(case.label == index, found == index) for index in classes]
        return torch.tensor(scores, dtype=torch.float64).mean(dim=0)

    def _case(self, name: str) -> WholeCase:
        """The case, kept as long as there is room."""
        if name in self._kept:
            return self._kept[name]
        case = read_case(self._source, name, classes=self._classes)
        size = case.image.nbytes + case.label.nbytes
        if size <= self._room:
            self._room -= size
            self._kept[name] = case
        return case


def _scores(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> tuple[float, float]:
    """G-DSC and B-DSC of one class."""
    return dice(truth, found), boundary_dice(truth, found)
