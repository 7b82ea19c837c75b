"""How wide the numbers are that a training calculates with; weights and optimiser stay in float32.

Which operations are narrowed is `torch.autocast`'s affair.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dmapsvc.train.settings import Precision


@dataclass(frozen=True)
class MixedPrecision:
    """`dtype` to calculate in on `device`: float32, or a narrower type where autocast takes one."""

    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(cls, name: Precision, device: torch.device) -> MixedPrecision:
        """`auto`: on CUDA bfloat16 if the GPU has it in hardware, otherwise float16; float32 on the CPU."""
        if name == "auto":
            name = _best(device)
        return cls(_DTYPES[name], device)

    @property
    def name(self) -> str:
        """'float32', 'bfloat16' or 'float16'."""
        return str(self.dtype).removeprefix("torch.")

    @property
    def narrow(self) -> torch.dtype | None:
        """What autocast narrows to; None: nothing."""
        return None if self.dtype == torch.float32 else self.dtype

    def autocast(self) -> torch.autocast:
        """A context in which networks calculate so."""
        return torch.autocast(self.device.type, self.narrow, enabled=self.narrow is not None)

    def scaler(self) -> torch.amp.GradScaler:
        """What keeps float16 gradients from vanishing: it scales the loss, and skips a step whose gradients
        overflowed. Of wider exponents it does nothing.
        """
        return torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)


_DTYPES: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def _best(device: torch.device) -> Precision:
    if device.type != "cuda":
        return "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
