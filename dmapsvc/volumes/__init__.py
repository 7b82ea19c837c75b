"""Reading masks and images: one module a format family, one way in, the same axes and units out; writing is
NIfTI alone (`writing.py`).

Arrays are (z, y, x), the file's voxel axes, never reoriented; affines map (i, j, k, 1) to RAS+ mm. Nothing
but grid and voxels is read: no patient tags, no free header text.
"""

from dmapsvc.volumes.formats import SUFFIXES
from dmapsvc.volumes.grid import check_same_grid, check_unsheared
from dmapsvc.volumes.reading import read_header, read_image, read_labels
from dmapsvc.volumes.volume import Header, Volume

__all__ = [
    "SUFFIXES",
    "Header",
    "Volume",
    "check_same_grid",
    "check_unsheared",
    "read_header",
    "read_image",
    "read_labels",
]
