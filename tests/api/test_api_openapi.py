"""The OpenAPI document says what is true: every call, every problem, and the JSON that is really answered."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.api.talk import Talk

CALLS = {
    "/v1/datasets": {"get"},
    "/v1/datasets/{dataset}": {"put", "get", "delete"},
    "/v1/datasets/{dataset}/cases": {"get"},
    "/v1/datasets/{dataset}/cases/{case}": {"get", "delete"},
    "/v1/datasets/{dataset}/cases/{case}/mask": {"put"},
    "/v1/datasets/{dataset}/cases/{case}/image": {"put"},
    "/v1/datasets/{dataset}/cases/{case}/phi.nii.gz": {"get"},
    "/v1/datasets/{dataset}/cases/{case}/preview.png": {"get"},
    "/v1/datasets/{dataset}/batches": {"post"},
    "/v1/batches": {"get"},
    "/v1/batches/{batch}": {"get", "delete"},
    "/v1/batches/{batch}/failures": {"get"},
    "/v1/jobs": {"get"},
    "/v1/jobs/{job}": {"get", "delete"},
    "/v1/jobs/{job}/events": {"get"},
    "/v1/jobs/{job}/retry": {"post"},
    "/v1/workers": {"get"},
    "/zarr/{path}": {"get"},
    "/healthz": {"get"},
    "/readyz": {"get"},
    "/metrics": {"get"},
}
WITHOUT_PROBLEMS = {"/healthz", "/metrics", "/v1/datasets"}


@pytest.fixture
def document(talk: Talk) -> dict[str, Any]:
    answer: httpx.Response = talk.http.get("/openapi.json")
    document: dict[str, Any] = answer.json()
    return document


def test_every_call_is_there(document: dict[str, Any]) -> None:
    assert {path: set(calls) for path, calls in document["paths"].items()} == CALLS
    names = [call["operationId"] for calls in document["paths"].values() for call in calls.values()]
    assert len(names) == len(set(names))


def test_every_problem_has_the_one_shape(document: dict[str, Any]) -> None:
    problem = document["components"]["schemas"]["Problem"]
    assert set(problem["required"]) == {"type", "title", "status", "detail"}
    for path, calls in document["paths"].items():
        for call in calls.values():
            bad = {status: said for status, said in call["responses"].items() if int(status) >= 400}
            assert bad or path in WITHOUT_PROBLEMS, path
            for said in bad.values():
                assert list(said["content"]) == ["application/problem+json"], path
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_uploads_say_that_they_take_a_raw_body(document: dict[str, Any]) -> None:
    for what in ("mask", "image"):
        put = document["paths"][f"/v1/datasets/{{dataset}}/cases/{{case}}/{what}"]["put"]
        assert list(put["requestBody"]["content"]) == ["application/octet-stream"]
        assert {"200", "202", "400", "409", "413", "422", "503"} <= set(put["responses"])


def test_the_docs_page_is_there(talk: Talk) -> None:
    assert "openapi.json" in talk.http.get("/docs").text
