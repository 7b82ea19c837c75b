"""Φ in 16 bits and back."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from dmapsvc.quantised import dequantise, quantise
from dmapsvc.spec import quantisation


@given(
    hnp.arrays(np.float32, (3, 4, 5), elements=st.floats(0, 4000, width=32)),
    st.tuples(*[st.floats(0.05, 8)] * 3),
)
def test_quantising_is_wrong_by_at_most_half_a_step(
    phi: NDArray[np.float32], spacing: tuple[float, float, float]
) -> None:
    step = quantisation(float(phi.max()), spacing)
    back = dequantise(quantise(phi, step), step)
    rounding = np.float32(phi.max()) * np.finfo(np.float32).eps
    assert np.abs(back - phi).max() <= step.max_error + rounding
