"""Where a dataset lies: a folder, or a service's URL. No torch here."""

from __future__ import annotations

from pathlib import Path

from dmapsvc.client import Client, split_dataset_url
from dmapsvc.errors import BadInput, NotFound
from dmapsvc.loader.cache import WholeFiles
from dmapsvc.loader.served import ServedFiles
from dmapsvc.store import Reader

_REMEDY = "Name the folder ….zarr, or a URL like http://127.0.0.1:8000/v1/datasets/knees"


def open_dataset(location: str | Path) -> Reader:
    """The dataset at `location`, for reading: a folder `….zarr`, or 'http://host:port/v1/datasets/knees'.

    Behind a URL the cases are those published now; arrays are fetched whole when they are first read and kept
    in memory, compressed (`loader.cache`), which is meant for many patches of one case, not for a single
    voxel.

    Raises NotFound if there is no dataset in the folder; for a URL ServerProblem if the service has none of
    this name, ServerUnreachable if no service answers, BadInput if it is not a dataset's URL.
    """
    if isinstance(location, str) and "://" in location:
        return _open_url(location)
    path = Path(location)
    if not (path / "zarr.json").is_file():
        raise NotFound(
            f"{path}: no dataset is there", "wanted a folder that `dmapsvc precompute` wrote", _REMEDY
        )
    return Reader.local(path)


def _open_url(url: str) -> Reader:
    server, dataset, case = split_dataset_url(url)
    if case is not None:
        raise BadInput(url, "wanted a dataset, not a case", f"Open {url.partition('/cases/')[0]}")
    client = Client(server)  # the reader's, as long as it lives
    client.dataset(dataset)
    cases = list(client.cases(dataset))
    return Reader(WholeFiles(ServedFiles(client, dataset)), cases, name=dataset)
