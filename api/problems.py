"""Every error as `application/problem+json` (RFC 9457), one shape everywhere, nothing of the inside in it.

What was wrong and what to do comes from `dmapsvc.errors`; here is how each failure of a request becomes one
of those.
"""

from __future__ import annotations

import dataclasses
import logging
import sqlite3
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from dmapsvc.errors import BadInput, DiskFull, DmapsvcError, Problem, printable
from dmapsvc.telemetry.context import request_id
from dmapsvc.whole import FULL

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = 10  # seconds; chosen: a full queue of small jobs has moved on by then

_POSTGRES_FULL = "53100"  # disk_full, in its list of error codes

_log = logging.getLogger("api")

_HINTS = {
    404: "no such address; see /docs for those there are",
    405: "not done at this address; see /docs for what is",
}


class RangeNotSatisfiable(DmapsvcError):
    """A byte range outside the file, which has `size` bytes."""

    status = 416

    def __init__(self, found: str, wanted: str = "", remedy: str = "", *, size: int = 0) -> None:
        super().__init__(found, wanted, remedy)
        self.size = size


class NotReady(DmapsvcError):
    """The service cannot take work now."""

    status = 503


def install(app: FastAPI) -> None:
    """Make `app` answer every failure with a problem."""
    app.add_exception_handler(DmapsvcError, _expected)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _routing)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(OSError, _file_system)
    app.add_exception_handler(sa.exc.OperationalError, _database)
    app.add_exception_handler(sa.exc.InterfaceError, _database)
    app.add_exception_handler(sa.exc.TimeoutError, _database)  # every connection of the pool is in use
    app.add_exception_handler(Exception, _unexpected)


def answer(problem: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The response that says `problem`."""
    return JSONResponse(
        dataclasses.asdict(problem), problem.status, headers=dict(headers or {}), media_type=MEDIA_TYPE
    )


def responses(*kinds: type[DmapsvcError]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's words on the problems that a route answers with, besides a validation error (422)."""
    titles: dict[int, list[str]] = {422: [BadInput("").title]}
    for kind in kinds:
        titles.setdefault(kind.status, []).append(kind("").title)
    return {
        status: {
            "description": ". ".join(dict.fromkeys(said)) + ".",
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status, said in sorted(titles.items())
    }


def refusal(error: DmapsvcError, headers: Mapping[str, str] | None = None) -> Response:
    """The response that says `error`, with the headers that go with it and those given."""
    problem = error.problem
    if problem.status >= 500:
        _log.warning("%s: %s", problem.title, problem.detail)
    return answer(problem, {**_headers(error), **(headers or {})})


async def _expected(_: Request, error: Exception) -> Response:
    assert isinstance(error, DmapsvcError)
    return refusal(error)


def _headers(error: DmapsvcError) -> dict[str, str]:
    if isinstance(error, RangeNotSatisfiable):
        return {"Content-Range": f"bytes */{error.size}"}
    return {"Retry-After": str(RETRY_AFTER)} if error.status == 503 else {}


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = " ".join(str(part) for part in first["loc"])
    found = f"{place}: {_shown(first.get('input'))}"
    return answer(BadInput(found, str(first["msg"]), "See /docs").problem)


async def _routing(request: Request, error: Exception) -> Response:
    """What the framework itself refuses: an unknown address, a wrong method, a body it cannot parse."""
    assert isinstance(error, HTTPException)
    said = _HINTS.get(error.status_code, str(error.detail))
    problem = Problem(
        type="about:blank",
        title=HTTPStatus(error.status_code).phrase,
        status=error.status_code,
        detail=f"{request.method} {printable(request.url.path)}: {said}.",
    )
    return answer(problem, error.headers)


async def _gone(_: Request, __: Exception) -> Response:
    return Response(status_code=400)  # nobody reads it: the client hung up before its request was whole


async def _file_system(request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    if error.errno not in FULL:
        raise error
    return await _expected(request, _disk_full())


async def _database(request: Request, error: Exception) -> Response:
    _log.warning("the database failed", exc_info=error)
    if _is_full(getattr(error, "orig", None)):
        return await _expected(request, _disk_full())
    return await _expected(request, NotReady("the database does not answer", remedy="Try again later"))


def _is_full(cause: object) -> bool:
    """Whether what the database's driver raised says that there is no room: SQLite's, or Postgres's."""
    sqlite_full = getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return sqlite_full or getattr(cause, "sqlstate", None) == _POSTGRES_FULL


def _disk_full() -> DiskFull:
    return DiskFull(
        "the service could not keep what it was sent or has made",
        remedy="Make room in the service's data folder and try again",
    )


async def _unexpected(request: Request, error: Exception) -> Response:
    """Say nothing of the inside; the traceback is in the log, found by the request's id."""
    path = printable(request.url.path)
    _log.error("request %s failed: %s %s", request_id(), request.method, path, exc_info=error)
    problem = Problem(
        type="about:blank",
        title="Internal Server Error",
        status=500,
        detail=f"The service failed; request {request_id()} in its log says more. Try again, then report it.",
    )
    return answer(problem)


def _shown(value: object) -> str:
    return printable(repr(value), 80)
