"""A job's JSON, as the service writes it, back to a Job."""

from __future__ import annotations

from typing import Any

from dmapsvc.errors import ServerUnreachable
from dmapsvc.jobs import Job


def parse_job(data: dict[str, Any]) -> Job:
    """The job; fields this version does not know are passed over. ServerUnreachable if it is none."""
    try:
        return Job.from_json(data)
    except (KeyError, TypeError, ValueError) as error:
        raise ServerUnreachable(
            f"the server's job is not one this version knows ({error!r})",
            remedy="Install the server's version of dmapsvc",
        ) from None
