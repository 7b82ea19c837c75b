"""The numbers of the paper, to stand beside one's own: Calivá et al. 2019, mean ± SD over ten test subjects.

They were taken on other images (bones of the Osteoarthritis Initiative's knee MRI), with other contours.
"""

from __future__ import annotations

from typing import NamedTuple


class MeanDeviation(NamedTuple):
    """A mean and its standard deviation, in percent."""

    mean: float
    deviation: float


# By contender and metric. The paper's penalty is Φ as it is, which is `penalty-none` here.
NUMBERS: dict[str, dict[str, MeanDeviation]] = {
    "penalty-none": {"g_dsc": MeanDeviation(96.42, 0.80), "b_dsc": MeanDeviation(28.83, 4.45)},
    "dice": {"g_dsc": MeanDeviation(96.34, 1.21), "b_dsc": MeanDeviation(26.73, 5.40)},
    "confidence-penalty": {"g_dsc": MeanDeviation(95.96, 1.30), "b_dsc": MeanDeviation(25.81, 3.02)},
    "focal": {"g_dsc": MeanDeviation(95.00, 1.00), "b_dsc": MeanDeviation(26.70, 4.27)},
}
