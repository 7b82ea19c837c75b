"""Files of a batch as the worker meets them: the one that was submitted, below its own roots, or none."""

from __future__ import annotations

import dataclasses
import errno
import os
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from dmapsvc.errors import BadFile, SourceAway, Superseded, TooLarge
from dmapsvc.jobs import Kind, Request, source
from dmapsvc.jobs.run import Run
from dmapsvc.jobs.source import check_source, source_key, source_sha256
from dmapsvc.pipeline import file_sha256
from dmapsvc.roots import Roots
from dmapsvc.settings import Settings
from dmapsvc.spec import MapSpec
from tests.api.bodies import nifti, two_balls
from tests.worker.uploads import SPEC
from worker.cases import Cases, memory_of


@pytest.fixture
def asked(tmp_path: Path) -> Request:
    """A request for a mask in a folder."""
    file = tmp_path / "data/knee.nii.gz"
    file.parent.mkdir()
    file.write_bytes(nifti(two_balls()))
    return Request(
        kind=Kind.MASK,
        dataset="knees",
        case="knee",
        sha256=source_key(str(file), file.name),
        spool=None,
        source=str(file),
        filename=file.name,
        spec=MapSpec(),
        shape=None,
        affine=None,
        spacing=None,
        bytes=None,
        replace=False,
    )


def test_its_memory_is_known_by_its_header(asked: Request, tmp_path: Path) -> None:
    labels, allowed = two_balls(), Settings(roots=str(tmp_path))
    known = dataclasses.replace(asked, shape=labels.shape, bytes=labels.size)
    assert memory_of(asked, "numba", allowed) == memory_of(known, "numba", Settings())


def test_a_file_that_changed_is_refused(asked: Request, tmp_path: Path) -> None:
    roots = Roots([tmp_path])
    check_source(asked, roots)
    os.utime(asked.source or "", ns=(0, 1))
    with pytest.raises(BadFile, match="has changed since the batch was submitted"):
        check_source(asked, roots)
    with pytest.raises(BadFile, match="has changed since the batch was submitted"):
        memory_of(asked, "numba", Settings(roots=str(tmp_path)))


def test_a_volume_above_the_limit_is_refused_by_its_header(asked: Request, tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match="720 voxels"):
        memory_of(asked, "numba", Settings(roots=str(tmp_path), max_voxels=719))


def test_a_file_that_is_a_link_by_now_is_refused(asked: Request, tmp_path: Path) -> None:
    file = Path(asked.source or "")
    file.rename(tmp_path / "data/other")
    file.symlink_to("other")
    with pytest.raises(BadFile, match="a link by now"):
        check_source(asked, Roots([tmp_path]))


def test_a_worker_reads_below_its_own_roots_only(asked: Request, tmp_path: Path) -> None:
    for roots in (Roots([]), Roots([tmp_path / "dat"]), Roots([tmp_path / "other"])):
        with pytest.raises(SourceAway, match="DMAPSVC_ROOTS"):
            check_source(asked, roots)


def test_a_file_that_is_gone_is_refused(asked: Request, tmp_path: Path) -> None:
    Path(asked.source or "").unlink()
    with pytest.raises(BadFile, match="cannot be read"):
        check_source(asked, Roots([tmp_path]))


@pytest.mark.parametrize("left", ["nothing", "an empty folder"])
def test_a_file_whose_root_is_not_there_may_be_read_elsewhere(
    asked: Request, tmp_path: Path, left: str
) -> None:
    root = tmp_path / "data"
    root.rename(tmp_path / "unmounted")
    if left == "an empty folder":
        root.mkdir()
    for look in (check_source, lambda asked, _: memory_of(asked, "numba", Settings(roots=str(root)))):
        with pytest.raises(SourceAway, match="its folder is not there") as raised:
            look(asked, Roots([root]))
        assert not raised.value.permanent


@pytest.mark.parametrize("code", [errno.ESTALE, errno.EIO])
def test_a_disk_that_fails_is_no_fault_of_the_file(
    asked: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(source, "os", SimpleNamespace(stat=fail))
        with pytest.raises(SourceAway):
            check_source(asked, Roots([tmp_path]))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", fail)
        with pytest.raises(SourceAway):
            memory_of(asked, "numba", Settings(roots=str(tmp_path)))


def test_it_is_hashed_in_blocks_between_which_a_cancel_is_heeded(asked: Request) -> None:
    file = Path(asked.source or "")
    file.write_bytes(os.urandom(5 << 20))
    told: list[None] = []
    assert source_sha256(asked, lambda: told.append(None)) == file_sha256(file)
    assert len(told) == 5

    def cancelled() -> None:
        told.append(None)
        if len(told) == 7:
            raise Superseded("cancelled")

    with pytest.raises(Superseded):
        source_sha256(asked, cancelled)
    assert len(told) == 7


def test_the_worker_tells_progress_while_it_hashes(asked: Request, settings: Settings) -> None:
    file = Path(asked.source or "")
    file.write_bytes(os.urandom(5 << 20))
    told: list[str] = []

    class Watched:
        request, path = dataclasses.replace(asked, spec=SPEC), file

        def progress(self, stage: str, fraction: float) -> None:
            told.append(stage)
            if len(told) == 3:
                raise Superseded("cancelled")

    with pytest.raises(Superseded):
        Cases(settings).run(cast(Run, Watched()))
    assert told == ["read"] * 3
