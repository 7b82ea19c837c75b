"""The audit of requests: a line for each change somebody asked for, and for nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from api.app import create_app
from api.dependencies import get_library
from dmapsvc.keys import KeyFile, Scope
from dmapsvc.settings import Settings
from tests.api.bodies import nifti, two_balls
from tests.api.talk import serving

MASK = "/v1/datasets/d/cases/a/mask"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx.Client]:
    with serving(create_app(Settings(data=tmp_path))) as client:
        yield client


def lines(folder: Path) -> list[dict[str, Any]]:
    path = folder / "audit.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_each_change_is_a_line_and_reading_is_none(client: httpx.Client, tmp_path: Path) -> None:
    client.put("/v1/datasets/d", json={})
    job = client.put(MASK, content=nifti(two_balls())).headers["location"]
    client.put(MASK, content=nifti(two_balls(1)), params={"replace": "true"})
    client.delete(job)
    client.post(f"{job}/retry")
    client.delete("/v1/datasets/d/cases/a")
    client.delete("/v1/datasets/d")
    client.delete("/v1/datasets/d")
    client.get(job)
    client.put("/v1/nothing")
    client.patch("/v1/datasets")
    said = [(line["action"], line["status"]) for line in lines(tmp_path)]
    assert said == [
        ("put_dataset", 201),
        ("put_mask", 202),
        ("put_mask", 202),
        ("cancel_job", 200),
        ("retry_job", 409),
        ("delete_case", 204),
        ("delete_dataset", 204),
        ("delete_dataset", 404),
    ]


def test_a_line_says_what_and_whose(tmp_path: Path) -> None:
    key = KeyFile(tmp_path / "keys.json").new("anna", Scope.WRITE)
    header = {"authorization": f"Bearer {key}"}
    with serving(create_app(Settings(data=tmp_path))) as client:
        query = {"replace": "1", "filename": "SMITH^JOHN.nii.gz"}
        named = [{**header, "x-request-id": f"{what}-7"} for what in ("upload", "cancel")]
        answer = client.put(MASK, content=nifti(two_balls()), params=query, headers=named[0])
        job = answer.headers["location"]
        client.delete(job, headers=named[1])
        client.delete("/v1/datasets/d", headers=header)  # not with this key
        client.delete("/v1/datasets/d")
    upload, cancel = lines(tmp_path)
    assert upload["key"] == cancel["key"] == "anna"
    assert upload["client"] == "127.0.0.1"
    assert (upload["request"], cancel["request"]) == ("upload-7", "cancel-7")
    assert (upload["dataset"], upload["case"], upload["made"], upload["replace"]) == ("d", "a", job, True)
    assert cancel["job"] == job.rpartition("/")[2]
    assert "SMITH" not in (tmp_path / "audit.jsonl").read_text()
    assert key not in (tmp_path / "audit.jsonl").read_text()


def test_what_failed_inside_is_noted_too(tmp_path: Path) -> None:
    class Broken:
        def changing(self, _: str) -> object:
            raise RuntimeError("a bug")

    app = create_app(Settings(data=tmp_path))
    app.dependency_overrides[get_library] = Broken
    with serving(app) as client:
        assert client.delete("/v1/datasets/d").status_code == 500
    assert [(line["action"], line["dataset"], line["status"]) for line in lines(tmp_path)] == [
        ("delete_dataset", "d", 500)
    ]


def test_what_no_name_can_be_is_cut_and_bared(client: httpx.Client, tmp_path: Path) -> None:
    client.delete("/v1/datasets/d/cases/" + quote("\u202e\x1b\n" + 5000 * "a"))
    (line,) = lines(tmp_path)
    assert (line["dataset"], line["case"][:3], len(line["case"])) == ("d", "aaa", 128)
