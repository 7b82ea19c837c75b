"""What the work at hand is for: the request that asks for it, the job that is run.

It follows the work through awaits and threads of the event loop, and stands on every log line meanwhile.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:=+/-]{0,127}")

_about: ContextVar[Mapping[str, str]] = ContextVar("about", default={})  # noqa: B039  (never changed in place)


@contextmanager
def about(**names: str | None) -> Iterator[None]:
    """For the block, the work is for these as well: `about(request=..., job=...)`; None is passed over."""
    token = _about.set({**_about.get(), **{key: name for key, name in names.items() if name}})
    try:
        yield
    finally:
        _about.reset(token)


def current() -> Mapping[str, str]:
    """What the work at hand is for, by `request`, `job` and `run`."""
    return _about.get()


def request_id() -> str | None:
    """The id of the request that asks for the work at hand; None outside of one."""
    return _about.get().get("request")


def sane_id(given: str | None) -> str:
    """The id of a request: what its sender gave it, if that is fit for a log line, else a new one."""
    return given if given is not None and _SANE.fullmatch(given) else uuid.uuid4().hex
