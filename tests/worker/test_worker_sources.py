"""Files of a batch as the worker meets them: the one that was submitted, below its own roots, or none."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from dmapsvc.errors import BadFile, TooLarge
from dmapsvc.jobs import Kind, Request
from dmapsvc.jobs.source import check_source, source_key
from dmapsvc.roots import Roots
from dmapsvc.settings import Settings
from dmapsvc.spec import MapSpec
from tests.api.bodies import nifti, two_balls
from worker.cases import memory_of


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
    with pytest.raises(BadFile, match="or a link by now"):
        check_source(asked, Roots([tmp_path]))


def test_a_worker_reads_below_its_own_roots_only(asked: Request, tmp_path: Path) -> None:
    for roots in (Roots([]), Roots([tmp_path / "dat"]), Roots([tmp_path / "other"])):
        with pytest.raises(BadFile, match="DMAPSVC_ROOTS"):
            check_source(asked, roots)


def test_a_file_that_is_gone_is_refused(asked: Request, tmp_path: Path) -> None:
    Path(asked.source or "").unlink()
    with pytest.raises(BadFile, match="cannot be read"):
        check_source(asked, Roots([tmp_path]))
