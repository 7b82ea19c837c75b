"""Records and their JSON."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dmapsvc.errors import Problem
from dmapsvc.jobs import Job, Kind, Request, State
from dmapsvc.settings import Settings
from dmapsvc.spec import map_id
from tests.jobs.asking import request

JOB = Job(
    id="ab" * 32,
    run=2,
    kind=Kind.MASK,
    dataset="knees",
    case="a",
    state=State.FAILED,
    stage="map",
    percent=12.5,
    position=None,
    created=datetime(2026, 11, 23, 5, 46, 48, 123456, UTC),
    started=None,
    ended=datetime(2026, 11, 23, 5, 47, tzinfo=UTC),
    problem=Problem(type="/problems/bad-file", title="t", status=422, detail="d"),
    notes=("one", "two"),
    seconds={"read": 0.5},
    backend="numba",
    sha256="cd" * 32,
    revision=3,
    filename="knee.nii.gz",
    attempts=1,
)


def test_a_job_survives_json_and_fields_it_does_not_know() -> None:
    data = json.loads(json.dumps(JOB.to_json()))
    assert data["state"] == "failed"
    assert data["created"] == "2026-11-23T05:46:48.123456+00:00"
    assert Job.from_json({**data, "of a later version": 1}) == JOB


def test_what_is_no_job_is_refused() -> None:
    with pytest.raises(KeyError):
        Job.from_json({"id": "ab"})


def test_a_request_survives_json(tmp_path: Path) -> None:
    asked = request(Settings(data=tmp_path), kind=Kind.IMAGE, replace=True)
    assert Request.from_json(json.loads(json.dumps(asked.to_json()))) == asked
    bare = dataclasses.replace(asked, affine=None, spacing=None)
    assert Request.from_json(json.loads(json.dumps(bare.to_json()))) == bare


def test_a_masks_job_is_its_map_and_an_images_job_is_another(tmp_path: Path) -> None:
    mask = request(Settings(data=tmp_path))
    image = dataclasses.replace(mask, kind=Kind.IMAGE)
    assert mask.id == map_id(dataset="knees", case="a", mask_sha256=mask.sha256, spec=mask.spec)
    others = [
        dataclasses.replace(image, dataset="x"),
        dataclasses.replace(image, case="x"),
        dataclasses.replace(image, sha256="x"),
    ]
    assert len({mask.id, image.id, *(other.id for other in others)}) == 5
    assert dataclasses.replace(image, spool="x", filename="y").id == image.id


def test_the_records_are_light() -> None:
    code = "import sys, dmapsvc.jobs; print(sorted({'dbos', 'sqlalchemy', 'numpy'} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"
