"""The service's addresses: what is a server, and where a dataset or case lies on it."""

from __future__ import annotations

from urllib.parse import urlsplit

from dmapsvc.errors import BadInput, NotFound
from dmapsvc.spec import check_name


def check_server(server: str) -> str:
    """`server` without a slash at its end; raises BadInput if it is no http URL, or has a password in it."""
    parts = urlsplit(server)
    if "@" in parts.netloc:  # it would stand in messages and logs
        raise BadInput(
            f"server {parts.netloc.rpartition('@')[2]!r} with a name or password before it",
            "a key does not go into a URL",
            "Set DMAPSVC_KEY",
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadInput(f"server {server!r}", "wanted a URL like http://127.0.0.1:8000")
    return server.rstrip("/")


def is_loopback(server: str) -> bool:
    """True if `server` is on this machine."""
    host = urlsplit(server).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def split_dataset_url(url: str) -> tuple[str, str, str | None]:
    """Server, dataset and case (or None) of 'http://host/v1/datasets/knees[/cases/a]'; raises BadInput."""
    server, mark, rest = url.partition("/v1/datasets/")
    parts = rest.rstrip("/").split("/")
    if mark and len(parts) == 1:
        return check_server(server), check_name(parts[0], "dataset"), None
    if mark and len(parts) == 3 and parts[1] == "cases":
        return check_server(server), check_name(parts[0], "dataset"), check_name(parts[2], "case")
    raise BadInput(url, "a dataset's URL is like http://127.0.0.1:8000/v1/datasets/knees")


def dataset_path(dataset: str) -> str:
    """Path of a dataset; raises BadName for a name that none can have."""
    return f"/v1/datasets/{check_name(dataset, 'dataset')}"


def case_path(dataset: str, case: str) -> str:
    """Path of a case; raises BadName."""
    return f"{dataset_path(dataset)}/cases/{check_name(case, 'case')}"


def batch_path(batch_id: str) -> str:
    """Path of a batch; raises NotFound for what can be no batch's id."""
    if batch_id.isalnum() and batch_id.isascii():
        return f"/v1/batches/{batch_id}"
    raise NotFound(
        f"batch {batch_id!r}", "a batch's id is 32 hexadecimal digits", "`dmapsvc batch list` lists them"
    )


def job_path(job_id: str) -> str:
    """Path of a job; raises NotFound for what can be no job's id."""
    if job_id.isalnum() and job_id.isascii():
        return f"/v1/jobs/{job_id}"
    raise NotFound(f"job {job_id!r}", "a job's id is 64 hexadecimal digits", "`dmapsvc jobs` lists them")
