"""From a file to a published case: one case (`run_case`, `run_image`), or a folder of them (`precompute`).

The worker and the command line both call `run_case`; there is no second way. Reading, mapping and storing
themselves live in volumes, maps and store.
"""

from dmapsvc.pipeline.case import (
    STAGES,
    CaseOutcome,
    ImageOutcome,
    Progress,
    bytes_per_voxel,
    check_memory,
    check_units,
    check_voxels,
    file_sha256,
    memory_needed,
    run_case,
    run_image,
)
from dmapsvc.pipeline.events import Event, Failure, Happening
from dmapsvc.pipeline.folder import CaseFile, find_cases, image_names, shard_of, unused_images
from dmapsvc.pipeline.precompute import precompute
from dmapsvc.pipeline.present import has_image, is_mapped, published_case
from dmapsvc.pipeline.summary import Summary

__all__ = [
    "STAGES",
    "CaseFile",
    "CaseOutcome",
    "Event",
    "Failure",
    "Happening",
    "ImageOutcome",
    "Progress",
    "Summary",
    "bytes_per_voxel",
    "check_memory",
    "check_units",
    "check_voxels",
    "file_sha256",
    "find_cases",
    "has_image",
    "image_names",
    "is_mapped",
    "memory_needed",
    "precompute",
    "published_case",
    "run_case",
    "run_image",
    "shard_of",
    "unused_images",
]
