"""A job's or a worker's JSON, as the service writes it, back to a record."""

from __future__ import annotations

from typing import Any

from dmapsvc.errors import ServerUnreachable
from dmapsvc.jobs import Job, Worker


def parse_job(data: dict[str, Any]) -> Job:
    """The job; fields this version does not know are passed over. ServerUnreachable if it is none."""
    try:
        return Job.from_json(data)
    except (KeyError, TypeError, ValueError) as error:
        raise _unknown("job", error) from None


def parse_worker(data: dict[str, Any]) -> Worker:
    """The worker; fields this version does not know are passed over. ServerUnreachable if it is none."""
    try:
        return Worker.from_json(data)
    except (KeyError, TypeError, ValueError) as error:
        raise _unknown("worker", error) from None


def _unknown(what: str, error: Exception) -> ServerUnreachable:
    return ServerUnreachable(
        f"the server's {what} is not one this version knows ({error!r})",
        remedy="Install the server's version of dmapsvc",
    )
