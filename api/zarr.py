"""The store itself at `/zarr`, file by file with byte ranges, for zarr, tensorstore and viewers.

Only what is published is reached. Not served by a static-files app because a case may be replaced meanwhile:
here the length, the tag and the bytes of one answer are always of one file.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated

from fastapi import APIRouter, Header, Request
from starlette.responses import Response

from api.dependencies import LibraryOf
from api.files import FileAnswer
from api.problems import RangeNotSatisfiable, responses
from dmapsvc.errors import NotFound, printable
from dmapsvc.store.storedfile import StoredFile

router = APIRouter(tags=["zarr"])


@router.head("/zarr/{path:path}", include_in_schema=False)
@router.get(
    "/zarr/{path:path}",
    summary="A file of the store",
    response_class=Response,
    responses={
        200: {"description": "The file.", "content": {"application/octet-stream": {}}},
        206: {"description": "The bytes asked for."},
        304: {"description": "Still the file of that tag."},
        **responses(NotFound, RangeNotSatisfiable),
    },
)
def serve(
    request: Request,
    path: str,
    library: LibraryOf,
    range_: Annotated[str | None, Header(alias="range", examples=["bytes=0-1023"])] = None,
) -> Response:
    """A file below `<dataset>.zarr`, whole or one byte range of it (first-last, first-, or -length).

    Every answer has an `ETag` and must be revalidated with it, because a case may be replaced.
    """
    file = library.file(path)
    if file is None:
        raise _nothing(path)
    with ExitStack() as open_files:
        open_files.callback(file.close)
        answer = _answer(request, file, range_)
        if isinstance(answer, FileAnswer):
            open_files.pop_all()  # closed when it is sent
        return answer


def _nothing(path: str) -> NotFound:
    return NotFound(
        f"/zarr/{printable(path)}", "no file of the store is there", "GET /v1/datasets lists what is"
    )


def _answer(request: Request, file: StoredFile, wanted: str | None) -> Response:
    size, tag = file.size, file.tag
    headers = {"etag": tag, "cache-control": "no-cache", "accept-ranges": "bytes"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    begin, end, status = 0, size, 200
    head = request.method == "HEAD"  # for which a Range means nothing (RFC 9110, 14.2)
    if wanted is not None and not head and request.headers.get("if-range", tag) == tag:
        part = byte_range(wanted, size)
        if part is not None:
            (begin, end), status = part, 206
            headers["content-range"] = f"bytes {begin}-{end - 1}/{size}"
    kind = "application/json" if request.url.path.endswith("/zarr.json") else "application/octet-stream"
    if head:
        headers["content-length"] = str(size)
        return Response(status_code=status, headers=headers, media_type=kind)
    return FileAnswer(file, begin, end, status_code=status, headers=headers, media_type=kind)


def byte_range(text: str, size: int) -> tuple[int, int] | None:
    """Begin and end (not included) of a `Range` header on `size` bytes; None where it is to be ignored.

    As RFC 9110 allows, ignored are other units, several ranges at once and what does not parse. Raises
    RangeNotSatisfiable.
    """
    unit, _, span = text.partition("=")
    first, dash, last = span.strip().partition("-")
    if unit.strip() != "bytes" or not dash or not _digits(first, last) or not first + last:
        return None
    if not first:
        begin, end = max(0, size - int(last)), size
    elif last and int(last) < int(first):
        return None
    else:
        begin, end = int(first), min(int(last) + 1, size) if last else size
    if begin >= end:
        raise RangeNotSatisfiable(
            f"bytes {span.strip()} of {size}", "a range begins inside the file", size=size
        )
    return begin, end


def _digits(*texts: str) -> bool:
    return all(text == "" or (text.isascii() and text.isdigit() and len(text) < 20) for text in texts)
