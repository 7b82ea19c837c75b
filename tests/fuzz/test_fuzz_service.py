"""A live service with a worker stands damaged uploads, hostile requests, and every call that it describes."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from demo.service import Service
from tests.fuzz import hostile
from tests.fuzz.described import check_calls
from tests.fuzz.uploading import Uploader, limited

UPLOADS, REQUESTS, CALLS = 80, 300, 4


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with limited(tmp_path_factory.mktemp("fuzzed")) as service:
        yield service


def test_calls_are_answered_as_they_are_described(service: Service) -> None:
    made = check_calls(service.url, examples=CALLS)
    assert len(made) > 15
    assert min(made.values()) >= 1


def test_damaged_uploads_end_in_words_and_the_worker_lives(service: Service) -> None:
    uploader = Uploader(service)
    for number in range(UPLOADS):
        uploader.upload(number)
    uploader.look()
    assert uploader.seen.faults == []
    assert uploader.seen.statuses["done"] > UPLOADS / 20
    assert uploader.seen.statuses["failed"] > UPLOADS / 50
    assert uploader.seen.statuses["PUT 422"] > UPLOADS / 4


def test_hostile_requests_are_refused_and_nobody_notices(service: Service) -> None:
    uploader = Uploader(service)
    for number in range(REQUESTS):
        uploader.disturb(number)
    uploader.look()
    assert uploader.seen.faults == []
    for words in (
        "Exception in ASGI",
        "an answer broke off",
        "failed:",
    ):  # a page of log for each, by a stranger
        assert words not in service.log("api")


@pytest.mark.parametrize("line", ["GET /v1/jobs HTTP/1.1", "PUT /v1/jobs HTTP/1.1", "GET /zarr/a HTTP/1.1"])
@pytest.mark.parametrize("host", ["[", "a:b:c", "[::1", "x" * 5000, "\u00e9"])
def test_a_host_that_is_none_is_no_failure_of_the_service(service: Service, line: str, host: str) -> None:
    answer = hostile.send(service.url, f"{line}\r\nHost: {host}\r\n\r\n".encode())
    assert hostile.status_of(answer) in (200, 400, 404, 405)


def test_the_same_number_is_the_same_request() -> None:
    assert [hostile.request(Random(number)) for number in range(50)] == [
        hostile.request(Random(number)) for number in range(50)
    ]
