"""What an answer says of the part of a file it holds."""

from __future__ import annotations

import httpx
import pytest

from dmapsvc.client.parts import part_of
from dmapsvc.errors import ServerUnreachable


def answer(status: int, headers: dict[str, str], body: bytes = b"abc") -> httpx.Response:
    request = httpx.Request("GET", "http://127.0.0.1/zarr/knees.zarr/a/zarr.json")
    return httpx.Response(status, headers=headers, content=body, request=request)


def test_a_whole_file_begins_at_its_first_byte() -> None:
    part = part_of(answer(200, {"etag": '"1-2"'}))
    assert (part.begin, part.size, part.tag, b"".join(part.blocks)) == (0, 3, '"1-2"', b"abc")


def test_a_part_says_where_it_begins_and_how_large_the_file_is() -> None:
    part = part_of(answer(206, {"etag": '"1-2"', "content-range": "bytes 7-9/10"}))
    assert (part.begin, part.size, part.tag) == (7, 10, '"1-2"')


def test_a_weak_tag_is_nothing_to_go_on_from() -> None:
    assert part_of(answer(200, {"etag": 'W/"1-2"'})).tag is None
    assert part_of(answer(200, {})).tag is None


@pytest.mark.parametrize("headers", [{}, {"content-range": "bytes */10"}, {"content-range": "lines 1-2/3"}])
def test_a_part_that_does_not_say_which_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ServerUnreachable, match="does not say which"):
        part_of(answer(206, headers))
