"""The metrics of knees against MONAI and DeepMind's surface-distance, to 1e-6. MONAI rounds to float32."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmapsvc.evaluate.measures import measure
from tests.evaluate import metric_references as reference
from tests.evaluate.metric_masks import Example, generated, real

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning"),  # MONAI calls itself so
    pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning"),  # surface-distance, of SciPy
]

REAL = [
    ("knee_dess_bones_cartilage.nrrd", 5, 2),  # the femur, cut off by the edge of the volume
    ("knee_dess_bones_cartilage.nrrd", 7, 1),
    ("knee_dess_bones_cartilage.nrrd", 2, 1),  # cartilage, a few voxels thick
    ("thigh_muscles.nii.gz", 20, 1),  # slices of 6 mm
]


@pytest.mark.parametrize("label", [1, 2, 3])
def test_generated_knees(label: int) -> None:
    check(generated(seed=label, label=label))


@pytest.mark.parametrize(("file", "label", "every"), REAL)
def test_real_volumes(shared: Path, file: str, label: int, every: int) -> None:
    check(real(shared / file, label, every))


def check(example: Example) -> None:
    pair, spacing = (example.truth, example.prediction), example.spacing
    found = measure(*pair, spacing=spacing, tolerance=1.0)
    assert found.g_dsc == pytest.approx(reference.monai_dice(*pair), abs=1e-6)
    assert 0.2 < found.b_dsc < 0.9  # a prediction that a network could have made
    assert found.b_dsc == pytest.approx(reference.monai_boundary_dice(*pair), abs=1e-6)
    assert found.nsd == pytest.approx(reference.monai_surface_dice(*pair, spacing, 1.0), abs=1e-6)
    assert found.nsd == pytest.approx(reference.deepmind_surface_dice(*pair, spacing, 1.0), abs=1e-12)
    assert found.hd95 == pytest.approx(reference.monai_hausdorff95(*pair, spacing), abs=1e-6)
    assert found.asd == pytest.approx(reference.monai_surface_distance(*pair, spacing), abs=1e-6)
