"""A dataset of a dmapsvc service: its cases from the API, its files from `/zarr`."""

from __future__ import annotations

from contextlib import AbstractContextManager

from dmapsvc.client import Client, FilePart, split_dataset_url
from dmapsvc.errors import BadInput


class HttpOrigin:
    """The dataset at 'http://host:port/v1/datasets/knees'; raises BadInput for another URL."""

    def __init__(self, url: str) -> None:
        server, self.name, case = split_dataset_url(url)
        if case is not None:
            raise BadInput(url, "wanted a dataset, not a case", f"Open {url.partition('/cases/')[0]}")
        self._client = Client(server)  # closed with this, by its garbage
        self.address = f"{server}/v1/datasets/{self.name}"

    def cases(self) -> list[str]:
        """The names of the cases published now, sorted; raises ServerProblem if there is no such dataset."""
        return list(self._client.cases(self.name))

    def read(self, key: str) -> bytes | None:
        """The small file `key`; None if there is none."""
        return self._client.store_file(self.name, key)

    def part(self, key: str, begin: int, tag: str | None) -> AbstractContextManager[FilePart | None]:
        """The file `key`, or what is left of it, as `Origin.part` says."""
        return self._client.store_part(self.name, key, begin=begin, tag=tag)
