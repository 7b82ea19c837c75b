"""What a service says of a dataset, in the command line's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dmapsvc.errors import NotFound, ServerProblem


@contextmanager
def asked_dataset(location: str) -> Iterator[None]:
    """Inside, a service that has nothing of the dataset at `location`, a folder or URL, ends in NotFound with
    the command that lists what it has.

    The service's own advice is an address, which nobody types here.
    """
    try:
        yield
    except ServerProblem as error:
        if error.problem.type != NotFound("").problem.type:
            raise
        from dmapsvc.client import split_dataset_url

        server = split_dataset_url(location)[0]
        raise NotFound(
            location, "the service has no such dataset", f"`dmapsvc info {server}` lists them"
        ) from None
