"""Who is measured, by name, and the folder that each of them reads.

What each does is in `loader_ours.py`, `loader_nnunet.py`, `loader_arrays.py` and `loader_others.py`.
"""

from __future__ import annotations

import fnmatch
from functools import partial
from importlib.util import find_spec

from benchmarks import loader_arrays, loader_nnunet, loader_others, loader_ours
from benchmarks.loader_feed import Batches
from benchmarks.loader_formats import NNUNET_FORMAT, PERSISTENT_FORMAT, PREPARED, STORE, VOLUMES
from benchmarks.loader_race import Way
from dmapsvc.errors import BadInput

OURS, UNVERIFIED = "dmapsvc", "dmapsvc unverified"
OURS_ROTATED, UNVERIFIED_ROTATED = "dmapsvc rotated", "dmapsvc rotated unverified"
NNUNET = "nnU-Net"
NNUNET_ROTATED, NNUNET_GRID = "nnU-Net rotated in 2-D", "nnU-Net rotated in 3-D"
NPY, ZARR = "npy memmap + DataLoader", "zarr-python + DataLoader"
CACHED, PERSISTENT, TORCHIO = "MONAI CacheDataset", "MONAI PersistentDataset", "TorchIO Queue"
ROTATED = (OURS_ROTATED, UNVERIFIED_ROTATED, NNUNET_ROTATED, NNUNET_GRID)

_CRC, _OFF, _NONE = "crc32c of each chunk", "crc32c, turned off", "none"
_OUR_MODULES = ("torch", "dmapsvc.loader.patchloader", "dmapsvc.store.mapped")
_NNUNET_MODULES = (
    "nnunetv2.training.dataloading.data_loader",
    "batchgeneratorsv2.transforms.spatial.spatial",
    "nnunetv2.training.data_augmentation.compute_initial_patch_size",
)


def all_ways() -> list[Way]:
    """Every contender, the one they are compared with first."""
    return [
        _nnunet(NNUNET, "no"),
        _ours(OURS, rotated=False, verify=True),
        _ours(UNVERIFIED, rotated=False, verify=False),
        _nnunet(NNUNET_ROTATED, "2-D"),
        _nnunet(NNUNET_GRID, "3-D"),
        _ours(OURS_ROTATED, rotated=True, verify=True),
        _ours(UNVERIFIED_ROTATED, rotated=True, verify=False),
        _other(NPY, VOLUMES, loader_arrays.npy_batches, "torch"),
        Way(
            name=ZARR,
            format=STORE,
            batches=loader_arrays.zarr_batches,
            modules=("torch", "zarr"),
            checksums=_CRC,
        ),
        _other(CACHED, PREPARED, loader_others.cached_batches, "monai.data"),
        _other(PERSISTENT, PERSISTENT_FORMAT, loader_others.persistent_batches, "monai.data"),
        _other(TORCHIO, PREPARED, loader_others.torchio_batches, "torchio"),
    ]


def chosen(only: str | None) -> list[Way]:
    """The contenders whose names match one of the patterns in `only`, split at the commas; None: all.

    Raises BadInput if a pattern matches nobody, or a library is not installed.
    """
    ways = all_ways()
    matched: set[str] = set()
    for pattern in map(str.strip, only.split(",")) if only else ["*"]:
        found = fnmatch.filter((way.name for way in ways), pattern)
        if not found:
            names = ", ".join(repr(way.name) for way in ways)
            raise BadInput(f"no contender is called {pattern!r}", f"there are {names}")
        matched.update(found)
    ways = [way for way in ways if way.name in matched]
    libraries = {module.partition(".")[0] for way in ways for module in way.modules}
    missing = sorted(name for name in libraries if find_spec(name) is None)
    if missing:
        raise BadInput(
            f"{', '.join(missing)} cannot be imported",
            remedy="Install the extra: pip install -e '.[bench-loader]'; or leave them out with --only",
        )
    return ways


def _ours(name: str, *, rotated: bool, verify: bool) -> Way:
    return Way(
        name=name,
        format=STORE,
        batches=partial(loader_ours.batches, rotated=rotated, verify=verify),
        modules=_OUR_MODULES,
        checksums=_CRC if verify else _OFF,
        load=loader_ours.load,
    )


def _nnunet(name: str, turning: loader_nnunet.Turning) -> Way:
    return Way(
        name=name,
        format=NNUNET_FORMAT,
        batches=partial(loader_nnunet.batches, turning=turning),
        modules=_NNUNET_MODULES,
        checksums=_NONE,
    )


def _other(name: str, form: str, batches: Batches, module: str) -> Way:
    return Way(name=name, format=form, batches=batches, modules=(module,), checksums=_NONE)
