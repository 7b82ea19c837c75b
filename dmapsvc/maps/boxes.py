"""The box in which a region can be transformed on its own, for backends that take a region at a time.

Within its bounding box widened by one voxel a region's distances are exact: on the way out of the region the
nearest voxel of another one is met at the latest there. Without the extra voxel they would be wrong.
"""

from __future__ import annotations

Box = tuple[slice, ...]

WHOLE: Box = (slice(None), slice(None), slice(None))


def widened(box: Box) -> Box:
    """A bounding box with a voxel more on each side, as far as the volume goes."""
    return tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in box)
