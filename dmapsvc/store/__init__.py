"""The Zarr store of label maps and Φ: its layout, publishing, reading and verifying. It computes nothing."""

from dmapsvc.store.check import Finding, check
from dmapsvc.store.dataset import Dataset
from dmapsvc.store.reader import Case, Reader
from dmapsvc.store.record import CaseRecord, ImageRecord
from dmapsvc.store.stores import DatasetStore, open_store
from dmapsvc.store.writable import WritableDataset

__all__ = [
    "Case",
    "CaseRecord",
    "Dataset",
    "DatasetStore",
    "Finding",
    "ImageRecord",
    "Reader",
    "WritableDataset",
    "check",
    "open_store",
]
