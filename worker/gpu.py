"""The one GPU that a worker's process sees, where `DMAPSVC_DEVICE` names it: one process a GPU.

This must be settled before anything imports CuPy, so nothing here does until it is.
"""

from __future__ import annotations

import os

from dmapsvc.errors import DeviceMissing
from dmapsvc.settings import Settings


def take_gpu(settings: Settings) -> None:
    """Hide all GPUs but the one that is named from this process; raises DeviceMissing if it is not there."""
    if settings.gpu is None:
        return
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # as nvidia-smi counts them
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(settings.gpu)] if seen is None else seen.split(",")[settings.gpu :]
    os.environ["CUDA_VISIBLE_DEVICES"] = names[0] if names else ""
    from dmapsvc.maps.cards import require_card  # imports CuPy

    try:
        require_card()
    except DeviceMissing as error:
        visible = "" if seen is None else f" among CUDA_VISIBLE_DEVICES={seen}"
        raise DeviceMissing(
            f"DMAPSVC_DEVICE={settings.device}: there is no GPU {settings.gpu}{visible} ({error.found})",
            remedy=error.remedy,
        ) from None
