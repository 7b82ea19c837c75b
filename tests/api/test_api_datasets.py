"""Datasets and cases: made, listed, read, deleted."""

from __future__ import annotations

import fcntl
import gzip
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import httpx
import nibabel as nib
import numpy as np
import pytest

from api import downloads
from api.app import create_app
from api.dependencies import get_library
from dmapsvc.settings import Settings
from dmapsvc.store import Dataset
from tests.api.bodies import SHAPE, SPACING, affine_of, nifti, npy, two_balls
from tests.api.talk import Talk, assert_problem, serving

WANTED = {"spec": {"labels": [5, 6], "units": "voxel"}, "names": {"5": "femur"}}


def test_a_dataset_is_made_once(talk: Talk) -> None:
    name = talk.dataset()
    first = talk.http.put(f"/v1/datasets/{name}", json=WANTED)
    second = talk.http.put(f"/v1/datasets/{name}", json=WANTED)
    assert (first.status_code, second.status_code) == (201, 200)
    body = {"name": name, **WANTED, "cases": 0, "zarr": f"/zarr/{name}.zarr"}
    assert first.json() == second.json() == talk.http.get(f"/v1/datasets/{name}").json() == body
    assert body in talk.http.get("/v1/datasets").json()["datasets"]


def test_names_stay_unless_others_are_given(talk: Talk) -> None:
    name = talk.dataset()
    talk.http.put(f"/v1/datasets/{name}", json=WANTED)
    same = talk.http.put(f"/v1/datasets/{name}", json={"spec": WANTED["spec"]})
    assert same.json()["names"] == {"5": "femur"}
    other = talk.http.put(f"/v1/datasets/{name}", json={**WANTED, "names": {"6": "tibia"}})
    assert other.json()["names"] == {"6": "tibia"}


def test_an_unused_dataset_may_be_given_another_spec(talk: Talk) -> None:
    name = talk.dataset()
    talk.http.put(f"/v1/datasets/{name}", json=WANTED)
    answer = talk.http.put(f"/v1/datasets/{name}", json={"spec": {"units": "mm"}})
    assert answer.status_code == 200
    assert answer.json()["spec"] == {"labels": None, "units": "mm"}


def test_a_dataset_with_a_queued_mask_keeps_its_spec(talk: Talk) -> None:
    name = talk.dataset()
    talk.put(f"{name}/a/mask", nifti(two_balls()))
    answer = talk.http.put(f"/v1/datasets/{name}", json=WANTED)
    assert_problem(answer, 409, "all labels in voxel", "labels 5,6 in voxel")


def test_a_dataset_with_a_case_keeps_its_spec(work: Talk) -> None:
    name = work.dataset()
    work.publish(f"{name}/a/mask", nifti(two_balls()))
    assert_problem(work.http.put(f"/v1/datasets/{name}", json=WANTED), 409, "all labels in voxel")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"spec": {"labels": [0]}}, 400),
        ({"spec": {"labels": [5, 5]}}, 400),
        ({"spec": {"labels": [-1]}}, 400),
        ({"spec": {"labels": [5.5]}}, 400),
        ({"spec": {"labels": ["5"]}}, 400),
        ({"spec": {"labels": []}}, 400),
        ({"spec": {"units": "cm"}}, 400),
        ({"spec": {"label": [5]}}, 422),
        ({"names": {"femur": "5"}}, 422),
        ({"names": {"0": "background"}}, 422),
        ({"names": {"-5": "femur"}}, 422),
        ({"names": {str(2**32): "femur"}}, 422),
        ([], 422),
    ],
)
def test_a_bad_dataset_is_refused(talk: Talk, body: object, status: int) -> None:
    name = talk.dataset()
    assert_problem(talk.http.put(f"/v1/datasets/{name}", json=body), status)
    assert_problem(talk.http.get(f"/v1/datasets/{name}"), 404, name)


def test_a_body_that_is_too_long_is_refused_while_it_streams(talk: Talk) -> None:
    name, url = talk.dataset(), httpx.URL(talk.service.url)
    with socket.create_connection((url.host, url.port or 80), timeout=10) as connection:
        head = f"PUT /v1/datasets/{name} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000000\r\n\r\n"
        connection.sendall(head.encode() + b" " * 1_000_001)  # and no more: it is not waited for
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")
    assert_problem(talk.http.put(f"/v1/datasets/{name}", content=b" " * 1_000_001), 413)
    assert_problem(talk.http.get(f"/v1/datasets/{name}"), 404)


def test_a_change_of_one_dataset_does_not_wait_for_another(tmp_path: Path) -> None:
    app = create_app(Settings(data=tmp_path))
    with serving(app) as client, app.state.library.changing("a"):
        assert client.put("/v1/datasets/b", json=WANTED, timeout=5).status_code == 201
        assert client.delete("/v1/datasets/b", timeout=5).status_code == 204
        with pytest.raises(httpx.ReadTimeout):
            client.put("/v1/datasets/a", json=WANTED, timeout=0.2)


def test_the_first_uploads_to_two_replicas_are_judged_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apps = [create_app(Settings(data=tmp_path)) for _ in range(2)]
    path, body = "/v1/datasets/a/cases/{}/mask", nifti(two_balls())
    reached, go = threading.Event(), threading.Event()
    with serving(apps[0]) as one, serving(apps[1]) as other, ThreadPoolExecutor(1) as pool:
        assert [client.get("/healthz").status_code for client in (one, other)] == [200, 200]
        library = apps[0].state.library
        create = library.create

        def slowly(*given: Any, **named: Any) -> Any:
            reached.set()
            assert go.wait(30)
            return create(*given, **named)

        monkeypatch.setattr(library, "create", slowly)
        first = pool.submit(one.put, path.format("a"), params={"labels": "5"}, content=body)
        assert reached.wait(30)
        with pytest.raises(httpx.ReadTimeout):
            other.put(path.format("b"), params={"labels": "6"}, content=body, timeout=0.5)
        go.set()
        assert first.result().status_code == 202
        again = other.put(path.format("b"), params={"labels": "6"}, content=body)
        assert_problem(again, 409, "a dataset has one spec")
        assert other.get("/v1/datasets/a").json()["spec"]["labels"] == [5]
        assert [job["case"] for job in other.get("/v1/jobs").json()["jobs"]] == ["a"]
    assert not list((tmp_path / "staging").glob(".*"))


def test_an_upload_looks_at_no_other_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    with serving(create_app(Settings(data=tmp_path))) as client:
        client.put("/v1/datasets/a", json=WANTED)
        for name in ("cases", "is_empty"):
            monkeypatch.setattr(Dataset, name, lambda _, name=name: asked.append(name))
        for path in ("one/mask", "two/mask?labels=5,6&units=voxel", "two/image"):
            answer = client.put(f"/v1/datasets/a/cases/{path}", content=nifti(two_balls()))
            assert answer.status_code == 202, answer.text
    assert asked == []


def test_reading_waits_for_no_lock_and_undoes_nothing(work: Talk) -> None:
    name = work.dataset()
    work.publish(f"{name}/a/mask", nifti(two_balls()))
    staging = work.service.data / "staging" / name
    left = staging / "work" / "a~left"
    left.mkdir(parents=True)
    address = f"/v1/datasets/{name}"
    paths = (address, f"{address}/cases", f"{address}/cases/a", f"{address}/cases/a/phi.nii.gz")
    with (staging / "locks" / "a").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for path in ("/v1/datasets", *paths, f"{address}/cases/a/preview.png"):
            assert work.http.get(path, timeout=10).status_code == 200, path
    assert left.exists()


def test_what_is_not_there_is_404(talk: Talk) -> None:
    name = talk.dataset()
    talk.http.put(f"/v1/datasets/{name}", json=WANTED)
    for path in ("nothing", "nothing/cases", f"{name}/cases/a", f"{name}/cases/a/phi.nii.gz"):
        assert_problem(talk.http.get(f"/v1/datasets/{path}"), 404)
    for path in ("nothing", f"{name}/cases/a"):
        assert_problem(talk.http.delete(f"/v1/datasets/{path}"), 404)


def test_deleting_removes_jobs_and_uploads(talk: Talk) -> None:
    name, spool = talk.dataset(), talk.spool()
    first = talk.put(f"{name}/a/mask", nifti(two_balls())).json()
    second = talk.put(f"{name}/b/mask", nifti(two_balls())).json()
    assert talk.http.delete(f"/v1/datasets/{name}/cases/a").status_code == 204
    assert_problem(talk.http.get(f"/v1/jobs/{first['id']}"), 404)
    assert talk.http.get(f"/v1/jobs/{second['id']}").status_code == 200
    assert talk.http.delete(f"/v1/datasets/{name}").status_code == 204
    assert_problem(talk.http.get(f"/v1/jobs/{second['id']}"), 404)
    assert_problem(talk.http.get(f"/v1/datasets/{name}"), 404)
    assert talk.spool() == spool


def test_cases_come_in_pages(work: Talk) -> None:
    name = work.dataset()
    work.publish(f"{name}/c/mask", nifti(two_balls()))
    answers = [work.put(f"{name}/{case}/mask", nifti(two_balls())) for case in "abde"]
    assert {work.done(answer)["state"] for answer in answers} == {"done"}
    address = f"/v1/datasets/{name}/cases"
    assert work.http.get(address).json() == {"cases": list("abcde"), "next": None}
    first = work.http.get(address, params={"limit": 3}).json()
    assert first["cases"] == list("abc")
    assert work.http.get(address, params={"limit": 3, "cursor": first["next"]}).json() == {
        "cases": list("de"),
        "next": None,
    }
    assert work.http.delete(f"{address}/c").status_code == 204
    assert work.http.get(address).json()["cases"] == list("abde")
    assert work.http.get(f"/v1/datasets/{name}").json()["cases"] == 4
    assert work.http.delete(f"/v1/datasets/{name}").status_code == 204
    assert not list(work.service.data.glob(f"store/*{name}*"))


def test_a_case_says_what_it_is(work: Talk) -> None:
    name = work.dataset()
    job = work.publish(f"{name}/a/mask", nifti(two_balls()), units="mm", labels="5,6,7")
    case = work.http.get(f"/v1/datasets/{name}/cases/a").json()
    assert (case["name"], case["id"], case["mask_sha256"]) == ("a", job["id"], job["sha256"])
    assert tuple(case["shape"]) == SHAPE
    np.testing.assert_allclose(case["spacing"], SPACING)
    np.testing.assert_allclose(case["affine"], affine_of())
    voxels = [(region["value"], region["voxels"]) for region in case["regions"]]
    labels = two_balls()
    assert voxels == [(value, int((labels == value).sum())) for value in (0, 5, 6)]
    assert case["absent"] == [7]
    assert case["image"] is None


def test_phi_overlays_its_mask(work: Talk) -> None:
    name = work.dataset()
    angle = np.deg2rad(20)
    affine = affine_of()
    affine[:2, :2] @= np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    labels = two_balls()
    work.publish(f"{name}/a/mask", nifti(labels, affine))
    answer = work.http.get(f"/v1/datasets/{name}/cases/a/phi.nii.gz")
    assert answer.headers["content-type"] == "application/gzip"
    assert int(answer.headers["content-length"]) == len(answer.content)
    phi = nib.Nifti1Image.from_bytes(gzip.decompress(answer.content))
    assert phi.shape == SHAPE[::-1]
    assert phi.get_data_dtype() == np.float32
    np.testing.assert_allclose(phi.affine, affine, atol=1e-5)
    values = np.asarray(phi.dataobj).T
    maxima = {
        r["value"]: r["maximum"] for r in work.http.get(f"/v1/datasets/{name}/cases/a").json()["regions"]
    }
    for value, maximum in maxima.items():
        assert abs(values[labels == value].max() - (maximum - 1)) < 0.01  # at the boundary D is 1 voxel


def test_phi_of_a_file_without_a_frame_has_the_given_spacing(work: Talk) -> None:
    name = work.dataset()
    work.publish(f"{name}/a/mask", npy(two_balls()), spacing="2,0.5,0.25")
    answer = work.http.get(f"/v1/datasets/{name}/cases/a/phi.nii.gz")
    phi = nib.Nifti1Image.from_bytes(gzip.decompress(answer.content))
    np.testing.assert_allclose(phi.affine, np.diag((0.25, 0.5, 2, 1)))
    assert not list((work.service.data / "staging").glob("tmp*"))


def test_phi_with_a_long_axis_is_nifti_2(work: Talk) -> None:
    name = work.dataset()
    labels = np.zeros((1, 1, 40_000), np.uint8)
    labels[..., 100:300] = 5
    work.publish(f"{name}/a/mask", npy(labels))
    answer = work.http.get(f"/v1/datasets/{name}/cases/a/phi.nii.gz")
    assert answer.status_code == 200, answer.text
    phi = nib.Nifti2Image.from_bytes(gzip.decompress(answer.content))
    assert phi.shape == (40_000, 1, 1)
    values = np.asarray(phi.dataobj).ravel()
    assert values[100] == values[299] == values[100:300].max() > values[200]


def test_two_downloads_are_built_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    building, most = 0, 0

    def slowly(case: object, file: BinaryIO) -> None:
        nonlocal building, most
        building += 1
        most = max(most, building)
        time.sleep(0.1)
        building -= 1
        file.write(b"phi")

    class Shelf:
        def read(self, name: str) -> Shelf:
            return self

        def case(self, name: str) -> str:
            return name

    monkeypatch.setattr(downloads, "write_phi", slowly)
    app = create_app(Settings(data=tmp_path))
    app.dependency_overrides[get_library] = Shelf
    with serving(app) as client, ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(client.get, ["/v1/datasets/d/cases/a/phi.nii.gz"] * 6))
    assert {answer.content for answer in answers} == {b"phi"}
    assert most == 2


def test_a_preview_is_a_picture(work: Talk) -> None:
    name = work.dataset()
    work.publish(f"{name}/a/mask", nifti(two_balls()))
    address = f"/v1/datasets/{name}/cases/a/preview.png"
    answer = work.http.get(address, params={"axis": 1, "index": 3})
    assert answer.headers["content-type"] == "image/png"
    assert answer.content.startswith(b"\x89PNG")
    assert_problem(work.http.get(address, params={"axis": 1, "index": 10}), 422, "slice 10")
    assert_problem(work.http.get(address, params={"axis": 3}), 422, "axis")
