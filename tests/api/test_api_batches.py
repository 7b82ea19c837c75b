"""Batches over HTTP: a folder of the server becomes cases, and nothing outside the roots is told."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from api.app import create_app
from api.batchintake import BatchIntake
from api.library import Library
from api.models import BatchWanted
from demo.service import Service
from dmapsvc.errors import Conflict
from dmapsvc.jobs.batch import Batch
from dmapsvc.jobs.engine import Jobs
from dmapsvc.settings import Settings
from dmapsvc.spec import MapSpec
from tests.api.bodies import nifti, two_balls
from tests.api.talk import Talk, assert_problem, serving

NOTE = "It was published from this very file already."


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the service may read; `outside` lies beside it."""
    base = tmp_path_factory.mktemp("shared")
    (base / "data").mkdir()
    (base / "outside").mkdir()
    (base / "outside/secret.nii").write_bytes(nifti(two_balls()))
    return base / "data"


@pytest.fixture(scope="module")
def service(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("batches"), roots=root) as service:
        yield service


@pytest.fixture
def talk(service: Service) -> Iterator[Talk]:
    with httpx.Client(base_url=service.url, trust_env=False, timeout=60) as http:
        yield Talk(http, service)


def fill(folder: Path, **files: bytes) -> Path:
    """A folder with these files; `__` in a name stands for a folder, and `.nii.gz` is added."""
    for name, body in files.items():
        file = folder / f"{name.replace('__', '/')}.nii.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
    return folder


def submit(talk: Talk, dataset: str, labels: Path | str, **wanted: object) -> dict[str, Any]:
    """A batch of the folder, once it has ended."""
    answer = talk.http.post(f"/v1/datasets/{dataset}/batches", json={"labels": str(labels), **wanted})
    assert answer.status_code == 202, answer.text
    batch = answer.json()
    assert answer.headers["location"] == f"/v1/batches/{batch['id']}"
    end = time.monotonic() + 60
    while batch["fraction"] < 1:
        assert time.monotonic() < end, batch
        time.sleep(0.05)
        batch = talk.http.get(answer.headers["location"]).json()
    return dict(batch)


def counts(batch: dict[str, Any]) -> dict[str, int]:
    return {state: count for state, count in batch["jobs"].items() if count}


def failures(talk: Talk, batch: dict[str, Any]) -> dict[str, str]:
    """What the failed jobs say, by case."""
    jobs = talk.http.get(f"/v1/batches/{batch['id']}/failures").json()["jobs"]
    return {job["case"]: job["problem"]["detail"] for job in jobs}


def test_a_folder_becomes_cases_and_is_left_as_it_is(talk: Talk, root: Path) -> None:
    labels = fill(root / "a/labels", k1=nifti(two_balls(1)), s__k2=nifti(two_balls(2)))
    images = fill(root / "a/images", k1_0000=nifti(np.ones(two_balls().shape, np.int16)))
    dataset = talk.dataset()
    batch = submit(talk, dataset, labels, images=str(images), spec={"labels": [5, 6]})
    assert (batch["cases"], batch["files"], counts(batch)) == (2, 3, {"done": 3})
    assert (batch["spec"], batch["submitted"]) == ({"labels": [5, 6], "units": "voxel"}, True)
    cases = talk.http.get(f"/v1/datasets/{dataset}/cases").json()["cases"]
    assert cases == ["k1", "s__k2"]
    case = talk.http.get(f"/v1/datasets/{dataset}/cases/k1").json()
    assert case["image"] is not None
    jobs = {
        job["case"]: job for job in talk.http.get("/v1/jobs", params={"batch": batch["id"]}).json()["jobs"]
    }
    assert jobs["s__k2"]["filename"] == "s/k2.nii.gz"
    assert jobs["k1"]["batch"] == batch["id"]
    assert sorted(file.name for file in labels.rglob("*.nii.gz")) == ["k1.nii.gz", "k2.nii.gz"]
    assert talk.spool() == []


def test_again_is_only_what_is_new_or_changed(talk: Talk, root: Path) -> None:
    labels, dataset = fill(root / "b", one=nifti(two_balls(1)), two=nifti(two_balls(2))), talk.dataset()
    submit(talk, dataset, labels)
    fill(labels, two=nifti(two_balls(3)), three=nifti(two_balls(4)))
    again = submit(talk, dataset, labels)
    assert (again["published"], counts(again)) == (1, {"done": 1, "failed": 1})
    assert "another mask" in failures(talk, again)["two"]
    replaced = submit(talk, dataset, labels, replace=True)
    assert (replaced["published"], counts(replaced)) == (2, {"done": 1})
    assert submit(talk, dataset, labels)["published"] == 3


def test_a_case_that_was_uploaded_is_found_published_and_not_mapped(talk: Talk, root: Path) -> None:
    body, dataset = nifti(two_balls(5)), talk.dataset()
    uploaded = talk.publish(f"{dataset}/k/mask", body)
    batch = submit(talk, dataset, fill(root / "c", k=body))
    (job,) = talk.http.get("/v1/jobs", params={"batch": batch["id"]}).json()["jobs"]
    assert (job["state"], job["notes"], job["sha256"]) == ("done", [NOTE], uploaded["sha256"])
    os.utime(root / "c/k.nii.gz")  # another time is another file, as far as can be told without reading
    assert counts(submit(talk, dataset, root / "c")) == {"done": 1}


def test_what_cannot_be_read_fails_alone_and_is_listed(talk: Talk, root: Path) -> None:
    labels = fill(root / "d", good=nifti(two_balls()), text=b"<html>", empty=b"")
    (labels / "linked.nii").symlink_to(root.parent / "outside/secret.nii")
    (labels / "dangling.nii").symlink_to(root.parent / "outside/nothing.nii")
    (labels / "loop.nii").symlink_to("loop.nii")
    os.mkfifo(labels / "pipe.nii")
    batch = submit(talk, talk.dataset(), labels)
    assert counts(batch) == {"done": 1, "failed": 6}
    said = failures(talk, batch)
    assert said["linked"].replace("linked", "dangling") == said["dangling"]
    assert "a link that leads out of the folders" in said["linked"]
    assert "no ordinary file" in said["pipe"]
    assert "looks like HTML" in said["text"]
    assert all(str(root.parent) not in words for words in said.values())


def test_a_name_that_is_no_utf8_is_shown_without_what_is_none(tmp_path: Path) -> None:
    labels = fill(tmp_path / "labels", **{"sub-01_dseg": b""})
    odd = tmp_path / "images" / os.fsdecode(b"caf\xe9")
    fill(odd, **{"sub-01_T1w": b""})
    settings = Settings(data=tmp_path / "data", roots=str(tmp_path))
    with serving(create_app(settings)) as http:
        wanted = {"labels": str(labels), "images": str(odd.parent)}
        answer = http.post("/v1/datasets/a/batches", json=wanted)
        assert (answer.status_code, answer.json()["files"]) == (202, 2)
        jobs = http.get("/v1/jobs")
        assert jobs.status_code == 200
        assert {job["filename"] for job in jobs.json()["jobs"]} == {
            "sub-01_dseg.nii.gz",
            "caf/sub-01_T1w.nii.gz",
        }
        fill(labels, **{os.fsdecode(b"\xe9"): b""})
        assert_problem(http.post("/v1/datasets/a/batches", json=wanted), 400, "Rename the file")


def test_a_cancelled_batch_is_submitted_again(talk: Talk, root: Path, service: Service) -> None:
    labels = fill(root / "e", **{f"k{number}": nifti(two_balls(number)) for number in range(30)})
    dataset = talk.dataset()
    answer = talk.http.post(f"/v1/datasets/{dataset}/batches", json={"labels": str(labels)})
    cancelled = talk.http.delete(answer.headers["location"]).json()
    assert cancelled["jobs"]["queued"] == 0
    again = submit(talk, dataset, labels)
    assert again["published"] + sum(counts(again).values()) + again["under_way"] == 30
    talk.http.delete(f"/v1/datasets/{dataset}")
    assert talk.http.get(answer.headers["location"]).status_code == 404


@pytest.mark.parametrize("then", ["another spec", "deleted"])
def test_a_dataset_that_changes_under_its_batch_gets_no_jobs_of_it(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    settings = Settings(data=tmp_path, roots=str(root))
    library = Library(settings)
    labels = fill(root / "h", k=nifti(two_balls()))
    with Jobs(settings) as jobs:
        submit = jobs.batches.submit

        def late(*wanted: Any) -> Batch:
            library.open("knees").destroy()
            if then == "another spec":
                library.create("knees", MapSpec(labels=(9,)))
            return submit(*wanted)

        monkeypatch.setattr(jobs.batches, "submit", late)
        wanted = BatchWanted(labels=str(labels))
        with pytest.raises(Conflict, match="while its batch was submitted"):
            BatchIntake(settings, library, jobs).accept("knees", wanted)
        assert not jobs.list().jobs


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_outside_is_refused_in_the_same_words_whatever_is_there(
    talk: Talk, root: Path, there: bool
) -> None:
    (root / "way-out").unlink(missing_ok=True)
    (root / "way-out").symlink_to(root.parent / "outside")
    name = root.parent / ("outside" if there else "nowhere")
    dataset = talk.dataset()
    for folder in (str(name), f"{root}/../{name.name}", f"{root}/way-out/../{name.name}", "labels", "/"):
        for wanted in ({"labels": folder}, {"labels": str(root), "images": folder}):
            answer = talk.http.post(f"/v1/datasets/{dataset}/batches", json=wanted)
            assert_problem(answer, 422, f"{folder!r}: not below a folder that this service may read")
    assert talk.http.get(f"/v1/datasets/{dataset}").status_code == 404


def test_what_is_wrong_with_the_folder_itself_is_said(talk: Talk, root: Path) -> None:
    dataset = talk.dataset()
    twice = fill(root / "f", a=b"")
    (twice / "a.mha").touch()
    for wanted, status, words in [
        ({"labels": f"{root}/nothing"}, 422, "no such folder"),
        ({"labels": str(twice), "pattern": "*_seg.nii"}, 422, "no volume files called *_seg.nii"),
        ({"labels": str(twice)}, 400, "are both called 'a'"),
        ({"labels": str(twice), "spec": {"labels": [0]}}, 400, "label 0"),
        ({"labels": str(twice), "spacing": [1, 1, 0]}, 400, "spacing"),
        ({"labels": str(twice), "folder": "x"}, 422, "folder"),
    ]:
        answer = talk.http.post(f"/v1/datasets/{dataset}/batches", json=wanted)
        assert_problem(answer, status, words)
    assert talk.http.get(f"/v1/datasets/{dataset}").status_code == 404


def test_batches_are_listed_and_what_is_none_is_not_found(talk: Talk, root: Path) -> None:
    dataset = talk.dataset()
    batch = submit(talk, dataset, fill(root / "g", a=nifti(two_balls())))
    listed = talk.http.get("/v1/batches", params={"limit": 1}).json()
    assert [found["id"] for found in listed["batches"]] == [batch["id"]]
    for address in ("/v1/batches/abc", f"/v1/batches/{'0' * 32}", f"/v1/batches/{'0' * 32}/failures"):
        assert_problem(talk.http.get(address), 404, "batch")


def test_a_service_without_roots_reads_no_folder(work: Talk, tmp_path: Path) -> None:
    answer = work.http.post(f"/v1/datasets/{work.dataset()}/batches", json={"labels": str(tmp_path)})
    assert_problem(answer, 422, "DMAPSVC_ROOTS")
