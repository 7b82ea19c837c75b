"""The whole service with its store in a bucket."""

from __future__ import annotations

import io
from pathlib import Path

import httpx
import numpy as np
import pytest
import zarr

from demo import phantom
from demo.service import Service
from dmapsvc import MapSpec, penalty_map
from dmapsvc.client import Client
from dmapsvc.errors import NotFound
from dmapsvc.jobs import State
from dmapsvc.loader.source import open_dataset
from dmapsvc.store import check
from dmapsvc.store.stores import open_dataset_at
from dmapsvc.volumes import read_labels
from tests.store import shelf

SPEC = MapSpec(labels=(1, 2, 3))


def test_a_service_over_a_bucket_does_what_it_does_over_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks = [tmp_path / "one.nii.gz", tmp_path / "two.nii.gz"]
    labels, *grid = phantom.knee(0, (16, 32, 32))
    phantom.write(masks[0], labels, *grid)
    phantom.write(masks[1], labels[:, ::-1].copy(), *grid)
    with shelf.moto() as endpoint:
        shelf.use(monkeypatch, endpoint, "ward")
        with (
            Service(tmp_path / "data", store="s3://ward/lab") as service,
            Client(service.url) as client,
            httpx.Client(base_url=service.url, trust_env=False) as http,
        ):
            assert http.get("/readyz").status_code == 200
            client.create_dataset("knees", SPEC)
            assert client.wait(client.put_mask("knees", "a", masks[0]).id).state is State.DONE
            assert client.wait(client.put_image("knees", "a", masks[0]).id).state is State.DONE
            assert client.wait(client.put_mask("knees", "a", masks[1], replace=True).id).state is State.DONE
            assert [body["cases"] for body in client.datasets()] == [1]
            assert list(client.cases("knees")) == ["a"]
            assert client.case("knees", "a")["image"] is not None
            expected = penalty_map(read_labels(masks[1]).array, spec=SPEC)
            there = open_dataset_at("s3://ward/lab/knees.zarr")
            assert list(check(there)) == []
            np.testing.assert_allclose(there.case("a").phi_values(), expected.values, atol=0.01)
            assert open_dataset("s3://ward/lab/knees.zarr").cases() == ["a"]

            node = http.get("/zarr/knees.zarr/a/zarr.json")
            part = http.get("/zarr/knees.zarr/a/zarr.json", headers={"range": "bytes=2-9"})
            assert (part.status_code, part.content) == (206, node.content[2:10])
            tag = {"if-none-match": node.headers["etag"]}
            assert http.get("/zarr/knees.zarr/a/zarr.json", headers=tag).status_code == 304
            group = zarr.open_group(f"{service.url}/zarr/knees.zarr/a", mode="r")
            assert np.asarray(group["label/0"][...]).max() == 3  # type: ignore[index]
            nifti = http.get("/v1/datasets/knees/cases/a/phi.nii.gz")
            assert (nifti.status_code, io.BytesIO(nifti.content).read(2)) == (200, b"\x1f\x8b")
            assert http.get("/v1/datasets/knees/cases/a/preview.png").status_code == 200

            client.delete("knees", "a")
            assert list(client.cases("knees")) == []
            client.delete("knees")
            with pytest.raises(NotFound):
                open_dataset_at("s3://ward/lab/knees.zarr")
            assert not (tmp_path / "data" / "store").exists()
