"""Uploads on disk: those that go on stay when another process sweeps the spool."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
from pathlib import Path

import pytest
from fastapi import Request
from starlette.types import Message

from api import spool
from dmapsvc.keeping.files import broken_off


def request_of(body: bytes) -> Request:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request({"type": "http", "method": "PUT", "headers": []}, receive)


def receive_and_sweep(folder: Path) -> list[bytes]:
    """What lies in `folder` while an upload is judged, and after it was given its name."""
    contents = []

    async def receive() -> None:
        async with spool.receive(request_of(b"mask"), folder, 100) as upload:
            broken_off(folder)
            contents.append(upload.path.read_bytes())
            upload.settle()
            broken_off(folder)
            contents.append(upload.path.read_bytes())
            upload.drop()
            assert upload.sha256 == hashlib.sha256(b"mask").hexdigest()

    asyncio.run(receive())
    return contents


def test_an_upload_outlives_its_request_once_it_is_settled(tmp_path: Path) -> None:
    """A server that stops cancels the request, while a thread goes on to commit the job."""

    async def receive(*, settled: bool) -> None:
        async with spool.receive(request_of(b"mask"), tmp_path, 100) as upload:
            if settled:
                upload.settle()
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(receive(settled=False))
    assert not list(tmp_path.iterdir())
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(receive(settled=True))
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"mask"]


def test_an_upload_that_is_judged_is_not_swept(tmp_path: Path) -> None:
    assert receive_and_sweep(tmp_path) == [b"mask", b"mask"]
    assert not list(tmp_path.iterdir())


def test_an_upload_that_is_swept_before_it_is_locked_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fcntl.flock
    swept: list[int] = []

    def flock(file: int, operation: int) -> None:
        if operation == fcntl.LOCK_EX and not swept:
            swept.append(file)
            broken_off(tmp_path)
            assert not list(tmp_path.iterdir())
        real(file, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    assert receive_and_sweep(tmp_path) == [b"mask", b"mask"]
    assert swept
