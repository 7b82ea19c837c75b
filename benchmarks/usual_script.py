"""The script that people write to precompute Φ: nibabel, SciPy, NumPy, and a pool when it takes too long.

    python benchmarks/usual_script.py LABELS OUT --labels 5,6,7 [--processes 2]

What `dmapsvc precompute` is measured against; nothing of dmapsvc is in it.
"""

from __future__ import annotations

import argparse
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import distance_transform_edt


def main() -> None:
    """Φ of every mask of a folder, in mm, as compressed float32."""
    parser = argparse.ArgumentParser()
    parser.add_argument("masks", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--labels", type=lambda text: [int(label) for label in text.split(",")])
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True)
    masks = sorted(arguments.masks.glob("*.nii.gz"))
    work = partial(precompute, out=arguments.out, labels=arguments.labels)
    if arguments.processes == 1:
        for mask in masks:
            work(mask)
    else:
        with Pool(arguments.processes) as pool:
            pool.map(work, masks, chunksize=1)


def precompute(mask: Path, out: Path, labels: list[int] | None) -> None:
    """Φ of one mask: K + 1 transforms, each reverted by its maximum."""
    image = nib.nifti1.load(mask)
    volume = np.ascontiguousarray(image.dataobj)  # SciPy takes half as long again in the file's own order
    spacing = image.header.get_zooms()
    classes = labels or [label for label in np.unique(volume) if label]
    phi = np.zeros(volume.shape, np.float32)
    for region in [~np.isin(volume, classes), *(volume == label for label in classes)]:
        if region.any():
            distance = distance_transform_edt(region, sampling=spacing)
            phi[region] = (distance.max() - distance)[region]
    np.savez_compressed(out / mask.name.replace(".nii.gz", ".npz"), phi=phi)


if __name__ == "__main__":
    main()
