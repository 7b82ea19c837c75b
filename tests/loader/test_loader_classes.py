from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dmapsvc.errors import BadLabels, NotFound
from dmapsvc.loader.classes import check_classes, dataset_classes
from dmapsvc.loader.source import open_dataset

MakeDataset = Callable[..., Path]
TwoBones = Callable[..., tuple[Any, Any]]


def _classes(folder: Path) -> tuple[int, ...]:
    dataset = open_dataset(folder)
    return dataset_classes(dataset.spec, [dataset.case(case).record for case in dataset.cases()])


def test_classes_follow_the_specs_order(knees: Path) -> None:
    assert _classes(knees) == (0, 7, 5)


def test_without_a_list_classes_are_the_sorted_union_over_the_cases(
    make_dataset: MakeDataset, two_bones: TwoBones
) -> None:
    labels, image = two_bones((16, 16, 16), 0)
    nine = np.where(labels == 5, np.uint16(900), labels)
    assert _classes(make_dataset({"a": (labels, image), "b": (nine, image)})) == (0, 3, 5, 7, 900)


def test_a_label_outside_frozen_classes_names_the_case(
    make_dataset: MakeDataset, two_bones: TwoBones
) -> None:
    dataset = open_dataset(make_dataset({"later": two_bones((16, 16, 16), 0)}))
    record = dataset.case("later").record
    check_classes("later", record, (0, 3, 5, 7, 8))
    with pytest.raises(BadLabels, match=r"case 'later' has label 7; the classes are frozen as 0, 3, 5"):
        check_classes("later", record, (0, 3, 5))


def test_no_label_at_all_is_told(make_dataset: MakeDataset) -> None:
    zeros = np.zeros((4, 4, 4), dtype=np.uint8)
    with pytest.raises(NotFound, match="no case has a label"):
        _classes(make_dataset({"a": (zeros, zeros)}))
