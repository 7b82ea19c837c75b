"""The HTTP client of a dmapsvc service: asks and waits, computes nothing and reads no volume."""

from dmapsvc.client.client import Client
from dmapsvc.client.parts import FilePart
from dmapsvc.client.urls import split_dataset_url

__all__ = ["Client", "FilePart", "split_dataset_url"]
